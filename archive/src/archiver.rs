//! [`Archiver`]: a thread that uploads what a log makes durable, until it is closed or another archiver takes over.
//!
//! ```text
//! claim an epoch ─► read durable bytes ─► put parts, side by side ─► publish a manifest ─► archived_upto
//!                        ▲                                                    │
//!                        └────────── pause, unless more is waiting ◄──────────┘
//! ```
//!
//! - The thread never touches the log: no append, sync or rotation waits for it.
//! - An object is in a manifest only after the store has acknowledged it.
//! - A store that fails is tried again without end; the log's files are the queue.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chunked_wal::storage::Storage;
use chunked_wal::{ChunkedWal, WalTypes};
use futures_util::StreamExt;
use futures_util::stream::iter;
use object_store::ObjectStore;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::log::{Limits, Log, Part, Place};
use crate::manifest::{Manifest, Object};
use crate::store::{Retry, Store};

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
    on_missing: OnMissing,
}

impl ArchiverOptions {
    pub(crate) fn new(place: Place) -> Self {
        ArchiverOptions {
            place,
            retry: Retry::default(),
            pause: Duration::from_millis(250),
            part_bytes: 8 << 20,
            uploads: 4,
            on_missing: OnMissing::default(),
        }
    }

    /// How long to wait between two looks at the log, while it keeps up. A lost machine costs the records of about this
    /// time and of one upload. Each look that finds something makes two objects. Default: 250 ms.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The largest part, in bytes. The archiver holds as many in memory as it uploads side by side. Default: 8 MiB.
    pub fn part_bytes(mut self, bytes: u64) -> Self {
        self.part_bytes = bytes.max(1);
        self
    }

    /// How many parts to upload side by side. Default: 4.
    pub fn uploads(mut self, uploads: usize) -> Self {
        self.uploads = uploads.max(1);
        self
    }

    /// How failed operations on the store are tried again. An archiver never gives up.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
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
        let shared = Arc::new(Shared::default());
        let store = patient(store, self.retry.clone(), &shared);
        let dir = self.place.dir.clone();
        let task = Task {
            chain: Chain { store },
            log: Log::new(self.place.clone()),
            options: self,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("wal-archiver".into());
        let thread = thread.spawn(move || task.run()).map_err(Error::io("start a thread for", &dir))?;
        Ok(Archiver { shared, thread: Some(thread) })
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
    /// Looks that found no more than was archived at once.
    looks: u64,
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
/// // Chunks that are archived may be removed.
/// let upto = archiver.archived_upto();
/// let mut chunks = wal.closed_chunk_stats().into_iter();
/// let old = wal.drain_closed_chunks_while(|_| chunks.next().is_some_and(|chunk| chunk.global_end <= upto));
/// wal.remove_chunks(old)?;
/// archiver.close(Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it ends the thread without archiving what is left; what is archived stays. The next archiver goes on there.
pub struct Archiver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Archiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archiver").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Archiver {
    /// Archives an open log, with the default settings. Never blocks, and never makes the log wait.
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
        ArchiverOptions::new(Place { progress, ..Place::new(wal.dir()) })
    }

    /// The settings of an archiver of a log that another process may have open; it is only read. Records are archived
    /// once the files prove them to be durable. If there is no log yet, the archiver waits for one.
    pub fn of_directory(dir: &Path) -> ArchiverOptions {
        ArchiverOptions::new(Place::new(dir))
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
        let looks = state.looks + 2;
        while state.ended.is_none() && state.looks < looks && Instant::now() < deadline {
            self.shared.look.notify_one();
            let soon = Instant::now() + Duration::from_millis(20);
            let _changed_or_not = self.shared.changed.wait_until(&mut state, soon.min(deadline));
        }
        let (status, ended, is_done) = (state.status.clone(), state.ended.clone(), state.looks >= looks);
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

/// What the thread does.
struct Task {
    chain: Chain,
    log: Log,
    options: ArchiverOptions,
    shared: Arc<Shared>,
}

/// Ends the waits, even if the thread panics.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.state.lock().ended.get_or_insert(Err(Error::Ended));
        self.0.changed.notify_all();
    }
}

