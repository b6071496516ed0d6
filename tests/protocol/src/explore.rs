//! All steps from a state, and all states within a model's bounds.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::disk::ABSENT;
use crate::opening::Counts;
use crate::{FileId, Pc, RemovalStep, State};

/// The constants of a model.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "named as in Log.tla")]
pub struct Bounds {
    pub files: usize,
    pub last: usize,
    pub entries: usize,
    pub downs: usize,
    pub crashes: bool,
    pub faults: usize,
    pub batches: bool,
    pub removals: bool,
    pub closing: bool,
}

impl Bounds {
    /// The constants in a `.cfg` file.
    pub fn parse(model: &str) -> Option<Self> {
        let value = |name: &str| {
            let line =
                model.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().strip_prefix('='));
            line.map(str::trim)
        };
        let number = |name| value(name)?.parse().ok();
        let flag = |name| Some(value(name)? == "TRUE");
        Some(Bounds {
            files: value("Files")?.split(',').count(),
            last: number("Last")?,
            entries: number("Entries")?,
            downs: number("Downs")?,
            crashes: flag("Crashes")?,
            faults: number("Faults")?,
            batches: flag("Batches")?,
            removals: flag("Removals")?,
            closing: flag("Closing")?,
        })
    }
}

/// The actions in `Log.tla`.
pub fn actions_of(spec: &str) -> Vec<&str> {
    let mut names = vec!["Kill", "Crash"];
    for part in ["\nRunning ==", "\nHousekeeping ==", "\nOpeningOrClosing =="] {
        let (_, part) = spec.split_once(part).unwrap_or_default();
        let (part, _) = part.split_once("\n\n").unwrap_or_default();
        names.extend(part.split_whitespace().filter(|word| *word != "\\/"));
    }
    names
}

/// The outcome of [`explore`].
#[derive(Debug, Default)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// How often each action was taken.
    pub actions: Counts,
    /// The first promise that doesn't hold, and the state.
    pub broken: Option<(&'static str, State)>,
}

/// Looks at every state within the bounds, the nearest first; stops at a promise that is broken.
pub fn explore(bounds: &Bounds) -> Explored {
    explore_with(bounds, |_| None)
}

/// As [`explore`], where each state may have one step more: an error in the protocol.
pub fn explore_with(bounds: &Bounds, error: impl Fn(&State) -> Option<State>) -> Explored {
    let mut found = Explored::default();
    let mut seen = HashSet::new();
    let mut layer = vec![State::new(bounds.files, bounds.last)];
    seen.insert(fingerprint(&layer[0]));
    while !layer.is_empty() && found.broken.is_none() {
        let mut next = Vec::new();
        for state in layer {
            found.states += 1;
            if let Some(promise) = state.broken() {
                found.broken = Some((promise, state));
                break;
            }
            let mut taken = Vec::new();
            let mut visit = |action, state| {
                let step = (action, fingerprint(&state));
                if seen.insert(step.1) {
                    next.push(state);
                }
                // Two ways to fail may lead to the same state.
                if !taken.contains(&step) {
                    *found.actions.entry(action).or_default() += 1;
                    taken.push(step);
                }
            };
            bounds.steps(&state, &mut visit);
            if let Some(wrong) = error(&state) {
                visit("the error", wrong);
            }
        }
        layer = next;
    }
    found
}

/// Two states have the same one by a chance of about one in 10⁷ in a model of a million states.
fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

