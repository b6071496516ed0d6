//! What can go wrong: [`OpenError`] while opening, openraft's `StorageError` after that.

use chunked_wal::Error;
use openraft::{AnyError, ErrorSubject, ErrorVerb, NodeId, StorageError, StorageIOError};

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

/// Converts an error of the log to openraft's.
pub(crate) fn failed<NID: NodeId>(
    subject: ErrorSubject<NID>,
    verb: ErrorVerb,
) -> impl FnOnce(Error) -> StorageError<NID> {
    move |error| StorageIOError::new(subject, verb, AnyError::new(&error)).into()
}
