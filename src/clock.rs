//! The time of day, for people: no decision depends on it.

use std::time::{Duration, SystemTime};

/// Now, in milliseconds since 1970; 0 for a clock before that.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time that is so many milliseconds after 1970; 1970 for one that the system can't tell.
pub(crate) fn from_unix_ms(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(SystemTime::UNIX_EPOCH)
}
