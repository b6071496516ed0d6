//! The promises of durability.md, as `Log.tla` has them.

use crate::disk::SPARE;
use crate::reading::Ending;
use crate::{Entry, Frame, Pc, RemovalStep, State};

/// A promise: its name, and whether it holds in a state.
pub(crate) type Promise = (&'static str, fn(&State) -> bool);

/// All of them.
pub const PROMISES: [Promise; 9] = [
    ("AcknowledgedIsDurable", |s| s.w.pc != Pc::Judged || s.last_found() >= s.h.acked),
    ("RecoveredIsPrefix", |s| {
        s.w.pc != Pc::Judged || s.found().all(|(n, frame)| s.h.log.get(n - 1) == frame)
    }),
    ("NoBatchIsTorn", |s| {
        s.w.pc != Pc::Judged
            || s.found().last().is_none_or(|(_, frame)| frame.is_some_and(|frame| !frame.more()))
    }),
    ("NoCrashIsDamage", |s| s.w.pc != Pc::Refused),
    ("RemovedIsRemoved", |s| s.w.pc != Pc::Judged || s.first_found() >= s.h.first),
    ("RemovedForAReason", |s| {
        s.w.pc != Pc::Judged
            || s.h.removal.step != RemovalStep::Asked
            || s.first_found() < s.h.removal.next
            || s.last_found() >= s.h.removal.asked
    }),
    ("RecoveredIsDurable", |s| s.w.pc != Pc::Opened || s.is_all_durable()),
    ("RecoveryIsIdempotent", |s| s.w.pc != Pc::Opened || s.opens_to_the_same()),
    ("NamesAreUnique", State::has_unique_names),
];

impl State {
    /// The promises that don't hold.
    pub fn broken(&self) -> Option<&'static str> {
        PROMISES.iter().find(|(_, holds)| !holds(self)).map(|(name, _)| *name)
    }

    /// The entries that an open finds.
    pub fn found(&self) -> impl Iterator<Item = (Entry, Option<&Frame>)> {
        let frame = |n| self.holder(n).map(|(f, place)| self.at(f, place));
        (self.first_found()..=self.last_found()).map(move |n| (n, frame(n)))
    }

    fn is_all_durable(&self) -> bool {
        let is_name_durable = |f: &usize| self.names.0[*f].disk.len() == 1;
        let is_entry_durable =
            |n| self.holder(n).is_some_and(|(f, place)| self.files[f].disk[place].len() == 1);
        self.chunks().iter().chain(&self.spares()).all(is_name_durable)
            && (self.first_found()..=self.last_found()).all(is_entry_durable)
    }

    /// A second open after the first finds the same, and nothing to repair but an end.
    fn opens_to_the_same(&self) -> bool {
        self.is_sound()
            && self.unnamed().is_empty()
            && self.last_found() >= self.h.acked
            && self.newest().is_none_or(|f| matches!(self.ending(f), Ending::Marked | Ending::Sealed))
    }

    /// No crash leaves one name to two chunks.
    fn has_unique_names(&self) -> bool {
        let mut chunks: Vec<i64> =
            self.names.0.iter().flat_map(|name| &name.disk).copied().filter(|name| *name > SPARE).collect();
        let count = chunks.len();
        chunks.sort_unstable();
        chunks.dedup();
        chunks.len() == count
    }
}
