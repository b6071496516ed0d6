//! Opening a log: options, lock, recovery, and the threads that serve it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::ChunkedWal;
use super::budget::Budget;
use super::head::Head;
use crate::chunk::{
    ChunkFile, ChunkWriter, OpenChunk, OpenChunkState, OpenFiles, Tail, TailWriter, spare_piece,
};
use crate::config::Config;
use crate::directory::{Listing, WalLock, adopt, list, log_id_of_most};
use crate::error::{Error, Result};
use crate::flush::{
    BatchLimit, Flush, HandOver, Housekeeper, HousekeeperConfig, Metrics, OnSlowSync, Pipeline, Positions,
    Queue, Quiet, SlowSyncWatch, Worker, spawn_worker,
};
use crate::pin::Pins;
use crate::position::Segment;
use crate::random::random_u64;
use crate::reader::{Chunks, LogView};
use crate::record::{ChunkPersisted, OnChunkPersisted, StateMachine, WalTypes};
use crate::recovery::{
    Mended, Mending, RecoveryReport, Repaired, RepairedChunk, Replay, ReplayOptions, TornTail, Unreadable,
    recover,
};
use crate::storage::{DiskStorage, Storage};
use crate::sync::Mutex;

/// The options of an open: [`ChunkedWal::options`] returns them, [`open`](Self::open) uses them.
pub struct OpenOptions<W: WalTypes> {
    pub(crate) config: Config,
    on_chunk_persisted: Option<OnChunkPersisted<W>>,
    on_slow_sync: Option<(Duration, OnSlowSync)>,
    pub(crate) replay: Replay,
    must_exist: bool,
    pub(crate) must_reach: u64,
    mending: Mending,
    unreadable: Unreadable,
    lock: Option<WalLock>,
    pub(crate) storage: Arc<dyn Storage>,
}

impl<W: WalTypes> OpenOptions<W> {
    /// Calls `f` with the offset up to which a chunk is durable, and with the checkpoint of the chunk's predecessor, if
    /// one is kept.
    ///
    /// While opening, `f` runs on the caller's thread for each chunk: for a sealed chunk before its records are
    /// applied, for the newest chunk once it is durable. Later, `f` runs on the worker's thread after each sync, before
    /// the threads that wait for the sync wake.
    pub fn on_chunk_persisted(
        mut self,
        f: impl Fn(ChunkPersisted, Option<&W::Checkpoint>) + Send + Sync + 'static,
    ) -> Self {
        self.on_chunk_persisted = Some(Arc::new(f));
        self
    }

