//! [`Commit`], and how a commit waits for its turn.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use super::{Core, SharedWal};
use crate::error::{Error, Result};
use crate::flush::{FlushTicket, RoomWait, SpareAsked};
use crate::position::Segment;
use crate::record::{Batch, StateMachine, WalTypes};
use crate::wal::Wants;

/// A record that [`SharedWal::commit`] has appended and applied. It resolves to the record's segment once the record is
/// durable: [`wait`](Self::wait) for that, or `.await` the commit.
///
/// The sync is already requested. Dropping the commit cancels nothing: the record still becomes durable, but no call
/// reports it.
#[derive(Debug)]
#[must_use = "the record is not durable before the commit was waited for"]
pub struct Commit {
    segment: Segment,
    ticket: FlushTicket,
}

impl Commit {
    /// Returns the record's segment. The record can be read already.
    pub fn segment(&self) -> Segment {
        self.segment
    }

    /// Blocks until the record is durable.
    ///
    /// # Errors
    ///
    /// The error because of which the record isn't durable, as [`FlushTicket::wait`] returns it: the log has failed,
    /// and a reopened log may or may not have the record. [`Error::WouldDeadlock`] [in a
    /// callback](SharedWal#in-a-callback).
    pub fn wait(self) -> Result<Segment> {
        let segment = self.segment;
        self.ticket.wait().map(|()| segment)
    }

    /// Blocks until the record is durable, but at most for `timeout`; `None` after the timeout.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<Segment>> {
        let outcome = self.ticket.wait_timeout(timeout)?;
        Some(outcome.map(|()| self.segment))
    }
}

impl Future for Commit {
    type Output = Result<Segment>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let segment = self.segment;
        Pin::new(&mut self.ticket).poll(context).map(|outcome| outcome.map(|()| segment))
    }
}

impl<W: WalTypes, SM: StateMachine<W>> SharedWal<W, SM> {
    /// Rotates if the open chunk is full, then appends an action and applies it. The [`Commit`] resolves when the
    /// record is durable.
    ///
    /// Blocks only while the queue is full, or while no file is ready for the next chunk. It doesn't wait for a sync,
    /// so a task may use `wal.commit(action)?.await` as long as the disk keeps up. [`commit_async`](Self::commit_async)
    /// blocks the thread in neither case.
    ///
    /// # Errors
    ///
    /// On an error nothing is appended or applied. [`Error::StateMachine`] if the state machine refuses the
    /// action, which must leave the state unchanged; the errors of [`append`](crate::ChunkedWal::append)
    /// and [`close_open_chunk`](crate::ChunkedWal::close_open_chunk); [`Error::Closed`] after any handle has
    /// closed the log; [`Error::WouldDeadlock`] [in a callback](Self#in-a-callback).
    pub fn commit(&self, action: W::Action) -> Result<Commit> {
        self.core.refuse_inside("commit")?;
        let mut action = Some(action);
        self.core.until_ready(|core, asked| core.try_commit(&mut action, asked))
    }

    /// As [`commit`](Self::commit), but awaits room in the queue and a file for the next chunk instead of blocking.
    /// The first `.await` appends and applies the action; the second `.await` waits until the record is durable:
    ///
    /// ```
    /// # use chunked_wal::{Error, SharedWal, StateMachine, WalTypes};
    /// async fn set<W: WalTypes, SM: StateMachine<W>>(wal: &SharedWal<W, SM>, action: W::Action) -> Result<(), Error> {
    ///     let commit = wal.commit_async(action).await?; // in the log and in the state
    ///     commit.await?; // durable
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Nothing happens before the first poll. Tasks that wait for room get it in order of arrival, and are woken one by
    /// one. A future that is dropped before it is ready has appended and applied nothing.
    ///
    /// # Errors
    ///
    /// As `commit`. [`Error::WouldDeadlock`] if a waker polls the future on the log's thread.
    pub fn commit_async(&self, action: W::Action) -> impl Future<Output = Result<Commit>> + use<W, SM> {
        let core = self.core.clone();
        let mut action = Some(action);
        let mut wait = RoomWait::new(core.positions.clone());
        let mut asked = SpareAsked::default();
        std::future::poll_fn(move |context| {
            core.refuse_inside("commit_async")?;
            wait.poll(context.waker(), || core.try_commit(&mut action, &mut asked))
        })
    }
}

