//! What the housekeeper has to do, and in which order.
//!
//! Cuts and names come first, because they are quick; then the spare that a rotation waits for; then removals, oldest
//! first; then a spare that is only wanted, and zeros for it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::pins::Pins;
use crate::chunk::{BLOCK, ChunkFile, Cut};
use crate::error::Error;
use crate::storage::StorageFile;

/// A file that is ready to become a chunk.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) handle: Arc<dyn StorageFile>,
    /// Bytes of it that have their space.
    pub(crate) allocated: u64,
    /// Zeros were written up to here.
    pub(crate) zeroed: u64,
    /// Whether the file may have bytes of an earlier chunk.
    pub(crate) earlier_life: bool,
}

impl Spare {
    /// Zeros may be written up to here.
    pub(super) fn zeros_end(&self) -> u64 {
        if self.earlier_life { 0 } else { self.allocated / BLOCK * BLOCK }
    }
}

/// What is to be done, and what the others wait for.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// The ends of sealed chunks, to be cut off.
    pub(super) cuts: VecDeque<Cut>,
    /// A new chunk's name is to be made durable.
    pub(super) name_unsynced: bool,
    /// Spares that an earlier process left.
    pub(super) leftovers: Vec<PathBuf>,
    pub(super) removals: VecDeque<Arc<ChunkFile>>,
    pub(super) pins: Pins,
    /// The names that the file of the first may have while its removal is under way.
    pub(super) moving: Option<[PathBuf; 2]>,
    /// The first removal failed; none is tried before the next occasion.
    pub(super) stalled: bool,
    /// A failed removal that no call has returned yet.
    pub(super) removal_error: Option<Error>,
    pub(super) spares: VecDeque<Spare>,
    /// A rotation is near, or waits.
    pub(super) spare_wanted: bool,
    /// A rotation waits for it.
    pub(super) spare_awaited: bool,
    /// Attempts started to make a spare.
    pub(super) attempts: u64,
    /// Which of them failed last, and why.
    pub(super) spare_error: Option<(u64, Error)>,
    /// A piece of zeros is due.
    pub(super) zeros_due: bool,
    /// The next spare is getting a piece of zeros, and is not among the spares meanwhile.
    pub(super) zeroing: bool,
    /// The disk had no space for zeros, so none are written any more.
    pub(super) zeros_refused: bool,
    pub(super) busy: bool,
    pub(super) closed: bool,
}

/// One of them.
pub(super) enum Job {
    Cut(Cut),
    SyncNames,
    Prepare(PathBuf),
    Remove(Arc<ChunkFile>),
    Make,
    Zero(Spare),
}

impl Jobs {
    pub(super) fn next_job(&mut self) -> Option<Job> {
        // First of all: quickly done, and a cut must not come after its chunk is removed, and its file used again.
        if let Some(cut) = self.cuts.pop_front() {
            return Some(Job::Cut(cut));
        }
        if std::mem::take(&mut self.name_unsynced) {
            return Some(Job::SyncNames);
        }
        if let Some(path) = self.leftovers.pop() {
            return Some(Job::Prepare(path));
        }
        let awaited = std::mem::take(&mut self.spare_awaited);
        // Before removals, which may be many: the appender waits.
        if awaited && self.spares.is_empty() && !self.closed {
            self.spare_wanted = false;
            self.attempts += 1;
            return Some(Job::Make);
        }
        if let Some(chunk) = self.next_removal() {
            return Some(Job::Remove(chunk.clone()));
        }
        let make = self.spare_wanted && self.spares.is_empty() && !self.closed;
        self.spare_wanted = false;
        self.attempts += u64::from(make);
        if make {
            return Some(Job::Make);
        }
        // Between two pieces, whoever waits for the spare gets it.
        let zero = std::mem::take(&mut self.zeros_due) && !awaited && !self.closed && !self.zeros_refused;
        self.spares.front().filter(|spare| zero && spare.zeroed < spare.zeros_end())?;
        self.zeroing = true;
        self.spares.pop_front().map(Job::Zero)
    }

    /// The removal that can be tried now.
    pub(super) fn next_removal(&self) -> Option<&Arc<ChunkFile>> {
        self.removals.front().filter(|chunk| !self.stalled && !self.pins.keep(chunk.id()))
    }

    /// Removals that wait for pinned readers.
    pub(super) fn pinned_removals(&self) -> usize {
        self.removals.len() - self.removals.partition_point(|chunk| !self.pins.keep(chunk.id()))
    }

    pub(super) fn is_idle(&self) -> bool {
        let is_tidy = self.cuts.is_empty() && !self.name_unsynced && self.leftovers.is_empty();
        let wants_spare = self.spare_wanted || self.zeros_due;
        !self.busy && is_tidy && self.next_removal().is_none() && !wants_spare
    }

    /// A panic ended a job: wakes its waiters with an error.
    pub(super) fn fail(&mut self, error: Error) {
        self.stalled = true;
        self.spare_error = Some((self.attempts, error.clone()));
        self.removal_error.get_or_insert(error);
    }

    /// Tries again the removals and spares that failed.
    pub(super) fn retry(&mut self) {
        self.stalled = false;
    }
}