    /// Calls `f` once for each sync that takes `threshold` or longer, **while the sync is running**, with the time that
    /// it has taken so far. So the program learns that a disk hangs while it hangs.
    /// [`FlushMetrics::sync_age_us`](crate::FlushMetrics::sync_age_us) shows whether the disk still hangs.
    ///
    /// Every sync of the log's flushes and rotations counts, on any thread, including a rotation's wait for the sync of
    /// a removal in the same directory. `f` runs on its own thread, which only a log with this option has. The thread
    /// wakes once per `threshold`, which is at least 1 ms. `f` may call the log; a call that waits for durability waits
    /// for the sync. A panic of `f` is caught, logged and counted. A close does not wait for `f`, because `f` may close
    /// the log itself: a running call of `f` may end after the close, but no call starts after it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use chunked_wal::raw::{Payload, Raw};
    /// # use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord};
    /// # struct Nothing;
    /// # impl StateMachine<Raw> for Nothing {
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> { Ok(()) }
    /// #     fn checkpoint(&self) -> Payload { Payload::default() }
    /// # }
    /// # let dir = tempfile::tempdir()?;
    /// let wal = ChunkedWal::<Raw>::options(Config::new(dir.path()))
    ///     .on_slow_sync(Duration::from_secs(5), |age| eprintln!("the disk hangs: a sync takes {age:?} already"))
    ///     .open(&mut Nothing)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_slow_sync(mut self, threshold: Duration, f: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.on_slow_sync = Some((threshold, Arc::new(f)));
        self
    }

    /// Sets which records are applied. Default: all.
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// Makes [`open`](Self::open) return [`Error::NotFound`] if there is no log yet, so that a missing mount doesn't
    /// look like an empty log.
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Makes [`open`](Self::open) return [`Error::EndMissing`] if the log ends before the global offset `offset`. Use
    /// this option if the program knows an offset up to which the log was durable, for example the end of the last
    /// acknowledged [`Segment`]. Without it, a log that lost its newest chunk looks like a shorter log. Default: 0, no
    /// check.
    pub fn must_reach(mut self, offset: u64) -> Self {
        self.must_reach = offset;
        self
    }

    /// Mends damage, without loss, if the rest of the log proves the damaged bytes: an older chunk's seal, or a chunk
    /// header with one flipped bit ([`Damage::can_be_mended`]). The mend is written and synced after the replay, and
    /// [`RecoveryReport::mended`] lists it. Without this option, `open` returns [`Error::Corrupt`] for such damage,
    /// so that a disk that changes bits is noticed.
    ///
    /// [`Damage::can_be_mended`]: crate::Damage::can_be_mended
    pub fn mend(mut self) -> Self {
        self.mending = Mending::Mend;
        self
    }

    /// Treats a sector of the newest chunk that can't be read (`EIO`) as a torn write, and cuts the log before the
    /// sector; [`RecoveryReport::torn_tail`] reports the cut. Without this option, `open` returns [`Error::Io`].
    ///
    /// Some disks leave such a sector if the power fails during a write. Records in the sector may have been
    /// acknowledged, if later records were appended to the same sector: **they are lost**. If a frame after the sector
    /// proves that they were durable, `open` still returns [`Error::Io`]. Try without this option first: a cable or a
    /// controller may be the cause, and another attempt may read the sector.
    pub fn cut_unreadable_tail(mut self) -> Self {
        self.unreadable = Unreadable::Cut;
        self
    }

    /// Returns the settings of the log.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Uses a lock that is already held, from [`acquire_lock`](Self::acquire_lock).
    pub fn lock(mut self, lock: WalLock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Keeps the log on `storage` instead of the real disk.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Returns the storage that the log will be on, for files of a program's own beside the log.
    pub fn on_storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Takes the lock of the log's directory without opening the log. Creates a missing directory.
    ///
    /// # Errors
    ///
    /// As [`ChunkedWal::acquire_lock`].
    pub fn acquire_lock(&self) -> Result<WalLock> {
        self.config.validate()?;
        let Locked { storage, lock, listing } =
            lock_and_list(&self.storage, &self.config, Absent::Make, None)?;
        if let Err(error) = adopt(&*storage, lock.dir(), listing) {
            // Whoever takes the lock may be about to repair what is wrong; an open tries again.
            log::warn!("'{}': {error}", lock.dir().display());
        }
        Ok(lock)
    }

    /// Opens the log: locks the directory, replays the records into the state machine, makes all of them durable, and
    /// starts the log's threads.
    ///
    /// Blocks while it reads the log.
    ///
    /// # Errors
    ///
    /// After an error, discard the state machine: some of the records may have been applied. `open` finds damage, and
    /// records that can't be applied, before it writes anything, so the directory is unchanged except for the lock
    /// file. [`Error::InvalidConfig`], [`Error::Locked`], [`Error::NotFound`], [`Error::EndMissing`],
    /// [`Error::NotAChunk`], [`Error::Unsupported`], [`Error::Corrupt`], [`Error::TornTail`], [`Error::Gap`],
    /// [`Error::ForeignChunk`], [`Error::Decode`], [`Error::StateMachine`], [`Error::Io`]; [`Error::StorageFull`] on a
    /// full disk, for a new log or for a torn chunk whose file has become too short for its seal.
    pub fn open<SM: StateMachine<W>>(self, state_machine: &mut SM) -> Result<ChunkedWal<W>> {
        self.locate()?.open(state_machine)
    }

    /// Locks the log's directory, and lists the chunks in it.
    pub(crate) fn locate(mut self) -> Result<Located<W>> {
        let started = Instant::now();
        self.config.validate()?;
        self.config.limit_pending();
        let absent = match (self.must_exist, self.must_reach) {
            (true, _) => Absent::NotFound,
            (false, 0) => Absent::Make,
            (false, expected) => Absent::EndMissing { expected },
        };
        let mut locked = lock_and_list(&self.storage, &self.config, absent, self.lock.take())?;
        self.config.dir = locked.lock.dir().to_owned();
        // A crash may have taken back the name of the newest chunk, and there are acknowledged records in it.
        locked.listing = adopt(&*locked.storage, &self.config.dir, locked.listing)?;
        Ok(Located { options: self, locked, started })
    }
}

/// A log that is locked, and not read yet.
pub(crate) struct Located<W: WalTypes> {
    pub(crate) options: OpenOptions<W>,
    locked: Locked,
    started: Instant,
}

