//! Places against a model that keeps each segment as it is.

use std::collections::VecDeque;
use std::sync::Arc;

use chunked_wal::Segment;

use super::{ChunkIndex, Places};

#[path = "../../../../tests/common/random.rs"]
pub(super) mod random;

use random::Random;

/// The same in the simplest words: 24 bytes for each entry.
#[derive(Default)]
struct Model {
    entries: VecDeque<(u64, Segment)>,
}

impl Model {
    fn push(&mut self, index: u64, segment: Segment) {
        if self.entries.back().is_some_and(|(last, _)| last + 1 != index) {
            self.entries.clear();
        }
        self.entries.push_back((index, segment));
    }

    fn next(&self) -> Option<u64> {
        self.entries.back().map(|(last, _)| last + 1)
    }
}

fn assert_same(places: &Places, model: &Model) {
    let first = model.entries.front().map(|(index, _)| *index);
    assert_eq!((!places.entries().is_empty()).then_some(places.entries().start), first);
    assert_eq!(places.entries().end - places.entries().start, model.entries.len() as u64);
    for (index, segment) in &model.entries {
        assert_eq!(places.get(*index), Some(*segment), "{index}");
    }
    for outside in [first.unwrap_or(5).wrapping_sub(1), model.next().unwrap_or(5)] {
        assert_eq!(places.get(outside), None, "{outside}");
    }
}

/// Sizes and gaps of one, two and more bytes, by the log's units.
const SIZES: [u64; 6] = [16, 344, 504, 512, 65_536, 1 << 33];
const GAPS: [u64; 6] = [0, 0, 0, 8, 64, 1 << 21];

/// A log whose chunks and actions are drawn, as it is and as the model has it.
struct Workload {
    dice: Random,
    places: Places,
    model: Model,
    end: u64,
    /// What the checkpoint after each closed chunk holds.
    checkpoints: Vec<Option<Arc<ChunkIndex>>>,
}

impl Workload {
    fn new(seed: u64) -> Self {
        let (places, model) = (Places::default(), Model::default());
        Workload { dice: Random::new(seed), places, model, end: 0, checkpoints: Vec::new() }
    }

    fn step(&mut self) {
        let near = |dice: &mut Random, model: &Model| {
            let (first, len) = (model.entries.front().map_or(0, |(first, _)| *first), model.entries.len());
            first + dice.below(len as u64 + 3)
        };
        match self.dice.below(20) {
            0 => {
                let since = near(&mut self.dice, &self.model);
                self.places.truncate(since);
                self.model.entries.retain(|(index, _)| *index < since);
            }
            1 => {
                let first = near(&mut self.dice, &self.model).saturating_sub(self.dice.below(60));
                self.places.purge(first);
                self.model.entries.retain(|(index, _)| *index >= first);
            }
            2 => {
                self.checkpoints.push(self.places.open_index());
                // A chunk without actions: its checkpoint is the same once more.
                (0..self.dice.below(2)).for_each(|_| self.checkpoints.push(self.places.open_index()));
                self.places.start_chunk();
                self.end += 200;
            }
            _ => (0..1 + self.dice.below(40)).for_each(|_| self.push()),
        }
    }

    fn push(&mut self) {
        let index = self.model.next().unwrap_or_else(|| self.dice.below(100));
        let segment = Segment::new(self.end + self.dice.pick(&GAPS), self.dice.pick(&SIZES));
        self.end = segment.offset + segment.size;
        self.places.push(index, segment);
        self.model.push(index, segment);
    }
}

#[test]
fn places_are_those_of_the_model_and_chunks_put_them_together_again() {
    for seed in 0..300 {
        let mut log = Workload::new(seed);
        for _ in 0..80 {
            log.step();
            assert_same(&log.places, &log.model);
        }
        let mut older = Places::default();
        log.checkpoints.iter().flatten().cloned().for_each(|index| older.add_chunk(index));
        let mut newest = Places::of_checkpoint(log.checkpoints.last().cloned().flatten());
        newest.start_chunk();
        if let Some(open) = &log.places.open {
            open.entries().for_each(|index| newest.push(index, open.segment(index).unwrap()));
        }
        // As the state does it, which knows the bounds from its records.
        let (first, end) = (log.places.entries().start, log.places.entries().end);
        newest.truncate(end);
        newest.prepend(older, end);
        newest.purge(first);
        assert_same(&newest, &log.model);
    }
}

#[test]
fn a_closed_chunk_shares_its_memory_and_keeps_what_a_truncation_cuts_off() {
    let mut places = Places::default();
    (10..20).for_each(|index| places.push(index, Segment::new(index * 64, 64)));
    let shared = places.open_index().unwrap();
    places.start_chunk();
    assert!(Arc::ptr_eq(&places.closed[0].index, &shared));
    places.truncate(15);
    places.push(15, Segment::new(4096, 64));
    assert_eq!((places.get(14), places.get(15)), (Some(Segment::new(896, 64)), Some(Segment::new(4096, 64))));
    assert_eq!(shared.entries(), 10..20);
    places.push(16, Segment::new(4160, 64));
    let open = |places: &Places| places.open_index().unwrap().entries();
    assert_eq!(open(&places), 15..17);
    places.push(17, Segment::new(4224, 64));
    assert_eq!(open(&places), 15..18);
    places.truncate(16);
    assert_eq!(open(&places), 15..16);
    places.purge(16);
    assert_eq!(open(&places), 0..0);
}

#[test]
fn entries_before_the_start_of_the_log_are_forgotten() {
    let chunks = || {
        let mut places = Places::default();
        for index in 0..6 {
            places.push(index, Segment::new(1000 * index, 64));
            if index % 2 == 1 {
                places.start_chunk();
            }
        }
        places.push(6, Segment::new(6000, 64));
        places
    };
    for (start, left) in [(0, 0..7), (8, 2..7), (2000, 2..7), (4000, 4..7), (6000, 6..7), (6008, 7..7)] {
        let mut places = chunks();
        places.forget_before(start);
        assert_eq!(places.entries().count(), left.clone().count(), "{start}");
        assert_eq!(places.get(left.start).is_some(), !left.is_empty());
    }
}

#[test]
fn a_hole_is_not_bridged() {
    let index = |from: u64, to: u64| {
        let mut index = ChunkIndex::default();
        (from..to).for_each(|n| index.push(n, Segment::new(n * 64, 64)));
        Arc::new(index)
    };
    for (chunks, left) in [
        (vec![(0, 5), (5, 9)], 0..12),
        (vec![(0, 5), (6, 9)], 6..12),
        (vec![(0, 5), (5, 8)], 9..12),
        (vec![(3, 20), (9, 9)], 3..12),
        (vec![(10, 20)], 9..12),
        (vec![], 9..12),
    ] {
        let mut older = Places::default();
        chunks.iter().for_each(|(from, to)| older.add_chunk(index(*from, *to)));
        let mut newest = Places::default();
        (9..12).for_each(|n| newest.push(n, Segment::new(10_000 + n * 64, 64)));
        newest.prepend(older, 12);
        assert_eq!(newest.entries(), left, "{chunks:?}");
    }
}
