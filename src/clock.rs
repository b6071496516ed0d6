//! The time of day, for people: no decision depends on it.

use std::time::SystemTime;

/// Now, in milliseconds since 1970; 0 for a clock before that.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
