//! What can go wrong: [`OpenError`] while opening, openraft's `StorageError` from then on.

use chunked_wal::Error;
use openraft::{AnyError, ErrorSubject, ErrorVerb, NodeId, StorageError, StorageIOError};

/// Why a [`LogStore`](crate::LogStore) could not be opened. The files are as they were, but for a torn
/// tail, which may have been cut off.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The log could not be opened, or its records don't fit together.
    #[error(transparent)]
    Wal(#[from] Error),

    /// The log is sound, but it begins behind the first entry that there should be: its oldest chunks
    /// are gone.
    #[error(
        "entries {first} to {last} should be in the log, and the first {missing} of them are not: its oldest chunk files are gone; restore them from a copy, or let the node join anew with an empty directory and a new id"
    )]
    EntriesMissing {
        /// The index of the first entry that there should be.
        first: u64,
        /// The index of the last.
        last: u64,
        /// How many are not there.
        missing: u64,
    },
}

/// openraft's error for one of the log's.
pub(crate) fn failed<NID: NodeId>(
    subject: ErrorSubject<NID>,
    verb: ErrorVerb,
) -> impl FnOnce(Error) -> StorageError<NID> {
    move |error| StorageIOError::new(subject, verb, AnyError::new(&error)).into()
}