impl Task {
    fn run(mut self) {
        let shared = self.shared.clone();
        let _ending = Ending(shared.clone());
        let result = match crate::runtime::new() {
            Ok(runtime) => {
                let result = runtime.block_on(crate::runtime::unless(&shared.stop, self.archive()));
                // A put that hangs doesn't keep the program from ending.
                runtime.shutdown_background();
                result
            }
            Err(error) => Some(Err(error)),
        };
        if let Some(Err(error)) = &result {
            log::error!("archiving '{}' has stopped: {error}", self.log.dir().display());
        }
        shared.state.lock().ended = Some(result.unwrap_or(Ok(())));
    }

    async fn archive(&mut self) -> Result<()> {
        let mut manifest = self.chain.claim().await?;
        self.check_log(&mut manifest).await?;
        self.update(&manifest, 0, 0);
        loop {
            let started = Instant::now();
            let new = self.archive_next(&mut manifest).await?;
            if new < self.options.uploads {
                self.update(&manifest, 0, 0);
                let pause = self.options.pause.saturating_sub(started.elapsed());
                let _asked_or_not = tokio::time::timeout(pause, self.shared.look.notified()).await;
            }
        }
    }

    /// Waits for the log, and compares it with the archive.
    async fn check_log(&self, manifest: &mut Manifest) -> Result<()> {
        let id = loop {
            match self.log.id() {
                Ok(Some(id)) => break id,
                Err(error) if !error.is_no_directory() => return Err(error),
                _ => tokio::time::sleep(self.options.pause).await,
            }
        };
        let dir = self.log.dir().to_owned();
        if manifest.log_id.is_empty() {
            manifest.log_id = id;
        } else if manifest.log_id != id {
            return Err(Error::OtherLog { archive: manifest.log_id.clone(), log: id, dir });
        }
        match manifest.objects.last() {
            Some(last) if !self.log.agrees(last)? => {
                Err(Error::Diverged { dir, offset: last.chunk + last.from })
            }
            _ => Ok(()),
        }
    }

    /// Uploads and publishes the next parts; returns how many.
    async fn archive_next(&mut self, manifest: &mut Manifest) -> Result<usize> {
        let limits = Limits { part_bytes: self.options.part_bytes, parts: self.options.uploads };
        let skips = self.options.on_missing == OnMissing::Skip;
        let parts = self.log.next(manifest.objects.last(), limits, skips)?;
        if parts.is_empty() {
            return Ok(0);
        }
        let count = parts.len();
        let objects = self.upload(parts, manifest).await?;
        let log_bytes = objects.iter().map(Object::bytes).sum();
        let mut uploaded = log_bytes;
        *manifest = self.chain.publish(manifest.clone(), &objects, &mut uploaded).await?;
        self.update(manifest, log_bytes, uploaded);
        self.chain.delete_old(manifest).await?;
        Ok(count)
    }

    async fn upload(&self, parts: Vec<Part>, manifest: &Manifest) -> Result<Vec<Object>> {
        let store = &self.chain.store;
        let puts = parts.into_iter().map(|Part { mut object, bytes }| async move {
            object.epoch = manifest.epoch;
            store.put(&object.name(&manifest.log_id), &bytes.into()).await.map(|()| object)
        });
        let done: Vec<Result<Object>> = iter(puts).buffered(self.options.uploads).collect().await;
        done.into_iter().collect()
    }

    fn update(&self, manifest: &Manifest, log_bytes: u64, uploaded: u64) {
        let mut state = self.shared.state.lock();
        let status = &mut state.status;
        status.epoch = manifest.epoch;
        (status.end, status.sealed_upto) = (manifest.end(), manifest.sealed_upto());
        status.log_bytes += log_bytes;
        status.uploaded_bytes += uploaded;
        if log_bytes > 0 {
            status.last_error = None;
        } else {
            state.looks += 1;
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}
