//! `chunked-wal` 0.2, the predecessor of this crate. Its worker waits a millisecond for more flushes
//! unless it is configured not to. It is configured so where no more can come, but not where that wait
//! is the only way to share a sync.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use chunked_wal::codeq::Decode;
use chunked_wal::codeq::Encode;
use chunked_wal::codeq::config::CodeqConfig as _;
use chunked_wal::codeq::config::Crc32fast;
use chunked_wal_02::ChunkId;
use chunked_wal_02::ChunkedWal;
use chunked_wal_02::ClosedChunkReader;
use chunked_wal_02::Config;
use chunked_wal_02::Segment;
use chunked_wal_02::StateMachine;
use chunked_wal_02::WAL as _;
use chunked_wal_02::WALRecord;
use chunked_wal_02::WalTypes;
use parking_lot::Mutex;

use super::OURS_ALONE;
use crate::peer::Fit;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::RandomReads;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::workload::Workload;

/// Bytes that gather in memory before they are handed to its worker.
const PENDING_MAX: u64 = 1 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkedWal02;

impl Peer for ChunkedWal02 {
    fn name(&self) -> &'static str {
        "chunked-wal 0.2"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S8 => Fit::No(OURS_ALONE),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        Ok(Box::new(open(dir, setup)?))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        Ok(open(dir, setup)?.count.0)
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let mut log = open(dir, &Setup::keeping(1 << 30))?;
        log.set_payload(payload);
        let chunk = log.wal.open_chunk_id();
        let mut segments = Vec::new();
        for _ in 0..count {
            log.append()?;
            segments.push(log.wal.last_segment());
        }
        log.sync()?;
        drop(log);
        // It is read from closed chunks alone: a chunk is closed once one more record finds it full.
        let mut log = open(dir, &Setup::keeping(1))?;
        log.set_payload(payload);
        log.append()?;
        log.wal.wait_worker_idle()?;
        Ok(Box::new(Reads { reader: log.wal.closed_chunk_reader(), chunk, segments, _log: Mutex::new(log) }))
    }
}

fn open(dir: &Path, setup: &Setup) -> Result<Log02> {
    let mut config = Config::new(dir.display());
    config.chunk_max_size = Some(setup.chunk_bytes as usize);
    config.chunk_max_records = Some(usize::MAX);
    if !setup.many_at_once {
        config.flush_batch_wait = Some(Duration::ZERO);
    }
    let mut count = Count(0);
    let wal = ChunkedWal::open(Arc::new(config), &mut count, Arc::new(|_, _| {}))?;
    let record = WALRecord::Action(Checked(Vec::new()));
    Ok(Log02 { wal, count, forget: setup.forget, record, size: 0, pending: 0 })
}

struct Log02 {
    wal: ChunkedWal<Types>,
    count: Count,
    forget: bool,
    record: WALRecord<Types>,
    size: u64,
    pending: u64,
}

impl Log02 {
    #[cold]
    fn rotate(&mut self) -> Result<()> {
        self.wal.try_close_full_chunk(&self.count)?;
        self.pending = 0;
        if self.forget {
            let ids = self.wal.drain_closed_chunks_while(|_| true);
            self.wal.send_remove_chunks(ids)?;
        }
        Ok(())
    }

    fn flush(&mut self, sync: bool, done: Option<SyncSender<io::Result<()>>>) -> Result<()> {
        self.pending = 0;
        Ok(self.wal.send_pending(sync, done)?)
    }
}

impl Log for Log02 {
    fn set_payload(&mut self, payload: &[u8]) {
        self.record = WALRecord::Action(Checked(payload.to_vec()));
        self.size = payload.len() as u64;
    }

    fn append(&mut self) -> Result<()> {
        if self.wal.is_open_chunk_full() {
            self.rotate()?;
        }
        self.count.0 += 1;
        self.wal.append(&self.record)?;
        self.pending += self.size;
        if self.pending >= PENDING_MAX {
            self.flush(false, None)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let (done, wait) = sync_channel(1);
        self.flush(true, Some(done))?;
        Ok(wait.recv()??)
    }

    fn append_with_completions(&mut self, count: u64) -> Result<()> {
        let (done, wait) = sync_channel(count as usize);
        for _ in 0..count {
            self.append()?;
            self.flush(true, Some(done.clone()))?;
        }
        drop(done);
        let mut completed = 0;
        for result in wait {
            result?;
            completed += 1;
        }
        ensure!(completed == count, "{completed} of {count} flushes completed");
        Ok(())
    }

    fn wait_idle(&mut self) -> Result<()> {
        self.sync()?;
        Ok(self.wal.wait_worker_idle()?)
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        Box::new(Shared02(Mutex::new(*self)))
    }
}

struct Shared02(Mutex<Log02>);

impl SharedLog for Shared02 {
    fn append_durable(&self) -> Result<()> {
        let (done, wait) = sync_channel(1);
        {
            let mut log = self.0.lock();
            log.append()?;
            log.flush(true, Some(done))?;
        }
        Ok(wait.recv()??)
    }
}

struct Reads {
    reader: ClosedChunkReader<Types>,
    chunk: ChunkId,
    segments: Vec<Segment>,
    _log: Mutex<Log02>,
}

impl RandomReads for Reads {
    fn read(&self, record: u64) -> Result<usize> {
        match self.reader.read_record(self.chunk, self.segments[record as usize])? {
            WALRecord::Action(Checked(bytes)) => Ok(bytes.len()),
            WALRecord::Checkpoint(_) => Ok(0),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Types;

impl WalTypes for Types {
    type Action = Checked;
    type Checkpoint = u64;
    type Callback = SyncSender<io::Result<()>>;
}

/// A payload: its type's number and its checksum are the action's business here.
#[derive(Debug, Clone)]
struct Checked(Vec<u8>);

const TYPE: u32 = 1;

impl Encode for Checked {
    fn encode<W: io::Write>(&self, writer: W) -> io::Result<usize> {
        let mut writer = Crc32fast::new_writer(writer);
        let n = TYPE.encode(&mut writer)? + self.0.encode(&mut writer)?;
        Ok(n + writer.write_checksum()?)
    }

    fn type_id(&self) -> Option<u32> {
        Some(TYPE)
    }
}

impl Decode for Checked {
    fn decode<R: io::Read>(reader: R) -> io::Result<Self> {
        let mut reader = Crc32fast::new_reader(reader);
        let _type = u32::decode(&mut reader)?;
        let bytes = Vec::decode(&mut reader)?;
        reader.verify_checksum(|| "a payload")?;
        Ok(Checked(bytes))
    }
}

struct Count(u64);

impl StateMachine<Types> for Count {
    type Error = Infallible;

    fn apply(&mut self, record: &WALRecord<Types>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        match record {
            WALRecord::Action(_) => self.0 += 1,
            WALRecord::Checkpoint(count) => self.0 = *count,
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.0
    }
}
