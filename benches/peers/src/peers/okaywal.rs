//! `okaywal`: an entry is a list of chunks and is committed as a whole; a record is a chunk. Its commit
//! always syncs, with other threads' commits. A checkpoint frees a file: a log that is to keep its records
//! has none.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use anyhow::ensure;
use okaywal::Configuration;
use okaywal::Entry;
use okaywal::EntryId;
use okaywal::LogManager;
use okaywal::LogPosition;
use okaywal::ReadChunkResult;
use okaywal::SegmentReader;
use okaywal::WriteAheadLog;

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

const SMALL_ENTRY: u64 = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OkayWal {
    /// Files of the size of the others' segments, and a large buffer; keeps records where the others do.
    Plain,
    /// S6: checkpoints as it goes, so that little is left to be recovered.
    Checkpoints,
    /// S4: entries of 64 KiB, each of which is synced, in place of one large entry.
    SmallEntries,
    /// As it is configured unless told otherwise: files of a MiB, a buffer of 16 KiB, checkpoints.
    Defaults,
}

impl Peer for OkayWal {
    fn name(&self) -> &'static str {
        match self {
            OkayWal::Plain => "okaywal",
            OkayWal::Checkpoints => "okaywal (with checkpoints)",
            OkayWal::SmallEntries => "okaywal (entries of 64 KiB)",
            OkayWal::Defaults => "okaywal (defaults)",
        }
    }

    fn fit(&self, workload: Workload) -> Fit {
        use Workload::*;
        match (self, workload) {
            (_, S3) => Fit::No("a commit blocks: nothing can be handed over and waited for later"),
            (OkayWal::Plain, _)
            | (OkayWal::Checkpoints, S6)
            | (OkayWal::SmallEntries, S4)
            | (OkayWal::Defaults, S1 | S2 | S4 | S6 | S10) => Fit::Yes,
            _ => Fit::No(AS_THE_FIRST),
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let log = self.open_with(dir, setup, Counting::default())?;
        let entry_bytes = if *self == OkayWal::SmallEntries { SMALL_ENTRY } else { u64::MAX };
        Ok(Box::new(OkayLog { log, payload: Vec::new(), entry_bytes }))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        let counting = Counting::default();
        let count = counting.0.clone();
        self.open_with(dir, setup, counting)?.shutdown()?;
        Ok(count.load(Ordering::Relaxed))
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let log = self.open_with(dir, &Setup::keeping(256 << 20), Counting::default())?;
        let mut entry = log.begin_entry()?;
        let written = (0..count).map(|_| Ok(entry.write_chunk(payload)?.position));
        let positions = written.collect::<Result<Vec<LogPosition>>>()?;
        entry.commit()?;
        Ok(Box::new(Reads { log, positions }))
    }
}

impl OkayWal {
    fn open_with(self, dir: &Path, setup: &Setup, counting: Counting) -> Result<WriteAheadLog> {
        let config = Configuration::default_for(dir);
        if self == OkayWal::Defaults {
            return Ok(config.open(counting)?);
        }
        // A file that has room for the largest entry, even if it starts just before a checkpoint is due.
        let file_bytes = setup.chunk_bytes.max(3 * setup.unsynced_bytes);
        // To keep everything, the log must never start a checkpoint: it is one file.
        let has_checkpoints = setup.forget || self == OkayWal::Checkpoints;
        let checkpoint_after = if has_checkpoints { file_bytes / 3 * 2 } else { u64::MAX };
        let config = config
            .preallocate_bytes(file_bytes as u32)
            .checkpoint_after_bytes(checkpoint_after)
            .buffer_bytes(1 << 20);
        Ok(config.open(counting)?)
    }
}

struct OkayLog {
    log: WriteAheadLog,
    payload: Vec<u8>,
    /// The most bytes of an entry that is appended without a sync of its own being asked for.
    entry_bytes: u64,
}

impl OkayLog {
    /// Writes one entry with `chunks` chunks; returns when the last was written.
    fn append_entry(&self, chunks: u64) -> Result<Instant> {
        let mut entry = self.log.begin_entry()?;
        for _ in 0..chunks {
            entry.write_chunk(&self.payload)?;
        }
        let appended = Instant::now();
        entry.commit()?;
        Ok(appended)
    }
}

impl Log for OkayLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = payload.to_vec();
    }

    fn append(&mut self) -> Result<()> {
        self.append_entry(1)?;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn append_many(&mut self, count: u64) -> Result<()> {
        let entry = ((1 << 20) / self.payload.len() as u64).max(1);
        let mut left = count;
        while left > 0 {
            self.append_entry(left.min(entry))?;
            left -= left.min(entry);
        }
        Ok(())
    }

    fn append_then_sync(&mut self, count: u64) -> Result<Instant> {
        let entry = (self.entry_bytes / self.payload.len() as u64).max(1);
        let mut left = count;
        while left > entry {
            self.append_entry(entry)?;
            left -= entry;
        }
        self.append_entry(left)
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        self
    }
}

impl SharedLog for OkayLog {
    fn append_durable(&self) -> Result<()> {
        self.append_entry(1)?;
        Ok(())
    }
}

struct Reads {
    log: WriteAheadLog,
    positions: Vec<LogPosition>,
}

impl RandomReads for Reads {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        let places = records.iter().map(|record| self.positions[*record as usize]);
        found(places, |position| {
            let mut chunk = self.log.read_at(*position)?;
            let mut bytes = vec![0; chunk.chunk_length() as usize];
            chunk.read_exact(&mut bytes)?;
            ensure!(chunk.crc_is_valid()?, "a wrong checksum");
            Ok(bytes.len())
        })
    }
}

/// Counts the records recovered.
#[derive(Debug, Default)]
struct Counting(Arc<AtomicU64>);

impl LogManager for Counting {
    fn recover(&mut self, entry: &mut Entry<'_>) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            bytes.clear();
            chunk.read_to_end(&mut bytes)?;
            if chunk.check_crc()? {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last_checkpointed_id: EntryId,
        _checkpointed_entries: &mut SegmentReader,
        _wal: &WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}
