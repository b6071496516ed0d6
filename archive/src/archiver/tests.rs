#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt;
use std::path::Path;
use std::pin::pin;

use async_trait::async_trait;
use chunked_wal::raw::{Payload, Raw};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord};
use futures_util::future::{Either, select};
use futures_util::stream::{BoxStream, StreamExt, once};
use object_store::memory::InMemory;
use object_store::path::Path as Name;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::*;
use crate::archive::Archive;
use crate::progress::Progress;
use crate::restore::{RestoreFrom, RestoreTo};

const MINUTE: Duration = Duration::from_secs(60);

/// A store in memory that is away between two moments of tokio's clock.
#[derive(Debug)]
struct Away {
    memory: InMemory,
    from: Instant,
    to: Instant,
    /// When each attempt failed.
    failed: Mutex<Vec<Instant>>,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a store that is away")
    }
}

impl Away {
    fn attempt(&self) -> StoreResult<()> {
        let now = Instant::now();
        if now < self.from || now >= self.to {
            return Ok(());
        }
        self.failed.lock().push(now);
        Err(StoreError::Generic { store: "away", source: "it is away".into() })
    }
}

#[async_trait]
impl ObjectStore for Away {
    async fn put_opts(&self, name: &Name, bytes: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.attempt()?;
        self.memory.put_opts(name, bytes, options).await
    }

    async fn put_multipart_opts(
        &self,
        name: &Name,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(name, options).await
    }

    async fn get_opts(&self, name: &Name, options: GetOptions) -> StoreResult<GetResult> {
        self.attempt()?;
        self.memory.get_opts(name, options).await
    }

    fn delete_stream(
        &self,
        names: BoxStream<'static, StoreResult<Name>>,
    ) -> BoxStream<'static, StoreResult<Name>> {
        match self.attempt() {
            Ok(()) => self.memory.delete_stream(names),
            Err(error) => once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Name>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        match self.attempt() {
            Ok(()) => self.memory.list(prefix),
            Err(error) => once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Name>) -> StoreResult<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Name, to: &Name, options: CopyOptions) -> StoreResult<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

struct Nothing;

impl StateMachine<Raw> for Nothing {
    type Error = std::convert::Infallible;

    fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload::default()
    }
}

fn open(storage: &MemoryStorage) -> ChunkedWal<Raw> {
    let mut config = Config::new("/log");
    config.chunk_max_size = 16 << 10;
    ChunkedWal::options(config).storage(Arc::new(storage.clone())).open(&mut Nothing).unwrap()
}

/// A record each second of tokio's clock.
async fn append(wal: &mut ChunkedWal<Raw>, seconds: u64) {
    for _ in 0..seconds {
        wal.append(&WalRecord::Action(Payload(vec![7; 100]))).unwrap();
        wal.sync().unwrap();
        wal.try_close_full_chunk(&Nothing).unwrap();
        sleep(Duration::from_secs(1)).await;
    }
}

/// Runs a future on a clock that stands still while there is anything to do, and then jumps.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// Runs until the program has ended; the archiver never does.
async fn beside<T>(task: &Task, program: impl Future<Output = T>) -> T {
    match select(pin!(task.archive()), pin!(program)).await {
        Either::Left((ended, _)) => panic!("the archiver has ended: {ended:?}"),
        Either::Right((done, _)) => done,
    }
}

#[test]
fn an_hour_without_the_store_is_made_up_for_and_no_byte_goes_up_twice() {
    let storage = MemoryStorage::default();
    let (status, store, end, seals) = run(async {
        let mut wal = open(&storage);
        let from = Instant::now() + MINUTE;
        let (to, failed) = (from + 60 * MINUTE, Mutex::default());
        let store = Arc::new(Away { memory: InMemory::new(), from, to, failed });
        let task = Archiver::of_log(&wal).storage(Arc::new(storage.clone())).task(store.clone());
        let status = || task.shared.state.lock().status.clone();
        beside(&task, async {
            append(&mut wal, 59).await;
            let before = status();
            assert_eq!(before.end, wal.progress().synced);
            append(&mut wal, 3602).await;
            let during = status();
            assert!(during.end <= before.end + 400 && during.last_error.is_some(), "{during:?}");
            // The store is back. The longest pause is 10 s.
            append(&mut wal, 12).await;
            let after = status();
            assert_eq!((after.end, after.last_error), (wal.progress().synced, None));
        })
        .await;
        let seals = wal.closed_chunk_stats().len() as u64;
        (status(), store, wal.progress().synced, seals)
    });
    assert!(seals > 20, "{seals}");
    assert_eq!(status.log_bytes, end + 40 * seals);
    // Each of four puts and one look at the epoch, every 10 seconds.
    let failed = store.failed.lock().len() as u64;
    assert_eq!(status.failures, failed);
    assert!((300..2200).contains(&failed), "{failed}");
    let dir = tempfile::tempdir().unwrap();
    let restored = dir.path().join("log");
    let archive = Archive::new(store);
    let all =
        archive.restore(RestoreFrom::Oldest, RestoreTo::Latest, &restored, &Progress::default()).unwrap();
    assert_eq!((all.end, all.records), (end, 3673 + 1 + seals));
    for chunk in 0..=seals {
        let name = std::fs::read_dir(&restored).unwrap().nth(chunk as usize).unwrap().unwrap().file_name();
        let original = storage.read_file(Path::new("/log").join(&name)).unwrap();
        assert!(original.starts_with(&std::fs::read(restored.join(&name)).unwrap()), "{name:?}");
    }
}

#[test]
fn pauses_between_attempts_double_up_to_the_longest() {
    let pauses = run(async {
        let (from, failed) = (Instant::now(), Mutex::default());
        let store = Arc::new(Away { memory: InMemory::new(), from, to: from + MINUTE, failed });
        let patient = patient(store.clone(), Retry::default(), &Arc::default());
        assert_eq!(patient.get("epochs/1").await.unwrap(), None);
        let failed = store.failed.lock();
        failed.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect::<Vec<_>>()
    });
    // The clock has a resolution of 1 ms.
    let expected = [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000];
    let is_near = |(pause, expected): (&u128, u128)| pause.abs_diff(expected) <= 2;
    assert!(pauses.iter().zip(expected).all(is_near) && pauses.len() >= 11, "{pauses:?}");
}
