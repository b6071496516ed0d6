//! The log's budget on the disk.
//!
//! ```text
//! chunk files, the oldest one that is not removed yet ... the last record │ reserved ahead, spares │
//! └──────────────────────────────── used ──────────────────────────────────────────────────────────┘
//! ```
//!
//! What is reserved ahead and the spares count as their most, so that the budget holds whatever they are at the moment.

use super::ChunkedWal;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::record::WalTypes;

/// The budget of an open log.
#[derive(Debug)]
pub(super) struct Budget {
    soft: u64,
    hard: u64,
    /// The open chunk's space after its last record, and spares, at their most.
    ahead: u64,
    /// Actions may be appended while the log ends before this global offset. Lower than it need be until it is looked at.
    append_limit: u64,
    is_ignored: bool,
}

impl Budget {
    pub(super) fn new(config: &Config) -> Self {
        let Config { soft_budget: soft, hard_budget: hard, .. } = *config;
        let append_limit = if hard == u64::MAX { u64::MAX } else { 0 };
        Budget { soft, hard, ahead: config.bytes_ahead(), append_limit, is_ignored: false }
    }

    /// Whether a log whose oldest file starts at `oldest` and that ends at `end` is over the soft budget.
    pub(super) fn is_over_soft(&self, oldest: u64, end: u64) -> bool {
        self.used(oldest, end) > self.soft
    }

    fn used(&self, oldest: u64, end: u64) -> u64 {
        end.saturating_sub(oldest).saturating_add(self.ahead)
    }

    /// The end of a log whose oldest file starts at `oldest`, and which takes all of the hard budget.
    fn limit(&self, oldest: u64) -> u64 {
        oldest.saturating_add(self.hard.saturating_sub(self.ahead))
    }
}

impl<W: WalTypes> ChunkedWal<W> {
    /// Lets appends exceed the [hard budget](Config::hard_budget), until the next call with `false`. For actions that
    /// must be written before space can be given back, for example the purge of a raft log.
    ///
    /// Checkpoints and rotations are never refused for the budget.
    pub fn ignore_budget(&mut self, ignore: bool) {
        self.budget.is_ignored = ignore;
    }

    /// Refuses an action once the log takes all of its hard budget.
    #[inline]
    pub(super) fn check_budget(&mut self) -> Result<()> {
        if self.end() < self.budget.append_limit { Ok(()) } else { self.look_at_budget() }
    }

    /// As [`check_budget`](Self::check_budget), with removals taken into account that the limit doesn't know yet.
    #[cold]
    fn look_at_budget(&mut self) -> Result<()> {
        if self.budget.hard == u64::MAX || self.budget.is_ignored {
            return Ok(());
        }
        loop {
            let (oldest, end) = (self.oldest_file(), self.end());
            self.budget.append_limit = self.budget.limit(oldest);
            if end < self.budget.append_limit {
                return Ok(());
            }
            // As on a full disk: removals under way may make room.
            if !self.hand_over.wait_for_removals() {
                return Err(Error::OverBudget {
                    path: self.config.dir.clone(),
                    used: self.budget.used(oldest, end),
                    budget: self.budget.hard,
                    held_by: self.pins.oldest(),
                });
            }
        }
    }

    /// The global offset at which the oldest chunk starts whose file is there.
    fn oldest_file(&self) -> u64 {
        let removed = self.shared.housekeeper.oldest_removal();
        let drained = || self.drained.front().map(|file| file.id());
        removed.or_else(drained).map_or_else(|| self.view.start(), |id| id.offset())
    }
}
