//! Restoring: the parts of an archive, put together to a log's directory.
//!
//! ```text
//! manifest ─► target ─► parts ─► DIR.restoring/r-….wal ─► every frame checked ─► newest chunk cut ─► DIR
//!                       └ place: hashed, or kept ────┘   └ check, in the log's order: synced ────┘
//! ```
//!
//! - The chunks are checked while later parts are still read, and the disk writes meanwhile.
//! - The directory gets its name when all of it is right and durable. A restore that was killed goes on: a part that
//!   is in its place already is not read from the store again.
//! - A chunk starts with a checkpoint, so a log may start with any chunk.

mod check;
mod place;
mod staging;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::future::join;
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::manifest::{Manifest, Object, sha256};
use crate::progress::Progress;
use crate::runtime::blocking;
use crate::store::Store;
use staging::Staging;

pub(crate) use check::check;
pub(crate) use place::{Placed, Places};

/// How many chunks may be whole and wait to be checked.
const WHOLE_MAX: usize = 16;

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
    let bytes = found(store, &name).await?;
    check_hash(&name, &bytes, index)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::Damaged { name, what: e.to_string() })
}

/// Reads an object that must be there.
async fn found(store: &Store, name: &str) -> Result<Bytes> {
    let missing = || Error::Damaged { name: name.to_string(), what: "it is missing".to_string() };
    store.get(name).await?.ok_or_else(missing)
}

fn check_hash(name: &str, bytes: &[u8], object: &Object) -> Result<()> {
    if sha256(bytes) == object.sha256 {
        return Ok(());
    }
    let what = "its hash differs from the one in its name".to_string();
    Err(Error::Damaged { name: name.to_string(), what })
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
        let count = chunks.len() as u64;
        let (placed, (end, records)) =
            put_together(store, manifest, chunks, &staging.dir, target.end, progress).await?;
        if end == target.chunk {
            // The target is before the end of the chunk's first record, so it is in the chunk before.
            if end == manifest.start() {
                return Err(target.missing);
            }
            target = self::target(store, manifest, RestoreTo::Offset(end)).await?;
            continue;
        }
        staging.finish(dir)?;
        let Placed { downloaded: downloaded_bytes, kept: kept_bytes } = placed;
        let (dir, chunks) = (dir.to_owned(), count);
        return Ok(Restored { dir, start, end, chunks, records, downloaded_bytes, kept_bytes });
    }
}

/// Brings all parts to their places, and checks each chunk as soon as it is whole; then all of it is durable. Returns
/// what was read, the end of the last record up to `end`, and the number of records.
async fn put_together(
    store: &Store,
    manifest: &Manifest,
    chunks: Chunks,
    dir: &Path,
    end: u64,
    progress: &Progress,
) -> Result<(Placed, (u64, u64))> {
    let (sender, whole) = mpsc::channel(WHOLE_MAX);
    let (of_check, dir_of_check) = (chunks.clone(), dir.to_owned());
    let checked = blocking(move || check::check_all(&of_check, &dir_of_check, end, whole));
    let places = Places { store, manifest, dir, progress, whole: Some(sender) };
    match join(places.fill(&chunks), checked).await {
        // Whichever failed first has ended the other.
        (Err(Error::Ended), Err(error)) | (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(placed), Ok(checked)) => Ok((placed, checked)),
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
