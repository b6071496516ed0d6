//! A log of bytes, a store that fails on request, and comparing a restored log with the original.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chunked_wal::raw::{Payload, Raw};
use chunked_wal::storage::{DiskStorage, MemoryStorage};
use chunked_wal::{
    ChunkId, ChunkedWal, Config, Error as WalError, Segment, StateMachine, Storage, WalRecord,
};
use chunked_wal_archive::object_store::memory::InMemory;
use chunked_wal_archive::object_store::path::Path as Name;
use chunked_wal_archive::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use chunked_wal_archive::{
    Archive, Archiver, ArchiverOptions, Progress, RestoreFrom, RestoreTo, Restored, Retry,
};
use futures_util::stream::{BoxStream, StreamExt, once};

/// Counts its records. The checkpoint is the count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

impl StateMachine<Raw> for Count {
    type Error = String;

    fn apply(&mut self, record: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), String> {
        match record {
            WalRecord::Checkpoint(count) => {
                self.0 = u64::from_le_bytes(count.0.as_slice().try_into().map_err(|_| "no count")?)
            }
            WalRecord::Action(payload) if payload.0.starts_with(&self.0.to_le_bytes()) => self.0 += 1,
            WalRecord::Action(_) => return Err(format!("another record where {} should be", self.0)),
        }
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload(self.0.to_le_bytes().to_vec())
    }
}

/// A log, wherever it is.
pub(crate) struct TestLog {
    pub(crate) wal: ChunkedWal<Raw>,
    pub(crate) count: Count,
}

pub(crate) fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.chunk_max_size = 2048;
    config
}

impl TestLog {
    pub(crate) fn open(dir: &Path, storage: Arc<dyn Storage>) -> Result<Self, WalError> {
        let mut count = Count::default();
        let wal = ChunkedWal::options(config(dir)).storage(storage).open(&mut count)?;
        Ok(TestLog { wal, count })
    }

    pub(crate) fn on_disk(dir: &Path) -> Self {
        Self::open(dir, Arc::new(DiskStorage)).unwrap()
    }

    /// Appends records and syncs.
    pub(crate) fn append(&mut self, records: u64) -> Result<(), WalError> {
        for _ in 0..records {
            let mut payload = self.count.0.to_le_bytes().to_vec();
            payload.resize(8 + (self.count.0 * 37 % 200) as usize, b'x');
            self.wal.append_and_apply(Payload(payload), &mut self.count)?;
        }
        self.wal.sync()
    }

    pub(crate) fn end(&self) -> u64 {
        self.wal.progress().synced
    }
}

/// Retries that don't wait for long.
pub(crate) fn eager() -> Retry {
    let mut retry = Retry::default();
    (retry.pause_min, retry.pause_max) = (Duration::from_millis(1), Duration::from_millis(4));
    retry.attempt_timeout = Duration::from_secs(5);
    retry
}

/// An archiver that looks often and makes small parts.
pub(crate) fn small(options: ArchiverOptions) -> ArchiverOptions {
    options.pause(Duration::from_millis(2)).part_bytes(700).uploads(3).retry(eager())
}

pub(crate) fn attach(log: &TestLog, storage: &MemoryStorage, store: Arc<dyn ObjectStore>) -> Archiver {
    small(Archiver::of_log(&log.wal)).storage(Arc::new(storage.clone())).start(store).unwrap()
}

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Restores all of an archive.
pub(crate) fn restore_all(store: Arc<dyn ObjectStore>, dir: &Path) -> chunked_wal_archive::Result<Restored> {
    let archive = Archive::with_retry(store, eager());
    archive.restore(RestoreFrom::Oldest, RestoreTo::Latest, dir, &Progress::default())
}

/// The chunks' files in a directory, by name.
pub(crate) fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_string(), std::fs::read(path).unwrap()))
        .filter(|(name, _)| ChunkId::parse_file_name(name).is_some())
        .collect();
    files.sort();
    files
}

