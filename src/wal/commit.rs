//! What [`SharedWal`](crate::SharedWal) needs of a log: steps that don't wait for the worker.

use std::ops::DerefMut;
use std::sync::Arc;

use super::ChunkedWal;
use crate::directory::WalLock;
use crate::error::Result;
use crate::flush::{Flush, FlushTicket, Pipeline, Positions, SpareAsked};
use crate::position::{ChunkId, Segment};
use crate::record::{Batch, StateMachine, WalTypes};

/// The next step of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Append a record, after a rotation if the open chunk is full.
    Append,
    /// Rotate.
    Rotate,
}

/// What the next step waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Room in the queue.
    pub(super) bytes: u64,
    /// A file for the next chunk.
    pub(super) file: bool,
}

impl Needs {
    pub(super) fn are_met<W: WalTypes>(self, pipeline: &Pipeline<W>, asked: &mut SpareAsked) -> bool {
        let Pipeline { queue, positions, housekeeper, .. } = pipeline;
        positions.check().is_err()
            || (queue.has_room(self.bytes) && (!self.file || housekeeper.has_spare(asked)))
    }
}

impl<W: WalTypes> ChunkedWal<W> {
    pub(crate) fn positions(&self) -> &Arc<Positions> {
        &self.shared.positions
    }

    pub(crate) fn log_id(&self) -> [u8; 16] {
        self.log_id
    }

    /// The lock of the log's directory.
    pub(crate) fn lock(&self) -> &Arc<WalLock> {
        &self.lock
    }

    /// Whether the next step would wait neither for room in the queue nor for the next chunk's file; if it would wait
    /// for the file, asks for one. A rotation may still wait for the room of its checkpoint. True in a log that has
    /// failed, where the next step returns the cause.
    pub(crate) fn is_ready(&self, wants: Wants, asked: &mut SpareAsked) -> bool {
        self.needs(wants).are_met(&self.shared, asked)
    }

    pub(super) fn needs(&self, wants: Wants) -> Needs {
        let waiting = self.hand_over.waiting(self.end());
        let rotates = wants == Wants::Rotate || self.is_open_chunk_full() || self.head.open().is_none();
        Needs { bytes: if rotates { self.rotation_weight(waiting) } else { waiting.max(1) }, file: rotates }
    }

    /// Appends an action, applies it to the state machine that `write` returns, and asks for a sync: all of it, or
    /// nothing. Waits for no room if the log [is ready](Self::is_ready). The state machine is borrowed for the
    /// application only, not while the action is encoded.
    pub(crate) fn commit<SM, G>(
        &mut self,
        action: W::Action,
        write: impl FnOnce() -> G,
    ) -> Result<(Segment, FlushTicket)>
    where
        SM: StateMachine<W>,
        G: DerefMut<Target = SM>,
    {
        let segment = self.append_applied(action, write)?;
        Ok((segment, self.hand_over.ticket_now(self.end(), Flush::Sync)))
    }

    /// As [`commit`](Self::commit), a batch of at least one record; returns the segment of the last one.
    pub(crate) fn commit_batch<SM, G>(
        &mut self,
        batch: &Batch<W>,
        write: impl FnOnce() -> G,
    ) -> Result<(Segment, FlushTicket)>
    where
        SM: StateMachine<W> + Clone,
        G: DerefMut<Target = SM>,
    {
        let segments = self.stage_batch(batch)?;
        self.apply_and_accept_batch(batch, &segments, &mut *write())?;
        Ok((self.last_segment, self.hand_over.ticket_now(self.end(), Flush::Sync)))
    }

    /// Starts a chunk, unless the open chunk has only its checkpoint. Returns the id of the chunk that is then open.
    pub(crate) fn begin_chunk_for_snapshot(
        &mut self,
        checkpoint: impl FnOnce() -> W::Checkpoint,
    ) -> Result<ChunkId> {
        if self.head.open().is_none_or(|open| open.records() > 1) {
            self.close_open_chunk_with(checkpoint())?;
        }
        Ok(self.open_chunk_id())
    }

    /// Drains and removes the chunks that end at or before the global offset `offset`, and all chunks that were
    /// drained earlier.
    pub(crate) fn remove_chunks_before(&mut self, offset: u64) -> Result<Vec<ChunkId>> {
        self.drain_while(|chunk| chunk.end <= offset);
        let ids: Vec<_> = self.drained.iter().map(|file| file.id()).collect();
        self.remove_chunks(ids.clone())?;
        Ok(ids)
    }
}
