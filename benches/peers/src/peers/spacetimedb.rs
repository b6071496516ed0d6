//! `spacetimedb-commitlog`: records gather in memory, `flush` writes them as a commit, `sync` makes what is
//! written durable. The log keeps all segments.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use anyhow::Result;
use parking_lot::Mutex;
use spacetimedb_commitlog::Commitlog;
use spacetimedb_commitlog::Decoder;
use spacetimedb_commitlog::Encode;
use spacetimedb_commitlog::Options;
use spacetimedb_commitlog::error::Traversal;
use spacetimedb_paths::FromPathUnchecked as _;
use spacetimedb_paths::server::CommitLogDir;
use spacetimedb_sats::buffer::BufReader;
use spacetimedb_sats::buffer::BufWriter;
use spacetimedb_sats::buffer::DecodeError;

use crate::peer::Fit;
use crate::peer::Found;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::RandomReads;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::found;
use crate::workload::Workload;

/// Bytes that gather before they are written as one commit.
const COMMIT_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Spacetimedb;

type Wal = Commitlog<Arc<Payload>>;

impl Peer for Spacetimedb {
    fn name(&self) -> &'static str {
        "spacetimedb-commitlog"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S3 => Fit::No("a sync blocks: nothing can be handed over and waited for later"),
            Workload::S8 => Fit::No("keeps all segments"),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let wal = open(dir, setup.chunk_bytes)?;
        let next = wal.max_committed_offset().map_or(0, |last| last + 1);
        let payload = Arc::new(Payload(Vec::new()));
        Ok(Box::new(SpacetimedbLog { wal, payload, gathered: 0, next }))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        let count = Counting::default();
        open(dir, setup.chunk_bytes)?.fold_transactions(count.clone())?;
        Ok(count.0.load(Ordering::Relaxed))
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let wal = open(dir, 1 << 30)?;
        let payload = Arc::new(Payload(payload.to_vec()));
        for _ in 0..count {
            wal.append_maybe_flush(payload.clone())?;
            // A commit for each record: a read checks whole commits.
            wal.flush()?;
        }
        wal.flush_and_sync()?;
        Ok(Box::new(Reads(wal)))
    }
}

fn open(dir: &Path, segment_bytes: u64) -> Result<Wal> {
    let options = Options { max_segment_size: segment_bytes, ..Options::DEFAULT };
    Ok(Commitlog::open(CommitLogDir::from_path_unchecked(dir), options)?)
}

struct SpacetimedbLog {
    wal: Wal,
    payload: Arc<Payload>,
    /// Bytes since the last commit.
    gathered: usize,
    /// The offset of the next record.
    next: u64,
}

impl SpacetimedbLog {
    fn append_record(&mut self) -> Result<()> {
        self.wal.append_maybe_flush(self.payload.clone())?;
        self.next += 1;
        self.gathered += self.payload.0.len();
        Ok(())
    }
}

impl Log for SpacetimedbLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = Arc::new(Payload(payload.to_vec()));
    }

    fn append(&mut self) -> Result<()> {
        self.append_record()?;
        if self.gathered >= COMMIT_BYTES {
            self.gathered = 0;
            self.wal.flush()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.gathered = 0;
        self.wal.flush_and_sync()?;
        Ok(())
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        let SpacetimedbLog { wal, payload, next, .. } = *self;
        Box::new(Shared { wal, payload, next: Mutex::new(next), durable: Mutex::new(0) })
    }
}

/// One thread's `flush_and_sync` makes the records of all threads durable that were appended before it.
struct Shared {
    wal: Wal,
    payload: Arc<Payload>,
    next: Mutex<u64>,
    /// Records before this offset are durable. Locked by the thread that syncs.
    durable: Mutex<u64>,
}

impl SharedLog for Shared {
    fn append_durable(&self) -> Result<()> {
        let offset = {
            let mut next = self.next.lock();
            self.wal.append_maybe_flush(self.payload.clone())?;
            *next += 1;
            *next - 1
        };
        let mut durable = self.durable.lock();
        if *durable <= offset {
            *durable = self.wal.flush_and_sync()?.context("nothing was written")? + 1;
        }
        Ok(())
    }
}

struct Reads(Wal);

impl RandomReads for Reads {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        found(records.iter().copied(), |offset| {
            let count = Counting::default();
            let mut found = self.0.transactions_from(*offset, &count);
            let record = found.next().context("no such record")??;
            Ok(record.txdata.0.len())
        })
    }
}

/// A payload after its length.
#[derive(Debug)]
struct Payload(Vec<u8>);

impl Encode for Payload {
    fn encode_record<W: BufWriter>(&self, writer: &mut W) {
        writer.put_u32(self.0.len() as u32);
        writer.put_slice(&self.0);
    }
}

/// Counts records, and takes no memory for them.
#[derive(Debug, Clone, Default)]
struct Counting(Arc<AtomicU64>);

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Traversal(#[from] Traversal),
}

impl Decoder for Counting {
    type Record = Arc<Payload>;
    type Error = ReplayError;

    fn decode_record<'a, R: BufReader<'a>>(
        &self,
        _version: u8,
        _offset: u64,
        reader: &mut R,
    ) -> Result<Arc<Payload>, ReplayError> {
        let len = reader.get_u32()? as usize;
        Ok(Arc::new(Payload(reader.get_slice(len)?.to_vec())))
    }

    fn consume_record<'a, R: BufReader<'a>>(
        &self,
        version: u8,
        offset: u64,
        reader: &mut R,
    ) -> Result<(), ReplayError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.skip_record(version, offset, reader)
    }

    fn skip_record<'a, R: BufReader<'a>>(
        &self,
        _version: u8,
        _offset: u64,
        reader: &mut R,
    ) -> Result<(), ReplayError> {
        let len = reader.get_u32()? as usize;
        reader.get_slice(len)?;
        Ok(())
    }
}
