//! `spec/Log.tla` once more, in Rust: the same states and the same steps, but fast, and as single functions that a run
//! of the real log can be held against (`traces/`).
//!
//! ```text
//! disk      frames, files, names: what is read, and what a crash may leave
//! reading   what a scan and an open conclude from them
//! running   the steps of the appender, the worker and the housekeeper
//! opening   crashes, and the steps of an open
//! promises  the invariants
//! bounds    all steps from a state, within a model's bounds
//! explore   all states of a model
//!
//! groups    spec/Groups.tla
//! archive   spec/Archive.tla
//! ```
//!
//! - A function that is named after an action of `Log.tla` returns the state after it, or `None` where the action's
//!   guards don't hold. Bounds of the model (how many entries, crashes, faults) are no guards: `bounds` has them.
//! - `spec/tests/models.rs` counts the states of both, and how often each action is taken: a difference is an error in
//!   one of them.
//! - No part of the log's code is used here, and the log uses no part of this.

pub mod archive;
mod bounds;
pub mod disk;
pub mod explore;
pub mod groups;
mod opening;
mod promises;
mod reading;
mod running;

use std::collections::BTreeSet;
use std::rc::Rc;

pub use self::bounds::Bounds;
pub use self::disk::{Crc, File, Frame, Name, Names};
pub use self::promises::PROMISES;

/// A file, by its number from 0. `Log.tla` counts from 1.
pub type FileId = usize;

/// An entry of the log, by its number from 1.
pub type Entry = usize;

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pc {
    /// There is none.
    #[default]
    Down,
    /// An open gives a chunk its name: its head is durable.
    Adopting,
    /// The chunk has its name, which is not durable.
    Adopted,
    /// An open has its verdict.
    Judged,
    /// An open has found damage.
    Refused,
    /// The names are durable.
    Named,
    /// The records are durable.
    Rewritten,
    /// A mark or a seal is written and not durable.
    Ending,
    /// An open has only to return.
    Opened,
    /// The log is open.
    Up,
    /// The closing mark is written and not durable.
    Closing,
    /// The closing mark is durable. The housekeeper may have work left.
    Closed,
    /// A write or a sync has failed.
    Failed,
}

/// How far the worker is with the open chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Stage {
    /// There is none.
    #[default]
    None,
    /// It takes records.
    Open,
    /// Its head is written, to a file with a spare's name.
    Unnamed,
    /// The same, and durable.
    Synced,
    /// It is the log's first or follows one without a process in between: its name is not durable yet.
    First,
    /// Its seal is written.
    Sealing,
    /// Its seal is durable.
    Sealed,
}

/// The lock on names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dir {
    /// Every name is durable.
    #[default]
    Durable,
    /// A new chunk's name is not.
    Pending,
    /// The housekeeper's change is not.
    Moving,
    /// A new file is given up, because the sync of its name has failed.
    Undoing,
}

/// A removal, of the oldest chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Removal {
    /// How far it is.
    pub step: RemovalStep,
    /// Everything up to this entry may be its reason.
    pub asked: Entry,
    /// The first entry that stays.
    pub next: Entry,
    /// The chunk's file.
    pub file: FileId,
}

/// How far a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RemovalStep {
    /// There is none.
    #[default]
    None,
    /// The program has asked for it.
    Asked,
    /// The housekeeper has it.
    HandedOver,
    /// The file has a spare's name, which is not durable.
    Renamed,
    /// The sync of that name has failed.
    Failed,
}

/// The process: `w` in `Log.tla`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Process {
    /// What it is doing.
    pub pc: Pc,
    /// The chunks, oldest first: file and first entry.
    pub live: Vec<(FileId, Entry)>,
    /// The last entry that is written.
    pub written: Entry,
    /// The last entry that is durable.
    pub synced: Entry,
    /// Whether a mark is after the last record.
    pub marked: bool,
    /// The worker, in the open chunk.
    pub stage: Stage,
    /// Whether the chunk to begin has no open chunk before it.
    pub first: bool,
    /// Whether there is no chunk to append to yet.
    pub unopened: bool,
    /// The file of the chunk to begin.
    pub next: Option<FileId>,
    /// The lock on names.
    pub dir: Dir,
    /// The file whose name the housekeeper changes, or an open.
    pub moving: Option<FileId>,
    /// The files that are offered to a rotation.
    pub spares: BTreeSet<FileId>,
    /// Those of them that were never a chunk.
    pub fresh: BTreeSet<FileId>,
    /// The removal under way.
    pub removal: Removal,
    /// Cuts that are due: file and first place to be cut.
    pub cuts: BTreeSet<(FileId, usize)>,
}

/// What the program was told, and counters: `h` in `Log.tla`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Told {
    /// What was appended; entry `n` is at `n - 1`.
    pub log: Rc<Vec<Frame>>,
    /// The last entry that was acknowledged.
    pub acked: Entry,
    /// The first entry that is not removed.
    pub first: Entry,
    /// The removal that was asked for last.
    pub removal: Removal,
    /// Crashes and kills so far.
    pub downs: usize,
    /// Syncs that have failed so far.
    pub faults: usize,
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The last place of a file.
    pub last: usize,
    /// The files' bytes.
    pub files: Vec<Rc<File>>,
    /// The files' names.
    pub names: Names,
    /// The process.
    pub w: Process,
    /// The program.
    pub h: Told,
}

impl State {
    /// An empty disk with room for `files` files of `last + 1` places.
    pub fn new(files: usize, last: usize) -> Self {
        State {
            last,
            files: (0..files).map(|_| Rc::new(File::new(last))).collect(),
            names: Names((0..files).map(|_| Rc::new(Name::absent())).collect()),
            w: Process::default(),
            h: Told { first: 1, ..Told::default() },
        }
    }

    /// What of the log is left if the process ends: what was only in memory is gone, and no recovery may find it.
    fn forget_unwritten(&mut self) {
        if matches!(self.w.pc, Pc::Up | Pc::Closing | Pc::Closed) && self.w.written < self.h.log.len() {
            Rc::make_mut(&mut self.h.log).truncate(self.w.written);
        }
    }

    fn file(&mut self, file: FileId) -> &mut File {
        Rc::make_mut(&mut self.files[file])
    }

    /// The first failure is final.
    fn fail(&mut self) {
        self.forget_unwritten();
        self.h.faults += 1;
        self.w = Process { pc: Pc::Failed, ..Process::default() };
    }
}
