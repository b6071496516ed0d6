//! Panics of code that is not the log's own: callbacks, wakers, codecs, storages, loggers.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; `None` if it panicked.
///
/// The panic's payload is forgotten, not dropped: it is a value of the user's, whose `Drop` may panic
/// once more, where nothing catches it.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(std::mem::forget).ok()
}

/// Runs a report: a line to the logger, a number for the program's metrics. Both run the user's code, and a panic in
/// it (stderr is gone) must not end the work that is reported.
pub(crate) fn report(report: impl FnOnce()) {
    let _reported = catch(report);
}
