//! Writing back early: a log that writes much between two syncs lets the disk begin before the sync.
//!
//! Otherwise everything written since the last sync stays in the page cache, and the disk is idle until a sync, at
//! the latest the one that ends a chunk, has to write all of it at once while the queue fills up.
//!
//! - Nothing is durable by it: only a sync makes bytes durable.
//! - Only whole blocks: the last one is still written to, and a block under way makes a write to it wait.

use super::ahead::BLOCK;

/// Bytes written without a sync after which write-back starts; small syncs never get there.
const STEP: u64 = 1 << 20;

/// What was written to a chunk's file since its last sync and is not being written back.
#[derive(Debug, Default)]
pub(super) struct WriteBack {
    bytes: u64,
}

impl WriteBack {
    /// So many bytes were written up to a position. Returns from where to where to begin writing back, if
    /// it is time to.
    pub(super) fn note_write(&mut self, end: u64, bytes: u64) -> Option<(u64, u64)> {
        self.bytes += bytes;
        if self.bytes < STEP {
            return None;
        }
        let from = end.saturating_sub(self.bytes) / BLOCK * BLOCK;
        let to = end / BLOCK * BLOCK;
        self.bytes = end - to;
        Some((from, to))
    }

    /// All that was written is durable.
    pub(super) fn note_sync(&mut self) {
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_follow_one_another_until_a_sync() {
        let mut back = WriteBack::default();
        assert_eq!(back.note_write(STEP, STEP - 1), None);
        assert_eq!(back.note_write(STEP + 10, 10), Some((0, STEP)));
        assert_eq!(back.note_write(2 * STEP - 1, STEP - 11), None);
        assert_eq!(back.note_write(2 * STEP + 9, 10), Some((STEP, 2 * STEP)));
        back.note_sync();
        assert_eq!(back.note_write(3 * STEP + 8, STEP - 1), None);
        back.note_sync();
        assert_eq!(back.note_write(5 * STEP + 5000, 2 * STEP), Some((3 * STEP + 4096, 5 * STEP + 4096)));
    }
}
