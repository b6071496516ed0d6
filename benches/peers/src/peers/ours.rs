//! This crate, in the ways that its users use it.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use anyhow::ensure;
use chunked_wal::BytesPayload;
use chunked_wal::Callback;
use chunked_wal::ChunkId;
use chunked_wal::ChunkedWal;
use chunked_wal::ClosedReads;
use chunked_wal::Config;
use chunked_wal::Error;
use chunked_wal::Flush;
use chunked_wal::PayloadRef;
use chunked_wal::ProgressHandle;
use chunked_wal::Replay;
use chunked_wal::Segment;
use chunked_wal::StateMachine;
use chunked_wal::WalReader;
use chunked_wal::WalRecord;
use chunked_wal::WalTypes;
use parking_lot::Condvar;
use parking_lot::Mutex;

use super::AS_THE_FIRST;
use super::bytes::Bytes;
use super::bytes::Counted;
use crate::peer::Fit;
use crate::peer::Found;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::RandomReads;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::found;
use crate::workload::Workload;

/// The ways: the first takes part everywhere, the others where they differ from it.
pub(crate) const ALL: &[Ours] =
    &[Ours::Plain, Ours::WaitSynced, Ours::Callbacks, Ours::OwnedBytes, Ours::SharedBytes, Ours::Mapped];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ours {
    /// Waits by tickets; replays into a count.
    Plain,
    /// S2: waits for the offset by a progress handle.
    WaitSynced,
    /// S3: a callback for each record, in place of a ticket.
    Callbacks,
    /// S5: every record is decoded into memory of its own.
    OwnedBytes,
    /// S5: every record is a slice of the read buffer.
    SharedBytes,
    /// S7: closed chunks are read from memory maps.
    Mapped,
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        match self {
            Ours::Plain => "ours",
            Ours::WaitSynced => "ours (wait_synced)",
            Ours::Callbacks => "ours (callbacks)",
            Ours::OwnedBytes => "ours (owned bytes)",
            Ours::SharedBytes => "ours (shared bytes)",
            Ours::Mapped => "ours, mapped",
        }
    }

    fn fit(&self, workload: Workload) -> Fit {
        match (self, workload) {
            (Ours::Plain, _)
            | (Ours::WaitSynced, Workload::S2)
            | (Ours::Callbacks, Workload::S3)
            | (Ours::OwnedBytes | Ours::SharedBytes, Workload::S5)
            | (Ours::Mapped, Workload::S7) => Fit::Yes,
            _ => Fit::No(AS_THE_FIRST),
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        Ok(Box::new(self.open_own(dir, setup)?))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        let mut count = Count::default();
        match self {
            Ours::OwnedBytes => ChunkedWal::<OwnedBytes>::open(config(dir, setup), &mut count)?.close()?,
            Ours::SharedBytes => ChunkedWal::<SharedBytes>::open(config(dir, setup), &mut count)?.close()?,
            _ => ChunkedWal::<CountedBytes>::open(config(dir, setup), &mut count)?.close()?,
        }
        Ok(count.0)
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let mut log = self.open_own(dir, &Setup::keeping(1 << 30))?;
        log.set_payload(payload);
        let first = log.append_record()?;
        for record in 1..count {
            let segment = log.append_record()?;
            ensure!(segment == nth_of(first, record), "records of one size don't follow one another");
        }
        log.rotate()?;
        log.wait_idle()?;
        Ok(Box::new(OurReads { reader: log.wal.reader(), first, _log: Mutex::new(log) }))
    }
}

struct OurReads {
    reader: WalReader<OwnedBytes>,
    /// The position of the first record: the others' positions follow from it.
    first: Segment,
    _log: Mutex<OurLog>,
}

fn nth_of(first: Segment, n: u64) -> Segment {
    Segment::new(first.offset + n * first.size, first.size)
}

impl RandomReads for OurReads {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        let places = records.iter().map(|record| nth_of(self.first, *record));
        found(places, |place| match self.reader.read_record(*place)? {
            WalRecord::Action(Bytes(bytes)) => Ok(bytes.len()),
            WalRecord::Checkpoint(_) => Ok(0),
        })
    }
}

impl Ours {
    /// The log as its own type, for workloads that only it can do.
    pub(crate) fn open_own(self, dir: &Path, setup: &Setup) -> Result<OurLog> {
        let replay = if setup.at_checkpoint { Replay::FromLastCheckpoint } else { Replay::All };
        let mut count = Count::default();
        let mut config = config(dir, setup);
        if self == Ours::Mapped {
            config.closed_reads = ClosedReads::Mapped;
        }
        let wal = ChunkedWal::options(config).replay(replay).open(&mut count)?;
        Ok(OurLog {
            progress: wal.progress_handle(),
            wal,
            way: self,
            forget: setup.forget,
            record: WalRecord::Action(Bytes::default()),
            appended: count.0,
            rotations: 0,
        })
    }
}

fn config(dir: &Path, setup: &Setup) -> Config {
    let mut config = Config::new(dir);
    config.chunk_max_size = setup.chunk_bytes;
    config
}

/// Reads and follows the log.
pub(crate) type Reader = WalReader<OwnedBytes>;

