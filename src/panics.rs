//! Panics of code that isn't the log's: callbacks, wakers, codecs, storages, loggers.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; `None` if it panicked.
///
/// The panic's payload is forgotten, not dropped, because it is a user's value whose `Drop` may panic
/// again, where nothing catches it.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(std::mem::forget).ok()
}

/// Runs a report: a line to the logger, a number for the program's metrics. Both run the user's code,
/// and a panic there (because stderr is gone, for example) must not end the reported work.
pub(crate) fn report(report: impl FnOnce()) {
    let _reported = catch(report);
}
