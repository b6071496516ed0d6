//! Checking the chunks of a log that is put together, one after the other, while later parts are still on their way.
//!
//! ```text
//! parts in place ─► chunk whole ─► every frame checked ─► newest chunk cut ─► synced, some at a time
//!                                  └─ a thread that may block, in the log's order ─┘
//! ```
//!
//! - A chunk's bytes were hashed on their way from the store, so they are read once more from the page cache only.
//! - Each file is synced through the descriptor that its bytes were written with, which reports a failed write-back.

use std::collections::BTreeMap;
use std::path::Path;

use chunked_wal::ChunkId;
use chunked_wal::raw::{ChunkEnd, ChunkPlace, RawChunk};
use chunked_wal::storage::StorageFile;
use tokio::sync::mpsc::Receiver;

use super::Chunks;
use super::place::Whole;
use crate::error::{Error, Result};
use crate::manifest::Object;

/// How many files may be checked and wait for their sync. A sync in between makes the disk wait.
const UNSYNCED_MAX: usize = 64;

/// Checks every frame of every chunk, ends the newest one after the last record at or before `end`, and makes all of it
/// durable. Returns the end, which is the newest chunk's beginning if it has no such record, and the number of records.
///
/// # Errors
///
/// [`Error::Ended`] if no further chunk becomes whole.
pub(super) fn check_all(
    chunks: &Chunks,
    dir: &Path,
    end: u64,
    mut whole: Receiver<Whole>,
) -> Result<(u64, u64)> {
    let mut records = 0;
    let mut reached = end;
    let mut before: Option<Checked> = None;
    let (mut early, mut unsynced) = (BTreeMap::new(), Vec::new());
    let newest = chunks.keys().next_back().copied();
    for (chunk, parts) in chunks {
        let is_newest = Some(*chunk) == newest;
        let next = next_whole(*chunk, &mut early, &mut whole)?;
        let Whole { path, file, .. } = &next;
        let len = parts.last().map_or(0, |last| last.to);
        file.set_len(len).map_err(Error::io("truncate", path))?;
        let upto = if is_newest { end } else { u64::MAX };
        let checked = check(dir, *chunk, parts, upto)?;
        if let Some(before) = &before {
            before.check_successor(&checked, path)?;
        }
        if is_newest && (checked.end < checked.data_end || !checked.sealed) {
            file.set_len(checked.end - chunk).map_err(Error::io("truncate", path))?;
        }
        (records, reached) = (records + checked.records, checked.end);
        before = Some(checked);
        unsynced.push(next);
        if unsynced.len() >= UNSYNCED_MAX {
            sync(&mut unsynced)?;
        }
    }
    sync(&mut unsynced)?;
    Ok((reached, records))
}

/// Syncs the files and closes them.
fn sync(files: &mut Vec<Whole>) -> Result<()> {
    files.drain(..).try_for_each(|Whole { path, file, .. }| file.sync().map_err(Error::io("sync", &path)))
}

/// Waits until a chunk is whole. Those that are whole `early` are kept for their turn.
fn next_whole(chunk: u64, early: &mut BTreeMap<u64, Whole>, whole: &mut Receiver<Whole>) -> Result<Whole> {
    loop {
        if let Some(found) = early.remove(&chunk) {
            return Ok(found);
        }
        let next = whole.blocking_recv().ok_or(Error::Ended)?;
        early.insert(next.chunk, next);
    }
}

/// A chunk whose frames are right.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    /// After the last record or batch that is wanted; the chunk's id if there is none.
    pub(crate) end: u64,
    /// After the last record that is archived.
    data_end: u64,
    sealed: bool,
    chunk: u64,
    checksum: u32,
    predecessor_checksum: u32,
}

impl Checked {
    /// Whether `next` is the chunk that follows on this one.
    pub(crate) fn check_successor(&self, next: &Checked, path: &Path) -> Result<()> {
        let damaged = |what: &str| {
            let name = path.display().to_string();
            Err(Error::Damaged { name, what: what.to_string() })
        };
        if self.data_end < next.chunk {
            let what = format!("chunk between {} and {}", self.data_end, next.chunk);
            return Err(Error::NotInArchive { what, start: next.chunk, end: self.data_end });
        }
        if !self.sealed || self.data_end != next.chunk {
            return damaged("the chunk before it has no seal, or ends elsewhere");
        }
        if self.checksum != next.predecessor_checksum {
            return damaged("it doesn't follow on the chunk before it");
        }
        Ok(())
    }
}

/// Checks every frame of a chunk's file as its parts say; counts the records up to a global offset.
pub(crate) fn check(dir: &Path, id: u64, parts: &[Object], upto: u64) -> Result<Checked> {
    let chunk = RawChunk::open(dir, ChunkId(id))?;
    let damaged = |what: String| Error::Damaged { name: chunk.path().display().to_string(), what };
    let sealed = parts.last().is_some_and(|last| last.sealed);
    let mut records = chunk.records(if sealed { ChunkPlace::Older } else { ChunkPlace::Newest });
    let (mut wanted, mut whole, mut end) = (0, 0, id);
    while let Some(record) = records.next()? {
        wanted += 1;
        if !record.batch_goes_on && record.offset + record.size <= upto {
            (end, whole) = (record.offset + record.size, wanted);
        }
    }
    let data_end = records.sound_end();
    let archived = parts.last().map_or(id, |last| last.end);
    match records.end() {
        Some(ChunkEnd::Damaged(error)) => return Err(damaged(error.to_string())),
        Some(ChunkEnd::Sealed { data_end }) if sealed && data_end == archived => {}
        // A part may end within a record; more than one record is never missing.
        Some(ChunkEnd::Clean { .. } | ChunkEnd::Torn { .. }) if !sealed && data_end <= archived => {}
        other => {
            return Err(damaged(format!("its records end at {data_end} ({other:?}), not at {archived}")));
        }
    }
    let (checksum, predecessor_checksum) = (records.data_checksum(), chunk.predecessor_checksum());
    // The seal's end counts voided records after the last one, too.
    let end = if sealed && upto >= data_end { data_end } else { end };
    Ok(Checked { records: whole, end, data_end, sealed, chunk: id, checksum, predecessor_checksum })
}
