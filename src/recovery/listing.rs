//! Lists a directory that another process may be changing.
//!
//! ```text
//! list ─► the chunks known already? ─► done
//!   ▲ no                └─ no ─► the same chunks as the listing before? ─► done
//!   └────────────── no, at most 8 times ◄──────────────┘
//! ```
//!
//! - A listing isn't one instant: a name that is added or removed meanwhile may be missing, or be there
//!   twice. A name that no one touches is always there.
//! - So two listings in a row that agree miss nothing: what the first could have missed is not touched
//!   any more during the second.
//! - A log that is read by polling knows its chunks, and a listing that agrees with them is enough.

use std::io;
use std::path::Path;

use super::{Survey, survey};
use crate::error::Result;
use crate::position::ChunkId;
use crate::storage::{Access, Storage};

/// How many listings in a row may differ. A log would have to begin or remove a chunk during each.
const LISTINGS_MAX: u32 = 8;

/// Lists a resolved directory in which a log may be at work, without leaving out a chunk. `known` are the
/// chunks that the last call returned; empty for none.
pub(crate) fn survey_changing(storage: &dyn Storage, dir: &Path, known: &[ChunkId]) -> Result<Survey> {
    let mut before = survey_once(storage, dir)?;
    if before.chunks == known && !known.is_empty() {
        return Ok(before);
    }
    for _ in 1..LISTINGS_MAX {
        let found = survey_once(storage, dir)?;
        if found.chunks == before.chunks || found.chunks == known && !known.is_empty() {
            return Ok(found);
        }
        before = found;
    }
    let found = survey_once(storage, dir)?;
    Ok(merged(storage, dir, before, found))
}

fn survey_once(storage: &dyn Storage, dir: &Path) -> Result<Survey> {
    let mut found = survey(storage, dir)?;
    found.chunks.dedup();
    Ok(found)
}

/// What two listings that differ have in common: the log as it was at the first of them, without what has
/// been removed since.
fn merged(storage: &dyn Storage, dir: &Path, before: Survey, mut found: Survey) -> Survey {
    let Some(newest) = before.chunks.last() else { return found };
    found.chunks.extend(&before.chunks);
    found.chunks.sort_unstable();
    found.chunks.dedup();
    // A chunk begun since then may be missing while its successor is there.
    found.chunks.retain(|id| id <= newest);
    // Chunks are removed oldest first.
    let removed = found.chunks.partition_point(|id| is_removed(storage, dir, *id));
    found.chunks.drain(..removed);
    // A log that has none of its chunks left is shown as it was.
    if found.chunks.is_empty() { before } else { found }
}

fn is_removed(storage: &dyn Storage, dir: &Path, id: ChunkId) -> bool {
    let opened = storage.open(&dir.join(id.file_name()), Access::Read);
    matches!(opened, Err(error) if error.kind() == io::ErrorKind::NotFound)
}
