//! Zeros ahead: a log that syncs little at a time finds blocks that were written before.
//!
//! ```text
//!  the open chunk's file, never used before
//!  | frames | mark | zeros, written |  space, only allocated                      |
//!           ^ end         lead      ^ zeroed        a step further
//!
//!  the next chunk's file, a spare
//!  | zeros, a piece at a time while the open chunk fills  |  space, only allocated |
//! ```
//!
//! The first write to a block that is only allocated changes the file's metadata, which the sync
//! then has to make durable as well: it takes half as long again. So zeros are written there before. The bytes read
//! as zeros before and after.
//!
//! - Only for small syncs: a large one costs little more without zeros.
//! - In the open chunk the worker writes a step of zeros before the sync of records that use the last ones up, so the
//!   step costs no sync of its own. It starts after the place of the sync mark, in a block that no frame has reached.
//! - In a spare the housekeeper writes the zeros, on its own thread, in a file that no other thread uses. The
//!   worker asks for a piece each time that about as many bytes of records are synced, so that zeros and records share
//!   the disk evenly.
//! - Only in space that the file has, and only in a file's first life.

use crate::format::{Header, SYNC_MARK_LEN};

/// A sync of more than this many bytes is not helped by it.
const SMALL_SYNC: u64 = 64 * 1024;

/// Small syncs in a row before the first step: a log that hardly syncs is left alone.
const SYNCS_MIN: u32 = 8;

/// A step is enough for this many syncs like the last one, within its bounds: longer steps are in the way of the
/// sync that they come with, shorter ones change the metadata more often.
const SYNCS_PER_STEP: u64 = 16;
const STEP_MIN: u64 = 64 * 1024;

/// A larger piece would hold up the syncs of another file for longer than a sync takes.
const PIECE_MAX: u64 = 128 * 1024;

/// The part of the open chunk that is used before zeros are written to the next chunk's file: a small log needs none.
const SPARE_FROM: u64 = 8;

/// Steps and pieces begin and end at whole blocks.
pub(crate) const BLOCK: u64 = 4096;

/// How many zeros are written to a spare at a time, for a log with these `zero_ahead_bytes`.
pub(crate) fn spare_piece(zero_ahead_bytes: u64) -> u64 {
    zero_ahead_bytes.min(PIECE_MAX) / BLOCK * BLOCK
}

/// How far a chunk's file has been written, frames or zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ZerosAhead {
    step: u64,
    /// Positions in the file: zeros or frames were written up to here, and space goes up to there.
    zeroed: u64,
    space: u64,
    small_syncs: u32,
    /// Zeros that the spare may get.
    spare_owed: u64,
}

impl ZerosAhead {
    /// For a file with `space` bytes, of which those before `zeroed` were written before.
    fn new(step: u64, space: u64, zeroed: u64) -> Self {
        ZerosAhead { step: step / BLOCK * BLOCK, zeroed, space, small_syncs: 0, spare_owed: 0 }
    }

    /// For the file with this header, of which `space` bytes are allocated, and zeros are written up to `zeroed`. A
    /// file used again was written before, so it needs no zeros.
    pub(super) fn of_file(header: &Header, step: u64, space: u64, zeroed: u64) -> Self {
        if header.earlier_life() { Self::none() } else { Self::new(step, space, zeroed) }
    }

    /// For a file that needs no zeros.
    pub(super) fn none() -> Self {
        ZerosAhead::new(0, 0, 0)
    }

    /// Counts a sync to come, of `bytes` up to the position `end`. Returns from where to where zeros are to be written
    /// before the sync, if it is time to.
    pub(super) fn note_sync(&mut self, end: u64, bytes: u64) -> Option<(u64, u64)> {
        if bytes > SMALL_SYNC {
            self.small_syncs = 0;
            return None;
        }
        self.small_syncs = self.small_syncs.saturating_add(1);
        if self.small_syncs < SYNCS_MIN {
            return None;
        }
        if end >= self.space / SPARE_FROM {
            // A quarter more than the records, so that the spare is ready before the open chunk is full.
            self.spare_owed += bytes + bytes / 4;
        }
        let lead = self.zeroed.saturating_sub(end);
        if lead >= bytes {
            return None;
        }
        let after_mark = end.saturating_add(SYNC_MARK_LEN).next_multiple_of(BLOCK);
        let from = after_mark.max(self.zeroed);
        let step = (bytes * SYNCS_PER_STEP).next_multiple_of(BLOCK).max(STEP_MIN).min(self.step);
        let to = from.saturating_add(step).min(self.space / BLOCK * BLOCK);
        (from < to).then(|| {
            self.zeroed = to;
            (from, to)
        })
    }

