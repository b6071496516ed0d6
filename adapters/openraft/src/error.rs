//! Errors of the log as openraft's `StorageError`.

use chunked_wal::Error;
use chunked_wal_raft::AppendError;
use openraft::{
    AnyError, DefensiveError, ErrorSubject, ErrorVerb, LogId, NodeId, StorageError, StorageIOError, Violation,
};

/// Converts an error of the log to openraft's.
pub(crate) fn failed<NID: NodeId>(
    subject: ErrorSubject<NID>,
    verb: ErrorVerb,
) -> impl FnOnce(Error) -> StorageError<NID> {
    move |error| StorageIOError::new(subject, verb, AnyError::new(&error)).into()
}

/// Converts an error of an append to openraft's.
pub(crate) fn not_appended<NID: NodeId>(error: AppendError<LogId<NID>>) -> StorageError<NID> {
    match error {
        AppendError::NotConsecutive { last, next } => {
            let violation = Violation::LogsNonConsecutive { prev: last, next };
            DefensiveError::new(ErrorSubject::Logs, violation).into()
        }
        AppendError::Entry { next, source } => failed(ErrorSubject::Log(next), ErrorVerb::Write)(source),
        AppendError::Flush(source) => failed(ErrorSubject::Logs, ErrorVerb::Write)(source),
        other => StorageIOError::new(ErrorSubject::Logs, ErrorVerb::Write, AnyError::new(&other)).into(),
    }
}
