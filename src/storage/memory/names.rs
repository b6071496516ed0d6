//! One directory: its names now, and after a crash.
//!
//! - `current` is what programs see; `durable` is certainly on the medium.
//! - `pending` are the changes between the two, in order. A crash keeps or loses each by itself.
//! - A rename is one change, as on a journaling file system: kept or lost, never half of it.
//! - A *lied* change is one whose sync failed: later syncs don't write it, unless one of its names is
//!   changed again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

/// Names, and the nodes that they lead to.
pub(super) type Names = BTreeMap<OsString, u64>;

/// A change of names.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Add { name: OsString, id: u64 },
    Remove { name: OsString, id: u64 },
    Rename { from: OsString, to: OsString, id: u64 },
}

/// How much of a change a crash keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    All,
    Nothing,

    /// Of a rename: the new name was made, the old one stayed.
    BothNames,
}

impl Change {
    /// Applies the change if its names are still there, because a crash may have lost them.
    pub(super) fn apply(&self, names: &mut Names, kept: Kept) {
        if kept == Kept::Nothing {
            return;
        }
        match self {
            Self::Add { name, id } => {
                names.insert(name.clone(), *id);
            }
            Self::Remove { name, id } => {
                if names.get(name) == Some(id) {
                    names.remove(name);
                }
            }
            Self::Rename { from, to, id } => {
                if names.get(from) == Some(id) {
                    names.insert(to.clone(), *id);
                    if kept == Kept::All {
                        names.remove(from);
                    }
                }
            }
        }
    }

    fn id(&self) -> u64 {
        match self {
            Self::Add { id, .. } | Self::Remove { id, .. } | Self::Rename { id, .. } => *id,
        }
    }

    /// The names that it changes; a rename has two.
    fn names(&self) -> [&OsString; 2] {
        match self {
            Self::Add { name, .. } | Self::Remove { name, .. } => [name, name],
            Self::Rename { from, to, .. } => [from, to],
        }
    }

    fn is_about(&self, wanted: &OsString) -> bool {
        self.names().contains(&wanted)
    }
}

/// A directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    current: Names,
    durable: Names,
    pending: Vec<(u64, Change)>,

    /// The pending changes that later syncs don't write.
    lied: BTreeSet<u64>,
}

impl Directory {
    /// A directory whose names are all on the medium.
    pub(super) fn durable(names: Names) -> Self {
        Self { current: names.clone(), durable: names, ..Self::default() }
    }

    pub(super) fn current(&self) -> &Names {
        &self.current
    }

    pub(super) fn durable_names(&self) -> &Names {
        &self.durable
    }

    pub(super) fn pending(&self) -> &[(u64, Change)] {
        &self.pending
    }

    pub(super) fn change(&mut self, op: u64, change: Change) {
        change.apply(&mut self.current, Kept::All);
        // A sync also writes changes of the same names, and the changes that these build on.
        let mut names = change.names().map(OsString::clone).to_vec();
        for (op, earlier) in self.pending.iter().rev() {
            if earlier.names().iter().any(|name| names.contains(name)) {
                names.extend(earlier.names().map(OsString::clone));
                self.lied.remove(op);
            }
        }
        self.pending.push((op, change));
    }

    pub(super) fn sync(&mut self) {
        let (durable, lied) = (&mut self.durable, &self.lied);
        self.pending.retain(|(op, change)| {
            let stays = lied.contains(op);
            if !stays {
                change.apply(durable, Kept::All);
            }
            stays
        });
    }

    /// A sync that fails: pending changes become clean, but are not on the medium.
    pub(super) fn sync_lies(&mut self) {
        self.lied.extend(self.pending.iter().map(|(op, _)| *op));
    }

    /// Makes everything durable, lied changes too.
    pub(super) fn settle(&mut self) {
        *self = Self::durable(std::mem::take(&mut self.current));
    }

    /// Sets or removes a name on the medium at once; pending changes up to the last one of that name
    /// become durable with it.
    pub(super) fn put(&mut self, name: OsString, id: Option<u64>) {
        let about = self.pending.iter().rposition(|(_, change)| change.is_about(&name));
        for (_, change) in self.pending.drain(..about.map_or(0, |last| last + 1)) {
            change.apply(&mut self.durable, Kept::All);
        }
        for names in [&mut self.current, &mut self.durable] {
            match id {
                Some(id) => names.insert(name.clone(), id),
                None => names.remove(&name),
            };
        }
    }

    /// Every node that a name here leads to or, after some crash, may lead to.
    pub(super) fn reachable(&self) -> impl Iterator<Item = u64> {
        let pending = self.pending.iter().map(|(_, change)| change.id());
        self.current.values().chain(self.durable.values()).copied().chain(pending)
    }
}
