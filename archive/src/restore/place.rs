//! Bringing parts to their places in the chunks' files.
//!
//! ```text
//! store ─► bytes ─► hash ─► write ─► write-back starts          several parts side by side
//!                   └─ a thread that may block ─┘
//! ```
//!
//! - Nothing is written before its hash was found right.
//! - The parts start in the log's order. Together they hold at most [`BYTES_MAX`] in memory, or one part if that is
//!   larger. There are more requests than large parts fit into that, because small parts are all latency.
//! - A file is open from the first of its parts until it is synced, so there are never many.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::AcqRel;

use bytes::Bytes;
use chunked_wal::ChunkId;
use chunked_wal::storage::{DiskFile, StorageFile};
use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;

use super::Chunks;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Object, sha256};
use crate::progress::Progress;
use crate::runtime::blocking;
use crate::store::Store;

/// How many parts are read side by side, at most.
const REQUESTS: usize = 32;

/// Bytes of parts that are in memory at a time: four of the largest. Restores from the page cache took a third longer
/// with six, in 6 runs each.
const BYTES_MAX: u32 = 32 << 20;

/// How many parts are hashed and written side by side: while one is hashed, another is written. A file takes one write at
/// a time, and more threads would only wait for it.
const PUTS: usize = 2;

/// A chunk all of whose parts are in their places.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(super) chunk: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<DiskFile>,
}

/// Bytes that were read from the store, and bytes that were in their places.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) downloaded: u64,
    pub(crate) kept: u64,
}

/// From where the parts come, and where they go.
pub(crate) struct Places<'a> {
    pub(crate) store: &'a Store,
    pub(crate) manifest: &'a Manifest,
    pub(crate) dir: &'a Path,
    pub(crate) progress: &'a Progress,
    /// Who takes each chunk that is whole, and syncs its file.
    pub(crate) whole: Option<Sender<Whole>>,
}

/// A chunk's file, and how many of its parts are not in their places yet.
struct Target {
    chunk: u64,
    path: PathBuf,
    file: Arc<DiskFile>,
    /// What was there before.
    len: u64,
    missing: AtomicUsize,
    /// Whether somebody will wait for its sync.
    is_synced: bool,
}

impl Places<'_> {
    /// Brings all parts to their places.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] if nobody takes the chunks any more.
    pub(crate) async fn fill(self, chunks: &Chunks) -> Result<Placed> {
        self.progress.add_total(chunks.values().flatten().map(Object::bytes).sum());
        let (room, puts) = (Semaphore::new(BYTES_MAX as usize), Semaphore::new(PUTS));
        let parts = chunks.iter().flat_map(|(chunk, parts)| {
            let target = self.open(*chunk, parts.len()).map(Arc::new);
            parts.iter().map(move |part| (part, target.clone()))
        });
        let brought = parts.map(async |(part, target): (&Object, Result<Arc<Target>>)| {
            let target = target?;
            let bytes = part.bytes().min(u64::from(BYTES_MAX)) as u32;
            let _room = room.acquire_many(bytes).await.map_err(|_closed| Error::Ended)?;
            let placed = self.bring(part, &target, &puts).await?;
            self.progress.add(part.bytes());
            if target.missing.fetch_sub(1, AcqRel) == 1
                && let Some(whole) = &self.whole
            {
                whole.send(target.whole()).await.map_err(|_gone| Error::Ended)?;
            }
            Ok::<_, Error>(placed)
        });
        let mut failed = None;
        let is_over = Cell::new(false);
        let mut brought = iter(brought.take_while(|_| !is_over.get())).buffer_unordered(REQUESTS);
        let mut sum = Placed::default();
        while let Some(placed) = brought.next().await {
            match placed {
                Ok(Placed { downloaded, kept }) => {
                    sum.downloaded += downloaded;
                    sum.kept += kept;
                }
                // Parts that were read are still put, so that the next restore need not read them again.
                Err(error) => {
                    is_over.set(true);
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(sum), Err)
    }

    fn open(&self, chunk: u64, parts: usize) -> Result<Target> {
        let path = self.dir.join(ChunkId(chunk).file_name());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(Error::io("create", &path))?;
        let len = file.metadata().map_err(Error::io("look at", &path))?.len();
        let (file, missing) = (Arc::new(file.into()), AtomicUsize::new(parts));
        Ok(Target { chunk, path, file, len, missing, is_synced: self.whole.is_some() })
    }

    async fn bring(&self, part: &Object, target: &Arc<Target>, puts: &Semaphore) -> Result<Placed> {
        if part.to <= target.len {
            let (target, part) = (target.clone(), part.clone());
            let kept = part.bytes();
            if blocking(move || target.has(&part)).await? {
                return Ok(Placed { kept, downloaded: 0 });
            }
        }
        let name = part.name(&self.manifest.log_id);
        let bytes = super::found(self.store, &name).await?;
        let _turn = puts.acquire().await.map_err(|_closed| Error::Ended)?;
        let (target, part) = (target.clone(), part.clone());
        let downloaded = part.bytes();
        blocking(move || target.put(&part, &name, &bytes)).await?;
        Ok(Placed { downloaded, kept: 0 })
    }
}

impl Target {
    fn whole(&self) -> Whole {
        Whole { chunk: self.chunk, path: self.path.clone(), file: self.file.clone() }
    }

    /// Whether a part is in its place.
    fn has(&self, part: &Object) -> Result<bool> {
        let mut bytes = vec![0; usize::try_from(part.bytes()).unwrap_or(usize::MAX)];
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], part.from + done as u64) {
                Ok(0) => return Ok(false),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            }
        }
        Ok(sha256(&bytes) == part.sha256)
    }

    /// Checks the hash of a part, and puts it to its place.
    fn put(&self, part: &Object, name: &str, bytes: &Bytes) -> Result<()> {
        super::check_hash(name, bytes, part)?;
        let mut done = 0;
        while done < bytes.len() {
            match self.file.write_at(&[IoSlice::new(&bytes[done..])], part.from + done as u64) {
                Ok(0) => return Err(Error::io("write", &self.path)(io::ErrorKind::WriteZero.into())),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("write", &self.path)(error)),
            }
        }
        if self.is_synced {
            // The sync at the end then has little left to wait for.
            let started = self.file.write_back(part.from, bytes.len() as u64);
            started.map_err(Error::io("write back", &self.path))?;
        }
        Ok(())
    }
}
