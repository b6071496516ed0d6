//! The chunks of a log as its owner handles them: full, closed, drained, removed.

use std::sync::Arc;

use super::ChunkedWal;
use super::budget::Closed;
use super::head::Head;
use crate::chunk::{ChunkFile, ChunkStat, ClosedChunk, FrameEncoder, OpenChunk, OpenChunkState, Staged};
use crate::clock::unix_ms;
use crate::error::{Error, Result};
use crate::flush::{ChunkBeginning, Flush, Inside, Rotation, Spare};
use crate::format::{DataCrc, FEATURE_EARLIER_LIFE, HEADER_LEN, Header, SEAL_LEN, Salt, Transform};
use crate::pin::Ahead;
use crate::position::ChunkId;
use crate::random::random_u64;
use crate::record::{StateMachine, WalRecord, WalTypes};

/// Rotations that may wait in the queue: each has a file open.
const ROTATIONS_WAITING: u64 = 64;

/// A rotation counts for no more than this unless it is as large, so that the bytes of a queue without
/// bounds are far from those that a `u64` can count.
const ROTATION_WEIGHT_MAX: u64 = 1 << 40;

impl<W: WalTypes> ChunkedWal<W> {
    /// Whether the open chunk has reached `chunk_max_size` or `chunk_max_records`.
    pub fn is_open_chunk_full(&self) -> bool {
        self.head.open().is_some_and(|open| {
            open.size() >= self.config.chunk_max_size || open.records() >= self.config.chunk_max_records
        })
    }

    /// If the open chunk is full, [closes](Self::close_open_chunk) it and returns the next chunk's checkpoint;
    /// otherwise returns `None`.
    ///
    /// # Errors
    ///
    /// As [`close_open_chunk`](Self::close_open_chunk).
    pub fn try_close_full_chunk<SM: StateMachine<W>>(
        &mut self,
        state_machine: &SM,
    ) -> Result<Option<W::Checkpoint>> {
        if self.is_open_chunk_full() { self.close_open_chunk(state_machine).map(Some) } else { Ok(None) }
    }

    /// Closes the open chunk and starts the next one with the state machine's checkpoint, which it returns.
    /// All appended records must have been applied, because the checkpoint is the state after the last
    /// record.
    ///
    /// The worker writes and syncs. This method blocks only while the queue is full, or while the next
    /// chunk's file is not ready.
    ///
    /// # Errors
    ///
    /// As [`close_open_chunk_with`](Self::close_open_chunk_with).
    pub fn close_open_chunk<SM: StateMachine<W>>(&mut self, state_machine: &SM) -> Result<W::Checkpoint> {
        let checkpoint = state_machine.checkpoint();
        self.close_open_chunk_with(checkpoint.clone())?;
        Ok(checkpoint)
    }

    /// As [`close_open_chunk`](Self::close_open_chunk), with the checkpoint itself instead of a state machine.
    ///
    /// # Errors
    ///
    /// On an error nothing has changed. [`Error::StorageFull`] or [`Error::Io`] if the next chunk's file
    /// can't be created, [`Error::Encode`], [`Error::CheckpointTooLarge`], [`Error::Poisoned`],
    /// [`Error::WouldDeadlock`] for a full queue inside a callback.
    pub fn close_open_chunk_with(&mut self, checkpoint: W::Checkpoint) -> Result<()> {
        self.shared.positions.check()?;
        self.ensure_open_chunk()?;
        self.begin_chunk(checkpoint)
    }

    /// Begins a chunk where none could be made before, on a full disk.
    pub(super) fn ensure_open_chunk(&mut self) -> Result<()> {
        let Head::Unopened(checkpoint) = &self.head else { return Ok(()) };
        let checkpoint = checkpoint.clone();
        self.begin_chunk(checkpoint)
    }

    /// Starts a chunk after the last record, and ends the open one if there is one.
    pub(super) fn begin_chunk(&mut self, checkpoint: W::Checkpoint) -> Result<()> {
        let salt = random_u64();
        let mut transform = self.config.compression.transform();
        let staged = self.stage_head(&checkpoint, salt, transform.as_mut())?;
        let head_len = HEADER_LEN + staged.segment.size;
        self.reserve_seal()?;
        let spare = self.take_spare_of(head_len + SEAL_LEN)?;
        let earlier_life = if spare.earlier_life { FEATURE_EARLIER_LIFE } else { 0 };
        let transformed = transform.as_ref().map_or(0, Transform::feature);
        let header = Header {
            chunk_id: self.end(),
            features: earlier_life | transformed,
            salt,
            log_id: self.log_id,
            created_ms: unix_ms(),
            previous_crc: self.head.open().map_or(self.previous_crc, |open| open.seal().data_crc),
        };
        let bytes = self.rotation_weight(self.hand_over.waiting(self.end()) + head_len);
        if let Err(error) = self.hand_over.wait_for_room(bytes, "close_open_chunk") {
            self.shared.housekeeper.return_spare(spare);
            return Err(error);
        }
        self.rotate(header, staged, spare, checkpoint, transform, bytes)
    }

