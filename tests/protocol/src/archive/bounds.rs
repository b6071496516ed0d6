//! The steps of `Archive.tla` within a model's bounds, and its promises.

use super::{Manifest, Other, State};
use crate::explore::{Model, number, upto};

/// The constants of a model.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "named as in Archive.tla")]
pub struct Bounds {
    pub archivers: usize,
    pub lives: usize,
    pub epochs: usize,
    pub numbers: usize,
    pub end: usize,
    pub uploads: usize,
    pub kept: usize,
    pub prunes: usize,
    pub pins: usize,
}

impl Bounds {
    /// The constants in a `.cfg` file.
    pub fn parse(model: &str) -> Option<Self> {
        Some(Bounds {
            archivers: upto(model, "Archivers")?,
            lives: number(model, "Lives")?,
            epochs: upto(model, "Epochs")?,
            numbers: upto(model, "Numbers")?,
            end: number(model, "End")?,
            uploads: number(model, "Uploads")?,
            kept: number(model, "Kept")?,
            prunes: number(model, "Prunes")?,
            pins: number(model, "Pins")?,
        })
    }

    fn archive(&self, s: &State, x: usize, to: &mut impl FnMut(&'static str, Option<State>)) {
        if s.told.lives < self.lives {
            to("Start", s.clone().start(x));
        }
        to("Claimed", s.clone().claimed(x));
        to("Join", s.clone().join(x));
        to("Joined", s.clone().joined(x));
        to("Upload", s.clone().upload(x, self.uploads));
        to("Acknowledged", s.clone().acknowledged(x));
        (1..=s.archivers[x].acked).for_each(|count| to("Publish", s.clone().publish(x, count)));
        to("Published", s.clone().published(x));
        to("Check", s.clone().check(x));
        (1..=self.numbers).for_each(|number| to("DeleteOld", s.clone().delete_old(x, number, self.kept)));
        to("Kill", s.clone().kill(x));
    }

    fn prune_and_pin(&self, s: &State, to: &mut impl FnMut(&'static str, Option<State>)) {
        let highest = s.store.highest();
        for part in &highest.parts {
            if s.told.prunes < self.prunes {
                to("BeginPrune", s.clone().begin_prune(part.from));
            }
            if s.told.pinned < self.pins {
                to("BeginPin", s.clone().begin_pin(part.from));
            }
        }
        to("Pruned", s.clone().pruned());
        if matches!(s.prune, Other::Sweeping(..)) {
            s.store.parts.iter().for_each(|part| to("Sweep", s.clone().sweep(*part)));
        }
        to("EndPrune", s.clone().end_prune());
        to("Pinned", s.clone().pinned());
    }
}

impl Model for Bounds {
    type State = State;

    fn first(&self) -> State {
        State::new(self.archivers, self.epochs, self.numbers)
    }

    fn steps(&self, s: &State, visit: &mut dyn FnMut(&'static str, State)) {
        let mut to = |action, state: Option<State>| {
            if let Some(state) = state {
                visit(action, state);
            }
        };
        (0..self.archivers).for_each(|x| self.archive(s, x, &mut to));
        s.store.wire.iter().for_each(|put| to("Deliver", s.clone().deliver(put)));
        if s.log < self.end {
            to("Grow", Some(State { log: s.log + 1, ..s.clone() }));
        }
        self.prune_and_pin(s, &mut to);
    }

    fn broken(state: &State) -> Option<&'static str> {
        PROMISES.iter().find(|(_, holds)| !holds(state)).map(|(name, _)| *name)
    }
}

/// A promise: its name, and whether it holds in a state.
type Promise = (&'static str, fn(&State) -> bool);

const PROMISES: [Promise; 6] = [
    ("OneWriter", |s| s.store.highest().epoch == s.told.epoch),
    ("PartsFollow", |s| s.store.manifests.iter().flatten().all(|manifest| parts_follow(manifest))),
    ("NamedIsThere", |s| s.store.highest().parts.iter().all(|part| s.store.parts.contains(part))),
    ("ReportedIsArchived", |s| s.told.reported <= s.store.highest().end()),
    ("ReportNeverGoesBack", |s| !s.told.back),
    ("PinnedIsKept", |s| {
        let highest = s.store.highest();
        s.told.pins.iter().all(|pin| highest.pins.contains(pin) && highest.start <= *pin)
    }),
];

fn parts_follow(manifest: &Manifest) -> bool {
    manifest.parts.windows(2).all(|pair| pair[0].to == pair[1].from)
        && manifest.parts.first().is_none_or(|part| part.from == manifest.start)
}
