//! Restoring: the parts of an archive, put together to a log's directory.
//!
//! ```text
//! manifest ─► target ─► parts ─► DIR.restoring/r-….wal ─► every frame checked ─► newest chunk cut ─► DIR
//!                                (kept if the hash is right)
//! ```
//!
//! - The directory gets its name when all of it is right and durable. A restore that was killed goes on: a part that
//!   is in its place already is not read from the store again.
//! - A chunk starts with a checkpoint, so a log may start with any chunk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use chunked_wal::ChunkId;
use chunked_wal::raw::{ChunkEnd, ChunkPlace, RawChunk};
use futures_util::StreamExt;
use futures_util::stream::iter;

use crate::error::{Error, Result};
use crate::manifest::{Manifest, Object, sha256};
use crate::progress::Progress;
use crate::store::Store;

/// How many parts are read side by side.
const DOWNLOADS: usize = 4;

const LOCK: &str = "restoring.lock";

/// Up to where a log is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestoreTo {
    /// The last record that is archived.
    #[default]
    Latest,
    /// The last record that ends at or before this global offset.
    Offset(u64),
    /// The last record that was durable at this time, in milliseconds since 1970. As exact as the archiver's pause; for
    /// chunks that were archived later, as exact as a chunk.
    TimeMs(u64),
}

/// From where on a log is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestoreFrom {
    /// From the nearest checkpoint before the target: one chunk. Enough if a checkpoint has the whole state.
    #[default]
    Nearest,
    /// From the chunk that has this global offset.
    Offset(u64),
    /// All that the archive has.
    Oldest,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The new directory.
    pub dir: PathBuf,
    /// The global offset of the oldest restored chunk.
    pub start: u64,
    /// The global offset after the last restored record.
    pub end: u64,
    /// The number of chunks.
    pub chunks: u64,
    /// The number of records.
    pub records: u64,
    /// Bytes read from the store.
    pub downloaded_bytes: u64,
    /// Bytes that an earlier, interrupted restore had left in their places.
    pub kept_bytes: u64,
}

/// Parts of an archive, chunk by chunk.
pub(crate) type Chunks = BTreeMap<u64, Vec<Object>>;

/// The parts that may hold bytes of the chunks in a range; indexes outside of it are not read.
pub(crate) async fn parts(store: &Store, manifest: &Manifest, range: RangeInclusive<u64>) -> Result<Chunks> {
    let mut todo: Vec<Object> = manifest.objects.iter().rev().cloned().collect();
    let mut chunks = Chunks::new();
    while let Some(object) = todo.pop() {
        if object.chunk > *range.end() || object.end <= *range.start() && object.level > 0 {
            continue;
        }
        if object.level > 0 {
            todo.extend(children(store, manifest, &object).await?.into_iter().rev());
        } else if range.contains(&object.chunk) {
            chunks.entry(object.chunk).or_default().push(object);
        }
    }
    Ok(chunks)
}

/// Reads an index.
pub(crate) async fn children(store: &Store, manifest: &Manifest, index: &Object) -> Result<Vec<Object>> {
    let name = index.name(&manifest.log_id);
    let bytes = checked(store, &name, index).await?;
    serde_json::from_slice(&bytes).map_err(|e| Error::Damaged { name, what: e.to_string() })
}

/// Reads an object, and checks its hash.
async fn checked(store: &Store, name: &str, object: &Object) -> Result<Vec<u8>> {
    let damaged = |what: &str| Error::Damaged { name: name.to_string(), what: what.to_string() };
    let bytes = store.get(name).await?.ok_or_else(|| damaged("it is missing"))?;
    if sha256(&bytes) != object.sha256 {
        return Err(damaged("its hash differs from the one in its name"));
    }
    Ok(bytes)
}

/// The last object, at any depth, for which `is_before` holds; `None` if it doesn't hold for the first.
pub(crate) async fn last_where(
    store: &Store,
    manifest: &Manifest,
    is_before: impl Fn(&Object) -> bool,
) -> Result<Option<Object>> {
    let mut objects = manifest.objects.clone();
    loop {
        let Some(found) = objects.iter().rev().find(|object| is_before(object)).cloned() else {
            return Ok(None);
        };
        if found.level == 0 {
            return Ok(Some(found));
        }
        objects = children(store, manifest, &found).await?;
    }
}

/// The target: the newest chunk to restore, and how far.
struct Target {
    chunk: u64,
    end: u64,
    /// The last part to read.
    last: Object,
    /// The error if the archive has no record before the target.
    missing: Error,
}

async fn target(store: &Store, manifest: &Manifest, to: RestoreTo) -> Result<Target> {
    let (start, end) = (manifest.start(), manifest.end());
    let last = match to {
        RestoreTo::Latest => manifest.objects.last().cloned(),
        RestoreTo::Offset(offset) if offset > end => None,
        RestoreTo::Offset(offset) => {
            last_where(store, manifest, |object| object.chunk + object.from < offset).await?
        }
        RestoreTo::TimeMs(time_ms) => last_where(store, manifest, |object| object.time_ms <= time_ms).await?,
    };
    let what = match to {
        RestoreTo::Latest => "record yet".to_string(),
        RestoreTo::Offset(offset) => format!("record before offset {offset}"),
        RestoreTo::TimeMs(time_ms) => format!("record before {}", crate::progress::time(time_ms)),
    };
    let missing = Error::NotInArchive { what, start, end };
    let Some(last) = last else { return Err(missing) };
    let end = if let RestoreTo::Offset(offset) = to { offset.min(last.end) } else { last.end };
    Ok(Target { chunk: last.chunk, end, last, missing })
}