impl<W: WalTypes> Located<W> {
    /// The log's id; `None` for a new log, or if no header can be read.
    pub(crate) fn log_id(&self) -> Option<[u8; 16]> {
        let Locked { storage, listing, .. } = &self.locked;
        log_id_of_most(&**storage, &self.options.config.dir, &listing.chunks)
    }

    /// The global offset at which the oldest chunk starts; 0 for a new log.
    pub(crate) fn start(&self) -> u64 {
        self.locked.listing.chunks.first().map_or(0, |id| id.offset())
    }

    /// Opens the log, as [`OpenOptions::open`] describes it.
    pub(crate) fn open<SM: StateMachine<W>>(self, state_machine: &mut SM) -> Result<ChunkedWal<W>> {
        let Located { options, locked: Locked { storage, lock, listing }, started } = self;
        let OpenOptions { config, on_chunk_persisted, on_slow_sync, .. } = options;
        let OpenOptions { replay, must_reach, mending, unreadable, .. } = options;
        for name in &listing.foreign {
            // Escaped, because any process that may create files there chose the name.
            log::warn!("not the log's, left alone: {name:?}");
        }
        let mut options = ReplayOptions::new(replay, on_chunk_persisted);
        (options.mending, options.unreadable) = (mending, unreadable);
        let recovered = recover(&storage, &config, listing, &options, state_machine)?;
        if recovered.end() < must_reach {
            return Err(Error::EndMissing { path: config.dir, expected: must_reach, found: recovered.end() });
        }
        let repaired = recovered.repair(&*storage, &config, options.on_chunk_persisted.as_ref())?;
        let mut wal = ChunkedWal::start(config, storage, lock, options.on_chunk_persisted, repaired)?;
        wal.watch(on_slow_sync)?;
        wal.begin_first_chunk()?;
        wal.report.elapsed = started.elapsed();
        wal.log_open();
        Ok(wal)
    }
}

impl<W: WalTypes> fmt::Debug for OpenOptions<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("config", &self.config)
            .field("replay", &self.replay)
            .field("must_exist", &self.must_exist)
            .field("must_reach", &self.must_reach)
            .field("mending", &self.mending)
            .field("unreadable", &self.unreadable)
            .field("lock", &self.lock)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// What a missing log means.
#[derive(Debug, Clone, Copy)]
enum Absent {
    /// A new log is made.
    Make,
    NotFound,
    EndMissing {
        expected: u64,
    },
}

impl Absent {
    fn error(self, config: &Config) -> Option<Error> {
        let path = config.dir.clone();
        match self {
            Absent::Make => None,
            Absent::NotFound => Some(Error::NotFound { path }),
            Absent::EndMissing { expected } => Some(Error::EndMissing { path, expected, found: 0 }),
        }
    }
}

/// A directory locked by this log.
struct Locked {
    /// The storage, for this directory where it can be had for one.
    storage: Arc<dyn Storage>,
    lock: WalLock,
    listing: Listing,
}

/// Takes the lock and lists the directory, which is created if it may be.
fn lock_and_list(
    storage: &Arc<dyn Storage>,
    config: &Config,
    absent: Absent,
    lock: Option<WalLock>,
) -> Result<Locked> {
    let refused = || absent.error(config).map_or(Ok(()), Err);
    let (dir, made) = match storage.resolve_dir(&config.dir) {
        Ok(dir) => (dir, false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            refused()?;
            (create_dir(&**storage, config)?, true)
        }
        Err(e) => return Err(Error::io("open directory", &config.dir, e)),
    };
    let pinned = storage.in_dir(&dir, config.file_mode).map_err(|e| Error::io("open directory", &dir, e))?;
    let storage = pinned.unwrap_or_else(|| storage.clone());
    // Before the lock, which would leave a file in a directory that is no log's.
    if !matches!(absent, Absent::Make) && list(&*storage, &dir)?.chunks.is_empty() {
        refused()?;
    }
    let lock = match lock {
        None => WalLock::acquire(storage.clone(), dir.clone())?,
        Some(lock) if lock.dir() == dir => lock,
        Some(lock) => {
            return Err(Error::InvalidConfig {
                field: "lock",
                value: format!("a lock of '{}'", lock.dir().display()),
                allowed: format!("a lock of '{}'", dir.display()),
            });
        }
    };
    let found = list(&*storage, &dir)?;
    found.put_back(&*storage, &dir)?;
    if found.chunks.is_empty() {
        refused()?;
    }
    if found.chunks.is_empty() && !made {
        // Whoever made the directory may have been killed before its name was durable.
        create_dir(&*storage, config)?;
    }
    Ok(Locked { storage, lock, listing: found })
}

