//! `spec/Archive.tla` once more, in Rust.
//!
//! ```text
//! mod         what is in the store and on the wire, and what each process knows
//! archiver    the steps of an archiver
//! others      a prune and a pin
//! bounds      all steps from a state, and the promises
//! ```

mod archiver;
mod bounds;
mod others;

use std::collections::BTreeSet;
use std::rc::Rc;

pub use self::bounds::Bounds;

/// The bytes of the log from one offset to another, uploaded by the archiver of an epoch. Its name is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named as in Archive.tla")]
pub struct Part {
    pub from: usize,
    pub to: usize,
    pub epoch: usize,
}

/// Who has made a manifest, or claimed an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// Nobody: of what doesn't exist.
    None,
    /// An archiver, in one of its lives.
    Archiver(usize),
    /// A prune.
    Prune,
    /// A pin.
    Pin,
}

/// A manifest. Without a number there is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named as in Archive.tla")]
pub struct Manifest {
    pub number: usize,
    pub epoch: usize,
    pub by: By,
    pub start: usize,
    pub parts: Vec<Part>,
    pub pins: BTreeSet<usize>,
}

impl Manifest {
    fn none() -> Self {
        Manifest { number: 0, epoch: 0, by: By::None, start: 0, parts: Vec::new(), pins: BTreeSet::new() }
    }

    fn following(&self, epoch: usize, by: By) -> Self {
        Manifest { number: self.number + 1, epoch, by, ..self.clone() }
    }

    /// The end of the log that it has.
    pub fn end(&self) -> usize {
        self.parts.last().map_or(0, |part| part.to)
    }
}

/// A request to the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Put {
    /// Claims an epoch, by create-if-absent.
    Epoch(usize, By),
    /// Puts a part.
    Part(Part),
    /// Makes a manifest, by create-if-absent.
    Manifest(Rc<Manifest>),
}

/// What is in the store, and all that was ever sent to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "named as in Archive.tla")]
pub struct Store {
    pub epochs: Vec<Option<By>>,
    pub manifests: Vec<Option<Rc<Manifest>>>,
    pub parts: BTreeSet<Part>,
    pub wire: BTreeSet<Rc<Put>>,
}

impl Store {
    fn send(&mut self, put: Put) {
        self.wire.insert(Rc::new(put));
    }

    fn claimed(&self, epoch: usize) -> Option<By> {
        self.epochs.get(epoch - 1).copied().flatten()
    }

    /// The manifest with a number.
    fn manifest(&self, number: usize) -> Option<&Rc<Manifest>> {
        self.manifests.get(number - 1)?.as_ref()
    }

    /// Whether the number of a manifest that was sent is taken: by this one or another, which may be deleted since.
    fn is_answered(&self, sent: &Manifest) -> bool {
        self.manifest(sent.number).is_some() || sent.number < self.highest().number
    }

    /// The manifest with the highest number; one without a number if there is none.
    pub fn highest(&self) -> Rc<Manifest> {
        let highest = self.manifests.iter().rev().flatten().next();
        highest.cloned().unwrap_or_else(|| Rc::new(Manifest::none()))
    }
}

/// What an archiver is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as in Archive.tla")]
pub enum Pc {
    Off,
    Claiming,
    Claimed,
    Joining,
    Up,
    Publishing,
    Published,
}

/// An archiver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Archiver {
    /// What it is doing.
    pub pc: Pc,
    /// Its life.
    pub by: By,
    /// Its epoch.
    pub epoch: usize,
    /// The manifest that the next one follows on.
    pub base: Rc<Manifest>,
    /// How far the log was read.
    pub read: usize,
    /// The parts that were put and are not published.
    pub sent: Vec<Part>,
    /// How many of these are acknowledged.
    pub acked: usize,
    /// The new parts in `next`.
    pub new: Vec<Part>,
    /// The manifest that was sent.
    pub next: Rc<Manifest>,
    /// `archived_upto`.
    pub reported: usize,
}

impl Archiver {
    fn off() -> Self {
        let none = Rc::new(Manifest::none());
        Archiver {
            pc: Pc::Off,
            by: By::None,
            epoch: 0,
            base: none.clone(),
            read: 0,
            sent: Vec::new(),
            acked: 0,
            new: Vec::new(),
            next: none,
            reported: 0,
        }
    }
}

/// What a prune or a pin is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Other {
    /// Nothing.
    Idle,
    /// It has sent a manifest, with its change at this offset.
    Proposed(usize, Rc<Manifest>),
    /// A prune deletes what this manifest doesn't name.
    Sweeping(usize, Rc<Manifest>),
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store.
    pub store: Store,
    /// The durable end of the log.
    pub log: usize,
    /// The archivers.
    pub archivers: Vec<Archiver>,
    /// A prune.
    pub prune: Other,
    /// A pin.
    pub pin: Other,
    /// What was reported, and counters.
    pub told: Told,
}

/// What was reported, and counters: `h` in `Archive.tla`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Told {
    /// The latest epoch of a manifest that was the highest.
    pub epoch: usize,
    /// The highest offset that was reported as archived.
    pub reported: usize,
    /// Whether an archiver has reported less than before.
    pub back: bool,
    /// Offsets whose pins were acknowledged.
    pub pins: BTreeSet<usize>,
    /// Archivers started so far.
    pub lives: usize,
    /// Prunes so far.
    pub prunes: usize,
    /// Pins so far.
    pub pinned: usize,
}

impl State {
    /// An empty store, with room for so many archivers, epochs and manifests.
    pub fn new(archivers: usize, epochs: usize, numbers: usize) -> Self {
        State {
            store: Store { epochs: vec![None; epochs], manifests: vec![None; numbers], ..Store::default() },
            log: 0,
            archivers: vec![Archiver::off(); archivers],
            prune: Other::Idle,
            pin: Other::Idle,
            told: Told::default(),
        }
    }

    /// Whether a manifest may have this number, within the bounds of the model.
    fn has_number(&self, number: usize) -> bool {
        number <= self.store.manifests.len()
    }

    /// `Deliver`
    pub fn deliver(mut self, put: &Put) -> Option<State> {
        match put {
            Put::Epoch(epoch, by) => {
                let claim = self.store.epochs.get_mut(epoch - 1).filter(|claim| claim.is_none())?;
                *claim = Some(*by);
            }
            Put::Part(part) => {
                if !self.store.parts.insert(*part) {
                    return None;
                }
            }
            Put::Manifest(manifest) => {
                if manifest.number > self.store.highest().number {
                    self.told.epoch = self.told.epoch.max(manifest.epoch);
                }
                let made = self.store.manifests.get_mut(manifest.number - 1);
                *made.filter(|made| made.is_none())? = Some(manifest.clone());
            }
        }
        Some(self)
    }
}
