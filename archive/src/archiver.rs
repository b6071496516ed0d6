//! [`Archiver`]: a thread that uploads what a log makes durable, until it is closed or another archiver takes over.
//!
//! ```text
//! claim an epoch ─► read durable bytes ─► put parts, side by side ─► publish a manifest ─► archived_upto
//!                    ▲         │
//!                    └─ pause ◄┘ once all is read
//! ```
//!
//! - The thread never touches the log: no append, sync or rotation waits for it.
//! - An object is in a manifest only after the store has acknowledged it, and every earlier one.
//! - A store that fails is tried again without end; the log's files are the queue.
//! - Without anything to publish, the archiver looks from time to time whether it was fenced.

mod holder;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chunked_wal::storage::Storage;
use chunked_wal::{ChunkedWal, PinOptions, SubscribeOptions, Subscriber, WalPin, WalTypes};
use object_store::ObjectStore;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::log::{Log, Place};
use crate::store::{Retry, Store};
use holder::{Held, Holder};
use task::Task;

/// The name of the pin or subscriber that keeps the log until it is archived.
pub(crate) const SUBSCRIBER: &str = "archive";

/// What to do if the log removed chunks before they were archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// Stop with [`Error::Missing`].
    #[default]
    Stop,
    /// Archive on at the oldest chunk there is. The archive then lacks the records in between; every chunk before and
    /// after can be restored, because each starts with a checkpoint.
    Skip,
}

/// The settings of an archiver, and what it archives.
#[derive(Debug, Clone)]
pub struct ArchiverOptions {
    place: Place,
    retry: Retry,
    pause: Duration,
    part_bytes: u64,
    uploads: usize,
    fence_check: Duration,
    on_missing: OnMissing,
    holder: Holder,
}

impl ArchiverOptions {
    fn new(place: Place, holder: Holder) -> Self {
        ArchiverOptions {
            holder,
            place,
            retry: Retry::default(),
            pause: Duration::from_millis(250),
            part_bytes: 8 << 20,
            uploads: 4,
            fence_check: Duration::from_secs(10),
            on_missing: OnMissing::default(),
        }
    }

    /// How long to wait between two looks at the log, while it keeps up. A lost machine costs the records of about this
    /// time and of one upload. Each look that finds something makes two objects. Default: 250 ms.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The largest part, in bytes. The archiver holds as many in memory as it uploads side by side, and one more that it
    /// reads meanwhile: 40 MiB by default. Default: 8 MiB.
    pub fn part_bytes(mut self, bytes: u64) -> Self {
        self.part_bytes = bytes.max(1);
        self
    }

    /// How many parts to upload side by side. Default: 4.
    pub fn uploads(mut self, uploads: usize) -> Self {
        self.uploads = uploads.max(1);
        self
    }

    /// How often an archiver with nothing to publish looks whether another one has taken over. One request each time.
    /// Default: 10 s.
    pub fn fence_check(mut self, period: Duration) -> Self {
        self.fence_check = period;
        self
    }

    /// How failed operations on the store are tried again. An archiver never gives up.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Keeps the log by this pin, of the same log, until it is archived. Default for a log that is open in this process: a
    /// pin named `archive` from the oldest chunk on, without a cap.
    pub fn pin(mut self, pin: WalPin) -> Self {
        self.holder = Holder::Pin(Arc::new(pin));
        self
    }

    /// Keeps the log by this subscriber until it is archived, also while no archiver runs. Default for a log that another
    /// process may have open: one named `archive`, without a cap. A subscriber that has broken starts over.
    pub fn subscriber(mut self, subscriber: SubscribeOptions) -> Self {
        self.holder = Holder::Subscriber(subscriber);
        self
    }

    /// Doesn't keep the log. The program must drain only what [`Archiver::archived_upto`] allows, or the archive lacks
    /// records.
    pub fn without_pin(mut self) -> Self {
        self.holder = Holder::Nothing;
        self
    }

    /// What to do if the log removed chunks before they were archived.
    pub fn on_missing(mut self, on_missing: OnMissing) -> Self {
        self.on_missing = on_missing;
        self
    }