fn create_dir(storage: &dyn Storage, config: &Config) -> Result<PathBuf> {
    storage.create_dir(&config.dir).map_err(|e| Error::io("create directory", &config.dir, e))
}

impl<W: WalTypes> ChunkedWal<W> {
    /// Opens or creates the log in `config.dir`, and replays it into `state_machine`, with the default
    /// [`options`](Self::options).
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn open<SM: StateMachine<W>>(config: Config, state_machine: &mut SM) -> Result<Self> {
        Self::options(config).open(state_machine)
    }

    /// Returns the default options for opening a log.
    pub fn options(config: Config) -> OpenOptions<W> {
        OpenOptions {
            config,
            on_chunk_persisted: None,
            on_slow_sync: None,
            replay: Replay::All,
            must_exist: false,
            must_reach: 0,
            mending: Mending::Refuse,
            unreadable: Unreadable::Refuse,
            lock: None,
            storage: Arc::new(DiskStorage),
        }
    }

    /// Takes the lock of the log's directory without opening the log. Creates a missing directory.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] at once if another writer has the lock, [`Error::InvalidConfig`], [`Error::Io`].
    pub fn acquire_lock(config: &Config) -> Result<WalLock> {
        Self::options(config.clone()).acquire_lock()
    }

    /// Starts the threads of a log whose bytes are all on stable storage.
    fn start(
        config: Config,
        storage: Arc<dyn Storage>,
        lock: WalLock,
        on_chunk_persisted: Option<OnChunkPersisted<W>>,
        repaired: Repaired<W>,
    ) -> Result<Self> {
        let Repaired { closed, newest, begin_with, spares, report } = repaired;
        let end = newest.as_ref().map_or(0, |newest| newest.chunk.end);
        let last_segment = newest.as_ref().map_or_else(Segment::default, |newest| newest.chunk.last_segment);
        let log_id = newest.as_ref().map_or_else(new_log_id, |newest| newest.chunk.header.log_id);
        let previous_crc = newest.as_ref().map_or(0, |newest| newest.chunk.data_crc.value());
        let (head, chunk, predecessor) = match (begin_with, newest) {
            (Some(checkpoint), _) => (Head::Unopened(checkpoint), None, None),
            (None, Some(mut newest)) => {
                let predecessor = newest.chunk.checkpoint.take();
                let (open, writer) = continue_chunk(newest, &config);
                (Head::Open(open), Some(writer), predecessor)
            }
            (None, None) => {
                let what = io::Error::other("recovery found neither a chunk nor a state to begin one with");
                return Err(Error::io("open", &config.dir, what));
            }
        };
        let tail = TailWriter::new(end, config.open_buffer_max_bytes, config.flush_queue_max_bytes);
        let budget = Budget::new(&config);
        let shared = Arc::new(new_pipeline(&config, &storage, end, spares, tail.tail().clone()));
        let view = Arc::new(LogView::new(
            shared.positions.clone(),
            shared.tail.clone(),
            OpenFiles::new(storage.clone(), &config.dir, config.closed_reads),
            Chunks {
                closed: closed.into_iter().map(|chunk| (chunk.id(), Arc::new(chunk))).collect(),
                open: head.open().map(|open| open.file.clone()),
            },
            usize::try_from(config.read_buffer_size).unwrap_or(usize::MAX),
            Arc::downgrade(&shared.housekeeper),
        ));
        let pins = Arc::new(Pins::new(storage.clone(), &config.dir, log_id, shared.metrics.clone()));
        let worker = Arc::new(Mutex::new(Worker {
            shared: shared.clone(),
            storage,
            dir: config.dir.clone(),
            limit: BatchLimit::of(&config),
            zero_ahead_bytes: config.zero_ahead_bytes,
            idle_mark: config.idle_mark,
            on_chunk_persisted,
            chunk,
            unnamed: None,
            predecessor,
            batch: VecDeque::new(),
            quiet: Quiet::Unwatched,
        }));
        let lock = Arc::new(lock);
        let threads = spawn(&shared, worker.clone(), &lock)
            .map_err(|e| Error::io("start threads for", &config.dir, e))?;
        Ok(ChunkedWal {
            config,
            shared,
            hand_over: HandOver::new(worker, end),
            tail,
            view,
            head,
            previous_crc,
            last_segment,
            drained: VecDeque::new(),
            pins,
            budget,
            log_id,
            report,
            threads: Some(threads),
            watch: None,
            lock,
        })
    }

