//! A wrapper of the user's state machine that notes the records that the log gives it.

use std::error::Error as StdError;

use crate::position::{ChunkId, Segment};
use crate::record::{StateMachine, WalRecord, WalTypes};
use crate::testing::check::history::Entry;
use crate::testing::check::types::{TestTypes, user_record};

/// Notes the records that its state machine is given.
pub(crate) struct Watched<W: WalTypes, SM> {
    pub(crate) machine: SM,
    pub(crate) seen: Vec<Entry<W>>,
}

impl<W: WalTypes, SM: StateMachine<W>> Watched<W, SM> {
    pub(crate) fn new(machine: SM) -> Self {
        Watched { machine, seen: Vec::new() }
    }
}

impl<W: WalTypes, SM: StateMachine<W>> StateMachine<TestTypes<W>> for Watched<W, SM> {
    type Error = Box<dyn StdError + Send + Sync>;

    fn apply(
        &mut self,
        record: &WalRecord<TestTypes<W>>,
        chunk_id: ChunkId,
        segment: Segment,
    ) -> Result<(), Self::Error> {
        let record = user_record(record.clone());
        self.machine.apply(&record, chunk_id, segment).map_err(Into::into)?;
        self.seen.push(Entry::new(chunk_id, segment, record));
        Ok(())
    }

    fn checkpoint(&self) -> W::Checkpoint {
        self.machine.checkpoint()
    }
}