pub(crate) struct OurLog {
    wal: ChunkedWal<OwnedBytes>,
    progress: ProgressHandle,
    way: Ours,
    forget: bool,
    record: WalRecord<OwnedBytes>,
    appended: u64,
    /// Chunks closed since the log was opened.
    pub(crate) rotations: u64,
}

impl OurLog {
    /// Starts a new chunk; drops the old ones if the setup says so.
    #[cold]
    pub(crate) fn rotate(&mut self) -> Result<()> {
        self.wal.close_open_chunk_with(self.appended)?;
        self.rotations += 1;
        if self.forget {
            self.drain()?;
        }
        Ok(())
    }

    /// Bytes of the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.wal.on_disk_size()
    }

    /// Lists the closed chunks; returns how many there are.
    pub(crate) fn closed_chunks(&self) -> u64 {
        self.wal.closed_chunk_stats().len() as u64
    }

    /// Drops all closed chunks; returns how many. Their files are removed in the background.
    pub(crate) fn drain(&mut self) -> Result<u64> {
        let ids = self.wal.drain_closed_chunks_while(|_| true);
        let count = ids.len() as u64;
        self.wal.remove_chunks(ids)?;
        Ok(count)
    }

    pub(crate) fn reader(&self) -> Reader {
        self.wal.reader()
    }

    /// Starts a new chunk if the open one is full.
    pub(crate) fn rotate_if_full(&mut self) -> Result<()> {
        if self.wal.is_open_chunk_full() { self.rotate() } else { Ok(()) }
    }

    fn append_record(&mut self) -> Result<Segment> {
        self.rotate_if_full()?;
        self.appended += 1;
        Ok(self.wal.append(&self.record)?)
    }
}

impl Log for OurLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.record = WalRecord::Action(Bytes(payload.to_vec()));
    }

    fn append(&mut self) -> Result<()> {
        self.append_record()?;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.wal.sync()?)
    }

    fn append_with_completions(&mut self, count: u64) -> Result<()> {
        if self.way == Ours::Callbacks {
            let counter = Arc::new(Counter::default());
            for _ in 0..count {
                self.append_record()?;
                self.wal.flush(Flush::Sync, Some(OneMore(counter.clone())))?;
            }
            return counter.wait_for(count);
        }
        let mut tickets = Vec::with_capacity(count as usize);
        for _ in 0..count {
            self.append_record()?;
            tickets.push(self.wal.flush_ticket(Flush::Sync)?);
        }
        for ticket in tickets {
            ticket.wait()?;
        }
        Ok(())
    }

    fn wait_idle(&mut self) -> Result<()> {
        self.wal.sync()?;
        Ok(self.wal.wait_idle()?)
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        Box::new(OurShared { way: self.way, progress: self.progress.clone(), log: Mutex::new(*self) })
    }
}

struct OurShared {
    way: Ours,
    progress: ProgressHandle,
    log: Mutex<OurLog>,
}

impl SharedLog for OurShared {
    fn append_durable(&self) -> Result<()> {
        let mut log = self.log.lock();
        let segment = log.append_record()?;
        if self.way == Ours::WaitSynced {
            log.wal.flush(Flush::Sync, None)?;
            drop(log);
            self.progress.wait_synced(segment.offset + segment.size)?;
        } else {
            let ticket = log.wal.flush_ticket(Flush::Sync)?;
            drop(log);
            ticket.wait()?;
        }
        Ok(())
    }
}

/// Counts completions.
#[derive(Debug, Default)]
struct Counter {
    /// How many there were, and how many failed.
    done: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl Counter {
    fn wait_for(&self, count: u64) -> Result<()> {
        let mut done = self.done.lock();
        while done.0 < count {
            self.changed.wait(&mut done);
        }
        anyhow::ensure!(done.1 == 0, "{} flushes failed", done.1);
        Ok(())
    }
}

pub(crate) struct OneMore(Arc<Counter>);

impl Callback for OneMore {
    fn complete(self, result: Result<(), Error>) {
        let mut done = self.0.done.lock();
        done.0 += 1;
        done.1 += u64::from(result.is_err());
        self.0.changed.notify_one();
    }
}

/// Actions that are decoded into memory of their own.
#[derive(Debug)]
pub(crate) struct OwnedBytes;

impl WalTypes for OwnedBytes {
    type Action = Bytes;
    type Checkpoint = u64;
    type Callback = OneMore;

    #[inline]
    fn decode_action(payload: PayloadRef<'_>) -> io::Result<Bytes> {
        Ok(Bytes(payload.to_vec()))
    }
}

/// The same on the disk; actions are slices of the read buffer.
struct SharedBytes;

impl WalTypes for SharedBytes {
    type Action = BytesPayload;
    type Checkpoint = u64;
    type Callback = ();

    #[inline]
    fn decode_action(payload: PayloadRef<'_>) -> io::Result<BytesPayload> {
        Ok(payload.share().into())
    }
}

/// The same on the disk; all of a record's bytes are read, and none kept.
struct CountedBytes;

impl WalTypes for CountedBytes {
    type Action = Counted;
    type Checkpoint = u64;
    type Callback = ();
}

/// A state machine that only counts.
#[derive(Debug, Default)]
struct Count(u64);

impl<W: WalTypes<Checkpoint = u64>> StateMachine<W> for Count {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<W>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        match record {
            WalRecord::Action(_) => self.0 += 1,
            WalRecord::Checkpoint(count) => self.0 = *count,
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.0
    }
}
