//! `chunked-wal` 0.2, the predecessor of this crate. Its worker waits for more flushes, a millisecond unless
//! configured. It is configured not to where no more can come, and left as it is, or told to wait 50 µs,
//! where that wait is the only way to share a sync.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
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

use super::AS_THE_FIRST;
use crate::peer::Fit;
use crate::peer::Found;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::RandomReads;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::found;
use crate::workload::Workload;

/// Bytes that gather in memory before they are handed to its worker.
const PENDING_MAX: u64 = 1 << 20;

/// Bytes that a replay reads at a time.
const READ_BUFFER: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkedWal02 {
    Plain,
    /// S2 and S3: waits 50 µs for more flushes.
    Wait50,
}

type Done = SyncSender<io::Result<()>>;

thread_local! {
    /// A channel for the one flush that a thread waits for at a time.
    static WAIT: (Done, Receiver<io::Result<()>>) = sync_channel(1);
}

impl Peer for ChunkedWal02 {
    fn name(&self) -> &'static str {
        match self {
            ChunkedWal02::Plain => "chunked-wal 0.2",
            ChunkedWal02::Wait50 => "chunked-wal 0.2 (waits 50 µs)",
        }
    }

    fn fit(&self, workload: Workload) -> Fit {
        match (self, workload) {
            (ChunkedWal02::Plain, _) | (ChunkedWal02::Wait50, Workload::S2 | Workload::S3) => Fit::Yes,
            _ => Fit::No(AS_THE_FIRST),
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let wait = match self {
            _ if !setup.many_at_once => Some(Duration::ZERO),
            ChunkedWal02::Plain => None,
            ChunkedWal02::Wait50 => Some(Duration::from_micros(50)),
        };
        Ok(Box::new(open(dir, setup, wait)?))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        Ok(open(dir, setup, Some(Duration::ZERO))?.count.0)
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let wait = Some(Duration::ZERO);
        let mut log = open(dir, &Setup::keeping(1 << 30), wait)?;
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
        let mut log = open(dir, &Setup::keeping(1), wait)?;
        log.set_payload(payload);
        log.append()?;
        log.wal.wait_worker_idle()?;
        Ok(Box::new(Reads { reader: log.wal.closed_chunk_reader(), chunk, segments, _log: Mutex::new(log) }))
    }
}

fn open(dir: &Path, setup: &Setup, wait: Option<Duration>) -> Result<Log02> {
    let mut config = Config::new(dir.display());
    config.chunk_max_size = Some(setup.chunk_bytes as usize);
    config.chunk_max_records = Some(usize::MAX);
    config.read_buffer_size = Some(READ_BUFFER);
    config.flush_batch_wait = wait;
    let mut count = Count(0);
    let wal = ChunkedWal::open(Arc::new(config), &mut count, Arc::new(|_, _| {}))?;
    let record = WALRecord::Action(Checked(Vec::new()));
    Ok(Log02 { wal, count, forget: setup.forget, record, size: 0, pending: 0, completions: None })
}

struct Log02 {
    wal: ChunkedWal<Types>,
    count: Count,
    forget: bool,
    record: WALRecord<Types>,
    size: u64,
    pending: u64,
    /// A channel with room for the completions that are to come.
    completions: Option<(Done, Receiver<io::Result<()>>)>,
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

    fn flush(&mut self, sync: bool, done: Option<Done>) -> Result<()> {
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
        WAIT.with(|(done, wait)| {
            self.flush(true, Some(done.clone()))?;
            Ok(wait.recv()??)
        })
    }

    fn prepare_completions(&mut self, count: u64) {
        self.completions = Some(sync_channel(count as usize));
    }

    fn append_with_completions(&mut self, count: u64) -> Result<()> {
        let (done, wait) = self.completions.take().unwrap_or_else(|| sync_channel(count as usize));
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
        WAIT.with(|(done, wait)| {
            {
                let mut log = self.0.lock();
                log.append()?;
                log.flush(true, Some(done.clone()))?;
            }
            Ok(wait.recv()??)
        })
    }
}

struct Reads {
    reader: ClosedChunkReader<Types>,
    chunk: ChunkId,
    segments: Vec<Segment>,
    _log: Mutex<Log02>,
}

impl RandomReads for Reads {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        let places = records.iter().map(|record| self.segments[*record as usize]);
        found(places, |segment| match self.reader.read_record(self.chunk, *segment)? {
            WALRecord::Action(Checked(bytes)) => Ok(bytes.len()),
            WALRecord::Checkpoint(_) => Ok(0),
        })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Types;

impl WalTypes for Types {
    type Action = Checked;
    type Checkpoint = u64;
    type Callback = Done;
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