impl<W: WalTypes, SM: StateMachine<W> + Clone> SharedWal<W, SM> {
    /// As [`commit`](Self::commit), with a batch of at least one record. All of its records are appended and applied,
    /// or none; after a crash all of them are there, or none. The [`Commit`] has the segment of the last record.
    ///
    /// The records are applied to a clone of the state, as in
    /// [`append_and_apply_batch`](crate::ChunkedWal::append_and_apply_batch).
    ///
    /// # Errors
    ///
    /// As `commit` and [`append_batch`](crate::ChunkedWal::append_batch); [`Error::EmptyBatch`].
    pub fn commit_batch(&self, batch: Batch<W>) -> Result<Commit> {
        self.core.refuse_inside("commit_batch")?;
        let mut batch = Some(batch);
        self.core.until_ready(|core, asked| core.try_commit_batch(&mut batch, asked))
    }

    /// As [`commit_batch`](Self::commit_batch), but awaits instead of blocking, as [`commit_async`](Self::commit_async)
    /// does.
    ///
    /// # Errors
    ///
    /// As `commit_batch`.
    pub fn commit_batch_async(&self, batch: Batch<W>) -> impl Future<Output = Result<Commit>> + use<W, SM> {
        let core = self.core.clone();
        let mut batch = Some(batch);
        let mut wait = RoomWait::new(core.positions.clone());
        let mut asked = SpareAsked::default();
        std::future::poll_fn(move |context| {
            core.refuse_inside("commit_batch_async")?;
            wait.poll(context.waker(), || core.try_commit_batch(&mut batch, &mut asked))
        })
    }
}

impl<W: WalTypes, SM: StateMachine<W> + Clone> Core<W, SM> {
    /// Takes the batch and commits it, unless it would wait.
    fn try_commit_batch(
        &self,
        batch: &mut Option<Batch<W>>,
        asked: &mut SpareAsked,
    ) -> Option<Result<Commit>> {
        if batch.as_ref().is_some_and(Batch::is_empty) {
            return Some(Err(Error::EmptyBatch));
        }
        self.attempt(Wants::Append, asked, |wal| {
            if batch.as_ref().is_some_and(Batch::has_action) {
                wal.check_budget()?;
            }
            if wal.is_open_chunk_full() {
                wal.close_open_chunk_with(self.read(SM::checkpoint))?;
            }
            // As an action.
            let batch = batch.take().ok_or(Error::Closed)?;
            let (segment, ticket) = wal.commit_batch(&batch, || self.write())?;
            Ok(Commit { segment, ticket })
        })
    }
}

impl<W: WalTypes, SM: StateMachine<W>> Core<W, SM> {
    /// Takes the action and commits it, unless it would wait.
    fn try_commit(&self, action: &mut Option<W::Action>, asked: &mut SpareAsked) -> Option<Result<Commit>> {
        self.attempt(Wants::Append, asked, |wal| {
            // First, so that an action that is refused starts no chunk.
            wal.check_budget()?;
            if wal.is_open_chunk_full() {
                wal.close_open_chunk_with(self.read(SM::checkpoint))?;
            }
            // It is there, unless a future is polled again after its end.
            let action = action.take().ok_or(Error::Closed)?;
            let (segment, ticket) = wal.commit(action, || self.write())?;
            Ok(Commit { segment, ticket })
        })
    }
}

impl<W: WalTypes, SM> Core<W, SM> {
    /// Tries until no wait is needed; between two attempts the thread sleeps, and holds no lock.
    pub(super) fn until_ready<T>(&self, mut attempt: impl FnMut(&Self, &mut SpareAsked) -> Option<T>) -> T {
        let mut asked = SpareAsked::default();
        if let Some(done) = attempt(self, &mut asked) {
            return done;
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut wait = RoomWait::new(self.positions.clone());
        loop {
            match wait.poll(&waker, || attempt(self, &mut asked)) {
                Poll::Ready(done) => return done,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

/// Wakes a thread that sleeps until there is room.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
