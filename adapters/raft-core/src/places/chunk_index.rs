//! [`ChunkIndex`]: where the entries of one chunk are.
//!
//! ```text
//! chunk    header │ checkpoint │ 7 │ 8 │ vote │ 9 │ 10 │ truncate since 10 │ 10 │ 11 │
//! items                          7   8   gap,   9   gap,                     10   11
//! blocks                         ▲ every 32nd: its offset, and where its item is
//!
//! encoded  count │ index of the first entry │ its offset / 8 │ items
//!          0       for a chunk without entries
//! item     size / 8 * 2                            an entry that follows the one before it
//!          size / 8 * 2 + 1 │ gap / 8              an entry with other records before it
//! ```
//!
//! - Frames start and end at multiples of 8, and all numbers are LEB128. So an entry of up to 504 bytes takes one byte,
//!   and an entry of less than 64 KiB two. A gap takes as much again.
//! - Blocks are in memory only, half a byte for each entry: an entry is found by its block and at most 31 items.
//! - The same entries are always encoded as the same bytes, and other bytes are refused.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::io::Write;
use std::ops::Range;

use chunked_wal::Segment;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// Offsets and sizes of frames are multiples of this.
const UNIT: u64 = 8;

/// Entries of a block.
const BLOCK: usize = 32;

/// Where the entries of one chunk are: those that the chunk's records leave in the log. Some of them may be purged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChunkIndex {
    /// The index of the first entry.
    first: u64,
    count: usize,
    /// The global offset of the first entry.
    offset: u64,
    /// The global offset after the last entry.
    end: u64,
    items: Vec<u8>,
    blocks: Vec<Block>,
}

/// What comes before an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    /// The global offset after the entry before it; for a chunk's first entry, its own.
    end: u64,
    /// The length of the items before it.
    at: usize,
}

impl ChunkIndex {
    /// Returns raft's indexes of the entries.
    pub fn entries(&self) -> Range<u64> {
        self.first..self.first + self.count as u64
    }

