//! A snapshot of the state, and the removal of the chunks that it makes unnecessary.

use super::{Held, SharedWal};
use crate::error::{Error, Result};
use crate::flush::{Flush, Inside};
use crate::position::ChunkId;
use crate::record::{StateMachine, WalTypes};
use crate::wal::Wants;

impl<W: WalTypes, SM: StateMachine<W>> SharedWal<W, SM> {
    /// Takes a snapshot of the state, then removes the chunks that it covers, and returns their ids. Commits don't wait
    /// while the snapshot is written. For a state that is serialized as a whole,
    /// [`Snapshots::take_shared`](crate::snapshot::Snapshots::take_shared) also writes the file.
    ///
    /// 1. Under the lock: starts a new chunk, unless the open chunk has no record yet. Then `take` copies what the
    ///    snapshot needs, for example with `SM::clone`. Commits wait meanwhile.
    /// 2. Without a lock: syncs the log up to the new chunk, so that a crash never leaves a snapshot that is ahead of
    ///    its log. Then `write` writes the snapshot. **When `write` returns `Ok`, the snapshot must be durable**: its
    ///    file and its name must be synced.
    /// 3. Under the lock: drains the chunks before the new one, and queues their removal. The removal follows in the
    ///    background; [`ChunkedWal::wait_idle`](crate::ChunkedWal::wait_idle) waits for it.
    ///
    /// Chunks that were drained earlier and not removed are removed too. Readers can't read the drained records any
    /// more. When the program starts again, it loads the snapshot and opens the log with
    /// [`Replay::All`](crate::Replay::All). The state machine then gets the checkpoint of the oldest chunk and all
    /// records after it; the snapshot may already cover some of these records.
    ///
    /// Blocks while `write` runs, and for syncs of the log; in async code, call it on the executor's thread for
    /// blocking calls. Only one snapshot is taken at a time: a call from another handle waits for this one.
    ///
    /// ```
    /// # use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, SharedWal, StateMachine, WalRecord, WalTypes};
    /// # struct Log;
    /// # impl WalTypes for Log { type Action = u64; type Checkpoint = u64; type Callback = (); }
    /// # #[derive(Default)]
    /// # struct Sum(u64);
    /// # impl StateMachine<Log> for Sum {
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, record: &WalRecord<Log>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
    /// #         match record {
    /// #             WalRecord::Action(n) => self.0 += n,
    /// #             WalRecord::Checkpoint(sum) => self.0 = *sum,
    /// #         }
    /// #         Ok(())
    /// #     }
    /// #     fn checkpoint(&self) -> u64 { self.0 }
    /// # }
    /// # let dir = tempfile::tempdir()?;
    /// let wal = SharedWal::<Log, _>::open(Config::new(dir.path().join("log")), Sum::default())?;
    /// wal.commit(7)?.wait()?;
    /// let (snapshot, new) = (dir.path().join("snapshot"), dir.path().join("snapshot.new"));
    /// let removed = wal.snapshot_and_drain(
    ///     |sum| sum.0,
    ///     |sum| -> Result<(), Box<dyn std::error::Error>> {
    ///         std::fs::write(&new, sum.to_le_bytes())?;
    ///         std::fs::File::open(&new)?.sync_all()?;
    ///         std::fs::rename(&new, &snapshot)?;
    ///         std::fs::File::open(dir.path())?.sync_all()?; // the name
    ///         Ok(())
    ///     },
    /// )?;
    /// assert_eq!(removed.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An error of `write`; then nothing is drained, and the next snapshot covers the same records and more. Before
    /// `write` runs, the errors of [`close_open_chunk`](crate::ChunkedWal::close_open_chunk) and of a failed sync;
    /// after it, the errors of [`remove_chunks`](crate::ChunkedWal::remove_chunks). [`Error::Closed`];
    /// [`Error::WouldDeadlock`] [in a callback](Self#in-a-callback) and inside `write`.
    pub fn snapshot_and_drain<S, E: From<Error>>(
        &self,
        take: impl FnOnce(&SM) -> S,
        write: impl FnOnce(S) -> Result<(), E>,
    ) -> Result<Vec<ChunkId>, E> {
        self.snapshot_and_drain_to(take, |taken, chunk_id| write(taken).map(|()| chunk_id.offset()))
    }

    /// As [`snapshot_and_drain`](Self::snapshot_and_drain). `write` gets the new chunk's id too: the snapshot covers
    /// the records before that chunk. It returns the offset before which chunks may be removed.
    pub(crate) fn snapshot_and_drain_to<S, E: From<Error>>(
        &self,
        take: impl FnOnce(&SM) -> S,
        write: impl FnOnce(S, ChunkId) -> Result<u64, E>,
    ) -> Result<Vec<ChunkId>, E> {
        self.core.refuse_inside("snapshot_and_drain")?;
        let has_turn = self.core.identity(Held::Snapshot);
        Inside::refuse_wait(has_turn, "snapshot_and_drain")?;
        let _turn = self.core.snapshot.lock();
        let mut take = Some(take);
        let (chunk_id, durable, taken) = self.core.until_ready(|core, asked| {
            core.attempt(Wants::Rotate, asked, |wal| {
                let chunk_id = wal.begin_chunk_for_snapshot(|| self.read(SM::checkpoint))?;
                let durable = wal.flush_ticket(Flush::Sync)?;
                // It is there: an attempt that gets as far as this is the last.
                let take = take.take().ok_or(Error::Closed)?;
                Ok((chunk_id, durable, self.read(take)))
            })
        })?;
        durable.wait()?;
        let covered = {
            let _inside = Inside::enter(has_turn);
            write(taken, chunk_id)?
        };
        let drained = self.core.until_ready(|core, asked| {
            core.attempt(Wants::Append, asked, |wal| wal.remove_chunks_before(covered))
        });
        Ok(drained?)
    }
}
