//! A prune and a pin, which are no archivers.

use std::rc::Rc;

use super::{By, Manifest, Other, Part, Put, State};

/// The beginning of a prune that may go on to `at`: not after what a pin keeps.
fn start_for(manifest: &Manifest, at: usize) -> usize {
    manifest.pins.first().map_or(at, |pin| at.min(*pin))
}

impl State {
    fn send(&mut self, next: Manifest) -> Option<Rc<Manifest>> {
        if !self.has_number(next.number) {
            return None;
        }
        let next = Rc::new(next);
        self.store.send(Put::Manifest(next.clone()));
        Some(next)
    }

    fn prune_from(mut self, at: usize) -> Option<State> {
        let highest = self.store.highest();
        let start = start_for(&highest, at);
        if start <= highest.start {
            self.prune = Other::Sweeping(at, highest);
            return Some(self);
        }
        let mut next = Manifest { start, ..highest.following(highest.epoch, By::Prune) };
        next.parts.retain(|part| part.from >= start);
        self.prune = Other::Proposed(at, self.send(next)?);
        Some(self)
    }

    /// `BeginPrune`, up to this offset.
    pub fn begin_prune(mut self, at: usize) -> Option<State> {
        if self.prune != Other::Idle {
            return None;
        }
        self.told.prunes += 1;
        self.prune_from(at)
    }

    /// `Pruned`
    pub fn pruned(self) -> Option<State> {
        let Other::Proposed(at, next) = &self.prune else { return None };
        let at = *at;
        if self.store.is_answered(next) { self.prune_from(at) } else { None }
    }

    /// `Sweep`, of one part.
    pub fn sweep(mut self, part: Part) -> Option<State> {
        let Other::Sweeping(_, manifest) = &self.prune else { return None };
        let is_left = part.to <= manifest.start || part.epoch < manifest.epoch;
        if !is_left || manifest.parts.contains(&part) || !self.store.parts.remove(&part) {
            return None;
        }
        Some(self)
    }

    /// `EndPrune`
    pub fn end_prune(mut self) -> Option<State> {
        let before = std::mem::replace(&mut self.prune, Other::Idle);
        (before != Other::Idle).then_some(self)
    }

    fn propose_pin(mut self, at: usize) -> Option<State> {
        let highest = self.store.highest();
        let mut next = highest.following(highest.epoch, By::Pin);
        next.pins.insert(at);
        self.pin = Other::Proposed(at, self.send(next)?);
        Some(self)
    }

    /// `BeginPin`
    pub fn begin_pin(mut self, at: usize) -> Option<State> {
        if self.pin != Other::Idle || self.store.highest().pins.contains(&at) {
            return None;
        }
        self.told.pinned += 1;
        self.propose_pin(at)
    }

    /// `Pinned`
    pub fn pinned(mut self) -> Option<State> {
        let Other::Proposed(at, next) = &self.pin else { return None };
        let at = *at;
        if !self.store.is_answered(next) {
            return None;
        }
        let highest = self.store.highest();
        if highest.pins.contains(&at) {
            self.told.pins.insert(at);
        } else if at >= highest.start {
            return self.propose_pin(at);
        }
        self.pin = Other::Idle;
        Some(self)
    }
}