/// Restores into `dir`, which must not exist.
pub(crate) async fn restore(
    store: &Store,
    manifest: &Manifest,
    (from, to): (RestoreFrom, RestoreTo),
    dir: &Path,
    progress: &Progress,
) -> Result<Restored> {
    let mut target = target(store, manifest, to).await?;
    let staging = Staging::begin(dir)?;
    loop {
        let start = start(store, manifest, from, &target).await?;
        let mut chunks = parts(store, manifest, start..=target.chunk).await?;
        if let Some(newest) = chunks.get_mut(&target.chunk) {
            newest.retain(|part| part.from <= target.last.from);
        }
        staging.keep_only(&chunks)?;
        let (downloaded_bytes, kept_bytes) = fetch(store, manifest, &chunks, &staging.dir, progress).await?;
        let (end, records) = check_all(&chunks, &staging.dir, target.end)?;
        if end == target.chunk {
            // The target is before the end of the chunk's first record, so it is in the chunk before.
            if end == manifest.start() {
                return Err(target.missing);
            }
            target = self::target(store, manifest, RestoreTo::Offset(end)).await?;
            continue;
        }
        staging.finish(dir)?;
        let (dir, chunks) = (dir.to_owned(), chunks.len() as u64);
        return Ok(Restored { dir, start, end, chunks, records, downloaded_bytes, kept_bytes });
    }
}

/// The beginning of the oldest chunk to restore.
async fn start(store: &Store, manifest: &Manifest, from: RestoreFrom, target: &Target) -> Result<u64> {
    match from {
        RestoreFrom::Nearest => Ok(target.chunk),
        RestoreFrom::Oldest => Ok(manifest.start()),
        RestoreFrom::Offset(offset) => {
            let found = last_where(store, manifest, |object| object.chunk <= offset).await?;
            let (start, end) = (manifest.start(), manifest.end());
            let what = format!("chunk with offset {offset}");
            Ok(found.ok_or(Error::NotInArchive { what, start, end })?.chunk.min(target.chunk))
        }
    }
}

/// Brings all parts to their places in the chunks' files. Returns the bytes that were read from the store, and those
/// that were there.
pub(crate) async fn fetch(
    store: &Store,
    manifest: &Manifest,
    chunks: &Chunks,
    dir: &Path,
    progress: &Progress,
) -> Result<(u64, u64)> {
    progress.add_total(chunks.values().flatten().map(Object::bytes).sum());
    let (downloaded, kept) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut fetches = Vec::new();
    for (chunk, parts) in chunks {
        let path = dir.join(ChunkId(*chunk).file_name());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = Arc::new(file.map_err(Error::io("create", &path))?);
        let len = file.metadata().map_err(Error::io("look at", &path))?.len();
        for part in parts {
            let (file, path, downloaded, kept) = (file.clone(), path.clone(), &downloaded, &kept);
            fetches.push(async move {
                if part.to <= len && is_there(&file, &path, part)? {
                    kept.fetch_add(part.bytes(), Relaxed);
                } else {
                    let bytes = checked(store, &part.name(&manifest.log_id), part).await?;
                    file.write_all_at(&bytes, part.from).map_err(Error::io("write", &path))?;
                    downloaded.fetch_add(part.bytes(), Relaxed);
                }
                progress.add(part.bytes());
                Ok::<(), Error>(())
            });
        }
    }
    let mut fetches = iter(fetches).buffer_unordered(DOWNLOADS);
    while let Some(done) = fetches.next().await {
        done?;
    }
    drop(fetches);
    Ok((downloaded.into_inner(), kept.into_inner()))
}

