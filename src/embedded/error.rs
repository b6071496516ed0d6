//! What can go wrong with a log in a region.

use std::io;
use std::sync::Arc;

use crate::embedded::Region;
use crate::error::Proof;

/// The result of nearly every function here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a log in a region.
///
/// Positions are the log's own: see [`Checkpoint`](super::Checkpoint). Converts into [`io::Error`] with
/// a fitting kind; the original error stays inside as its source.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on the host's file.
    #[error("{op} failed on the file that holds the log: {source}")]
    Io {
        /// The operation: `read`, `write`, `sync`, `measure`.
        op: &'static str,
        /// The operating system's error.
        source: Arc<io::Error>,
    },

    /// The region is too small, or not inside the file.
    #[error(
        "the region of {} bytes at {} can't hold a log: it must have at least {len_min} bytes, inside the file, which has {file_len}; make the file long enough first",
        region.len, region.offset
    )]
    InvalidRegion {
        /// The region.
        region: Region,
        /// The file's size in bytes.
        file_len: u64,
        /// The smallest region, in bytes.
        len_min: u64,
    },

    /// At the position that the host stored, there is no checkpoint of this log.
    #[error(
        "position {position} (byte {file_offset} of the file) has no checkpoint of this log after record {sequence}: are region and checkpoint those that were stored last? A new log starts with the default checkpoint, in a region of zeros"
    )]
    NotACheckpoint {
        /// The position given.
        position: u64,
        /// The sequence given.
        sequence: u64,
        /// The position in the file; 0 for a position that no log can have.
        file_offset: u64,
    },

    /// Bytes that were durable no longer check out. Nothing was changed.
    #[error(
        "the log is damaged at position {position} (byte {file_offset} of the file), which was durable before: {proof}. Nothing was changed: restore the file from a copy"
    )]
    Corrupt {
        /// The position of the damaged record or checkpoint.
        position: u64,
        /// The position in the file.
        file_offset: u64,
        /// Why this can't be a write that a crash tore.
        proof: Proof,
    },

    /// A sound frame that this version can't read.
    #[error("position {position} needs {what} {found}: open it with a newer version")]
    Unsupported {
        /// The position of the frame.
        position: u64,
        /// The part that is unknown: `frame kind`, `frame flags`, `payload length`.
        what: &'static str,
        /// Its value.
        found: u64,
    },

    /// The records are larger than an empty region; nothing was appended.
    #[error(
        "{needed} bytes of records, with their headers, are more than the {max} that the empty region has room for: split them, or make the region larger"
    )]
    RecordTooLarge {
        /// Bytes that the record, or the batch, takes in the region.
        needed: u64,
        /// The most bytes that there is room for.
        max: u64,
    },

    /// The region is full; nothing was appended and nothing is lost.
    #[error(
        "the region is full: {needed} bytes are needed, {free} are free. Take a checkpoint, store it, call `checkpoint_stored`, and append again"
    )]
    RegionFull {
        /// Bytes that the append takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },

    /// The log doesn't have the records after this sequence: a checkpoint gave them up, or they were
    /// never appended.
    #[error(
        "the log has the records after {oldest} up to {newest}, not those after {sequence}: was the checkpoint stored before the record was applied?"
    )]
    NotInLog {
        /// The sequence given.
        sequence: u64,
        /// The stored checkpoint's sequence.
        oldest: u64,
        /// The last record's sequence.
        newest: u64,
    },

    /// An earlier failed write or sync stopped the log for good; nothing is retried.
    #[error(
        "the log stopped at its first failure ({cause}); open it again to continue from what is on the disk"
    )]
    Poisoned {
        /// The first failure.
        #[source]
        cause: Arc<Error>,
    },
}

impl Error {
    pub(super) fn io(op: &'static str, source: io::Error) -> Self {
        Error::Io { op, source: Arc::new(source) }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            Error::InvalidRegion { .. } | Error::RecordTooLarge { .. } => io::ErrorKind::InvalidInput,
            Error::NotACheckpoint { .. } | Error::Corrupt { .. } => io::ErrorKind::InvalidData,
            Error::Unsupported { .. } => io::ErrorKind::Unsupported,
            Error::RegionFull { .. } => io::ErrorKind::StorageFull,
            Error::NotInLog { .. } => io::ErrorKind::NotFound,
            Error::Poisoned { .. } => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
