//! [`Error`]: what can go wrong beyond the log's own errors.

use std::io;
use std::sync::Arc;

/// Why a call failed. A call that fails has changed nothing, unless its documentation says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log below could not do it.
    #[error(transparent)]
    Wal(#[from] chunked_wal::Error),

    /// A setting is out of its range.
    #[error("invalid config: {setting} is {value}, {wanted}")]
    InvalidConfig {
        /// The setting's name.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },

    /// An entry would leave a hole in its group, or overwrite another entry.
    #[error(
        "entry {found} of group {group} can't be appended, because {expected} is next: append without a hole, and truncate before you overwrite"
    )]
    NotNext {
        /// The group.
        group: u64,
        /// The index of the refused entry.
        found: u64,
        /// The index of the next entry.
        expected: u64,
    },

    /// The index is `u64::MAX`, after which no other could follow.
    #[error("an index of group {group} is u64::MAX, after which none can follow: use smaller indexes")]
    IndexTooLarge {
        /// The group.
        group: u64,
    },

    /// An entry that is asked for or truncated was purged.
    #[error(
        "entry {index} of group {group} is purged: the first one kept is {first}; a follower that needs it needs a snapshot"
    )]
    Purged {
        /// The group.
        group: u64,
        /// The index of the purged entry.
        index: u64,
        /// The index of the first entry that is kept.
        first: u64,
    },

    /// The log is sound, but an entry that a group must have isn't there: chunk files are missing, or were
    /// put back from another time.
    #[error(
        "group {group} has no entry {index}, although it has others after it or once had: chunk files are missing or are from another time; restore the whole directory from one copy"
    )]
    EntryMissing {
        /// The group.
        group: u64,
        /// The index of the first missing entry.
        index: u64,
    },

    /// The codec can't encode an entry or a state.
    #[error("a value of group {group} can't be encoded: {source}")]
    Encode {
        /// The group.
        group: u64,
        /// The codec's error.
        source: Arc<io::Error>,
    },

    /// The codec can't decode an entry or a state that is intact on the disk.
    #[error(
        "the value of group {group} at {offset} can't be decoded: {source}; is it of another version of the program?"
    )]
    Decode {
        /// The group.
        group: u64,
        /// The global offset of the record.
        offset: u64,
        /// The codec's error.
        source: Arc<io::Error>,
    },
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Wal(error) => io::Error::from(error.clone()).kind(),
            Error::Decode { .. } => io::ErrorKind::InvalidData,
            Error::EntryMissing { .. } => io::ErrorKind::NotFound,
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
