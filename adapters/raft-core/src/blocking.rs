//! The store for programs without an asynchronous runtime: the same operations, which block the thread
//! while they wait.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use chunked_wal::{Config, Error, OpenOptions};

use crate::error::{AppendError, OpenError};
use crate::record::RaftWal;
use crate::store::{self, Limits};
use crate::types::RaftTypes;

/// A raft node's log whose operations block the calling thread instead of returning a future.
///
/// Don't use it on a thread of an asynchronous runtime. [`get_ref`](Self::get_ref) has everything that
/// never blocks: the reader, statistics, the log below.
///
/// ```
/// use std::sync::mpsc::{Sender, channel};
///
/// use chunked_wal::{Config, Error};
/// use chunked_wal_raft::{RaftTypes, blocking};
///
/// #[derive(Debug, Clone, PartialEq)]
/// struct Types;
///
/// impl RaftTypes for Types {
///     type LogId = (u64, u64); // term and index
///     type Vote = (u64, u64); // term and candidate
///     type Entry = ((u64, u64), String);
///     type Callback = Sender<Result<(), Error>>;
///
///     fn index(log_id: &(u64, u64)) -> u64 {
///         log_id.1
///     }
///
///     fn log_id(entry: &Self::Entry) -> (u64, u64) {
///         entry.0
///     }
/// }
///
/// let dir = tempfile::tempdir()?;
/// let mut store = blocking::LogStore::<Types>::open(Config::new(dir.path()))?;
/// store.save_vote((1, 7))?; // durable on return
/// let (durable, wait) = channel();
/// store.append([((1, 0), "first".to_string()), ((1, 1), "second".to_string())], durable)?;
/// wait.recv()??; // now the entries are durable, too
/// store.truncate(1)?;
/// assert_eq!(store.get_ref().reader().read(.., u64::MAX)?, [((1, 0), "first".to_string())]);
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogStore<R: RaftTypes>(store::LogStore<R>);

impl<R: RaftTypes> LogStore<R> {
    /// As [`LogStore::open`](crate::LogStore::open).
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        store::LogStore::open(config).map(LogStore)
    }

    /// As [`LogStore::open_with`](crate::LogStore::open_with).
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_with(options: OpenOptions<RaftWal<R>>, limits: Limits) -> Result<Self, OpenError> {
        store::LogStore::open_with(options, limits).map(LogStore)
    }

    /// Returns the store below.
    pub fn get_ref(&self) -> &store::LogStore<R> {
        &self.0
    }

    /// As [`LogStore::append`](crate::LogStore::append). Blocks while the queue is full.
    ///
    /// # Errors
    ///
    /// [`AppendError`].
    pub fn append(
        &mut self,
        entries: impl IntoIterator<Item = R::Entry>,
        callback: R::Callback,
    ) -> Result<(), AppendError<R::LogId>> {
        block_on(self.0.append(entries, callback))
    }

    /// As [`LogStore::save_vote`](crate::LogStore::save_vote). Blocks until the vote is durable.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub fn save_vote(&mut self, vote: R::Vote) -> Result<(), Error> {
        block_on(self.0.save_vote(vote))
    }

    /// As [`LogStore::save_user_data`](crate::LogStore::save_user_data). Blocks until they are durable.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub fn save_user_data(&mut self, data: Option<Vec<u8>>) -> Result<(), Error> {
        block_on(self.0.save_user_data(data))
    }

    /// As [`LogStore::save_committed`](crate::LogStore::save_committed). Blocks while the queue is full.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub fn save_committed(&mut self, committed: Option<R::LogId>) -> Result<(), Error> {
        block_on(self.0.save_committed(committed))
    }

    /// As [`LogStore::truncate`](crate::LogStore::truncate). Blocks until the truncation is durable.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub fn truncate(&mut self, since: u64) -> Result<(), Error> {
        block_on(self.0.truncate(since))
    }

    /// As [`LogStore::purge`](crate::LogStore::purge). Blocks while the queue is full.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub fn purge(&mut self, upto: R::LogId) -> Result<(), Error> {
        block_on(self.0.purge(upto))
    }

    /// As [`LogStore::close`](crate::LogStore::close).
    ///
    /// # Errors
    ///
    /// The first failure, of the close or earlier.
    pub fn close(self) -> Result<(), Error> {
        self.0.close()
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            // If the future was woken since the poll, this returns at once.
            Poll::Pending => thread::park(),
        }
    }
}
