//! The file that each of a few threads has read last, so that the next read there shares nothing with other threads.
//!
//! ```text
//! read:   take the slot's file ─► read ─► put it back ─► drained meanwhile? then take it out again
//! drain:  publish `kept_from` ─► empty all slots
//! ```
//!
//! - No file of a drained chunk stays in a slot. Either the reader's `put` comes first, and the drain finds the file;
//!   or `put` comes after the drain has emptied the slot, and then sees `kept_from`.
//! - During a read the reader holds the file's `Arc` and the slot is empty, so `ChunkFile::retire` sees the reader.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;

use crate::chunk::ChunkFile;
use crate::format::HEADER_LEN;
use crate::storage::StorageFile;

/// Further threads share slots, and find a slot empty now and then.
const THREADS: usize = 8;

/// Slots of a thread, by the region of the log, so that a thread may read in a few chunks in turn. A thread's slots
/// fit into one cache line, and all slots together hold fewer files than stay open.
const REGIONS: usize = 4;

/// A region's bytes: a chunk of the usual size lies in one or two.
const REGION_LEN: u64 = 64 << 20;

type Slot = AtomicCell<Option<Box<HeldFile>>>;

/// A chunk's file, which is not used again as long as this is held.
#[derive(Debug)]
pub(super) struct HeldFile {
    pub(super) chunk: Arc<ChunkFile>,
    /// The global offset up to which the chunk's bytes are in the file.
    pub(super) end: u64,
    pub(super) file: Arc<dyn StorageFile>,
}

/// The files that a few threads have read last.
pub(super) struct LastReads {
    slots: [CachePadded<[Slot; REGIONS]>; THREADS],
    /// Chunks that start below this global offset are drained.
    kept_from: AtomicU64,
}

thread_local! {
    static THREAD: Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % THREADS)
    };
}

impl LastReads {
    pub(super) fn new() -> Self {
        LastReads { slots: Default::default(), kept_from: AtomicU64::new(0) }
    }

    /// Keeps no file.
    pub(super) fn never() -> Self {
        let never = Self::new();
        never.forget_below(u64::MAX);
        never
    }

    /// Takes the file that this thread has read last, if the bytes from `offset` to `end` are in it.
    #[inline]
    pub(super) fn take(&self, offset: u64, end: u64) -> Option<Box<HeldFile>> {
        let held = self.slot(offset).take()?;
        let kept_from = self.kept_from.load(Ordering::Acquire);
        let first = held.chunk.id().0 + HEADER_LEN;
        (offset >= first && end <= held.end && offset >= kept_from).then_some(held)
    }

    /// Keeps the file in which this thread has read at `offset`.
    #[inline]
    pub(super) fn put(&self, offset: u64, held: Box<HeldFile>) {
        let start = held.chunk.id().0;
        let slot = self.slot(offset);
        drop(slot.swap(Some(held)));
        if start < self.kept_from.load(Ordering::Acquire) {
            drop(slot.take());
        }
    }

    /// Drops the files of chunks below `offset`: no read that starts later takes one of them.
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

impl fmt::Debug for LastReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastReads").field("kept_from", &self.kept_from).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::format::Header;
    use crate::storage::{MemoryStorage, Storage};

    fn held(id: u64) -> HeldFile {
        let file = MemoryStorage::default().create(Path::new("/file")).unwrap();
        let header =
            Header { chunk_id: id, features: 0, salt: 1, log_id: [0; 16], created_ms: 0, previous_crc: 0 };
        HeldFile { chunk: Arc::new(ChunkFile::shut(header)), end: id + 1000, file }
    }

    #[test]
    fn a_thread_finds_the_file_that_it_has_put_back() {
        let last_reads = LastReads::new();
        for (offset, end, found) in
            [(8, 80, false), (64, 1001, false), (64, 1000, true), (1000, 1008, false), (900, 990, true)]
        {
            last_reads.put(64, Box::new(held(0)));
            assert_eq!(last_reads.take(offset, end).is_some(), found, "{offset} to {end}");
            assert!(last_reads.take(64, 80).is_none(), "taken, or of no use");
        }
    }

    #[test]
    fn chunks_of_several_regions_are_found_in_turn() {
        let last_reads = LastReads::new();
        let starts = [0, REGION_LEN, 2 * REGION_LEN + 8, 3 * REGION_LEN + 8];
        for start in starts {
            last_reads.put(start + 64, Box::new(held(start)));
        }
        for start in starts {
            let found = last_reads.take(start + 64, start + 80).map(|held| held.chunk.id().0);
            assert_eq!(found, Some(start));
        }
    }

    #[test]
    fn nothing_drained_stays_in_either_order() {
        let last_reads = LastReads::new();
        let (early, late, kept) = (held(0), held(0), held(1000));
        let chunks = [&early, &late, &kept].map(|held| held.chunk.clone());
        last_reads.put(64, Box::new(early));
        last_reads.forget_below(1000);
        assert_eq!(Arc::strong_count(&chunks[0]), 1);
        last_reads.put(64, Box::new(late));
        assert_eq!(Arc::strong_count(&chunks[1]), 1);
        last_reads.put(1064, Box::new(kept));
        assert!(last_reads.take(1064, 1080).is_some());
    }
}
