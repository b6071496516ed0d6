//! The newest entries in memory, up to a number of bytes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How many entries were read, by all readers of a store.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// From memory.
    pub(crate) hits: AtomicU64,
    /// From the log.
    pub(crate) misses: AtomicU64,
}

/// Consecutive entries, up to the log's last one. An entry that is larger than the limit leaves this
/// empty.
pub(crate) struct Recent<E> {
    entries: VecDeque<(Arc<E>, u64)>,
    bytes: u64,
    bytes_max: u64,
}

impl<E> Recent<E> {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Recent { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Adds the log's next entry, which counts as `bytes`.
    pub(crate) fn push(&mut self, entry: Arc<E>, bytes: u64) {
        self.entries.push_back((entry, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        while self.bytes > self.bytes_max {
            self.pop_first();
        }
    }

    fn pop_first(&mut self) {
        if let Some((_, bytes)) = self.entries.pop_front() {
            self.bytes -= bytes;
        }
    }

    /// Keeps at most the last `n` entries.
    pub(crate) fn keep_last(&mut self, n: usize) {
        while self.entries.len() > n {
            self.pop_first();
        }
    }

    /// Drops the last `n` entries, or all if there are fewer.
    pub(crate) fn drop_last(&mut self, n: usize) {
        for (_, bytes) in self.entries.drain(self.entries.len().saturating_sub(n)..) {
            self.bytes -= bytes;
        }
    }

    /// Returns the entry that has `n` entries after it, and its bytes.
    pub(crate) fn nth_last(&self, n: usize) -> Option<&(Arc<E>, u64)> {
        self.entries.get(self.entries.len().checked_sub(n)?.checked_sub(1)?)
    }
}

impl<E> fmt::Debug for Recent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recent { entries, bytes, bytes_max } = self;
        let mut shown = f.debug_struct("Recent");
        shown.field("entries", &entries.len()).field("bytes", bytes).field("bytes_max", bytes_max).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_within_its_bytes() {
        let mut recent = Recent::new(10);
        let held = |recent: &Recent<u64>| {
            let all = (0..20).filter_map(|n| recent.nth_last(n)).map(|(n, _)| **n);
            (all.collect::<Vec<_>>(), recent.bytes)
        };
        for n in 0..5 {
            recent.push(Arc::new(n), 3);
        }
        assert_eq!(held(&recent), (vec![4, 3, 2], 9));
        recent.drop_last(1);
        assert_eq!(held(&recent), (vec![3, 2], 6));
        recent.push(Arc::new(7), 4);
        assert_eq!(held(&recent), (vec![7, 3, 2], 10));
        recent.keep_last(2);
        assert_eq!(held(&recent), (vec![7, 3], 7));
        recent.push(Arc::new(8), 11);
        assert_eq!(held(&recent), (vec![], 0));
        recent.push(Arc::new(9), 1);
        recent.drop_last(5);
        assert_eq!(held(&recent), (vec![], 0));
    }
}