impl Bounds {
    /// Calls `visit` with every step from a state, and its action.
    fn steps(&self, s: &State, mut visit: impl FnMut(&'static str, State)) {
        let mut to = |action, state: Option<State>| {
            if let Some(state) = state {
                visit(action, state);
            }
        };
        if s.h.faults < self.faults {
            fail(s, &mut to);
        }
        match s.w.pc {
            Pc::Up => {
                self.append(s, &mut to);
                work(s, &mut to);
                if self.closing {
                    to("Close", s.clone().close());
                }
                self.keep_house(s, &mut to);
            }
            Pc::Closing | Pc::Closed => {
                to("SyncClose", s.clone().sync_close());
                to("Exit", s.clone().exit());
                self.keep_house(s, &mut to);
            }
            _ => open(s, &mut to),
        }
        if s.h.downs < self.downs {
            to("Kill", s.clone().kill());
            if self.crashes {
                s.crashes().into_iter().for_each(|state| to("Crash", Some(state)));
            }
        }
    }

    fn append(&self, s: &State, to: &mut impl FnMut(&'static str, Option<State>)) {
        let (len, head) = (s.h.log.len(), s.last_head());
        let id = |n: usize| (10 * s.h.downs + n) as u64;
        let record = |s: &State, more| s.record(id(s.h.log.len() + 1), s.w.synced, more);
        let append = |s: &State, more| record(s, more).and_then(|record| s.clone().append(record));
        if len < self.entries && len + 1 - head < self.last {
            to("Append1", append(s, false));
        }
        if self.batches && len + 1 < self.entries && len + 2 - head < self.last {
            to("AppendBatch", append(s, true).and_then(|s| append(&s, false)));
        }
        if len < self.entries
            && let Some(file) = s.w.spares.first()
        {
            to("Rotate", s.clone().rotate(*file, id(len + 1), s.w.synced));
        }
        if self.removals {
            to("AskRemoval", s.clone().ask_removal(len));
        }
    }

    fn keep_house(&self, s: &State, to: &mut impl FnMut(&'static str, Option<State>)) {
        to("SyncNames", s.clone().sync_names());
        for (file, from) in &s.w.cuts {
            to("CutChunk", s.clone().cut_chunk(*file, *from));
        }
        let absent = (0..self.files).find(|f| s.names.0[*f].now == ABSENT);
        if s.w.spares.is_empty()
            && s.w.next.is_none()
            && let Some(file) = absent
        {
            to("MakeSpare", s.clone().make_spare(file));
        }
        if s.w.removal.step != RemovalStep::None {
            to("HandOverRemoval", s.clone().hand_over_removal());
            to("RenameRemoved", s.clone().rename_removed());
            to("RenameRemovedAgain", s.clone().rename_removed_again());
        }
        to("SyncMove", s.clone().sync_move());
        to("UndoSpare", s.clone().undo_spare());
    }
}

fn work(s: &State, to: &mut impl FnMut(&'static str, Option<State>)) {
    to("WriteNext", s.clone().write_next());
    to("Sync", s.clone().sync());
    to("WriteMark", s.clone().write_mark());
    to("WriteSeal", s.clone().write_seal());
    to("SyncSeal", s.clone().sync_seal());
    to("BeginChunk", s.clone().begin_chunk());
    to("SyncChunk", s.clone().sync_chunk());
    to("NameChunk", s.clone().name_chunk());
}

fn open(s: &State, to: &mut impl FnMut(&'static str, Option<State>)) {
    for file in s.unnamed() {
        to("AdoptHead", s.clone().adopt_head(file, &BTreeSet::from([0])));
    }
    to("AdoptName", s.clone().adopt_name());
    to("AdoptSync", s.clone().adopt_sync());
    to("Judge", s.clone().judge());
    to("RepairNames", s.clone().repair_names());
    let closed: Vec<FileId> = s.chunks();
    closed.into_iter().for_each(|file| to("CutMissed", s.clone().cut_missed(file)));
    to("RewriteRecords", s.clone().rewrite_records(&s.doubtful_places()));
    for ended in [s.clone().write_end(), s.clone().write_end_torn()] {
        to("WriteEnd", ended.map(|state| state.clone().cut_end().unwrap_or(state)));
    }
    to("SyncEnd", s.clone().sync_end());
    to("Return", s.clone().return_log());
}

/// The same steps where a sync fails.
fn fail(s: &State, to: &mut impl FnMut(&'static str, Option<State>)) {
    to("Sync", s.clone().sync_fails());
    to("SyncSeal", s.clone().sync_seal_fails());
    to("SyncChunk", s.clone().sync_chunk_fails());
    to("SyncClose", s.clone().sync_close_fails());
    to("SyncNames", s.clone().sync_names_fails());
    to("SyncMove", s.clone().sync_move_fails());
    for file in s.unnamed() {
        to("AdoptHead", s.clone().adopt_head_fails(file));
        to("AdoptHead", s.clone().adopt_names_fails());
    }
    to("AdoptSync", s.clone().adopt_sync_fails());
    to("RepairNames", s.clone().repair_names_fails());
    to("RewriteRecords", s.clone().rewrite_records_fails());
    to("SyncEnd", s.clone().sync_end_fails());
}