    /// The queue bytes of a rotation that hands over `bytes`.
    pub(super) fn rotation_weight(&self, bytes: u64) -> u64 {
        bytes.max((self.config.flush_queue_max_bytes / ROTATIONS_WAITING).min(ROTATION_WEIGHT_MAX))
    }

    /// Makes sure that the open chunk has space for its seal. It has, unless a crash has taken back the space
    /// allocated after its last records.
    fn reserve_seal(&mut self) -> Result<()> {
        loop {
            let Some(open) = self.head.open_mut() else { return Ok(()) };
            match open.reserve(0) {
                Err(Error::StorageFull { .. }) if self.make_room() => {}
                reserved => return reserved,
            }
        }
    }

    /// Stages the new chunk's first bytes: room for its header, and the checkpoint's frame.
    fn stage_head(
        &mut self,
        checkpoint: &W::Checkpoint,
        salt: u64,
        transform: Option<&mut Transform>,
    ) -> Result<Staged> {
        let offset = self.end().checked_add(HEADER_LEN).ok_or(Error::OffsetsUsedUp { end: u64::MAX })?;
        let record = WalRecord::<W>::Checkpoint(checkpoint.clone());
        let (positions, payload_max) = (&self.shared.positions, self.config.max_record_size);
        let _inside = Inside::enter(positions.identity());
        let salt = Salt::new(salt);
        self.tail.stage(0, HEADER_LEN as usize);
        let encoder = FrameEncoder { tail: &mut self.tail, salt: &salt, payload_max, transform };
        encoder.stage(HEADER_LEN as usize, &record, offset, positions.synced(), 0)
    }

    /// A spare with space for at least `bytes`.
    fn take_spare_of(&mut self, bytes: u64) -> Result<Spare> {
        let housekeeper = self.shared.housekeeper.clone();
        let taken = match housekeeper.take_spare() {
            Err(Error::StorageFull { .. }) if self.hand_over.wait_for_removals() => housekeeper.take_spare(),
            taken => taken,
        };
        // The housekeeper ends with the worker, so the worker's failure is the cause.
        let mut spare = taken.map_err(|error| self.shared.positions.check().err().unwrap_or(error))?;
        while spare.allocated < bytes {
            match spare.handle.allocate(bytes) {
                Ok(()) => spare.allocated = bytes,
                Err(e) => {
                    let error = Error::no_space("allocate", &spare.path, bytes, e);
                    if !(matches!(error, Error::StorageFull { .. }) && self.make_room()) {
                        housekeeper.return_spare(spare);
                        return Err(error);
                    }
                }
            }
        }
        Ok(spare)
    }

    /// Hands the rotation to the worker, where it counts for `bytes`, and goes over to the new chunk. Only
    /// a log that has failed refuses it.
    fn rotate(
        &mut self,
        header: Header,
        staged: Staged,
        spare: Spare,
        checkpoint: W::Checkpoint,
        transform: Option<Transform>,
        bytes: u64,
    ) -> Result<()> {
        // The user's code comes first: from where the tail goes on, nothing may panic.
        let has_predecessor = self.head.open().is_some() || !self.view.chunks.read().closed.is_empty();
        let predecessor = has_predecessor.then(|| checkpoint.clone());
        let file = Arc::new(ChunkFile::open(header, spare.handle.clone()));
        let end = staged.segment.offset + staged.segment.size;
        let mut data_crc = DataCrc::default();
        data_crc.push(staged.crc);
        let new_chunk = OpenChunk::new(
            file.clone(),
            spare.handle.clone(),
            OpenChunkState { end, records: 1, data_crc, allocated: spare.allocated, transform },
            &self.config,
        );
        let ending = self.head.open().map(OpenChunk::seal);
        let head_len = (end - header.chunk_id) as usize;
        let head = self.tail.stage(head_len, head_len);
        head[..HEADER_LEN as usize].copy_from_slice(&header.encode());
        self.tail.begin_chunk(head_len);
        let beginning = ChunkBeginning {
            path: self.config.chunk_path(file.id()),
            file: file.clone(),
            spare,
            end,
            checkpoint: predecessor,
        };
        self.hand_over.rotate(Rotation { ending, beginning }, bytes, end)?;
        self.last_segment = staged.segment;
        let before = std::mem::replace(&mut self.head, Head::Open(new_chunk));
        {
            let mut chunks = self.view.chunks.write();
            if let Head::Open(old) = before {
                let (file, end, records) = (old.file.clone(), old.end(), old.records());
                self.view.files.keep(file.clone());
                let closed = ClosedChunk::new(file, end, records, checkpoint);
                chunks.closed.insert(old.id(), Arc::new(closed));
                self.budget.note_seal();
            }
            chunks.open = Some(file);
        }
        self.shared.positions.publish_appended(end);
        Ok(())
    }

