//! Pins: from which chunk on readers keep the log.
//!
//! - Removals go oldest first, so the oldest pin decides: chunks before it are removed, that chunk and all after it
//!   stay.
//! - A chunk is drained before it is removed, and a pin is set only at chunks that are not drained: so a removal that
//!   found no pin in its way meets none later.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Instant;

use super::Housekeeper;
use crate::position::ChunkId;

/// The pins of a log.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// How many start at each chunk, and since when.
    starts: BTreeMap<ChunkId, (u64, Instant)>,
    /// The log is closed, so nothing is read any more.
    ended: bool,
}

impl Pins {
    pub(super) fn add(&mut self, from: ChunkId) {
        self.starts.entry(from).or_insert_with(|| (0, Instant::now())).0 += 1;
    }

    pub(super) fn remove(&mut self, from: ChunkId) {
        if let Some((count, _)) = self.starts.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.starts.remove(&from);
            }
        }
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether a reader may read the chunk, or one before it.
    pub(super) fn keep(&self, id: ChunkId) -> bool {
        !self.ended && self.starts.first_key_value().is_some_and(|(first, _)| *first <= id)
    }

    pub(super) fn count(&self) -> u64 {
        self.starts.values().map(|(count, _)| count).sum()
    }

    pub(super) fn starts(&self) -> Vec<(ChunkId, u64, Instant)> {
        self.starts.iter().map(|(from, (count, since))| (*from, *count, *since)).collect()
    }
}

/// Keeps the log from a chunk on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(super) from: ChunkId,
    pub(super) housekeeper: Weak<Housekeeper>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(housekeeper) = self.housekeeper.upgrade() {
            housekeeper.unpin(self.from);
        }
    }
}