/// Compares a restored log with the files of the original, byte for byte; then opens it and returns its count.
pub(crate) fn compare(dir: &Path, original: impl Fn(&str) -> Option<Vec<u8>>) -> u64 {
    let found = files(dir);
    for (name, bytes) in &found {
        let original = original(name).unwrap_or_else(|| panic!("{name} is not in the log"));
        assert!(original.starts_with(bytes), "{name} differs");
    }
    let mut count = Count::default();
    ChunkedWal::<Raw>::options(config(dir)).must_exist().open(&mut count).unwrap().close().unwrap();
    count.0
}

pub(crate) fn original_on(storage: &MemoryStorage, dir: &Path) -> impl Fn(&str) -> Option<Vec<u8>> {
    let (storage, dir) = (storage.clone(), dir.to_owned());
    move |name| storage.read_file(dir.join(name))
}

pub(crate) fn original_in(dir: &Path) -> impl Fn(&str) -> Option<Vec<u8>> {
    let dir: PathBuf = dir.to_owned();
    move |name| std::fs::read(dir.join(name)).ok()
}

/// The names of all objects below a prefix.
pub(crate) fn names(store: &Arc<InMemory>, prefix: &str) -> Vec<String> {
    let list = store.list(Some(&Name::from(prefix)));
    let names = list.map(|found| found.unwrap().location.to_string()).collect::<Vec<_>>();
    futures_executor(names)
}

/// Runs a future that never waits.
pub(crate) fn futures_executor<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What the store does with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Do,
    /// Fails, and nothing is done.
    Fail,
    /// Does it, and reports a failure.
    DoAndFail,
    /// Reports a failure, and does it later: at [`FaultyStore::do_late`].
    FailAndDoLater,
    /// Does it, some milliseconds later.
    DoSlowly,
    /// Never answers. The rest too, as if the process had been killed.
    Hang,
    /// Does it, and never answers.
    DoAndHang,
}

type Plan = Box<dyn Fn(u64) -> Deed + Send + Sync>;

/// A store in memory whose operations fail as planned. Several of them may share one memory, as processes do.
pub(crate) struct FaultyStore {
    pub(crate) memory: Arc<InMemory>,
    plan: Plan,
    pub(crate) operations: AtomicU64,
    hangs: AtomicU64,
    /// Puts of names with this prefix wait.
    pub(crate) held: Mutex<Option<&'static str>>,
    /// How many objects are being put, and the most that were at a time.
    putting: Mutex<(u64, u64)>,
    late: Mutex<Vec<(Name, PutPayload, PutOptions)>>,
    /// Name and size of each object put, in the order of the puts that were done.
    pub(crate) puts: Mutex<Vec<(String, u64)>>,
    /// The name of each object read, in the order of the reads that were done.
    pub(crate) gets: Mutex<Vec<String>>,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({:?} operations)", self.operations)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a store with faults")
    }
}

impl FaultyStore {
    pub(crate) fn new(
        memory: &Arc<InMemory>,
        plan: impl Fn(u64) -> Deed + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(FaultyStore {
            memory: memory.clone(),
            plan: Box::new(plan),
            operations: AtomicU64::new(0),
            hangs: AtomicU64::new(0),
            held: Mutex::default(),
            putting: Mutex::default(),
            late: Mutex::default(),
            puts: Mutex::default(),
            gets: Mutex::default(),
        })
    }

    /// Hangs at one operation, with it done or not.
    pub(crate) fn hanging_at(memory: &Arc<InMemory>, at: u64, deed: Deed) -> Arc<Self> {
        Self::new(memory, move |n| match n.cmp(&at) {
            std::cmp::Ordering::Less => Deed::Do,
            std::cmp::Ordering::Equal => deed,
            std::cmp::Ordering::Greater => Deed::Hang,
        })
    }

    /// The most objects that were put at a time.
    pub(crate) fn putting_max(&self) -> u64 {
        self.putting.lock().unwrap().1
    }

    /// How many objects are being put.
    pub(crate) fn putting(&self) -> u64 {
        self.putting.lock().unwrap().0
    }

