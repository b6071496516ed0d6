//! Where threads have read last, so that the next read there shares nothing with other threads.
//!
//! ```text
//! read:   take what is in the slot ─► read ─► put it back ─► drained meanwhile? then take it out again
//! drain:  publish what is kept ─► empty all slots
//! ```
//!
//! - Nothing of a drained chunk stays in a slot. Either its reader's `put` comes first, and the drain
//!   finds it; or it finds the slot as the drain left it, and then sees what the drain has published.
//! - While somebody reads, the file is in his hands and not in the slot: who retires the chunk counts him.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;

use crate::chunk::ChunkFile;
use crate::format::HEADER_LEN;
use crate::storage::StorageFile;

/// Threads beyond these share slots, and find them empty now and then.
const THREADS: usize = 8;

/// Slots of a thread, by the region of the log: who reads in a few chunks in turn finds each of them. All
/// of a thread's fit into one cache line, and those of all threads hold fewer files than stay open.
const REGIONS: usize = 4;

/// A region's bytes: a chunk of the usual size lies in one or two.
const REGION_LEN: u64 = 64 << 20;

type Slot = AtomicCell<Option<Box<Source>>>;

/// Where records are to be read from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) chunk: Arc<ChunkFile>,
    /// The global offset up to which the chunk's bytes are in its file.
    pub(super) end: u64,
    /// As long as it is held, the file is not used again. `None`: the bytes are in memory, in the file,
    /// or in both.
    pub(super) file: Option<Arc<dyn StorageFile>>,
}

/// Where each of a few threads has read last.
pub(super) struct Recent {
    slots: [CachePadded<[Slot; REGIONS]>; THREADS],
    /// The global offset at which begins what is not drained, as far as it matters here.
    kept_from: AtomicU64,
}

thread_local! {
    static THREAD: Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % THREADS)
    };
}

impl Recent {
    pub(super) fn new() -> Self {
        Recent { slots: Default::default(), kept_from: AtomicU64::new(0) }
    }

    /// Takes out where this thread has read last, if the bytes from `offset` to `end` are there.
    #[inline]
    pub(super) fn take(&self, offset: u64, end: u64) -> Option<Box<Source>> {
        let source = self.slot(offset).take()?;
        let kept_from = self.kept_from.load(Ordering::Acquire);
        let first = source.chunk.id().0 + HEADER_LEN;
        (offset >= first && end <= source.end && offset >= kept_from).then_some(source)
    }

    /// Remembers where this thread has read at `offset`.
    #[inline]
    pub(super) fn put(&self, offset: u64, source: Box<Source>) {
        let start = source.chunk.id().0;
        let slot = self.slot(offset);
        drop(slot.swap(Some(source)));
        if start < self.kept_from.load(Ordering::Acquire) {
            drop(slot.take());
        }
    }

    /// Forgets the chunks below `offset`; no read that begins later finds them here.
    pub(super) fn forget_below(&self, offset: u64) {
        self.kept_from.store(offset, Ordering::Release);
        for slot in self.slots.iter().flat_map(|of_thread| &**of_thread) {
            drop(slot.take());
        }
    }

    #[inline]
    fn slot(&self, offset: u64) -> &Slot {
        &self.slots[THREAD.get()][(offset / REGION_LEN) as usize % REGIONS]
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("kept_from", &self.kept_from).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Header;

    fn source(id: u64) -> Source {
        let header =
            Header { chunk_id: id, features: 0, salt: 1, log_id: [0; 16], created_ms: 0, previous_crc: 0 };
        Source { chunk: Arc::new(ChunkFile::shut(header)), end: id + 1000, file: None }
    }

    #[test]
    fn a_thread_finds_what_it_has_put_back() {
        let recent = Recent::new();
        for (offset, end, found) in
            [(8, 80, false), (64, 1001, false), (64, 1000, true), (1000, 1008, false), (900, 990, true)]
        {
            recent.put(64, Box::new(source(0)));
            assert_eq!(recent.take(offset, end).is_some(), found, "{offset} to {end}");
            assert!(recent.take(64, 80).is_none(), "taken, or of no use");
        }
    }

    #[test]
    fn chunks_of_several_regions_are_found_in_turn() {
        let recent = Recent::new();
        let starts = [0, REGION_LEN, 2 * REGION_LEN + 8, 3 * REGION_LEN + 8];
        for start in starts {
            recent.put(start + 64, Box::new(source(start)));
        }
        for start in starts {
            let found = recent.take(start + 64, start + 80).map(|source| source.chunk.id().0);
            assert_eq!(found, Some(start));
        }
    }

    #[test]
    fn nothing_drained_stays_whoever_comes_first() {
        let recent = Recent::new();
        let (early, late, kept) = (source(0), source(0), source(1000));
        let chunks = [&early, &late, &kept].map(|source| source.chunk.clone());
        recent.put(64, Box::new(early));
        recent.forget_below(1000);
        assert_eq!(Arc::strong_count(&chunks[0]), 1);
        recent.put(64, Box::new(late));
        assert_eq!(Arc::strong_count(&chunks[1]), 1);
        recent.put(1064, Box::new(kept));
        assert!(recent.take(1064, 1080).is_some());
    }
}