fn is_there(file: &File, path: &Path, part: &Object) -> Result<bool> {
    let mut bytes = vec![0; usize::try_from(part.bytes()).unwrap_or(usize::MAX)];
    match file.read_exact_at(&mut bytes, part.from) {
        Ok(()) => Ok(sha256(&bytes) == part.sha256),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Checks every frame of every chunk, ends the newest one after the last record at or before `end`, and makes all of it
/// durable. Returns the end, which is the newest chunk's beginning if it has no such record, and the number of records.
fn check_all(chunks: &Chunks, dir: &Path, end: u64) -> Result<(u64, u64)> {
    let mut records = 0;
    let mut reached = end;
    let mut before: Option<Checked> = None;
    let newest = chunks.keys().next_back().copied();
    for (chunk, parts) in chunks {
        let is_newest = Some(*chunk) == newest;
        let path = dir.join(ChunkId(*chunk).file_name());
        let len = parts.last().map_or(0, |last| last.to);
        let file = OpenOptions::new().write(true).open(&path).map_err(Error::io("open", &path))?;
        file.set_len(len).map_err(Error::io("truncate", &path))?;
        let upto = if is_newest { end } else { u64::MAX };
        let checked = check(dir, *chunk, parts, upto)?;
        if let Some(before) = &before {
            before.check_successor(&checked, &path)?;
        }
        if is_newest && (checked.end < checked.data_end || !checked.sealed) {
            file.set_len(checked.end - chunk).map_err(Error::io("truncate", &path))?;
        }
        file.sync_all().map_err(Error::io("sync", &path))?;
        (records, reached) = (records + checked.records, checked.end);
        before = Some(checked);
    }
    Ok((reached, records))
}

/// A chunk whose frames are right.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    /// After the last record or batch that is wanted; the chunk's id if there is none.
    pub(crate) end: u64,
    /// After the last record that is archived.
    data_end: u64,
    sealed: bool,
    chunk: u64,
    checksum: u32,
    predecessor_checksum: u32,
}

impl Checked {
    /// Whether `next` is the chunk that follows on this one.
    pub(crate) fn check_successor(&self, next: &Checked, path: &Path) -> Result<()> {
        let damaged = |what: &str| {
            let name = path.display().to_string();
            Err(Error::Damaged { name, what: what.to_string() })
        };
        if self.data_end < next.chunk {
            let what = format!("chunk between {} and {}", self.data_end, next.chunk);
            return Err(Error::NotInArchive { what, start: next.chunk, end: self.data_end });
        }
        if !self.sealed || self.data_end != next.chunk {
            return damaged("the chunk before it has no seal, or ends elsewhere");
        }
        if self.checksum != next.predecessor_checksum {
            return damaged("it doesn't follow on the chunk before it");
        }
        Ok(())
    }
}

/// Checks every frame of a chunk's file as its parts say; counts the records up to a global offset.
pub(crate) fn check(dir: &Path, id: u64, parts: &[Object], upto: u64) -> Result<Checked> {
    let chunk = RawChunk::open(dir, ChunkId(id))?;
    let damaged = |what: String| Error::Damaged { name: chunk.path().display().to_string(), what };
    let sealed = parts.last().is_some_and(|last| last.sealed);
    let mut records = chunk.records(if sealed { ChunkPlace::Older } else { ChunkPlace::Newest });
    let (mut wanted, mut whole, mut end) = (0, 0, id);
    while let Some(record) = records.next()? {
        wanted += 1;
        if !record.batch_goes_on && record.offset + record.size <= upto {
            (end, whole) = (record.offset + record.size, wanted);
        }
    }
    let data_end = records.sound_end();
    let archived = parts.last().map_or(id, |last| last.end);
    match records.end() {
        Some(ChunkEnd::Damaged(error)) => return Err(damaged(error.to_string())),
        Some(ChunkEnd::Sealed { data_end }) if sealed && data_end == archived => {}
        // A part may end within a record; more than one record is never missing.
        Some(ChunkEnd::Clean { .. } | ChunkEnd::Torn { .. }) if !sealed && data_end <= archived => {}
        other => {
            return Err(damaged(format!("its records end at {data_end} ({other:?}), not at {archived}")));
        }
    }
    let (checksum, predecessor_checksum) = (records.data_checksum(), chunk.predecessor_checksum());
    // The seal's end counts voided records after the last one, too.
    let end = if sealed && upto >= data_end { data_end } else { end };
    Ok(Checked { records: whole, end, data_end, sealed, chunk: id, checksum, predecessor_checksum })
}

/// The directory in which a log is put together, beside its place.
struct Staging {
    dir: PathBuf,
    lock: File,
}

impl Staging {
    fn begin(dir: &Path) -> Result<Self> {
        let is_taken = match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // It is a file.
            Err(_) => true,
        };
        if is_taken {
            return Err(Error::Exists { path: dir.to_owned() });
        }
        let mut name = OsString::from(dir);
        name.push(".restoring");
        let staging = PathBuf::from(name);
        fs::create_dir_all(&staging).map_err(Error::io("create directory", &staging))?;
        let path = staging.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(Error::io("create", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Staging { dir: staging, lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path }),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }

    /// Removes what an interrupted restore of another range has left.
    fn keep_only(&self, chunks: &Chunks) -> Result<()> {
        let entries = fs::read_dir(&self.dir).map_err(Error::io("list", &self.dir))?;
        for entry in entries {
            let path = entry.map_err(Error::io("list", &self.dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_wanted = ChunkId::parse_file_name(name).is_some_and(|id| chunks.contains_key(&id.0));
            if !is_wanted && name != LOCK {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Gives the directory its name, durably.
    fn finish(self, dir: &Path) -> Result<()> {
        let lock = self.dir.join(LOCK);
        fs::remove_file(&lock).map_err(Error::io("remove", &lock))?;
        sync_dir(&self.dir)?;
        fs::rename(&self.dir, dir).map_err(Error::io("rename", &self.dir))?;
        drop(self.lock);
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => sync_dir(Path::new(".")),
        }
    }
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", dir))
}
