//! [`Places`]: where a group's entries are, as runs.
//!
//! ```text
//! runs    │ 5 6 7 │ 8 9 10 … │ 40 41 │       no index twice; a hole only while a log is replayed
//!           moved    where they were appended
//! ```

use std::ops::Range;

use chunked_wal::Segment;

use super::run::Run;

/// Where a group's entries are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// In the order of their indexes.
    runs: Vec<Run>,
}

impl Places {
    /// The indexes from the first entry to after the last one; `None` without entries.
    pub(crate) fn range(&self) -> Option<Range<u64>> {
        Some(self.runs.first()?.first..self.runs.last()?.next())
    }

    /// The first index that has no entry, of those between the first and the last.
    pub(crate) fn hole(&self) -> Option<u64> {
        let pairs = self.runs.iter().zip(self.runs.iter().skip(1));
        pairs
            .map(|(run, next)| (run.next(), next.first))
            .find(|(end, first)| end != first)
            .map(|(end, _)| end)
    }

    pub(crate) fn segment(&self, index: u64) -> Option<Segment> {
        let run = self.runs.get(self.position(index)?)?;
        run.segments().nth((index - run.first) as usize)
    }

    /// The entries from the index `from` on.
    pub(crate) fn from(&self, from: u64) -> impl Iterator<Item = (u64, Segment)> {
        let at = self.runs.partition_point(|run| run.next() <= from);
        let entries = self.runs[at..].iter().flat_map(|run| (run.first..).zip(run.segments()));
        entries.skip_while(move |(index, _)| *index < from)
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// Puts an entry that isn't there yet.
    pub(crate) fn insert(&mut self, index: u64, segment: Segment) {
        let at = self.runs.partition_point(|run| run.first <= index);
        if let Some(run) = at.checked_sub(1).and_then(|before| self.runs.get_mut(before))
            && run.takes(index, segment)
        {
            run.push(segment);
            return;
        }
        // A quarter more at most: most groups have one run or two.
        if self.runs.len() == self.runs.capacity() {
            self.runs.reserve_exact(1 + self.runs.len() / 4);
        }
        self.runs.insert(at, Run::new(index, segment));
    }

    /// Takes an entry out; returns where it was.
    pub(crate) fn remove(&mut self, index: u64) -> Option<Segment> {
        let at = self.position(index)?;
        let run = &mut self.runs[at];
        if index == run.first
            && let Some(segment) = run.pop_front()
        {
            return Some(segment);
        }
        let run = self.runs.remove(at);
        let (left, rest) = run.split(index);
        let (only, right) = rest?.split(index + 1);
        for part in [right, left].into_iter().flatten() {
            self.runs.insert(at, part);
        }
        only?.segments().next()
    }

    /// Drops the entries from the index `from` on; `dead` gets them.
    pub(crate) fn truncate(&mut self, from: u64, mut dead: impl FnMut(&Run)) {
        while self.runs.last().is_some_and(|run| run.next() > from) {
            let Some(run) = self.runs.pop() else { return };
            let (left, right) = run.split(from);
            right.iter().for_each(&mut dead);
            self.runs.extend(left);
        }
    }

    /// Drops the entries before the index `first`; `dead` gets them.
    pub(crate) fn purge(&mut self, first: u64, mut dead: impl FnMut(&Run)) {
        let gone = self.runs.partition_point(|run| run.next() <= first);
        self.runs.drain(..gone).for_each(|run| dead(&run));
        if let Some(run) = self.runs.first().filter(|run| run.first < first) {
            let (left, right) = run.split(first);
            left.iter().for_each(&mut dead);
            self.runs.splice(..1, right);
        }
        if self.runs.is_empty() {
            self.runs.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.runs.capacity() * size_of::<Run>() + self.runs.iter().map(Run::memory).sum::<usize>()
    }

    /// The place of the run that has the index.
    fn position(&self, index: u64) -> Option<usize> {
        let at = self.runs.partition_point(|run| run.next() <= index);
        self.runs.get(at).filter(|run| run.first <= index).map(|_| at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Random operations, compared with a map from index to place.
    #[test]
    fn places_are_those_of_a_map() {
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let (mut places, mut map) = (Places::default(), BTreeMap::new());
        let (mut end, mut alive) = (0, 0);
        for step in 0..200_000 {
            let next = places.range().map_or(1, |range| range.end);
            let mut gone = 0;
            match random(100) {
                0..80 => {
                    let (gap, size) = (random(3) * random(1 << 20) * 8, 8 + random(3) * 8);
                    end += gap;
                    // Most are appended; some are moved, or fill a hole as in a replay.
                    let index = if random(4) == 0 { random(next + 200).max(1) } else { next };
                    let (old, segment) = (places.remove(index), Segment::new(end, size));
                    assert_eq!(old, map.insert(index, segment), "step {step}");
                    gone = old.map_or(0, |old| old.size);
                    places.insert(index, segment);
                    (end, alive) = (end + size, alive + size);
                }
                80..90 => {
                    let from = next.saturating_sub(random(300));
                    places.truncate(from, |dead| gone += dead.bytes());
                    map.split_off(&from);
                }
                90..98 => {
                    let first = places.range().map_or(1, |range| range.start) + random(150);
                    places.purge(first, |dead| gone += dead.bytes());
                    map = map.split_off(&first);
                }
                _ => {
                    let from = random(next);
                    let expected: Vec<_> = map.range(from..).map(|(i, at)| (*i, *at)).take(300).collect();
                    assert_eq!(places.from(from).take(300).collect::<Vec<_>>(), expected);
                    let range = map.keys().next().zip(map.keys().last()).map(|(a, b)| *a..b + 1);
                    assert_eq!(places.range(), range);
                    let has_hole = range.is_some_and(|range| range.end - range.start != map.len() as u64);
                    assert_eq!(places.hole().is_some(), has_hole);
                }
            }
            alive -= gone;
            let index = random(next + 2);
            assert_eq!(places.segment(index), map.get(&index).copied(), "step {step}");
            assert_eq!(map.values().map(|at| at.size).sum::<u64>(), alive, "step {step}");
        }
    }

    #[test]
    fn entries_take_few_bytes() {
        let mut places = Places::default();
        let per_entry = |places: &Places, count: u64| places.memory() as f64 / count as f64;
        // One group.
        for index in 0..100_000 {
            places.insert(index, Segment::new(index * 280, 280));
        }
        assert!(per_entry(&places, 100_000) < 2.0, "{}", per_entry(&places, 100_000));
        // One of 100,000.
        places = Places::default();
        for index in 0..100_000 {
            places.insert(index, Segment::new(index * 100_000 * 280, 280));
        }
        assert!(per_entry(&places, 100_000) < 5.0, "{}", per_entry(&places, 100_000));
        places = Places::default();
        for index in 0..3 {
            places.insert(index, Segment::new(index * 100_000 * 280, 280));
        }
        assert!(places.memory() < 100, "{}", places.memory());
    }
}