    fn watch(&mut self, on_slow_sync: Option<(Duration, OnSlowSync)>) -> Result<()> {
        let Some((threshold, f)) = on_slow_sync else { return Ok(()) };
        let started = SlowSyncWatch::start(self.shared.metrics.clone(), threshold, f);
        self.watch = Some(started.map_err(|e| Error::io("start threads for", &self.config.dir, e))?);
        Ok(())
    }

    /// Begins a chunk where none can be continued, and waits until it is durable. On a full disk an
    /// existing log goes without until there is space.
    fn begin_first_chunk(&mut self) -> Result<()> {
        match self.ensure_open_chunk() {
            Ok(()) => {}
            Err(error @ Error::StorageFull { .. }) if self.report.chunks > 0 => {
                log::warn!("opened without a chunk to append to: {error}");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        // Returns the cause itself, not a poison: no record was accepted yet.
        self.shared.positions.wait(Flush::Sync, self.end(), "open")
    }

    fn log_open(&self) {
        let RecoveryReport { torn_tail, mended, .. } = &self.report;
        let dir = self.config.dir.display();
        if let Some(TornTail { chunk_id, data_end, lost }) = torn_tail {
            let chunk = chunk_id.file_name();
            log::warn!("'{dir}': '{chunk}' was not closed; cut at {data_end}, a torn write of {lost} bytes");
        }
        for Mended { path, offset, damage, .. } in mended {
            log::warn!("'{}' was damaged at offset {offset}, and is mended: {damage}", path.display());
        }
        log::info!("opened '{dir}': {}", self.report);
    }
}

/// The two sides of a chunk that goes on: the appender's and the worker's.
fn continue_chunk<C>(newest: RepairedChunk<C>, config: &Config) -> (OpenChunk, ChunkWriter) {
    let RepairedChunk { chunk: newest, writer } = newest;
    let handle = writer.file().clone();
    let file = Arc::new(ChunkFile::open(newest.header, handle.clone()));
    // Space that the file doesn't have is for records to ask for.
    let allocated = handle.len().unwrap_or(0);
    let writer = writer.for_records(&newest.header, config.zero_ahead_bytes, allocated, 0);
    let state = OpenChunkState {
        end: newest.end,
        records: newest.records,
        data_crc: newest.data_crc,
        // What the file has is found out when the first record asks for space.
        allocated: 0,
        // A chunk that started without compression stays so: its header says which features a reader needs.
        transform: config.compression.transform().filter(|transform| newest.header.allows(transform)),
    };
    (OpenChunk::new(file, handle, state, config), writer)
}

fn new_pipeline<W: WalTypes>(
    config: &Config,
    storage: &Arc<dyn Storage>,
    end: u64,
    spares: Vec<PathBuf>,
    tail: Arc<Tail>,
) -> Pipeline<W> {
    let metrics = Arc::new(Metrics::new(&config.dir));
    let positions = Positions::new(end);
    #[cfg(feature = "metrics")]
    let positions = positions.shown_in(crate::flush::Registry::new(&config.dir).gauges(end));
    let positions = Arc::new(positions);
    let housekeeper = HousekeeperConfig {
        storage: storage.clone(),
        dir: config.dir.clone(),
        file_size: config.chunk_file_size(),
        zero_piece: spare_piece(config.zero_ahead_bytes),
        spares_max: usize::try_from(config.spare_chunks).unwrap_or(usize::MAX),
        metrics: metrics.clone(),
        positions: positions.clone(),
    };
    Pipeline {
        queue: Queue::new(config.flush_queue_max_bytes),
        positions,
        tail,
        metrics,
        housekeeper: Arc::new(Housekeeper::new(housekeeper, spares)),
    }
}

/// Starts both threads; each holds the lock until it ends.
fn spawn<W: WalTypes>(
    shared: &Pipeline<W>,
    worker: Arc<Mutex<Worker<W>>>,
    lock: &Arc<WalLock>,
) -> io::Result<[JoinHandle<()>; 2]> {
    let housekeeper = shared.housekeeper.spawn(lock.clone())?;
    match spawn_worker(worker, lock.clone()) {
        Ok(worker) => Ok([worker, housekeeper]),
        Err(error) => {
            shared.housekeeper.close();
            let _ended = housekeeper.join();
            Err(error)
        }
    }
}

fn new_log_id() -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random_u64().to_le_bytes());
    id[8..].copy_from_slice(&random_u64().to_le_bytes());
    id
}
