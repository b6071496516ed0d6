//! What can stop an import, and the exit status for it.

use std::io;
use std::path::{Path, PathBuf};

/// Any error of a program's own code: of a [`Convert`](crate::Convert).
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of nearly every function here.
pub type Result<T> = std::result::Result<T, Error>;

/// Wrong arguments.
pub(crate) const USAGE: u8 = 64;

/// Every exit status of the command, in the words of `--help`. They are those of `chunked-wal`.
pub(crate) const STATUSES: [(u8, &str); 11] = [
    (0, "done: the new log has every record of the old one"),
    (1, "done, without the torn tail that a crash left in the old log"),
    (2, "the old log is damaged, or the new one differs from it"),
    (3, "a log can't be read or written: an error of the disk or the system"),
    (4, "there is no such directory"),
    (5, "no permission"),
    (6, "the old directory is empty"),
    (7, "the old directory has no log of these types, or one that needs no import"),
    (8, "the old log has something for which the new one has no place"),
    (9, "another process has the old log open, or imports into the same directory"),
    (USAGE, "wrong arguments, or the new directory exists already"),
];

/// Why an import stopped. The old log is as it was, and there is nothing under the new log's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The old directory, or the parent of the new one, is missing or a file.
    #[error("'{}' {why}", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
        /// What is there instead.
        why: &'static str,
    },

    /// The old directory has no file, or only a first chunk that a crash left without its first record.
    #[error("'{}' has no record: there is nothing to import", dir.display())]
    Empty {
        /// The old directory.
        dir: PathBuf,
    },

    /// None of the old directory's files is a chunk by its name.
    #[error("'{}' is not a log's directory: none of its files is named like a chunk of a log", dir.display())]
    NoLog {
        /// The old directory.
        dir: PathBuf,
    },

    /// The old log is in the format of this version.
    #[error("'{}' is a chunk of a log that this version of chunked-wal opens: it needs no import", path.display())]
    NeedsNone {
        /// The chunk's file.
        path: PathBuf,
    },

    /// A record's checksum is right, but the given types don't decode it.
    #[error("'{}' is not of {types}: its record at offset {offset} (byte {position} of the file) is whole, but can't be decoded ({source}). To import a log of other types, see docs/guide/import.md", path.display())]
    OtherTypes {
        /// The chunk's file.
        path: PathBuf,
        /// The global offset of the record.
        offset: u64,
        /// Its position in the file.
        position: u64,
        /// The types, in words.
        types: &'static str,
        /// The codec's error.
        source: io::Error,
    },

    /// Another process has the old log open, or imports into the same directory.
    #[error("'{}' is locked: another process {who}; end it first", path.display())]
    InUse {
        /// The locked file.
        path: PathBuf,
        /// What that process does.
        who: &'static str,
    },

    /// There is something under the new log's name.
    #[error("'{}' exists already, so nothing was imported; to compare a log there with the old one, use --check", path.display())]
    Exists {
        /// The new log's directory.
        path: PathBuf,
    },

    /// The directory that an import works in has files that no import made.
    #[error("'{}' is where the import would work, but has files that no import made; move it away", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },

    /// The new directory is inside the old one, which must not change.
    #[error("'{}' is inside '{}', and an import never writes to the old log's directory; choose another place", new.display(), old.display())]
    Inside {
        /// The new log's directory.
        new: PathBuf,
        /// The old log's directory.
        old: PathBuf,
    },

    /// The old log's bytes are damaged.
    #[error("'{}' is damaged at offset {offset} (byte {position} of the file): {source}; nothing was imported. Restore the file from a copy", path.display())]
    Damaged {
        /// The chunk's file.
        path: PathBuf,
        /// The global offset of the damaged record.
        offset: u64,
        /// Its position in the file.
        position: u64,
        /// The codec's error, or what else is wrong.
        source: io::Error,
    },

    /// A chunk of the old log is missing.
    #[error("the old log has a gap: after offset {expected}, the next chunk is '{}' at {found}; nothing was imported. Restore the missing chunk", path.display())]
    Gap {
        /// The file after the gap.
        path: PathBuf,
        /// The global offset at which the next chunk should start.
        expected: u64,
        /// The global offset at which it starts.
        found: u64,
    },

    /// A record of the old log can't become one of the new log.
    #[error("the record at offset {offset} of '{}' (byte {position}) can't be imported: {source}", path.display())]
    NotConvertible {
        /// The chunk's file.
        path: PathBuf,
        /// The global offset of the record.
        offset: u64,
        /// Its position in the file.
        position: u64,
        /// The converter's error.
        source: BoxError,
    },

    /// The old log as a whole can't become a new one.
    #[error("the log in '{}' can't be imported: {source}", dir.display())]
    NotFinished {
        /// The old directory.
        dir: PathBuf,
        /// The converter's error.
        source: BoxError,
    },

    /// The check found that the new log isn't what the old log says.
    #[error("the check failed: {what}, at offset {new} of the new log, where the old log has the record at offset {old} of '{}'", path.display())]
    Differs {
        /// The old chunk's file.
        path: PathBuf,
        /// The global offset in the old log.
        old: u64,
        /// The global offset in the new log, or its end.
        new: u64,
        /// The difference.
        what: &'static str,
    },

    /// The operating system refused an operation.
    #[error("{op} '{}' failed: {source}", path.display())]
    Io {
        /// The operation.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// The new log can't be written or read.
    #[error("the new log: {0}")]
    New(#[from] chunked_wal::Error),
}

impl Error {
    /// For `map_err`: the error of an operation on a file or directory.
    pub(crate) fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { op, path: path.to_owned(), source }
    }

    /// Returns the exit status of the command for this error.
    pub fn status(&self) -> u8 {
        match self {
            Error::Damaged { .. } | Error::Gap { .. } | Error::Differs { .. } => 2,
            Error::NoDirectory { .. } => 4,
            Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 5,
            Error::New(chunked_wal::Error::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                5
            }
            Error::Io { .. } | Error::New(_) => 3,
            Error::Empty { .. } => 6,
            Error::NoLog { .. } | Error::NeedsNone { .. } | Error::OtherTypes { .. } => 7,
            Error::NotConvertible { .. } | Error::NotFinished { .. } => 8,
            Error::InUse { .. } => 9,
            Error::Exists { .. } | Error::NotOurs { .. } | Error::Inside { .. } => USAGE,
        }
    }
}
