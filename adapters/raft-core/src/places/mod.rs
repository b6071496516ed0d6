//! [`Places`]: where each entry is in the log.
//!
//! ```text
//! closed chunks                                           chunk of the last action
//! ┌─────────────┐ ┌──────────────────┐ ┌─────────────┐    ┌──────────┐
//! │ 3 4 │ 5 6 7 │ │ 8 9 │ 10 11 void │ │ 10 11 12 13 │    │ 14 15 16 │ ◄─ push
//! └─────────────┘ └──────────────────┘ └─────────────┘    └──────────┘
//!       ▲ first     └ len ┘               `closed`           `open`
//! ```
//!
//! - The entries' indexes and their offsets grow without a hole in the indexes.
//! - A [`ChunkIndex`] in `closed` doesn't change, so the checkpoint that holds it shares its memory. A truncation
//!   shortens the part's `len`, a purge moves `first`.
//! - `open` depends only on the actions of its chunk, so replay from any chunk leads to the same.

mod chunk_index;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use chunked_wal::Segment;

pub use chunk_index::ChunkIndex;

/// The segments of consecutive entries: about two bytes for each.
#[derive(Debug)]
pub(crate) struct Places {
    /// The index of the first entry, if there is one.
    first: u64,
    closed: VecDeque<Part>,
    /// The entries of the chunk of the last action; `None` if they are not known, because replay started with a
    /// checkpoint without an index.
    open: Option<ChunkIndex>,
    /// `open`, as the checkpoint holds it.
    shared: OnceLock<Arc<ChunkIndex>>,
}

/// What is left of a closed chunk's entries.
#[derive(Debug)]
struct Part {
    index: Arc<ChunkIndex>,
    /// Later entries of the chunk are void.
    len: u64,
}

impl Part {
    fn entries(&self) -> Range<u64> {
        let first = self.index.entries().start;
        first..first + self.len
    }
}

impl Default for Places {
    fn default() -> Self {
        let open = Some(ChunkIndex::default());
        Places { first: 0, closed: VecDeque::new(), open, shared: OnceLock::new() }
    }
}

impl Places {
    /// The places after a checkpoint: those of the chunk before it, if the checkpoint has them.
    pub(crate) fn of_checkpoint(index: Option<Arc<ChunkIndex>>) -> Self {
        let open = index.as_deref().cloned();
        let first = open.as_ref().map_or(0, |open| open.entries().start);
        let shared = index.map_or_else(OnceLock::new, OnceLock::from);
        Places { first, closed: VecDeque::new(), open, shared }
    }

    /// Returns the indexes of the entries.
    pub(crate) fn entries(&self) -> Range<u64> {
        let open = self.open.as_ref().filter(|open| !open.is_empty()).map(ChunkIndex::entries);
        let last = open.or_else(|| self.closed.back().map(Part::entries));
        self.first..last.map_or(self.first, |last| last.end)
    }

    /// Returns the segment of an entry.
    pub(crate) fn get(&self, index: u64) -> Option<Segment> {
        if index < self.first {
            return None;
        }
        let at = self.closed.partition_point(|part| part.entries().end <= index);
        match self.closed.get(at) {
            Some(part) => part.index.segment(index),
            None => self.open.as_ref()?.segment(index),
        }
    }

    /// Adds the next entry, of the chunk that the last action is in.
    pub(crate) fn push(&mut self, index: u64, segment: Segment) {
        if index != self.entries().end {
            self.clear();
        }
        if self.entries().is_empty() {
            self.first = index;
        }
        self.open.get_or_insert_default().push(index, segment);
        self.shared.take();
    }

    /// Removes the entries from the index `since` on.
    pub(crate) fn truncate(&mut self, since: u64) {
        if since <= self.first {
            return self.clear();
        }
        while self.closed.back().is_some_and(|part| part.entries().start >= since) {
            self.closed.pop_back();
        }
        if let Some(part) = self.closed.back_mut() {
            part.len = part.len.min(since - part.entries().start);
        }
        if self.open.as_mut().is_some_and(|open| open.truncate(since)) {
            self.shared.take();
        }
    }

    /// Removes the entries before the index `first`.
    pub(crate) fn purge(&mut self, first: u64) {
        if first >= self.entries().end {
            return self.clear();
        }
        self.first = self.first.max(first);
        while self.closed.front().is_some_and(|part| part.entries().end <= first) {
            self.closed.pop_front();
        }
    }

    /// Removes the oldest entries as long as they are before the global offset `start`.
    pub(crate) fn forget_before(&mut self, start: u64) {
        let gone = self.closed.iter().take_while(|part| part.index.offset() < start).count();
        self.closed.drain(..gone);
        let open = self.open.as_ref().filter(|open| !open.is_empty());
        match (self.closed.front(), open) {
            (Some(part), _) => self.first = self.first.max(part.entries().start),
            (None, Some(open)) if open.offset() >= start => self.first = self.first.max(open.entries().start),
            _ => self.clear(),
        }
    }

    fn clear(&mut self) {
        self.closed.clear();
        if self.open.as_ref().is_some_and(|open| !open.is_empty()) {
            self.open = Some(ChunkIndex::default());
            self.shared.take();
        }
    }

    /// Goes on to the next chunk, because the next action is in it.
    pub(crate) fn start_chunk(&mut self) {
        if let Some(index) = self.open_index().filter(|index| !index.is_empty()) {
            let len = index.entries().end - index.entries().start;
            self.closed.push_back(Part { index, len });
        }
        self.open = Some(ChunkIndex::default());
        self.shared.take();
    }

    /// Returns the entries of the chunk of the last action, for the next checkpoint.
    pub(crate) fn open_index(&self) -> Option<Arc<ChunkIndex>> {
        let open = self.open.as_ref()?;
        Some(self.shared.get_or_init(|| Arc::new(open.clone())).clone())
    }

    /// Returns about how many bytes [`open_index`](Self::open_index) takes in a checkpoint.
    pub(crate) fn open_index_len(&self) -> usize {
        self.open.as_ref().map_or(0, ChunkIndex::items_len)
    }

    /// Takes over an equal [`open_index`](Self::open_index) that the log holds too, so that it is in memory once.
    pub(crate) fn share(&mut self, index: Arc<ChunkIndex>) {
        self.shared = OnceLock::from(index);
    }

    /// Adds the entries of the next closed chunk, which void all entries from the first of them on.
    pub(crate) fn add_chunk(&mut self, index: Arc<ChunkIndex>) {
        let entries = index.entries();
        if entries.is_empty() {
            return;
        }
        self.truncate(entries.start);
        if self.entries().end != entries.start {
            self.clear();
        }
        if self.closed.is_empty() {
            self.first = entries.start;
        }
        self.closed.push_back(Part { index, len: entries.end - entries.start });
    }

    /// Puts the entries of closed chunks before these, which end before the index `end` and void what they replace. If
    /// a hole would be left, it changes nothing.
    pub(crate) fn prepend(&mut self, mut older: Places, end: u64) {
        let start = if self.entries().is_empty() { end } else { self.first };
        older.truncate(start);
        if older.entries().is_empty() || older.entries().end != start {
            return;
        }
        self.first = older.first;
        older.closed.append(&mut self.closed);
        self.closed = older.closed;
    }
}
