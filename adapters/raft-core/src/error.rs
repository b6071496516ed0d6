//! What can go wrong beyond the log's own [`Error`]: [`OpenError`] and [`AppendError`].

use std::fmt::Debug;
use std::io;

use chunked_wal::Error;

/// Why a [`LogStore`](crate::LogStore) could not be opened. The files are unchanged, except that a torn
/// tail may have been cut off.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The log could not be opened, or its records don't fit together.
    #[error(transparent)]
    Wal(#[from] Error),

    /// The log is sound, but starts after the first entry that it should have: its oldest chunks are
    /// missing.
    #[error(
        "the log should have entries {first} to {last}, but the first {missing} are missing: its oldest chunk files are gone; restore them from a copy, or let the node join again with an empty directory and a new id"
    )]
    EntriesMissing {
        /// The index of the first entry that the log should have.
        first: u64,
        /// The index of the last entry.
        last: u64,
        /// How many entries are missing.
        missing: u64,
    },
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Wal(error) => error.into(),
            missing => io::Error::new(io::ErrorKind::NotFound, missing),
        }
    }
}

/// Why entries could not be appended. The entries before the one that failed stay in the log.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError<L> {
    /// An entry would leave a hole, or overwrite another one. The store still works.
    #[error("entry {next:?} can't follow {last:?}: it would leave a hole, or overwrite an entry")]
    NotConsecutive {
        /// The log's last entry, or the last purged one.
        last: Option<L>,
        /// The entry that was refused.
        next: L,
    },

    /// The log could not take an entry.
    #[error("entry {next:?} can't be appended: {source}")]
    Entry {
        /// The entry.
        next: L,
        /// The log's error.
        source: Error,
    },

    /// All entries were appended, but the log could not take the request to make them durable.
    #[error(transparent)]
    Flush(Error),
}

impl<L: Debug + Send + Sync + 'static> From<AppendError<L>> for io::Error {
    fn from(error: AppendError<L>) -> Self {
        let kind = match &error {
            AppendError::NotConsecutive { .. } => io::ErrorKind::InvalidInput,
            AppendError::Entry { source, .. } | AppendError::Flush(source) => {
                io::Error::from(source.clone()).kind()
            }
        };
        io::Error::new(kind, error)
    }
}
