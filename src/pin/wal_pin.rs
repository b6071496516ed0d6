//! [`WalPin`]: a pin for as long as its process needs it.

use std::sync::Arc;

use super::{PinState, Pins};
use crate::error::Result;

/// Keeps a log from an offset on, until it is moved or dropped; from [`ChunkedWal::pin`](crate::ChunkedWal::pin).
///
/// A drain stops before the chunk with the pin's offset. Nothing is written to the disk: after a restart the program
/// pins again before it drains. [`Subscriber`](crate::Subscriber) is the pin that outlives its process.
///
/// `Send + Sync`; it keeps neither the log open nor its directory locked.
///
/// ```
/// # use chunked_wal::raw::{Payload, Raw};
/// # use chunked_wal::{ChunkId, ChunkedWal, Config, PinOptions, Segment, StateMachine, WalRecord};
/// # struct Nothing;
/// # impl StateMachine<Raw> for Nothing {
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> { Ok(()) }
/// #     fn checkpoint(&self) -> Payload { Payload::default() }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let mut wal = ChunkedWal::<Raw>::open(Config::new(dir.path()), &mut Nothing)?;
/// let copied = wal.progress().appended;
/// wal.close_open_chunk(&Nothing)?;
/// let follower = wal.pin("follower 3", 0, PinOptions::new())?;
/// assert!(wal.drain_closed_chunks_while(|_| true).is_empty());
/// assert_eq!(wal.holders()?[0].name, "follower 3");
///
/// follower.advance(copied)?;
/// assert_eq!(wal.drain_closed_chunks_while(|_| true).len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WalPin {
    name: String,
    pins: Arc<Pins>,
    id: u64,
}

impl WalPin {
    pub(super) fn new(name: &str, pins: Arc<Pins>, id: u64) -> Self {
        WalPin { name: name.to_string(), pins, id }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the global offset from which on the log is kept.
    pub fn offset(&self) -> u64 {
        self.pins.pin_of(self.id).map_or(0, |(offset, _)| offset)
    }

    /// Returns whether the log is kept for this pin.
    pub fn state(&self) -> PinState {
        self.pins.pin_of(self.id).map_or(PinState::Broken, |(_, state)| state)
    }

    /// Moves the pin forward to a global offset. Blocks for no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`](crate::Error::Pin), and nothing has changed: [`Broken`](crate::PinFault::Broken) if the log is
    /// kept for this pin no longer, [`Backwards`](crate::PinFault::Backwards).
    pub fn advance(&self, offset: u64) -> Result<()> {
        self.pins.advance(self.id, offset)
    }
}

impl Drop for WalPin {
    fn drop(&mut self) {
        self.pins.remove(self.id);
    }
}
