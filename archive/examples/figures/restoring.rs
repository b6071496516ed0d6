//! A restore, and what it can't do without: reading the archive's bytes from the same store, and replaying them.
//!
//! The state machine keeps nothing, so the replay is the shortest there is. Also timed: a copy of the objects' bytes into
//! one new file that is synced, because a restored log has to be on the disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chunked_wal::raw::Raw;
use chunked_wal::storage::{DiskFile, StorageFile};
use chunked_wal::{ChunkedWal, Config};
use chunked_wal_archive::object_store::{ObjectStore, ObjectStoreExt};
use chunked_wal_archive::{Archive, Archiver, Progress, RestoreFrom, RestoreTo, local_store};
use futures_util::{StreamExt, TryStreamExt};

use crate::distant::{BYTES_PER_S, Distant};
use crate::writing::{Nothing, remove, write_log};

const BYTES: u64 = 400 << 20;

/// How many objects are read side by side, where that helps.
const READS: usize = 16;

/// From where the archive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory on the same disk; its bytes are in the page cache.
    Cached,
    /// A directory on the same disk; its bytes are not in the page cache.
    Cold,
    /// A store at a distance.
    Distant,
}

pub(crate) const SOURCES: [Source; 3] = [Source::Cached, Source::Cold, Source::Distant];

#[derive(Debug, Default)]
pub(crate) struct Restoring {
    /// By source, then by round.
    pub(crate) sources: [Times; 3],
    distant: Option<Arc<Distant>>,
}

/// Milliseconds, by round.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) restore: Vec<f64>,
    pub(crate) read: Vec<f64>,
    pub(crate) replay: Vec<f64>,
    /// Of a directory's objects.
    pub(crate) copy: Vec<f64>,
}

impl Times {
    /// A restore, divided by reading and replaying.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        let needed = self.read.iter().zip(&self.replay).map(|(read, replay)| read + replay);
        self.restore.iter().zip(needed).map(|(restore, needed)| restore / needed).collect()
    }
}

pub(crate) fn round(dir: &Path, restoring: &mut Restoring) {
    let (log, objects) = (dir.join("source"), dir.join("archive"));
    if !log.exists() {
        write_log(&log, BYTES);
        archive(&log, local_store(&objects).unwrap());
    }
    let distant = restoring.distant.get_or_insert_with(|| {
        let store = Distant::new(BYTES_PER_S);
        archive(&log, store.clone());
        store
    });
    for (source, times) in SOURCES.into_iter().zip(&mut restoring.sources) {
        let store = match source {
            Source::Distant => distant.clone(),
            _ => local_store(&objects).unwrap(),
        };
        measure(&store, &objects, source, &dir.join("restored"), times);
    }
}

fn archive(log: &Path, store: Arc<dyn ObjectStore>) {
    Archiver::of_directory(log).start(store).unwrap().close(Duration::from_secs(60)).unwrap();
}

fn measure(store: &Arc<dyn ObjectStore>, objects: &Path, source: Source, target: &Path, times: &mut Times) {
    // Whichever writes first may find memory that the machine has to fetch: they take turns.
    let is_copy_first = times.restore.len() % 2 == 1;
    if is_copy_first {
        measure_copy(objects, source, target, times);
    }
    prepare(objects, source);
    times.restore.push(ms(|| {
        let archive = Archive::new(store.clone());
        archive.restore(RestoreFrom::Oldest, RestoreTo::Latest, target, &Progress::default()).unwrap();
    }));
    prepare(objects, source);
    times.read.push(ms(|| match source {
        Source::Distant => read_store(store),
        _ => files(objects).iter().for_each(|file| drop(std::hint::black_box(std::fs::read(file).unwrap()))),
    }));
    times.replay.push(ms(|| drop(ChunkedWal::<Raw>::open(Config::new(target), &mut Nothing).unwrap())));
    remove(target);
    if !is_copy_first {
        measure_copy(objects, source, target, times);
    }
}

fn measure_copy(objects: &Path, source: Source, target: &Path, times: &mut Times) {
    if source != Source::Distant {
        prepare(objects, source);
        times.copy.push(ms(|| copy(objects, target)));
        remove(target);
    }
}

fn ms(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e3
}

/// Brings the objects' bytes into the page cache, or out of it.
fn prepare(objects: &Path, source: Source) {
    for file in files(objects) {
        match source {
            Source::Cached => drop(std::hint::black_box(std::fs::read(file).unwrap())),
            Source::Cold => DiskFile::from(File::open(file).unwrap()).forget_cached(0),
            Source::Distant => {}
        }
    }
}

/// All files in a directory and below it, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn read_store(store: &Arc<dyn ObjectStore>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        let reads =
            listed.iter().map(async |object| store.get(&object.location).await.unwrap().bytes().await);
        let mut reads = futures_util::stream::iter(reads).buffer_unordered(READS);
        while let Some(bytes) = reads.next().await {
            std::hint::black_box(bytes.unwrap());
        }
    });
}

fn copy(objects: &Path, target: &Path) {
    let mut copy = File::create(target).unwrap();
    for file in files(objects) {
        copy.write_all(&std::fs::read(file).unwrap()).unwrap();
    }
    copy.sync_data().unwrap();
}