    /// The storage that the log is on, if it isn't the disk.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.place.storage = storage;
        self
    }

    /// Starts the archiver's thread, and returns without waiting for the store.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system has no thread for it.
    pub fn start(self, store: Arc<dyn ObjectStore>) -> Result<Archiver> {
        let dir = self.place.dir.clone();
        let pin = match &self.holder {
            Holder::Pin(pin) => Some(pin.clone()),
            _ => None,
        };
        let task = self.task(store);
        let shared = task.shared.clone();
        let thread = std::thread::Builder::new().name("wal-archiver".into());
        let thread = thread.spawn(move || task.run()).map_err(Error::io("start a thread for", &dir))?;
        Ok(Archiver { shared, thread: Some(thread), _pin: pin })
    }

    fn task(self, store: Arc<dyn ObjectStore>) -> Task {
        let shared = Arc::new(Shared::default());
        let chain = Chain { store: patient(store, self.retry.clone(), &shared) };
        let log = Arc::new(Mutex::new(Log::new(self.place.clone())));
        let held = Held::new(self.holder.clone(), self.place.storage.clone());
        Task { chain, log, held: Arc::new(Mutex::new(held)), options: self, shared }
    }
}

/// A store that never gives up, and whose failures show in the status.
fn patient(store: Arc<dyn ObjectStore>, retry: Retry, shared: &Arc<Shared>) -> Store {
    let shared = shared.clone();
    Store::new(store, retry).patient(Arc::new(move |error| {
        let mut state = shared.state.lock();
        state.status.failures += 1;
        state.status.last_error = Some(error.to_string());
    }))
}

/// How far an archiver is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiverStatus {
    /// The archiver's epoch; 0 until it has claimed one.
    pub epoch: u64,
    /// The global offset up to which the log is archived.
    pub end: u64,
    /// The offset up to which whole chunks are archived, with their seals.
    pub sealed_upto: u64,
    /// Bytes of the log that this archiver has uploaded.
    pub log_bytes: u64,
    /// All bytes that this archiver has uploaded: of the log, manifests and indexes.
    pub uploaded_bytes: u64,
    /// Attempts on the store that failed, and were made again.
    pub failures: u64,
    /// The last failure since something was archived.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    status: ArchiverStatus,
    /// Why the thread has ended: `Ok` if it was closed.
    ended: Option<Result<()>>,
    /// How many looks at the log have started. Each reads until nothing more is durable.
    looks_started: u64,
    /// The last look of which everything is archived.
    look_archived: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// To end at once.
    stop: Notify,
    /// To look at once.
    look: Notify,
}

/// Uploads what a log makes durable to an object store, in the background.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, raw::{Payload, Raw}};
/// # struct Nothing;
/// # impl StateMachine<Raw> for Nothing {
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> { Ok(()) }
/// #     fn checkpoint(&self) -> Payload { Payload::default() }
/// # }
/// use chunked_wal_archive::{Archive, Archiver, local_store};
///
/// # let dir = tempfile::tempdir()?;
/// # let config = Config::new(dir.path().join("log"));
/// # let mut wal = ChunkedWal::<Raw>::open(config, &mut Nothing)?;
/// let store = local_store(&dir.path().join("archive"))?;
/// let archiver = Archiver::attach(&wal, store)?;
///
/// wal.append(&WalRecord::Action(Payload(b"a record".to_vec())))?;
/// wal.sync()?;
/// archiver.wait_archived(wal.progress().synced, Duration::from_secs(10))?;
///
/// // A drain stops at what isn't archived.
/// let old = wal.drain_closed_chunks_while(|_| true);
/// wal.remove_chunks(old)?;
/// archiver.close(Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it ends the thread without archiving what is left; what is archived stays. The next archiver goes on there.
pub struct Archiver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// One that stopped by itself keeps the log, too: what comes next is not archived.
    _pin: Option<Arc<WalPin>>,
}

