//! [`Chunks`]: the bytes that are alive in each chunk.

use std::collections::BTreeMap;

use chunked_wal::{ChunkId, Segment};

use super::run::Run;

#[derive(Debug, Default)]
pub(crate) struct Chunks {
    alive: BTreeMap<u64, u64>,
    total: u64,
}

impl Chunks {
    pub(crate) fn alive(&self) -> u64 {
        self.total
    }

    pub(crate) fn alive_in(&self, chunk: ChunkId) -> u64 {
        self.alive.get(&chunk.0).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, chunk: ChunkId, bytes: u64) {
        *self.alive.entry(chunk.0).or_default() += bytes;
        self.total += bytes;
    }

    pub(crate) fn subtract(&mut self, dead: Segment) {
        self.subtract_bytes(dead.offset, dead.size);
    }

    pub(crate) fn subtract_run(&mut self, dead: &Run) {
        let span = dead.span();
        if self.alive.range(span.start + 1..span.end).next().is_none() {
            self.subtract_bytes(span.start, dead.bytes());
        } else {
            dead.segments().for_each(|segment| self.subtract(segment));
        }
    }

    fn subtract_bytes(&mut self, offset: u64, bytes: u64) {
        self.total -= bytes;
        if let Some((_, alive)) = self.alive.range_mut(..=offset).next_back() {
            *alive -= bytes;
        }
    }

    /// A record takes the place of another.
    pub(crate) fn replace(&mut self, old: Option<Segment>, chunk: ChunkId, new: Segment) {
        if let Some(old) = old {
            self.subtract(old);
        }
        self.add(chunk, new.size);
    }

    pub(crate) fn forget(&mut self, chunk: ChunkId) {
        self.alive.remove(&chunk.0);
    }
}