    fn holds(&self, name: &Name) -> bool {
        self.held.lock().unwrap().is_some_and(|prefix| name.as_ref().starts_with(prefix))
    }

    fn count_putting(&self, name: &Name, change: i64) {
        if name.as_ref().starts_with("objects/") {
            let (now, max) = &mut *self.putting.lock().unwrap();
            *now = now.saturating_add_signed(change);
            *max = (*max).max(*now);
        }
    }

    pub(crate) fn hangs(&self) -> bool {
        self.hangs.load(SeqCst) > 0
    }

    /// Does the puts that are late.
    pub(crate) fn do_late(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (name, payload, options) in late {
            let _created_meanwhile = futures_executor(self.memory.put_opts(&name, payload, options));
        }
    }

    /// What happens to this operation; hangs if it is to hang.
    async fn begin(&self) -> Deed {
        let n = self.operations.fetch_add(1, SeqCst) + 1;
        let deed = (self.plan)(n);
        match deed {
            Deed::Hang => self.hang().await,
            Deed::DoSlowly => tokio::time::sleep(Duration::from_millis(5)).await,
            _ => {}
        }
        deed
    }

    async fn hang(&self) {
        self.hangs.fetch_add(1, SeqCst);
        std::future::pending::<()>().await;
    }
}

fn failed() -> StoreError {
    StoreError::Generic { store: "faulty", source: "the store is away".into() }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        name: &Name,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.count_putting(name, 1);
        let deed = self.begin().await;
        while self.holds(name) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.count_putting(name, -1);
        match deed {
            Deed::Fail => return Err(failed()),
            Deed::FailAndDoLater => {
                self.late.lock().unwrap().push((name.clone(), payload, options));
                return Err(failed());
            }
            _ => {}
        }
        let size = payload.content_length() as u64;
        let done = self.memory.put_opts(name, payload, options).await;
        if done.is_ok() {
            self.puts.lock().unwrap().push((name.to_string(), size));
        }
        match deed {
            Deed::DoAndFail => Err(failed()),
            Deed::DoAndHang => {
                self.hang().await;
                done
            }
            _ => done,
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Name,
        _: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        Err(failed())
    }

    async fn get_opts(&self, name: &Name, options: GetOptions) -> StoreResult<GetResult> {
        match self.begin().await {
            Deed::Do | Deed::DoSlowly => {
                self.gets.lock().unwrap().push(name.to_string());
                self.memory.get_opts(name, options).await
            }
            Deed::DoAndHang => {
                self.hang().await;
                Err(failed())
            }
            _ => Err(failed()),
        }
    }

    fn delete_stream(
        &self,
        names: BoxStream<'static, StoreResult<Name>>,
    ) -> BoxStream<'static, StoreResult<Name>> {
        let n = self.operations.fetch_add(1, SeqCst) + 1;
        match (self.plan)(n) {
            Deed::Hang => {
                self.hangs.fetch_add(1, SeqCst);
                futures_util::stream::pending().boxed()
            }
            Deed::Fail | Deed::FailAndDoLater => once(async { Err(failed()) }).boxed(),
            _ => self.memory.delete_stream(names),
        }
    }

    fn list(&self, prefix: Option<&Name>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let n = self.operations.fetch_add(1, SeqCst) + 1;
        match (self.plan)(n) {
            Deed::Hang | Deed::DoAndHang => {
                self.hangs.fetch_add(1, SeqCst);
                futures_util::stream::pending().boxed()
            }
            Deed::Do | Deed::DoSlowly => self.memory.list(prefix),
            _ => once(async { Err(failed()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Name>) -> StoreResult<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Name, to: &Name, options: CopyOptions) -> StoreResult<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

/// Waits until something is so.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LONG, "it never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A number that depends on a seed and a counter only.
pub(crate) fn random(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(n.wrapping_mul(0xBF58_476D_1CE4_E5B9));
    x ^= x >> 30;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
