//! Pins: who keeps the log from shrinking, from where on, and for how long at most.
//!
//! ```text
//! ChunkedWal::pin ────────► WalPin, in memory ─────────────┐
//! ChunkedWal::subscriber ─► Subscriber ─► a file beside ───┼─► Pins ◄── drain: may this chunk go?
//! Subscriber::options ────► (any process) the chunks ──────┘     └───── holders: who holds what?
//! ```
//!
//! - A pin stops a drain, not a removal: a chunk that a pin needs stays readable, and is there after a reopen.
//! - A pin breaks only in a drain that meets it, and only if nothing else stops that drain: so no pin breaks in vain.
//! - A subscriber's place counts for a drain only once the log itself has synced it. Otherwise a power failure could take the place back
//!   to a chunk that is gone.

mod file;
mod holder;
mod pins;
mod subscriber;
mod wal_pin;

use std::time::Duration;

pub use holder::{Holder, HolderKind, PinState};
#[cfg(feature = "cli")]
pub(crate) use holder::{StoredHolder, stored_holders};
pub(crate) use pins::{Ahead, Pins};
pub use subscriber::{SubscribeOptions, Subscriber};
pub use wal_pin::WalPin;

/// How long the log is kept for a pin. By default without a limit, except that the pin breaks when the log is over
/// its soft budget.
///
/// ```
/// use std::time::Duration;
/// use chunked_wal::PinOptions;
///
/// // A follower that lags by more than 10 GiB, or stands still for an hour, is better copied anew.
/// let options = PinOptions::new().max_bytes(10 << 30).max_age(Duration::from_secs(3600));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct PinOptions {
    pub(crate) max_bytes: u64,
    pub(crate) max_age: Duration,
    pub(crate) is_unbreakable: bool,
}

impl PinOptions {
    /// Returns the defaults: no limit of its own, breakable over the soft budget.
    pub fn new() -> Self {
        PinOptions { max_bytes: u64::MAX, max_age: Duration::MAX, is_unbreakable: false }
    }

    /// Lets the pin break once the log's end is more than this many bytes after it.
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Lets the pin break once it has not moved for this long while it held a closed chunk.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Keeps the pin also when the log is over its [soft budget](crate::Config::soft_budget). Then appends are refused
    /// at the hard budget, if there is one, until the pin moves.
    pub fn unbreakable(mut self) -> Self {
        self.is_unbreakable = true;
        self
    }
}

impl Default for PinOptions {
    fn default() -> Self {
        Self::new()
    }
}
