//! Follows a log as it grows, from this process or another: a log of this crate, or an SQLite WAL file
//! (feature `monitor`).
//!
//! ```text
//! directory ─► idle: operating system's watch ─┐
//!              busy: every 20 ms ──────────────┼─► look at the new bytes ─► one merged event ─► you
//!              in any case: poll interval ─────┘
//!              └───────────── a thread of the monitor's ─────────────────┘
//! ```
//!
//! A [`WalMonitor`] reads frames. It needs no codec, no lock, and only the writer's files, which it
//! never changes. Each look reads and checks the bytes added since the last one. The monitor reports of
//! a log only what its bytes prove: [`LogState::durable`] is an offset that no crash can take back.
//!
//! ```
//! use std::time::Duration;
//!
//! use chunked_wal::monitor::WalMonitor;
//! # use chunked_wal::{ChunkId, ChunkedWal, Config, Error, Segment, StateMachine, WalRecord, WalTypes};
//! # struct Words;
//! # impl WalTypes for Words {
//! #     type Action = String;
//! #     type Checkpoint = u64;
//! #     type Callback = ();
//! # }
//! # struct Nothing;
//! # impl StateMachine<Words> for Nothing {
//! #     type Error = String;
//! #     fn apply(&mut self, _: &WalRecord<Words>, _: ChunkId, _: Segment) -> Result<(), String> { Ok(()) }
//! #     fn checkpoint(&self) -> u64 { 0 }
//! # }
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::new(dir.path());
//!
//! let mut monitor = WalMonitor::open(dir.path())?; // works before there is a log
//! assert!(!monitor.state().exists());
//!
//! let mut wal = ChunkedWal::<Words>::open(config, &mut Nothing)?; // here, or in another process
//! wal.append(&WalRecord::Action("a word".to_string()))?;
//! wal.sync()?;
//!
//! while monitor.state().durable < wal.progress().synced {
//!     let event = monitor.wait_timeout(Duration::from_secs(10))?.expect("the log has grown");
//!     println!("{}: durable up to {}", event.changes, event.state.durable);
//! }
//! assert_eq!(monitor.state().records, 2); // the chunk's first checkpoint, and the word
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod event;
mod log_tail;
mod shared;
mod sqlite;
mod sqlite_tail;
mod watcher;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use futures_core::Stream;

pub use self::event::{Changes, WalEvent};
pub use self::log_tail::LogState;
pub use self::sqlite::SqliteDefect;
pub use self::sqlite_tail::{SqliteFile, SqliteState};

use self::log_tail::LogTail;
use self::shared::{Shared, Tail};
use self::sqlite_tail::SqliteTail;
use self::watcher::Target;
use crate::error::{Error, Result};
use crate::storage::{DiskStorage, Storage};

/// How a monitor learns of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Watch {
    /// The operating system reports the first change to an idle source, which is seen at once. While the
    /// source is busy, it is not watched, so that the writer doesn't pay for a report of each write: the
    /// monitor looks every 20 ms, or after ten times as long as a look takes, up to a second. In addition,
    /// it looks once per [`poll_interval`](MonitorOptions::poll_interval). Where the system can't watch
    /// (no watches left, a network file system), only the interval is left.
    #[default]
    Os,
    /// The monitor looks once per poll interval.
    Poll,
}

/// The options for opening a monitor.
///
/// ```
/// use std::time::Duration;
/// use chunked_wal::monitor::{MonitorOptions, Watch};
///
/// # let dir = tempfile::tempdir()?;
/// let every_second = MonitorOptions::new().watch(Watch::Poll).poll_interval(Duration::from_secs(1));
/// let mut log = every_second.clone().open(dir.path())?;
/// let mut sqlite = every_second.open_sqlite(dir.path().join("app.db-wal"))?;
/// assert!(log.check_for_changes()?.is_none() && sqlite.check_for_changes()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MonitorOptions {
    watch: Watch,
    poll_interval: Duration,
    read_wal_index: bool,
    storage: Arc<dyn Storage>,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        MonitorOptions {
            watch: Watch::Os,
            poll_interval: Duration::from_secs(1),
            read_wal_index: false,
            storage: Arc::new(DiskStorage),
        }
    }
}

