//! Records on their way from the thread that reads them to the one that uses them.
//!
//! ```text
//! memory  | read before | frame | frame | frame | read, and left to the scan |
//!                       ^ offset, frames.start  ^ frames.end
//! ```
//!
//! - Only a [`Scan`](super::Scan) fills one, with its own memory, for which it takes the block's: the
//!   bytes of sound records, one after the other, are not copied.
//! - The memory is as large as the scan's reads; a larger one, for one record, is not used again.

use std::ops::Range;

use super::{Frame, FrameHeader, Memory};

/// Some records of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The global offset of the first frame.
    pub(super) offset: u64,
    pub(super) memory: Memory,
    pub(super) frames: Range<usize>,
}

impl Block {
    /// The records, in order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let (mut offset, mut rest) = (self.offset, self.bytes());
        std::iter::from_fn(move || {
            let header = FrameHeader::parse(rest.first_chunk()?);
            let frame = Frame::new(offset, &header, rest, self.memory.owner());
            offset += frame.size;
            rest = &rest[frame.size as usize..];
            Some(frame)
        })
    }

    /// The global offset of the first record's frame.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The frames' bytes, one after the other.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory.bytes()[self.frames.clone()]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Empties the block; its memory is used again unless it has more than `len_max` bytes.
    pub(crate) fn clear(&mut self, len_max: usize) {
        self.frames = 0..0;
        if self.memory.bytes().len() > len_max {
            self.memory = Memory::default();
        }
    }
}
