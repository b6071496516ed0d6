//! A log as its directory shows it: its chunks, and how far the newest one is written.
//!
//! ```text
//! list ─► known chunk that has a successor: unchanged ─────────────────┐
//!     ├─► new chunk that has a successor: its seal says how many       ├─► state, what changed
//!     └─► newest: the frames after the frontier ───────────────────────┘
//! ```
//!
//! - A look costs a listing of the directory (two when chunks came or went), two small reads, and
//!   reading the new bytes.
//! - The result of a look replaces the known state only as a whole: chunks may be removed or their
//!   files reused meanwhile, and then the look is repeated.
//! - The salt and the log id show whether the file of a frontier is still the same.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::shared::Tail;
use super::{Changes, WalEvent};
use crate::directory::{FileBytes, list_changing, open_chunk, settled};
use crate::error::{Error, Foreign, Result};
use crate::format::{Frontier, find_seal};
use crate::position::ChunkId;
use crate::storage::Storage;

/// The state of a log. All fields are 0 while there is no log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogState {
    /// The number of chunks.
    pub chunks: u64,
    /// The number of records in them, checkpoints included.
    pub records: u64,
    /// The global offset of the oldest chunk.
    pub start: u64,
    /// The global offset after the last sound record, durable or not.
    pub end: u64,
    /// The global offset below which everything is on stable storage, as far as the bytes prove it: by
    /// a later record, a sync mark, a seal, or a later chunk. More may be durable without a proof; an
    /// idle writer writes a mark that proves it.
    pub durable: u64,
}

impl LogState {
    /// Whether there is a log.
    pub fn exists(&self) -> bool {
        self.chunks > 0
    }
}

/// A log that is followed.
#[derive(Debug)]
pub(super) struct LogTail {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    known: Known,
}

/// The known state of a log.
#[derive(Debug, Clone, Default)]
struct Known {
    seen: WalEvent<LogState>,
    /// Oldest first.
    chunks: Vec<Chunk>,
    log_id: Option<[u8; 16]>,
    /// The frontier of the newest chunk. `None` while there is no log.
    frontier: Option<Frontier>,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    id: ChunkId,
    records: u64,
}

impl Known {
    fn records_of(&self, id: ChunkId) -> Option<u64> {
        let found = self.chunks.binary_search_by_key(&id, |chunk| chunk.id).ok()?;
        Some(self.chunks[found].records)
    }

    fn newest(&self) -> Option<ChunkId> {
        self.chunks.last().map(|chunk| chunk.id)
    }
}

impl LogTail {
    pub(super) fn new(storage: Arc<dyn Storage>, dir: PathBuf) -> Self {
        LogTail { storage, dir, known: Known::default() }
    }

