//! A buffer that slides over a file.
//!
//! ```text
//! file   |..........[ start ... start + filled )..................| len
//! ```
//!
//! - It holds at most `size` bytes, or as many as one request needs if that is more; a request never
//!   reaches beyond `len`, so a length in the file can't make it grow past the file.
//! - A read that fails leaves it usable: it holds the file's bytes.

use std::io;
use std::ops::Range;

use super::{FRAME_HEADER_LEN, FrameHeader, ReadAt, array_at, read_exact_at};

/// Smaller buffers would only be slow.
const SIZE_MIN: usize = 64;

/// Holes are no smaller, as a rule.
const HOLE_MIN: u64 = 4096;

pub(crate) struct Window<R> {
    source: R,
    /// Where the file ends, as far as this window is concerned.
    len: u64,
    size: usize,
    buf: Vec<u8>,
    /// The file position of `buf[0]`, and how many bytes of `buf` are of the file.
    start: u64,
    filled: usize,
}

impl<R: ReadAt> Window<R> {
    /// A window over the first `len` bytes of `source`.
    pub(crate) fn new(source: R, len: u64, size: usize) -> Self {
        Self { source, len, size: size.max(SIZE_MIN), buf: Vec::new(), start: 0, filled: 0 }
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
        skip.and_then(|skip| self.buf[..self.filled].get(skip..)).unwrap_or(&[])
    }

    /// The bytes at `position`, read as a frame header.
    pub(crate) fn header(&mut self, position: u64) -> io::Result<FrameHeader> {
        Ok(FrameHeader::parse(&array_at(self.at_least(position, FRAME_HEADER_LEN)?, 0)))
    }

    /// Gives the buffer away for another, of any content. `taken` are the positions of which the new
    /// owner needs the bytes, which are held; returns where in the buffer they are. The held bytes after
    /// them stay in the window if the other buffer has the room, and are read once more if not.
    pub(super) fn trade(&mut self, taken: Range<u64>, other: &mut Vec<u8>) -> Range<usize> {
        let at = |position: u64| (position - self.start) as usize;
        let (from, to) = (at(taken.start), at(taken.end));
        let rest = &self.buf[to..self.filled];
        let kept = if rest.len() <= other.len() { rest.len() } else { 0 };
        other[..kept].copy_from_slice(&rest[..kept]);
        std::mem::swap(&mut self.buf, other);
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
        let kept = self.held(position).len();
        self.buf.copy_within(self.filled - kept..self.filled, 0);
        (self.start, self.filled) = (position, kept);

        let want = self.rest(position).min(self.size.max(n) as u64) as usize;
        debug_assert!(kept < n && n <= want, "{n} bytes at {position} asked of a file of {}", self.len);
        if self.buf.len() < want {
            let more = want - self.buf.len();
            self.buf.try_reserve_exact(more).map_err(|e| io::Error::new(io::ErrorKind::OutOfMemory, e))?;
            self.buf.resize(want, 0);
        }
        read_exact_at(&self.source, &mut self.buf[kept..want], position + kept as u64)?;
        self.filled = want;
        Ok(())
    }
}

/// Whether all bytes are zeros.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // Without an early way out, this compiles to wide instructions.
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}
