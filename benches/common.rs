//! A log of bytes without a state.

use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord, WalTypes};

#[derive(Debug)]
pub(crate) struct Types;

impl WalTypes for Types {
    type Action = Vec<u8>;
    type Checkpoint = ();
    type Callback = ();
}

pub(crate) struct Nothing;

impl StateMachine<Types> for Nothing {
    type Error = std::convert::Infallible;

    fn apply(&mut self, _: &WalRecord<Types>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        Ok(())
    }

    fn checkpoint(&self) {}
}
