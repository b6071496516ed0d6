//! [`Run`]: where consecutive entries of a group are, a few bytes for each.
//!
//! ```text
//! log     │ 7 │ 8 │ other groups │ 9 │           entries 7 to 9 of a group
//! items     7   8           gap,   9
//!
//! item    gap / 8 * 2                      an entry as large as the one before it
//!         gap / 8 * 2 + 1 │ size / 8       an entry of another size
//! ```
//!
//! - Frames start and end at multiples of 8, and all numbers are LEB128. Entries of one size, one after the other, take
//!   one byte each; with up to 512 MiB of other groups in between, four.
//! - The entries of a run are in the order of the log. A moved entry starts another run, or continues one of moved
//!   entries.

use std::ops::Range;

use chunked_wal::Segment;

use crate::number::{push_number, take_number};

/// Offsets and sizes of frames are multiples of this.
const UNIT: u64 = 8;

/// Entries of a run: an entry is found by decoding those before it.
pub(crate) const RUN_MAX: u16 = 256;

/// Lengths are in units, because an idle group has a run and little else.
#[derive(Debug)]
pub(crate) struct Run {
    /// The index of the first entry.
    pub(crate) first: u64,
    /// The global offset of the first entry.
    offset: u64,
    /// From the first entry to after the last one.
    span: u32,
    /// The entries' sizes, together.
    sizes: u32,
    last_size: u32,
    count: u16,
    items: Vec<u8>,
}

impl Run {
    pub(crate) fn new(first: u64, segment: Segment) -> Self {
        let offset = segment.offset;
        let mut run = Run { first, offset, span: 0, sizes: 0, last_size: 0, count: 0, items: Vec::new() };
        run.push(segment);
        run
    }

    /// The entries before an index, and those from it on.
    pub(crate) fn split(&self, index: u64) -> (Option<Self>, Option<Self>) {
        let before = index.saturating_sub(self.first) as usize;
        let part = |first, entries: &mut dyn Iterator<Item = Segment>| {
            let mut run = Run::new(first, entries.next()?);
            entries.for_each(|segment| run.push(segment));
            run.items.shrink_to_fit();
            Some(run)
        };
        (part(self.first, &mut self.segments().take(before)), part(index, &mut self.segments().skip(before)))
    }

    /// Takes the first entry of several: without decoding the others, because reclaiming does this for each entry.
    pub(crate) fn pop_front(&mut self) -> Option<Segment> {
        let mut segments = self.segments();
        let (first, second) = (segments.next()?, segments.next()?);
        let taken = self.items.len() - segments.items.len();
        let mut head = Vec::new();
        push_number(&mut head, 1);
        push_number(&mut head, second.size / UNIT);
        self.items.splice(..taken, head);
        self.span -= ((second.offset - self.offset) / UNIT) as u32;
        self.sizes -= (first.size / UNIT) as u32;
        (self.first, self.offset, self.count) = (self.first + 1, second.offset, self.count - 1);
        Some(first)
    }

    /// The index after the last entry.
    pub(crate) fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// The global offsets from the first entry to after the last one. There may be other records between them.
    pub(crate) fn span(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.span) * UNIT
    }

    /// The sum of the entries' sizes.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.sizes) * UNIT
    }

    /// Whether the run can have this entry next.
    pub(crate) fn takes(&self, index: u64, segment: Segment) -> bool {
        index == self.next()
            && self.count < RUN_MAX
            && segment.offset >= self.span().end
            && (segment.offset + segment.size - self.offset) / UNIT <= u64::from(u32::MAX)
    }

    /// Adds an entry that the run [takes](Self::takes).
    pub(crate) fn push(&mut self, segment: Segment) {
        let gap = (segment.offset - self.span().end) / UNIT;
        let size = (segment.size / UNIT) as u32;
        push_number(&mut self.items, gap * 2 + u64::from(size != self.last_size));
        if size != self.last_size {
            push_number(&mut self.items, u64::from(size));
        }
        self.last_size = size;
        self.span = ((segment.offset + segment.size - self.offset) / UNIT) as u32;
        self.sizes += size;
        self.count += 1;
        if self.count == RUN_MAX {
            self.items.shrink_to_fit();
        }
    }

    pub(crate) fn segments(&self) -> Segments<'_> {
        Segments { items: &self.items, end: self.offset, size: 0 }
    }

    /// The bytes of memory that the run takes outside of itself.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.items.capacity()
    }
}

/// The places of a run's entries, in order.
pub(crate) struct Segments<'r> {
    items: &'r [u8],
    end: u64,
    size: u64,
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let number = take_number(&mut self.items)?;
        if number % 2 == 1 {
            self.size = take_number(&mut self.items)? * UNIT;
        }
        let offset = self.end + number / 2 * UNIT;
        self.end = offset + self.size;
        Some(Segment::new(offset, self.size))
    }
}
