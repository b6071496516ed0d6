//! What can go wrong, and the exit status of the command for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of nearly every function here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Wrong arguments.
pub(crate) const USAGE: u8 = 64;

/// Every exit status of the command, in the words of `--help`. They follow those of `chunked-wal`.
pub(crate) const STATUSES: [(u8, &str); 10] = [
    (0, "done, and nothing read is wrong"),
    (2, "the archive or the log is corrupt, or they are of different histories"),
    (3, "the store, the log or the disk can't be read or written"),
    (4, "there is no such directory"),
    (5, "no permission"),
    (6, "there is no archive in this place, or no log yet"),
    (7, "the archive doesn't have what was asked for, or the log removed chunks before they were archived"),
    (8, "the archive needs a newer version of this command"),
    (9, "another archiver has taken the archive over, or the directory is in use"),
    (USAGE, "wrong arguments"),
];

/// Why the archive or the archiver stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed, for as long as it was tried.
    #[error("{op} '{name}' failed: {source}; check the store's address, credentials and network")]
    Store {
        /// The operation: `put`, `get`, `list` or `delete`.
        op: &'static str,
        /// The object or the prefix.
        name: String,
        /// The store's error.
        source: Arc<object_store::Error>,
    },

    /// Another archiver has claimed a later epoch. What this one had published is in the archive; nothing that it still
    /// uploads ever will be.
    #[error(
        "another archiver has taken over the archive of this log (epoch {by} after {epoch}); run only one archiver for a log"
    )]
    Fenced {
        /// The epoch of this archiver.
        epoch: u64,
        /// A later one.
        by: u64,
    },

    /// The archive has another log.
    #[error("the archive is of the log {archive}, but '{}' is the log {log}; give each log a place of its own in the store", dir.display())]
    OtherLog {
        /// The archive's log id.
        archive: String,
        /// The id of the log in the directory.
        log: String,
        /// The log's directory.
        dir: PathBuf,
    },

    /// The log's bytes differ from those that were archived, although both are of one log: the log was repaired, or it
    /// is a copy that went on by itself.
    #[error("'{}' differs from its archive at offset {offset}: the log was repaired or restored since; archive it in a new place", dir.display())]
    Diverged {
        /// The log's directory.
        dir: PathBuf,
        /// The global offset of the bytes that differ.
        offset: u64,
    },

    /// The log removed chunks before they were archived.
    #[error(
        "the log removed the chunks from offset {from} to {to} before they were archived; keep the log by a pin, which is the default, or archive on without these records (`on_missing`, `--skip-missing`)"
    )]
    Missing {
        /// The end of the archive.
        from: u64,
        /// The beginning of the log.
        to: u64,
    },

    /// The log can't be kept until it is archived.
    #[error(
        "the log can't be kept for its archive: {source}; archive without a pin (`without_pin`, `--no-pin`) if this directory may not be written to"
    )]
    Pin {
        /// The log's error.
        source: chunked_wal::Error,
    },

    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] chunked_wal::Error),

    /// An object isn't what its manifest says.
    #[error("the object '{name}' is damaged: {what}; restore it from a copy of the store")]
    Damaged {
        /// The object.
        name: String,
        /// What is wrong.
        what: String,
    },

    /// The manifest has a format of a later version.
    #[error(
        "'{name}' has format {found}, and this version knows up to {known}; use a newer version of chunked-wal-archive"
    )]
    Unsupported {
        /// The manifest.
        name: String,
        /// Its format.
        found: u32,
        /// The format of this version.
        known: u32,
    },

    /// There is no archive.
    #[error("there is no archive in {store}: is the place right, and has an archiver run?")]
    NoArchive {
        /// The store.
        store: String,
    },

    /// The archive doesn't reach back, or ahead, to what was asked for.
    #[error("the archive has no {what}: it has the offsets from {start} to {end}")]
    NotInArchive {
        /// What was asked for.
        what: String,
        /// The oldest offset.
        start: u64,
        /// The offset after the newest record.
        end: u64,
    },

    /// There is no pin of this name.
    #[error("there is no pin '{name}'; `status` lists the pins")]
    NoPin {
        /// The name.
        name: String,
    },

    /// There is something in the place of the restored log.
    #[error("'{}' exists already; restore into a directory that doesn't", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },

    /// Another process restores into the same directory.
    #[error("'{}' is locked: another process restores into the same directory", path.display())]
    InUse {
        /// The lock's path.
        path: PathBuf,
    },

    /// The operating system refused an operation.
    #[error("{op} '{}' failed: {source}", path.display())]
    Io {
        /// The operation.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: Arc<io::Error>,
    },

    /// A wait ended before everything durable was archived.
    #[error("the time is over, and the archive of the log ends at {end}, not at its durable end{}", reason(last_error.as_deref()))]
    NotYet {
        /// The archive's end.
        end: u64,
        /// The store's last error, if uploads fail.
        last_error: Option<String>,
    },

    /// The archiver was closed before, or its thread panicked.
    #[error("the archiver has ended")]
    Ended,
}

fn reason(last_error: Option<&str>) -> String {
    last_error.map(|error| format!("; the last error was: {error}")).unwrap_or_default()
}

impl Error {
    pub(crate) fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { op, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether a directory is missing, so that there may be a log later.
    pub(crate) fn is_no_directory(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The exit status of a command that ends with this error.
    pub fn status(&self) -> u8 {
        match self {
            Error::Damaged { .. } | Error::Diverged { .. } | Error::OtherLog { .. } => 2,
            Error::Log(error) | Error::Pin { source: error } => log_status(error),
            Error::Io { source, .. } => io_status(source),
            Error::NoArchive { .. } => 6,
            Error::NotInArchive { .. } | Error::NoPin { .. } | Error::Missing { .. } => 7,
            Error::Unsupported { .. } => 8,
            Error::Fenced { .. } | Error::InUse { .. } => 9,
            Error::Exists { .. } => USAGE,
            Error::Store { source, .. } => match &**source {
                object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. } => 5,
                _ => 3,
            },
            Error::NotYet { .. } | Error::Ended => 3,
        }
    }
}

fn log_status(error: &chunked_wal::Error) -> u8 {
    use chunked_wal::Error as Log;
    match error {
        Log::NotFound { .. } => 6,
        Log::Unsupported { .. } => 8,
        Log::Corrupt { .. } | Log::Gap { .. } | Log::ForeignChunk { .. } | Log::NotAChunk { .. } => 2,
        Log::Io { source, .. } => io_status(source),
        _ => 3,
    }
}

fn io_status(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => 4,
        io::ErrorKind::PermissionDenied => 5,
        _ => 3,
    }
}