    /// Drains closed chunks, oldest first, while `f` returns true, and returns their ids, oldest first. `f` gets the
    /// checkpoint of the state after the chunk's last record.
    ///
    /// Stops before a chunk that a [pin](Self::pin) or a [subscriber](Self::subscriber) needs, unless that may
    /// [break](crate::PinOptions): then it breaks. [`holders`](Self::holders) shows where the pins are. For the
    /// subscribers, this reads a directory, and syncs a small file of each subscriber for which chunks go.
    ///
    /// Drained chunks can't be read any more, but are still on disk: until they are [removed](Self::remove_chunks), a
    /// reopened log has them again. If the disk was full when the log was opened, and no chunk is open, the newest
    /// chunk stays, because only a successor could have its state.
    pub fn drain_closed_chunks_while(&mut self, mut f: impl FnMut(&W::Checkpoint) -> bool) -> Vec<ChunkId> {
        let before = self.drained.len();
        self.drain_while(|chunk| f(&chunk.checkpoint));
        self.drained.iter().skip(before).map(|file| file.id()).collect()
    }

    /// Drains closed chunks, oldest first, while `f` returns true and no pin needs them.
    pub(super) fn drain_while(&mut self, mut f: impl FnMut(&ClosedChunk<W::Checkpoint>) -> bool) {
        let (pins, appended) = (self.pins.clone(), self.end());
        let mut drain = pins.drain();
        loop {
            // Asked without the lock: `f` is the user's and may read the log.
            let (first, count) = {
                let chunks = self.view.chunks.read();
                (chunks.drainable(), chunks.closed.len())
            };
            let Some(chunk) = first.filter(|chunk| f(chunk)) else { return };
            let closed = Closed { oldest: chunk.id().offset(), count };
            let ahead = Ahead {
                end: chunk.end,
                closed: chunk.since,
                appended,
                is_over_budget: self.budget.is_over_soft(closed, appended),
            };
            if !drain.may_take(&ahead) {
                return;
            }
            self.view.drain(&chunk);
            self.drained.push_back(chunk.file.clone());
        }
    }

    /// Removes drained chunks from the disk. `chunk_ids` has the oldest drained chunks without a gap, in any order.
    ///
    /// Everything appended becomes durable first, because a record may be the reason for the removal; directly after a
    /// rotation, this waits for the next flush, or a few milliseconds. The removal follows in the background, oldest
    /// first; a crash may leave some of the newest of these chunks.
    /// [`wait_idle`](Self::wait_idle) waits for the removal and returns its error. A [pinned
    /// reader](Self::pinned_reader) puts off the removal of a chunk that it may read, and of all later chunks, until it
    /// is dropped; this call and `wait_idle` don't wait for that. Blocks while the queue is full.
    ///
    /// # Errors
    ///
    /// On an error nothing is removed. [`Error::NotDrained`], [`Error::Poisoned`], [`Error::WouldDeadlock`]
    /// for a full queue inside a callback.
    pub fn remove_chunks(&mut self, chunk_ids: Vec<ChunkId>) -> Result<()> {
        self.shared.positions.check()?;
        let mut ids = chunk_ids;
        ids.sort_unstable();
        for (i, id) in ids.iter().enumerate() {
            let expected = self.drained.get(i).map(|file| file.id());
            if expected != Some(*id) {
                return Err(Error::NotDrained { chunk_id: *id, expected });
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        // Of a chunk with nothing but its head, the worker knows whether it is durable.
        if self.head.open().is_none_or(|open| open.records() > 1) {
            self.hand_over.ask(self.end(), Flush::Sync, 0, "remove_chunks")?;
        }
        self.hand_over.wait_for_room(0, "remove_chunks")?;
        let files = self.drained.drain(..ids.len()).collect();
        self.hand_over.remove(files).map_err(|(files, error)| {
            for file in files.into_iter().rev() {
                self.drained.push_front(file);
            }
            error
        })
    }

    /// Returns the id of the open chunk. If no chunk is open because the disk was full, returns the id that the next
    /// chunk will have.
    pub fn open_chunk_id(&self) -> ChunkId {
        self.head.open().map_or_else(|| ChunkId(self.end()), OpenChunk::id)
    }

    /// Returns statistics of the closed chunks, oldest first, without drained ones.
    pub fn closed_chunk_stats(&self) -> Vec<ChunkStat<W::Checkpoint>> {
        self.view.chunks.read().closed.values().map(|chunk| chunk.stat()).collect()
    }

    /// Returns statistics of the open chunk, with the given `checkpoint`, the state after the chunk's last record.
    pub fn open_chunk_stat(&self, checkpoint: W::Checkpoint) -> ChunkStat<W::Checkpoint> {
        let records = self.head.open().map_or(0, OpenChunk::records);
        ChunkStat::new(self.open_chunk_id(), self.end(), records, checkpoint)
    }

    /// Returns the size of the log in bytes, from the oldest chunk that is not drained to the last appended record,
    /// without seals and space allocated ahead.
    pub fn on_disk_size(&self) -> u64 {
        self.end() - self.view.start()
    }

    /// The global offset after the last record.
    pub(super) fn end(&self) -> u64 {
        self.head.open().map_or_else(|| self.shared.positions.appended(), OpenChunk::end)
    }
}
