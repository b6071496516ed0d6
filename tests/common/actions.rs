//! A log of any type of actions, whose state machine keeps them.

use std::convert::Infallible;
use std::fmt::Debug;
use std::marker::PhantomData;

use chunked_wal::codeq::Codec;
use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord, WalTypes};

/// A log of `A`. A checkpoint is the number of actions before it.
#[derive(Debug)]
pub struct LogOf<A>(PhantomData<A>);

impl<A: Codec + Debug + Clone + Send + 'static> WalTypes for LogOf<A> {
    type Action = A;
    type Checkpoint = u64;
    type Callback = ();
}

/// The actions that were replayed or appended.
#[derive(Debug)]
pub struct Applied<A> {
    pub actions: Vec<A>,
    /// The number of all actions of the log.
    count: u64,
}

impl<A> Default for Applied<A> {
    fn default() -> Self {
        Applied { actions: Vec::new(), count: 0 }
    }
}

impl<A: Codec + Debug + Clone + Send + 'static> StateMachine<LogOf<A>> for Applied<A> {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<LogOf<A>>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        match record {
            WalRecord::Action(action) => {
                self.actions.push(action.clone());
                self.count += 1;
            }
            WalRecord::Checkpoint(count) => self.count = *count,
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.count
    }
}

/// A log of bytes, which are slices of the read buffer where they can be.
#[cfg(feature = "bytes")]
#[derive(Debug)]
pub struct SharedBytes;

#[cfg(feature = "bytes")]
impl WalTypes for SharedBytes {
    type Action = chunked_wal::BytesPayload;
    type Checkpoint = u64;
    type Callback = ();

    fn decode_action(payload: chunked_wal::PayloadRef<'_>) -> std::io::Result<Self::Action> {
        Ok(payload.share().into())
    }
}
