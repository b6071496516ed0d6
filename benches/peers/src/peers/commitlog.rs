//! `commitlog`: a log and a mapped index. Its `flush` reaches the index at most: the file with the messages is never
//! synced.

use std::path::Path;

use anyhow::Result;
use anyhow::ensure;
use commitlog::CommitLog;
use commitlog::LogOptions;
use commitlog::ReadLimit;
use commitlog::message::MessageBuf;
use commitlog::message::MessageSet;
use parking_lot::Mutex;

use crate::peer::Fit;
use crate::peer::Found;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::RandomReads;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::found;
use crate::workload::Workload;

const NEVER_SYNCS: &str = "its `flush` reaches the index at most; the segment file is never synced";

/// Bytes of a message around its payload.
const MESSAGE_HEADER: usize = 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Commitlog;

impl Peer for Commitlog {
    fn name(&self) -> &'static str {
        "commitlog"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S1 | Workload::S2 | Workload::S4 | Workload::S10 => Fit::DoesNotSync(NEVER_SYNCS),
            Workload::S3 => Fit::No("nothing can be handed over and waited for later"),
            Workload::S8 => Fit::No("never syncs, and keeps all segments"),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let log = open(dir, setup.chunk_bytes)?;
        Ok(Box::new(CommitlogLog { log, payload: Vec::new(), messages: MessageBuf::default(), bytes: 0 }))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        let log = open(dir, setup.chunk_bytes)?;
        let mut count = 0;
        loop {
            let messages = log.read(count, ReadLimit::max_bytes(1 << 20))?;
            if messages.is_empty() {
                return Ok(count);
            }
            for message in messages.iter() {
                ensure!(message.verify_hash(), "message {count} has a wrong checksum");
                count += 1;
            }
        }
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let mut log = self.open(dir, &Setup::keeping(1 << 30))?;
        log.set_payload(payload);
        log.append_many(count)?;
        log.sync()?;
        drop(log);
        // Whole messages are read. The limit is the least that has room for one, which halving its index
        // finds only below it.
        let limit = ReadLimit::max_bytes(payload.len() + MESSAGE_HEADER + 1);
        Ok(Box::new(Reads { log: open(dir, 1 << 30)?, limit }))
    }
}

fn open(dir: &Path, segment_bytes: u64) -> Result<CommitLog> {
    let mut options = LogOptions::new(dir);
    options.segment_max_bytes(segment_bytes as usize).index_max_items(1 << 20);
    Ok(CommitLog::new(options)?)
}

struct CommitlogLog {
    log: CommitLog,
    payload: Vec<u8>,
    messages: MessageBuf,
    bytes: usize,
}

impl CommitlogLog {
    fn write(&mut self) -> Result<()> {
        if self.bytes > 0 {
            self.log.append(&mut self.messages)?;
            self.messages.clear();
            self.bytes = 0;
        }
        Ok(())
    }
}

impl Log for CommitlogLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = payload.to_vec();
    }

    fn append(&mut self) -> Result<()> {
        if let Err(error) = self.messages.push(&self.payload) {
            anyhow::bail!("{error:?}");
        }
        self.bytes += self.payload.len();
        // A set of messages may have a million bytes.
        if self.bytes >= 256 << 10 { self.write() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<()> {
        self.write()?;
        Ok(self.log.flush()?)
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        Box::new(Mutex::new(*self))
    }
}

struct Reads {
    log: CommitLog,
    limit: ReadLimit,
}

impl RandomReads for Reads {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        found(records.iter().copied(), |offset| {
            let messages = self.log.read(*offset, self.limit)?;
            let message = messages.iter().next().ok_or_else(|| anyhow::anyhow!("no such message"))?;
            ensure!(message.verify_hash(), "a wrong checksum");
            Ok(message.payload().len())
        })
    }
}
