//! A buffer that slides over a file.
//!
//! ```text
//! file   |..........[ start ... start + filled )..................| len
//! ```
//!
//! - It holds at most `size` bytes, or as many as one request needs if that is more; a request never
//!   reaches beyond `len`, so a length in the file can't make it grow past the file.
//! - The first reads are smaller, and each is twice as large as the one before: a log that was closed after few
//!   records is opened without a large buffer, and without caching space that was never written.
//! - A read that fails leaves it usable: it holds nothing then.
//! - Bytes that a payload still uses are not overwritten: the next read takes new [`Memory`].

use std::io;
use std::ops::Range;

use super::{FRAME_HEADER_LEN, FrameHeader, Memory, Owner, ReadAt, array_at, read_exact_at};

/// Smaller buffers would only be slow.
const SIZE_MIN: usize = 64;

/// Bytes of the first read, if the window may hold as many.
const FIRST_READ: usize = 64 << 10;

/// Holes are no smaller, as a rule.
const HOLE_MIN: u64 = 4096;

pub(crate) struct Window<R> {
    source: R,
    /// Where the file ends, as far as this window is concerned.
    len: u64,
    size: usize,
    /// Bytes of the next read, at least.
    next_read: usize,
    memory: Memory,
    /// The file position of the memory's first byte, and how many bytes of the memory are of the file.
    start: u64,
    filled: usize,
}

impl<R: ReadAt> Window<R> {
    /// A window over the first `len` bytes of `source`.
    pub(crate) fn new(source: R, len: u64, size: usize) -> Self {
        let size = size.max(SIZE_MIN);
        let next_read = size.min(FIRST_READ);
        Self { source, len, size, next_read, memory: Memory::default(), start: 0, filled: 0 }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes from `position` to the end of the file; 0 if the position is after the end.
    #[inline]
    pub(crate) fn rest(&self, position: u64) -> u64 {
        self.len.saturating_sub(position)
    }

    /// All bytes that are held from `position` on, at least `n`. They must be in the file.
    #[inline]
    pub(crate) fn at_least(&mut self, position: u64, n: usize) -> io::Result<&[u8]> {
        if self.held(position).len() < n {
            self.slide(position, n)?;
        }
        Ok(self.held(position))
    }

    /// The bytes that are held from `position` on.
    #[inline]
    pub(super) fn held(&self, position: u64) -> &[u8] {
        let skip = position.checked_sub(self.start).and_then(|n| usize::try_from(n).ok());
        skip.and_then(|skip| self.memory.bytes()[..self.filled].get(skip..)).unwrap_or(&[])
    }

    /// The bytes at `position`, read as a frame header.
    pub(crate) fn header(&mut self, position: u64) -> io::Result<FrameHeader> {
        Ok(FrameHeader::parse(&array_at(self.at_least(position, FRAME_HEADER_LEN)?, 0)))
    }

    /// The memory of all bytes that are held.
    #[inline]
    pub(super) fn owner(&self) -> Owner<'_> {
        self.memory.owner()
    }

    /// Gives the memory away for another, of any content. `taken` are the positions of which the new
    /// owner needs the bytes, which are held; returns where in the memory they are. The held bytes after
    /// them stay in the window if the other memory has the room, and are read once more if not.
    pub(super) fn trade(&mut self, taken: Range<u64>, other: &mut Memory) -> Range<usize> {
        let at = |position: u64| (position - self.start) as usize;
        let (from, to) = (at(taken.start), at(taken.end));
        let kept = other.begin_with(&self.memory.bytes()[to..self.filled]);
        std::mem::swap(&mut self.memory, other);
        (self.start, self.filled) = (taken.end, kept);
        from..to
    }

    /// The position after the last byte that isn't zero, `from` if there is none at `from` or after it.
    ///
    /// Looks from the end, so that the bytes before the last write are not read, and what was
    /// allocated and never written isn't either, where the source reports it.
    pub(super) fn nonzero_end(&mut self, from: u64) -> io::Result<u64> {
        let mut end = self.data_end(from)?;
        while end > from {
            let start = end.saturating_sub(self.size as u64).max(from);
            let n = (end - start) as usize;
            let bytes = &self.at_least(start, n)?[..n];
            if !is_zero(bytes)
                && let Some(last) = bytes.iter().rposition(|b| *b != 0)
            {
                return Ok(start + last as u64 + 1);
            }
            end = start;
        }
        Ok(from)
    }

    /// A position at or after `from` from which on there is only a hole, close to the first such
    /// position: space that was read once and is cached counts as data in some systems, so what is read
    /// without need has to be read again by the next to look. Found by halves: after a place with no
    /// more data there is none.
    fn data_end(&self, from: u64) -> io::Result<u64> {
        let (mut from, mut end) = (from, self.len);
        loop {
            // Where holes begin: one step further would read a page that was never written.
            let middle = (from + end.saturating_sub(from) / 2).checked_next_multiple_of(HOLE_MIN);
            let Some(middle) = middle.filter(|middle| *middle < end) else { return Ok(end) };
            match self.source.next_data(middle)? {
                Some(data) if data < end => from = data.max(middle) + 1,
                _ => end = middle,
            }
        }
    }

    /// Moves the window to `position` and fills it, with at least `n` bytes.
    fn slide(&mut self, position: u64, n: usize) -> io::Result<()> {
        let kept = self.filled - self.held(position).len()..self.filled;
        let want = self.rest(position).min(self.next_read.max(n) as u64) as usize;
        self.next_read = self.next_read.saturating_mul(2).min(self.size);
        debug_assert!(kept.len() < n && n <= want, "{n} bytes at {position} asked of a file of {}", self.len);
        let read_from = position + kept.len() as u64;
        // Until they are read.
        (self.start, self.filled) = (position, 0);
        // Twice, so that large records of about the same size share their memory.
        let max = self.size.max(want).saturating_mul(2);
        self.memory.refill(kept, want, max, |rest| read_exact_at(&self.source, rest, read_from))?;
        self.filled = want;
        Ok(())
    }
}

/// Whether all bytes are zeros.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // Without an early way out, this compiles to wide instructions.
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}