impl MonitorOptions {
    /// Returns the defaults: the operating system's watch, a look each second, and no WAL index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how the monitor learns of changes.
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    /// Sets the longest time between two looks, at least 2 ms. Default: one second. A directory that
    /// didn't exist is noticed within the same time.
    pub fn poll_interval(mut self, poll_interval: Duration) -> Self {
        self.poll_interval = poll_interval;
        self
    }

    /// Reads the index of an SQLite WAL too, its `-shm` file, to report how much of the WAL has been
    /// checkpointed.
    ///
    /// Never do this in a process that has the database open itself. SQLite locks the `-shm` file with
    /// POSIX locks, and a process loses all its POSIX locks on a file as soon as it closes any handle
    /// of that file, even a handle that SQLite didn't open. The database may be corrupted then.
    pub fn read_wal_index(mut self) -> Self {
        self.read_wal_index = true;
        self
    }

    /// Uses another storage than the disk for a log, with [`Watch::Poll`] if the operating system doesn't watch it.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Follows the log in `dir`; see [`WalMonitor::open`].
    ///
    /// # Errors
    ///
    /// As [`WalMonitor::open`].
    pub fn open(self, dir: impl AsRef<Path>) -> Result<WalMonitor<LogState>> {
        let dir = absolute(dir.as_ref())?;
        let tail = LogTail::new(self.storage.clone(), dir.clone());
        self.start(Box::new(tail), dir, Default::default())
    }

    /// Follows the SQLite WAL file at `path`; see [`WalMonitor::open_sqlite`].
    ///
    /// # Errors
    ///
    /// As [`WalMonitor::open_sqlite`].
    pub fn open_sqlite(self, path: impl AsRef<Path>) -> Result<WalMonitor<SqliteState>> {
        let path = absolute(path.as_ref())?;
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::io("open", path, io::ErrorKind::IsADirectory.into()));
        };
        // A checkpoint writes to the database, whose name is the start of the WAL's name.
        let database = name.to_str().and_then(|name| name.strip_suffix("-wal"));
        let prefix = database.map_or(name.to_owned(), Into::into);
        let dir = dir.to_owned();
        let tail = SqliteTail::new(path, self.read_wal_index);
        self.start(Box::new(tail), dir, prefix)
    }

    fn start<S: Clone + PartialEq>(
        self,
        tail: Box<dyn Tail<S>>,
        dir: PathBuf,
        prefix: std::ffi::OsString,
    ) -> Result<WalMonitor<S>> {
        let target = Target { dir, prefix, watch: self.watch, poll_interval: self.poll_interval };
        Ok(WalMonitor { shared: Arc::new(Shared::new(tail)?), target, thread: None })
    }
}

/// Makes a path absolute, so that it stays valid when the process changes its directory.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("resolve", path, e))
}

/// Follows a log, or an SQLite WAL file, as it grows. The [module](self) has an example.
///
/// Opening takes the first look; [`state`](Self::state) returns its result, and events report the
/// changes since. There are three ways to take events:
///
/// - [`check_for_changes`](Self::check_for_changes) looks now, on your thread, without another thread.
/// - [`wait`](Self::wait), [`wait_timeout`](Self::wait_timeout) and the iterator
///   [`events`](Self::events) block until something has changed.
/// - The [`Stream`] is awaited, on any executor.
///
/// The last two start a thread, `wal-monitor`, which ends with the monitor. The thread looks ahead and
/// keeps one event, into which all changes are merged until the event is taken.
///
/// An error ([`Error::Io`]; for a log also [`Error::NotAChunk`], [`Error::Unsupported`],
/// [`Error::Corrupt`], and [`Error::ForeignChunk`] for a chunk with a wrong header) takes the place of
/// an event, once until a look succeeds again; the known state stays, and the monitor goes on looking.
/// Damage further inside a chunk is not an error here: frames are counted up to the first unsound one,
/// because an unfinished write looks the same.
///
/// There is only one consumer of events: all methods that take them need `&mut self`.
pub struct WalMonitor<S = LogState> {
    shared: Arc<Shared<S>>,
    target: Target,
    thread: Option<JoinHandle<()>>,
}

impl WalMonitor<LogState> {
    /// Follows the log in `dir`. Neither the log nor the directory needs to exist: the monitor waits
    /// for the log, and notices a new directory within the poll interval.
    ///
    /// Blocks while it reads the newest chunk, and the header and seal of each older one.
    ///
    /// # Errors
    ///
    /// The errors of a look, see [`WalMonitor`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        MonitorOptions::new().open(dir)
    }
}