    fn try_look(&self) -> Result<Known> {
        let known: Vec<ChunkId> = self.known.chunks.iter().map(|chunk| chunk.id).collect();
        let ids = match list_changing(&*self.storage, &self.dir, &known) {
            Ok(listing) => listing.chunks,
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut changes = self.known.seen.changes;
        if ids.is_empty() {
            changes.gone += u64::from(self.known.seen.state.exists());
            return Ok(forgotten(changes));
        }
        if let Some(known) = self.follow(&self.known, &ids)? {
            return Ok(known);
        }
        changes.reset += 1;
        let known = self.follow(&forgotten(changes), &ids)?;
        // Without a known state nothing can have changed.
        Ok(known.unwrap_or_else(|| forgotten(changes)))
    }

    /// Continues from the known state; `None` if that belongs to another log.
    fn follow(&self, known: &Known, ids: &[ChunkId]) -> Result<Option<Known>> {
        let mut next = Known { log_id: known.log_id, ..Known::default() };
        for (i, id) in ids.iter().copied().enumerate() {
            let successor = ids.get(i + 1).is_some();
            if successor
                && known.newest() != Some(id)
                && let Some(records) = known.records_of(id)
            {
                next.chunks.push(Chunk { id, records });
                continue;
            }
            let path = self.dir.join(id.file_name());
            let (header, bytes) = open_chunk(&*self.storage, &path, id)?;
            let log_id = *next.log_id.get_or_insert(header.log_id);
            let frontier = known.frontier.as_ref().filter(|frontier| frontier.header.chunk_id == id.0);
            let other_life = frontier.is_some_and(|frontier| frontier.header.salt != header.salt);
            if other_life || log_id != header.log_id && known.log_id.is_some() {
                return Ok(None);
            }
            if log_id != header.log_id {
                let reason = Foreign::LogId { expected: log_id, found: header.log_id };
                return Err(Error::ForeignChunk { path, reason });
            }
            let frontier = frontier.copied().unwrap_or_else(|| Frontier::new(&header));
            let frontier = read_on(frontier, &bytes, successor).map_err(|e| Error::from_read(path, e))?;
            next.chunks.push(Chunk { id, records: frontier.records });
            next.frontier = frontier.at;
        }
        next.seen = seen(known, &next);
        Ok(Some(next))
    }
}

impl Tail<LogState> for LogTail {
    fn look(&mut self) -> Result<()> {
        // A listed chunk may have been removed by now, or its file reused for another chunk.
        self.known = settled(|| self.try_look())?;
        Ok(())
    }

    fn seen(&self) -> &WalEvent<LogState> {
        &self.known.seen
    }
}

/// No known state, but the changes so far.
fn forgotten(changes: Changes) -> Known {
    Known { seen: WalEvent { changes, state: LogState::default() }, ..Known::default() }
}

/// How far a chunk was read.
struct Reading {
    records: u64,
    /// `None` where the seal made reading unnecessary.
    at: Option<Frontier>,
}

fn read_on(mut frontier: Frontier, bytes: &FileBytes, successor: bool) -> io::Result<Reading> {
    if successor && let Some(seal) = find_seal(bytes, &frontier.header)? {
        return Ok(Reading { records: seal.records, at: None });
    }
    if !frontier.holds(bytes)? {
        frontier = Frontier::new(&frontier.header);
    }
    frontier.advance(bytes, Frontier::READ_ON)?;
    Ok(Reading { records: frontier.records, at: Some(frontier) })
}

/// The state of `next`, which has chunks, and the changes from `known` to `next`.
fn seen(known: &Known, next: &Known) -> WalEvent<LogState> {
    let start = next.chunks.first().map_or(0, |chunk| chunk.id.0);
    let end = next.frontier.as_ref().map_or(start, |frontier| frontier.end);
    let durable = next.frontier.as_ref().map_or(start, Frontier::durable);
    let state = LogState {
        chunks: next.chunks.len() as u64,
        records: next.chunks.iter().map(|chunk| chunk.records).sum(),
        start,
        end,
        durable: durable.max(known.seen.state.durable).min(end),
    };

    let mut changes = known.seen.changes;
    let newest = known.newest();
    let new = |chunk: &&Chunk| Some(chunk.id) >= newest;
    let came = |chunk: &Chunk| chunk.records.saturating_sub(known.records_of(chunk.id).unwrap_or(0));
    changes.records += next.chunks.iter().filter(new).map(came).sum::<u64>();
    let before = if newest.is_some() { known.seen.state.end } else { start };
    changes.bytes += end.saturating_sub(before);
    changes.shrunk += u64::from(end < before);
    let started = next.chunks.iter().filter(|chunk| Some(chunk.id) > newest).count() as u64;
    // The first chunk of a log follows no other.
    changes.rotated_chunks += started.saturating_sub(u64::from(newest.is_none()));
    let removed = known.chunks.iter().filter(|chunk| next.records_of(chunk.id).is_none());
    changes.removed_chunks += removed.count() as u64;
    WalEvent { changes, state }
}
