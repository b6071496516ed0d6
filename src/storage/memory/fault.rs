//! Operations, and the faults that may happen to them.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// An operation that a storage was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Counts the operations that change or sync something, from 0. An operation that only looks has
    /// the number of the next counted one.
    pub number: u64,

    /// The kind of operation.
    pub kind: OpKind,

    /// The target; for a rename, the old name. A file that has no name any more is `(unlinked)`.
    pub path: PathBuf,
}

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Makes a file, also when taking a lock makes it.
    Create,
    /// Writes to a file.
    Write,
    /// Makes a file's bytes durable.
    Sync,
    /// Reserves space.
    Allocate,
    /// Cuts or extends a file.
    SetLen,
    /// Renames a file.
    Rename,
    /// Removes a name.
    Remove,
    /// Makes a directory's names durable.
    SyncDir,
    /// Makes one directory.
    CreateDir,
    /// Opens a file; changes nothing.
    Open,
    /// Reads from a file; changes nothing.
    Read,
    /// Asks for a file's size, or where its data is; changes nothing.
    Len,
    /// Lists or resolves a directory; changes nothing.
    List,
    /// Takes a lock; changes nothing.
    Lock,
}

impl OpKind {
    /// Whether it changes or syncs something, and so is counted.
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Len | Self::List | Self::Lock)
    }
}

/// A fault that will happen.
///
/// ```
/// # use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind};
/// let disk = MemoryStorage::default();
/// disk.fail(Fault::new(OpKind::Sync, 2, FaultHow::Io)); // the third sync from now
/// disk.fail(Fault::any(7, FaultHow::NoSpace).sticky()); // every change from the eighth on
/// ```
#[derive(Debug, Clone)]
pub struct Fault {
    /// The operations to count; `None`: all that change or sync something.
    pub kind: Option<OpKind>,

    /// How many of them succeed before the fault.
    pub nth: u64,

    /// The kind of fault.
    pub how: FaultHow,

    /// Whether it happens to all later operations, too.
    pub sticky: bool,
}

/// The effect of a fault. An operation that can't fail in this way (a short sync) succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultHow {
    /// `EIO`, and nothing is done.
    Io,

    /// `ENOSPC`, and nothing is done.
    NoSpace,

    /// `EINTR`, and nothing is done.
    Interrupted,

    /// An error of this kind, and nothing is done.
    Error(io::ErrorKind),

    /// The operation is done, and yet `EIO` is reported.
    DoneButIo,

    /// A read or write does at most this many bytes.
    Short(usize),

    /// A file's sync fails with `EIO`, once and for all: unsynced bytes are still read, but count as
    /// clean from now on, so that later syncs succeed without making them durable, unless their page is
    /// written again. Linux does this.
    ///
    /// The same for a directory: its names are still seen, and later syncs succeed without making them
    /// durable, unless one of them is changed again (for example renamed away and back).
    SyncLies,

    /// A listing leaves out an existing name: the `n`-th in order, counted around. Real file systems do
    /// this to a name that is renamed or removed during the listing.
    MissesName(usize),

    /// A listing has one of the names twice: the `n`-th in order, counted around.
    NameTwice(usize),
}

impl Fault {
    /// Returns a fault that hits the operation of this kind after the next `nth`.
    pub fn new(kind: OpKind, nth: u64, how: FaultHow) -> Self {
        Self { kind: Some(kind), nth, how, sticky: false }
    }

    /// Returns a fault that hits the operation after the next `nth` that change or sync something.
    pub fn any(nth: u64, how: FaultHow) -> Self {
        Self { kind: None, nth, how, sticky: false }
    }

    /// Makes the fault hit all later operations, too.
    pub fn sticky(self) -> Self {
        Self { sticky: true, ..self }
    }

    /// Counts an operation; returns whether it is to fail.
    fn strikes(&mut self, kind: OpKind) -> bool {
        if !self.kind.map_or(kind.is_change(), |wanted| wanted == kind) {
            return false;
        }
        match self.nth.checked_sub(1) {
            Some(left) => {
                self.nth = left;
                false
            }
            None => true,
        }
    }
}

/// Counts an operation for every fault; the first fault that strikes happens.
pub(super) fn strike(faults: &mut Vec<Fault>, kind: OpKind) -> Option<FaultHow> {
    let mut how = None;
    faults.retain_mut(|fault| {
        let strikes = fault.strikes(kind);
        let spent = strikes && how.is_none();
        if spent {
            how = Some(fault.how);
        }
        !spent || fault.sticky
    });
    how
}

impl FaultHow {
    /// The error, if the operation is not to be done at all.
    pub(super) fn refuses(self) -> Option<io::Error> {
        match self {
            Self::Io => Some(Errno::IO.into()),
            Self::NoSpace => Some(Errno::NOSPC.into()),
            Self::Interrupted => Some(Errno::INTR.into()),
            Self::Error(kind) => Some(kind.into()),
            Self::DoneButIo | Self::Short(_) | Self::SyncLies => None,
            Self::MissesName(_) | Self::NameTwice(_) => None,
        }
    }
}