impl WalMonitor<SqliteState> {
    /// Follows an SQLite WAL at `path`: the database's path with `-wal` appended. The file needn't
    /// exist; SQLite deletes it when the last connection to its database is closed.
    ///
    /// Blocks while it reads the file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. Bytes that are not a WAL are no error: see [`SqliteFile::Invalid`].
    pub fn open_sqlite(path: impl AsRef<Path>) -> Result<Self> {
        MonitorOptions::new().open_sqlite(path)
    }
}

impl<S: Clone + PartialEq + Send + 'static> WalMonitor<S> {
    /// Returns the state at the last look, whether or not its event was taken.
    pub fn state(&self) -> S {
        self.shared.state()
    }

    /// Looks now, and returns the changes since the last event, if there are any.
    ///
    /// Blocks while it reads the new bytes.
    ///
    /// # Errors
    ///
    /// The errors of a look, see [`WalMonitor`]; once, until a look succeeds again.
    pub fn check_for_changes(&mut self) -> Result<Option<WalEvent<S>>> {
        self.shared.look();
        self.shared.take().transpose()
    }

    /// Waits until something changes; `None` once the monitor is [stopped](MonitorStop::stop).
    ///
    /// # Errors
    ///
    /// The errors of a look, see [`WalMonitor`]; [`Error::Io`] if the thread can't be started.
    pub fn wait(&mut self) -> Result<Option<WalEvent<S>>> {
        self.start_thread()?;
        self.shared.wait(None).transpose()
    }

    /// Waits until something changes; `None` after `timeout`, or once the monitor is
    /// [stopped](MonitorStop::stop).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<WalEvent<S>>> {
        self.start_thread()?;
        self.shared.wait(Instant::now().checked_add(timeout)).transpose()
    }

    /// Returns an iterator over the events, which blocks until the next event, and ends once the
    /// monitor is [stopped](MonitorStop::stop). It continues after an error.
    pub fn events(&mut self) -> impl Iterator<Item = Result<WalEvent<S>>> + '_ {
        std::iter::from_fn(|| self.wait().transpose())
    }

    /// Returns a handle that stops this monitor from elsewhere, because a thread that waits for the
    /// monitor can't drop it.
    pub fn stop_handle(&self) -> MonitorStop {
        let shared = Arc::downgrade(&self.shared);
        let stop = move || {
            if let Some(shared) = shared.upgrade() {
                shared.stop();
            }
        };
        MonitorStop { stop: Arc::new(stop) }
    }

    /// Returns the reason why the operating system doesn't watch although [`Watch::Os`] was chosen: the
    /// monitor polls then. `None` before the first wait.
    pub fn watch_error(&self) -> Option<String> {
        self.shared.watch_error()
    }

    fn start_thread(&mut self) -> Result<()> {
        if self.thread.is_none() {
            let thread = watcher::spawn(self.shared.clone(), self.target.clone());
            self.thread =
                Some(thread.map_err(|e| Error::io("start a thread for", self.target.dir.clone(), e))?);
        }
        Ok(())
    }
}

/// The stream of events; it ends once the monitor is [stopped](MonitorStop::stop). Files are read on
/// the monitor's thread, never in `poll_next`.
impl<S: Clone + PartialEq + Send + 'static> Stream for WalMonitor<S> {
    type Item = Result<WalEvent<S>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.start_thread() {
            Ok(()) => this.shared.poll(cx.waker()),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl<S> Drop for WalMonitor<S> {
    fn drop(&mut self) {
        // Without a thread there is nothing to stop.
        if let Some(thread) = self.thread.take() {
            self.shared.stop();
            // Waking a task may drop the task, and the monitor with it, on the monitor's own thread.
            if thread.thread().id() != std::thread::current().id() {
                let _ended = thread.join();
            }
        }
    }
}

impl<S> fmt::Debug for WalMonitor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalMonitor").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Ends the waits for a [`WalMonitor`], from any thread.
#[derive(Clone)]
pub struct MonitorStop {
    stop: Arc<dyn Fn() + Send + Sync>,
}

impl MonitorStop {
    /// Stops the monitor: a waiting consumer gets the last event, and then the end.
    pub fn stop(&self) {
        (self.stop)();
    }
}

impl fmt::Debug for MonitorStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorStop").finish_non_exhaustive()
    }
}
