//! The user's state machine, watched: what the log gives it is written down.

use std::error::Error as StdError;
use std::marker::PhantomData;

use super::history::Entry;
use crate::error::Error;
use crate::position::{ChunkId, Segment};
use crate::record::{CallbackFn, StateMachine, WalRecord, WalTypes};

/// The user's types, with a callback of the test's own.
pub(super) struct Probed<W>(PhantomData<fn() -> W>);

impl<W: WalTypes> WalTypes for Probed<W> {
    type Action = W::Action;
    type Checkpoint = W::Checkpoint;
    type Callback = CallbackFn<Box<dyn FnOnce(Result<(), Error>) + Send>>;
}

/// The user's record of a watched one.
pub(super) fn plain<W: WalTypes>(record: WalRecord<Probed<W>>) -> WalRecord<W> {
    match record {
        WalRecord::Action(action) => WalRecord::Action(action),
        WalRecord::Checkpoint(checkpoint) => WalRecord::Checkpoint(checkpoint),
    }
}

/// Writes down what its state machine is given.
pub(super) struct Watched<W: WalTypes, SM> {
    pub(super) machine: SM,
    pub(super) seen: Vec<Entry<W>>,
}

impl<W: WalTypes, SM: StateMachine<W>> Watched<W, SM> {
    pub(super) fn new(machine: SM) -> Self {
        Watched { machine, seen: Vec::new() }
    }
}

impl<W: WalTypes, SM: StateMachine<W>> StateMachine<Probed<W>> for Watched<W, SM> {
    type Error = Box<dyn StdError + Send + Sync>;

    fn apply(
        &mut self,
        record: &WalRecord<Probed<W>>,
        chunk_id: ChunkId,
        segment: Segment,
    ) -> Result<(), Self::Error> {
        let record = plain(record.clone());
        self.machine.apply(&record, chunk_id, segment).map_err(Into::into)?;
        self.seen.push(Entry::new(chunk_id, segment, record));
        Ok(())
    }

    fn checkpoint(&self) -> W::Checkpoint {
        self.machine.checkpoint()
    }
}
