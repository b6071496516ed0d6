//! Zeros ahead: a log that syncs record by record finds blocks that were written before.
//!
//! ```text
//!  chunk file, never used before
//!  | frames | mark | zeros, written |  space, only allocated              |
//!           ^ end         lead      ^ zeroed        one step further: zeroed + step
//! ```
//!
//! The first write to a block that is only allocated changes the file's metadata, which the sync
//! then has to make durable as well: it takes half as long again. So the worker writes zeros there, a
//! step at a time, when it has nothing else to do. The bytes read as zeros before and after.
//!
//! - Only for small syncs: a large one costs little more without zeros.
//! - Starts after the place of the sync mark, in a block that no frame has reached.
//! - Only in space that the file has, and only in a file's first life.

use crate::format::{Header, SYNC_MARK_LEN};

/// A sync of more than this many bytes is not helped by it.
const SMALL_SYNC: u64 = 64 * 1024;

/// Small syncs before the next step: a log that hardly syncs is left alone.
const SYNCS_MIN: u32 = 32;

/// Steps begin and end at whole blocks.
const BLOCK: u64 = 4096;

/// How far a chunk's file has been written, frames or zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ZerosAhead {
    step: u64,
    /// Positions in the file: zeros or frames were written up to here, and space goes up to there.
    zeroed: u64,
    space: u64,
    small_syncs: u32,
}

impl ZerosAhead {
    /// For a file with `space` bytes, none of them written before.
    fn new(step: u64, space: u64) -> Self {
        ZerosAhead { step: step / BLOCK * BLOCK, zeroed: 0, space, small_syncs: 0 }
    }

    /// For the file with this header, of which `space` bytes are allocated. A file used again was written before,
    /// so it needs no zeros.
    pub(super) fn of_file(header: &Header, step: u64, space: u64) -> Self {
        if header.earlier_life() { Self::none() } else { Self::new(step, space) }
    }

    /// For a file that needs no zeros.
    pub(super) fn none() -> Self {
        ZerosAhead::new(0, 0)
    }

    /// A sync of `bytes` has been done.
    pub(super) fn note_sync(&mut self, bytes: u64) {
        if bytes <= SMALL_SYNC {
            self.small_syncs = self.small_syncs.saturating_add(1);
        }
    }

    /// Whether it is time for a step, with frames up to the position `end`.
    pub(super) fn is_due(&self, end: u64) -> bool {
        let lead = self.zeroed.saturating_sub(end);
        let (from, to) = self.next(end);
        self.small_syncs >= SYNCS_MIN && lead <= self.step / 4 && from < to
    }

    /// Counts a step as done if it is time for one; returns from where to where it goes.
    pub(super) fn take_due(&mut self, end: u64) -> Option<(u64, u64)> {
        let next = self.is_due(end).then(|| self.next(end))?;
        self.zeroed = next.1;
        self.small_syncs = 0;
        Some(next)
    }

    fn next(&self, end: u64) -> (u64, u64) {
        let behind_mark = end.saturating_add(SYNC_MARK_LEN).next_multiple_of(BLOCK);
        let from = behind_mark.max(self.zeroed);
        (from, from.saturating_add(self.step).min(self.space / BLOCK * BLOCK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: u64 = 1 << 20;

    fn sync_often(ahead: &mut ZerosAhead) {
        for _ in 0..SYNCS_MIN {
            ahead.note_sync(4096);
        }
    }

    #[test]
    fn steps_follow_one_another_while_there_is_space() {
        let mut ahead = ZerosAhead::new(STEP + 7, 2 * STEP + BLOCK + 9);
        assert_eq!(ahead.take_due(100), None, "no syncs");
        sync_often(&mut ahead);
        assert_eq!(ahead.take_due(BLOCK - 8), Some((2 * BLOCK, 2 * BLOCK + STEP)), "behind the mark");
        sync_often(&mut ahead);
        assert_eq!(ahead.take_due(2 * BLOCK), None, "far enough ahead");
        let near = STEP;
        assert_eq!(
            ahead.take_due(near),
            Some((2 * BLOCK + STEP, 2 * STEP + BLOCK)),
            "as far as there is space"
        );
        sync_often(&mut ahead);
        assert!(!ahead.is_due(2 * STEP));
    }

    #[test]
    fn frames_that_passed_the_zeros_are_left_alone() {
        let mut ahead = ZerosAhead::new(STEP, 8 * STEP);
        sync_often(&mut ahead);
        assert_eq!(ahead.take_due(0), Some((BLOCK, BLOCK + STEP)));
        sync_often(&mut ahead);
        assert_eq!(ahead.take_due(3 * STEP), Some((3 * STEP + BLOCK, 4 * STEP + BLOCK)));
    }

    #[test]
    fn syncs_in_bulk_and_files_without_space_ask_for_none() {
        let mut ahead = ZerosAhead::new(STEP, 8 * STEP);
        for _ in 0..1000 {
            ahead.note_sync(SMALL_SYNC + 1);
        }
        assert!(!ahead.is_due(0));
        let mut none = ZerosAhead::none();
        sync_often(&mut none);
        assert_eq!(none.take_due(0), None);
    }
}
