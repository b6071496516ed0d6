//! The steps of `Log.tla` within a model's bounds.

use std::collections::BTreeSet;

use crate::disk::ABSENT;
use crate::explore::{Model, constant, flag, number};
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
        Some(Bounds {
            files: constant(model, "Files")?.split(',').count(),
            last: number(model, "Last")?,
            entries: number(model, "Entries")?,
            downs: number(model, "Downs")?,
            crashes: flag(model, "Crashes")?,
            faults: number(model, "Faults")?,
            batches: flag(model, "Batches")?,
            removals: flag(model, "Removals")?,
            closing: flag(model, "Closing")?,
        })
    }
}

impl Model for Bounds {
    type State = State;

    fn first(&self) -> State {
        State::new(self.files, self.last)
    }

    fn steps(&self, state: &State, visit: &mut dyn FnMut(&'static str, State)) {
        self.all_steps(state, visit);
    }

    fn broken(state: &State) -> Option<&'static str> {
        state.broken()
    }
}

impl Bounds {
    /// Calls `visit` with every step from a state, and its action.
    fn all_steps(&self, s: &State, visit: &mut dyn FnMut(&'static str, State)) {
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