impl fmt::Debug for Archiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archiver").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Archiver {
    /// Archives an open log, with the default settings. Never blocks, and never makes the log wait.
    ///
    /// A pin named `archive` keeps the log from shrinking until it is archived, for as long as the archiver is there.
    ///
    /// # Errors
    ///
    /// As [`ArchiverOptions::start`].
    pub fn attach<W: WalTypes>(wal: &ChunkedWal<W>, store: Arc<dyn ObjectStore>) -> Result<Self> {
        Self::of_log(wal).start(store)
    }

    /// The settings of an archiver of an open log.
    pub fn of_log<W: WalTypes>(wal: &ChunkedWal<W>) -> ArchiverOptions {
        let progress = Some(wal.progress_handle());
        let place = Place { progress, ..Place::new(wal.dir()) };
        // The log's start is in the log.
        let pin = wal.pin(SUBSCRIBER, wal.reader().start(), PinOptions::new()).ok();
        ArchiverOptions::new(place, pin.map_or(Holder::Nothing, |pin| Holder::Pin(Arc::new(pin))))
    }

    /// The settings of an archiver of a log that another process may have open; it is only read. Records are archived
    /// once the files prove them to be durable. If there is no log yet, the archiver waits for one.
    ///
    /// A [subscriber](Subscriber) named `archive` keeps the log from shrinking until it is archived, also while no
    /// archiver runs. For its file, the archiver writes to the log's directory.
    pub fn of_directory(dir: &Path) -> ArchiverOptions {
        ArchiverOptions::new(Place::new(dir), Holder::Subscriber(Subscriber::options(dir, SUBSCRIBER)))
    }

    /// Returns the offset up to which whole chunks are durable in the archive: chunks that end at or before it may be
    /// removed from the log. 0 until the archive is known.
    pub fn archived_upto(&self) -> u64 {
        self.shared.state.lock().status.sealed_upto
    }

    /// Returns how far the archiver is.
    pub fn status(&self) -> ArchiverStatus {
        self.shared.state.lock().status.clone()
    }

    /// Returns the reason if the archiver has stopped by itself.
    pub fn error(&self) -> Option<Error> {
        self.shared.state.lock().ended.clone().and_then(Result::err)
    }

    /// Waits until the records before a durable offset are archived.
    ///
    /// # Errors
    ///
    /// [`Error::NotYet`] after the timeout; the error that stopped the archiver.
    pub fn wait_archived(&self, offset: u64, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state.lock();
        loop {
            if state.status.end >= offset {
                return Ok(());
            }
            if let Some(ended) = &state.ended {
                return ended.clone().and(Err(Error::Ended));
            }
            self.shared.look.notify_one();
            if self.shared.changed.wait_until(&mut state, deadline).timed_out() {
                let (end, last_error) = (state.status.end, state.status.last_error.clone());
                return Err(Error::NotYet { end, last_error });
            }
        }
    }

    /// Archives what is durable by now, for at most this long, and ends.
    ///
    /// # Errors
    ///
    /// [`Error::NotYet`] after the timeout; the error that stopped the archiver. What is archived stays.
    pub fn close(mut self, timeout: Duration) -> Result<ArchiverStatus> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state.lock();
        // A look that is under way may miss the last bytes.
        let look = state.looks_started + 1;
        while state.ended.is_none() && state.look_archived < look && Instant::now() < deadline {
            self.shared.look.notify_one();
            let soon = Instant::now() + Duration::from_millis(20);
            let _changed_or_not = self.shared.changed.wait_until(&mut state, soon.min(deadline));
        }
        let (status, ended, is_done) =
            (state.status.clone(), state.ended.clone(), state.look_archived >= look);
        drop(state);
        self.stop();
        match ended {
            Some(Err(error)) => Err(error),
            None if !is_done => {
                let ArchiverStatus { end, last_error, .. } = status;
                Err(Error::NotYet { end, last_error })
            }
            _ => Ok(status),
        }
    }

    fn stop(&mut self) {
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _panic_is_in_the_state = thread.join();
        }
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        self.stop();
    }
}