    /// Whether the spare may get another piece of zeros. Never two: what comes late is left out, so that the disk
    /// sees no burst.
    pub(super) fn take_spare_piece(&mut self) -> bool {
        let piece = spare_piece(self.step);
        let is_due = piece > 0 && self.spare_owed >= piece;
        if is_due {
            self.spare_owed %= piece;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: u64 = 256 * 1024;

    /// Zeros for a file after so many small syncs that the next step is due.
    fn ready(space: u64, zeroed: u64) -> ZerosAhead {
        ZerosAhead { small_syncs: SYNCS_MIN, ..ZerosAhead::new(STEP, space, zeroed) }
    }

    #[test]
    fn steps_follow_one_another_while_there_is_space() {
        let space = 3 * STEP_MIN + BLOCK + 9;
        let mut ahead = ready(space, 0);
        assert_eq!(
            ahead.note_sync(BLOCK - 8, 100),
            Some((2 * BLOCK, 2 * BLOCK + STEP_MIN)),
            "after the mark"
        );
        assert_eq!(ahead.note_sync(STEP_MIN, BLOCK), None, "the next sync finds zeros");
        let next = STEP_MIN + BLOCK + 1;
        let second = 2 * BLOCK + STEP_MIN;
        assert_eq!(ahead.note_sync(next, BLOCK), Some((second, second + STEP_MIN)), "and then no more");
        let third = second + STEP_MIN;
        assert_eq!(
            ahead.note_sync(third, BLOCK),
            Some((third + BLOCK, 3 * STEP_MIN + BLOCK)),
            "all there is"
        );
        assert_eq!(ahead.note_sync(3 * STEP_MIN, BLOCK), None);
        assert_eq!(ahead.note_sync(9 * STEP_MIN, BLOCK), None, "past the space");
    }

    #[test]
    fn a_step_is_enough_for_several_syncs() {
        for (bytes, step) in [
            (1, STEP_MIN),
            (4096, STEP_MIN),
            (5000, 80 * 1024),
            (8192, 128 * 1024),
            (32 * 1024, STEP),
            (SMALL_SYNC, STEP),
        ] {
            let found = ready(64 * STEP, 0).note_sync(bytes, bytes);
            assert_eq!(found.map(|(from, to)| to - from), Some(step), "{bytes}");
        }
        let mut tiny = ZerosAhead { small_syncs: SYNCS_MIN, ..ZerosAhead::new(BLOCK + 7, STEP, 0) };
        assert_eq!(tiny.note_sync(0, 64), Some((BLOCK, 2 * BLOCK)), "a step of whole blocks");
        let mut less = ZerosAhead { small_syncs: SYNCS_MIN, ..ZerosAhead::new(BLOCK - 1, STEP, 0) };
        assert_eq!(less.note_sync(0, 64), None, "less than a block");
    }

    #[test]
    fn zeros_that_a_spare_got_are_not_written_again() {
        let mut ahead = ready(2 * STEP, STEP);
        assert_eq!(ahead.note_sync(100, 100), None);
        assert_eq!(ahead.note_sync(STEP - BLOCK, BLOCK), None);
        assert_eq!(ahead.note_sync(STEP - 50, BLOCK), Some((STEP, STEP + STEP_MIN)));
    }

    #[test]
    fn frames_that_passed_the_zeros_are_left_alone() {
        let mut ahead = ready(8 * STEP, 0);
        assert_eq!(ahead.note_sync(0, BLOCK), Some((BLOCK, BLOCK + STEP_MIN)));
        let end = 3 * STEP;
        assert_eq!(ahead.note_sync(end, BLOCK), Some((end + BLOCK, end + BLOCK + STEP_MIN)));
    }

    #[test]
    fn only_small_syncs_in_a_row_ask_for_zeros() {
        let mut ahead = ZerosAhead::new(STEP, 8 * STEP, 0);
        for _ in 0..1000 {
            assert_eq!(ahead.note_sync(4 * STEP, SMALL_SYNC + 1), None);
        }
        for _ in 0..3 {
            for _ in 1..SYNCS_MIN {
                assert_eq!(ahead.note_sync(4 * STEP, SMALL_SYNC), None, "few small ones");
            }
            assert_eq!(ahead.note_sync(4 * STEP, SMALL_SYNC + 1), None);
        }
        assert!(!ahead.take_spare_piece());
        let mut none = ZerosAhead { small_syncs: SYNCS_MIN, ..ZerosAhead::none() };
        assert_eq!(none.note_sync(0, 100), None);
        assert!(!none.take_spare_piece());
    }

    /// The pieces that a spare of a log with such syncs gets while a chunk fills, and where the first comes.
    fn pieces(space: u64, bytes: u64) -> (u64, Option<u64>) {
        let mut ahead = ready(space, 0);
        let (mut count, mut first) = (0, None);
        for end in (bytes..=space).step_by(bytes as usize) {
            ahead.note_sync(end, bytes);
            if ahead.take_spare_piece() {
                count += 1;
                first = first.or(Some(end));
                assert!(!ahead.take_spare_piece(), "two at once");
            }
        }
        (count, first)
    }

    #[test]
    fn a_spare_is_zeroed_while_the_open_chunk_fills() {
        for bytes in [64, 4096, 10_000, 32 * 1024, SMALL_SYNC] {
            let space = 32 << 20;
            let (count, first) = pieces(space, bytes);
            assert!(first.is_some_and(|at| at >= space / SPARE_FROM), "{bytes}: {first:?}");
            assert!(count * PIECE_MAX >= space, "{bytes}: {count} pieces are too few");
            assert!((count - 1) * PIECE_MAX * 9 / 10 <= space, "{bytes}: {count} pieces are a burst");
        }
        assert_eq!(pieces(32 << 20, SMALL_SYNC + 8).0, 0);
    }

    #[test]
    fn a_piece_is_as_large_as_whole_blocks_allow() {
        for (setting, piece) in [(0, 0), (4095, 0), (4096, 4096), (10_000, 8192), (1 << 20, PIECE_MAX)] {
            assert_eq!(spare_piece(setting), piece);
        }
    }
}
