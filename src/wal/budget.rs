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
use crate::format::SEAL_LEN;
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

    /// Whether a log that ends at `end` is over the soft budget.
    pub(super) fn is_over_soft(&self, closed: Closed, end: u64) -> bool {
        self.used(closed, end) > self.soft
    }

    /// Takes the seal of a chunk into account that is closed from now on.
    pub(super) fn note_seal(&mut self) {
        self.append_limit = self.append_limit.saturating_sub(SEAL_LEN);
    }

    fn used(&self, closed: Closed, end: u64) -> u64 {
        end.saturating_sub(closed.oldest).saturating_add(closed.seals()).saturating_add(self.ahead)
    }

    /// The global offset at which the log takes all of the hard budget.
    fn limit(&self, closed: Closed) -> u64 {
        let rest = self.hard.saturating_sub(self.ahead).saturating_sub(closed.seals());
        closed.oldest.saturating_add(rest)
    }
}

/// The files of closed chunks that count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    /// The global offset at which the oldest one starts.
    pub(super) oldest: u64,
    pub(super) count: usize,
}

impl Closed {
    /// The bytes of their seals, which have no offsets.
    fn seals(self) -> u64 {
        SEAL_LEN.saturating_mul(self.count as u64)
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
    pub(crate) fn check_budget(&mut self) -> Result<()> {
        if self.end() < self.budget.append_limit { Ok(()) } else { self.look_at_budget() }
    }

    /// As [`check_budget`](Self::check_budget), with removals taken into account that the limit doesn't know yet.
    #[cold]
    fn look_at_budget(&mut self) -> Result<()> {
        if self.budget.hard == u64::MAX || self.budget.is_ignored {
            return Ok(());
        }
        // As on a full disk: removals under way may make room. Those that still wait for the worker are seen only then.
        self.shared.housekeeper.retry_removals();
        self.hand_over.wait_for_removals();
        let (closed, end) = (self.closed_files(), self.end());
        self.budget.append_limit = self.budget.limit(closed);
        if end < self.budget.append_limit {
            return Ok(());
        }
        Err(Error::OverBudget {
            path: self.config.dir.clone(),
            used: self.budget.used(closed, end),
            budget: self.budget.hard,
            held_by: self.pins.oldest_before(self.open_chunk_id().offset()),
        })
    }

    /// The closed chunks whose files are there.
    fn closed_files(&self) -> Closed {
        let (removed, removals) = self.shared.housekeeper.removals();
        let drained = || self.drained.front().map(|file| file.id());
        let oldest = removed.or_else(drained).map_or_else(|| self.view.start(), |id| id.offset());
        let closed = self.view.chunks.read().closed.len();
        Closed { oldest, count: removals + self.drained.len() + closed }
    }
}