    /// Returns the segment of the entry with raft's index `index`.
    pub fn segment(&self, index: u64) -> Option<Segment> {
        let nth = index.checked_sub(self.first).filter(|nth| *nth < self.count as u64)?;
        let before = self.before(usize::try_from(nth).ok()?)?;
        Some(before.next(&self.items)?.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the global offset of the first entry.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the length of the items, which is nearly that of the whole encoding.
    pub(crate) fn items_len(&self) -> usize {
        self.items.len()
    }

    /// Adds the chunk's next entry. One that doesn't follow the last entry is the only one afterwards.
    pub(crate) fn push(&mut self, index: u64, segment: Segment) {
        assert!((segment.offset | segment.size).is_multiple_of(UNIT), "no frame is at {segment:?}");
        if self.count == 0 || index != self.entries().end {
            *self =
                ChunkIndex { first: index, offset: segment.offset, end: segment.offset, ..Self::default() };
        }
        self.start_block();
        let gap = segment.offset - self.end;
        push_number(&mut self.items, segment.size / UNIT * 2 + u64::from(gap > 0));
        if gap > 0 {
            push_number(&mut self.items, gap / UNIT);
        }
        self.end = segment.offset + segment.size;
        self.count += 1;
    }

    /// Notes where the next entry's item starts, if that entry starts a block.
    fn start_block(&mut self) {
        if self.count.is_multiple_of(BLOCK) {
            self.blocks.push(Block { end: self.end, at: self.items.len() });
        }
    }

    /// Removes the entries from the index `since` on. Returns whether there were any.
    pub(crate) fn truncate(&mut self, since: u64) -> bool {
        let kept = usize::try_from(since.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if kept >= self.count {
            return false;
        }
        match self.before(kept).filter(|_| kept > 0) {
            None => *self = Self::default(),
            Some(Block { end, at }) => {
                self.items.truncate(at);
                self.blocks.truncate(kept.div_ceil(BLOCK));
                (self.end, self.count) = (end, kept);
            }
        }
        true
    }

    /// What comes before the entry that has `nth` entries before it; there is such an entry.
    fn before(&self, nth: usize) -> Option<Block> {
        let mut before = *self.blocks.get(nth / BLOCK)?;
        for _ in 0..nth % BLOCK {
            before = before.next(&self.items)?.1;
        }
        Some(before)
    }

    /// Writes the encoding; returns its length.
    pub(crate) fn write(&self, mut writer: impl Write) -> io::Result<usize> {
        let mut head = Vec::with_capacity(32);
        push_number(&mut head, self.count as u64);
        if self.count > 0 {
            push_number(&mut head, self.first);
            push_number(&mut head, self.offset / UNIT);
        }
        writer.write_all(&head)?;
        writer.write_all(&self.items)?;
        Ok(head.len() + self.items.len())
    }

    /// Reads an encoding; `None` if the bytes are none, or one of something that can't be.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = take_number(bytes)?;
        if count == 0 {
            return rest.is_empty().then(Self::default);
        }
        let (first, rest) = take_number(rest)?;
        let (offset, items) = take_number(rest)?;
        first.checked_add(count)?;
        let offset = offset.checked_mul(UNIT)?;
        // An item has a byte at least, so a count takes no more memory than its bytes.
        let count = usize::try_from(count).ok().filter(|count| *count <= items.len())?;
        let blocks = Vec::with_capacity(count.div_ceil(BLOCK));
        let mut read = ChunkIndex { first, count: 0, offset, end: offset, items: items.to_vec(), blocks };
        let mut before = Block { end: offset, at: 0 };
        while read.count < count {
            if read.count.is_multiple_of(BLOCK) {
                read.blocks.push(before);
            }
            let (segment, after) = before.next(&read.items)?;
            if read.count == 0 && segment.offset != offset {
                return None;
            }
            before = after;
            read.count += 1;
        }
        read.end = before.end;
        (before.at == read.items.len()).then_some(read)
    }
}

impl Block {
    /// Returns the entry's segment, and what comes before the next entry.
    #[inline]
    fn next(self, items: &[u8]) -> Option<(Segment, Block)> {
        let rest = items.get(self.at..)?;
        let (head, mut after) = take_number(rest)?;
        let mut offset = self.end;
        if head % 2 == 1 {
            let (gap, rest) = take_number(after)?;
            offset = offset.checked_add(gap.checked_mul(UNIT)?).filter(|_| gap > 0)?;
            after = rest;
        }
        let size = (head / 2).checked_mul(UNIT).filter(|size| *size > 0)?;
        let end = offset.checked_add(size)?;
        Some((Segment::new(offset, size), Block { end, at: self.at + (rest.len() - after.len()) }))
    }
}

/// Appends a number as LEB128: seven bits a byte, the lowest first, and a flag at all bytes but the last.
fn push_number(bytes: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
}

/// Returns the number at the start of `bytes`, and the bytes after it; `None` if there is none, or if it takes more
/// bytes than it needs.
#[inline]
fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    if let [n @ 0..0x80, rest @ ..] = bytes {
        return Some((u64::from(*n), rest));
    }
    let mut n = 0;
    for (i, byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * i as u32;
        // A tenth byte has room for one bit.
        if shift > 63 || bits << shift >> shift != bits {
            return None;
        }
        n |= bits << shift;
        if *byte < 0x80 {
            return (*byte > 0).then_some((n, &bytes[i + 1..]));
        }
    }
    None
}

impl fmt::Debug for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ChunkIndex");
        shown.field("entries", &self.entries()).field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// For people and other programs, as `chunked_wal::tools` shows it: without the single entries.
impl Serialize for ChunkIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_struct("ChunkIndex", 3)?;
        shown.serialize_field("first", &self.first)?;
        shown.serialize_field("count", &self.count)?;
        shown.serialize_field("offset", &self.offset)?;
        shown.end()
    }
}
