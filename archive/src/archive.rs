//! [`Archive`]: reading an archive, and removing old objects from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::chain::{Chain, now_ms};
use crate::error::{Error, Result};
use crate::manifest::{INDEXES, Manifest, Named, OBJECTS, Object};
use crate::progress::Progress;
use crate::restore::{self, Places, RestoreFrom, RestoreTo, Restored};
use crate::runtime::block_on;
use crate::store::{Retry, Store};

/// A directory as an object store. Each object is synced, and its directory too, before a put returns.
///
/// # Errors
///
/// [`Error::Io`] if the directory can't be made.
pub fn local_store(dir: &Path) -> Result<Arc<dyn ObjectStore>> {
    std::fs::create_dir_all(dir).map_err(Error::io("create directory", dir))?;
    let store = LocalFileSystem::new_with_prefix(dir).map_err(|source| {
        let name = dir.display().to_string();
        Error::Store { op: "open", name, source: Arc::new(source) }
    })?;
    Ok(Arc::new(store.with_fsync(true)))
}

/// What an archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveStatus {
    /// The log's id, in hexadecimal digits; empty as long as nothing is archived.
    pub log_id: String,
    /// The epoch of the last archiver.
    pub epoch: u64,
    /// The number of the newest manifest.
    pub manifest: u64,
    /// When it was written.
    pub written: SystemTime,
    /// The oldest global offset that can be restored.
    pub start: u64,
    /// The global offset after the last archived record.
    pub end: u64,
    /// The offset up to which whole chunks are archived, with their seals.
    pub sealed_upto: u64,
    /// Bytes of the log's files.
    pub bytes: u64,
    /// When the oldest bytes were durable: nothing before can be restored.
    pub oldest: Option<SystemTime>,
    /// When the newest bytes were durable.
    pub newest: Option<SystemTime>,
    /// The pins: for each name the offset from which on nothing is pruned.
    pub pins: BTreeMap<String, u64>,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Chunks read.
    pub chunks: u64,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Ranges of offsets that the log removed before they were archived.
    pub missing: Vec<(u64, u64)>,
    /// What is wrong, one sentence each.
    pub findings: Vec<String>,
}

/// What a prune keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Every moment of this time up to now can be restored.
    Age(Duration),
    /// The newest chunks that have together at most this many bytes, but at least one.
    Bytes(u64),
    /// The chunk that has this global offset, and what follows.
    From(u64),
}

/// What a prune did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// The oldest offset that can be restored now.
    pub start: u64,
    /// The oldest offset that could be restored before.
    pub start_before: u64,
    /// Objects deleted: those before `start`, and those that earlier archivers left unpublished.
    pub deleted: u64,
}

/// An archive in an object store. Its methods block until they are done.
#[derive(Debug, Clone)]
pub struct Archive {
    chain: Chain,
}

impl Archive {
    /// The archive in a store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self::with_retry(store, Retry::default())
    }

    /// The archive in a store, with other retries.
    pub fn with_retry(store: Arc<dyn ObjectStore>, retry: Retry) -> Self {
        Archive { chain: Chain { store: Store::new(store, retry) } }
    }

    /// Returns what the archive has. Reads the newest manifest.
    ///
    /// # Errors
    ///
    /// [`Error::NoArchive`], [`Error::Store`], [`Error::Damaged`], [`Error::Unsupported`].
    pub fn status(&self) -> Result<ArchiveStatus> {
        block_on(async {
            let manifest = self.chain.require().await?;
            let at = |time_ms| UNIX_EPOCH + Duration::from_millis(time_ms);
            let (oldest, newest) = (manifest.objects.first(), manifest.objects.last());
            Ok(ArchiveStatus {
                epoch: manifest.epoch,
                manifest: manifest.number,
                written: at(manifest.written_ms),
                start: manifest.start(),
                end: manifest.end(),
                sealed_upto: manifest.sealed_upto(),
                bytes: manifest.bytes(),
                oldest: oldest.map(|object| at(object.time_ms)),
                newest: newest.map(|object| at(object.time_ms)),
                log_id: manifest.log_id,
                pins: manifest.pins,
            })
        })
    }

    /// Restores a log into a directory that doesn't exist, or is empty. The directory gets its name when every frame
    /// has been checked and everything is durable; until then it is `DIR.restoring`. A restore that was killed goes on
    /// where it was.
    ///
    /// # Errors
    ///
    /// [`Error::NotInArchive`], [`Error::Exists`], [`Error::InUse`], [`Error::Io`]; as [`status`](Self::status). Then
    /// there is nothing under the directory's name.
    pub fn restore(
        &self,
        from: RestoreFrom,
        to: RestoreTo,
        dir: &Path,
        progress: &Progress,
    ) -> Result<Restored> {
        block_on(async {
            let manifest = self.chain.require().await?;
            restore::restore(&self.chain.store, &manifest, (from, to), dir, progress).await
        })
    }

    /// Reads every object of the archive, and checks every hash and every frame. It needs room for one chunk in the
    /// directory for temporary files.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::Io`], and what is wrong with the newest manifest; all other damage is in the
    /// findings.
    pub fn verify(&self, progress: &Progress) -> Result<Verified> {
        block_on(self.verify_all(progress))
    }

    async fn verify_all(&self, progress: &Progress) -> Result<Verified> {
        let (store, manifest) = (&self.chain.store, self.chain.require().await?);
        let temporary = tempfile::tempdir().map_err(Error::io("create", &std::env::temp_dir()))?;
        let mut verified =
            Verified { chunks: 0, records: 0, bytes: 0, missing: Vec::new(), findings: Vec::new() };
        let chunks = match restore::parts(store, &manifest, 0..=u64::MAX).await {
            Ok(chunks) => chunks,
            Err(error @ Error::Damaged { .. }) => {
                verified.findings.push(error.to_string());
                return Ok(verified);
            }
            Err(error) => return Err(error),
        };
        let mut before = None;
        for (id, parts) in &chunks {
            let only = BTreeMap::from([(*id, parts.clone())]);
            let (manifest, dir) = (&manifest, temporary.path());
            let fetched = Places { store, manifest, dir, progress, whole: None }.fill(&only).await;
            let path = temporary.path().join(chunked_wal::ChunkId(*id).file_name());
            let checked = fetched.and_then(|placed| {
                verified.bytes += placed.downloaded;
                restore::check(temporary.path(), *id, parts, u64::MAX)
            });
            let linked = checked.and_then(|checked| {
                let before = before.replace(checked).zip(before.as_ref());
                before.map_or(Ok(()), |(before, next)| before.check_successor(next, &path))
            });
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            verified.chunks += 1;
            match linked {
                Ok(()) => {}
                Err(Error::NotInArchive { start, end, .. }) => verified.missing.push((end, start)),
                Err(error @ (Error::Store { .. } | Error::Io { .. })) => return Err(error),
                Err(error) => verified.findings.push(format!("chunk {id}: {error}")),
            }
            verified.records += before.as_ref().map_or(0, |checked| checked.records);
        }
        Ok(verified)
    }

    /// Keeps the chunk that has this offset, and all that follow, from being pruned. A pin of the same name is
    /// replaced.
    ///
    /// # Errors
    ///
    /// [`Error::NotInArchive`] if the offset is pruned already; as [`status`](Self::status).
    pub fn pin(&self, name: &str, from: u64) -> Result<()> {
        block_on(self.chain.change(async |latest: &Manifest| {
            let (start, end) = (latest.start(), latest.end());
            if from < start || from > end {
                return Err(Error::NotInArchive { what: format!("offset {from}"), start, end });
            }
            let mut next = latest.clone();
            let is_new = next.pins.insert(name.to_string(), from) != Some(from);
            Ok(is_new.then_some(next))
        }))
        .map(drop)
    }

    /// Removes a pin.
    ///
    /// # Errors
    ///
    /// [`Error::NoPin`]; as [`status`](Self::status).
    pub fn unpin(&self, name: &str) -> Result<()> {
        let mut was_there = false;
        let changed = block_on(self.chain.change(async |latest: &Manifest| {
            let mut next = latest.clone();
            let is_there = next.pins.remove(name).is_some();
            was_there |= is_there;
            Ok(is_there.then_some(next))
        }));
        changed?;
        if was_there { Ok(()) } else { Err(Error::NoPin { name: name.to_string() }) }
    }

    /// Removes the oldest chunks from the archive, never one that a pin keeps, and deletes objects that no manifest
    /// will name again. It first publishes a manifest without the chunks, so a prune that is killed leaves only
    /// objects of no use, which the next one deletes. With `is_dry`, changes nothing.
    ///
    /// A restore that is under way in another process may then find objects missing; start it again.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    pub fn prune(&self, keep: Keep, mode: PruneMode) -> Result<Pruned> {
        block_on(self.prune_all(keep, mode))
    }

    async fn prune_all(&self, keep: Keep, mode: PruneMode) -> Result<Pruned> {
        let start_before = self.chain.require().await?.start();
        if mode == PruneMode::Dry {
            let manifest = self.chain.require().await?;
            let start = self.start_to_keep(&manifest, keep).await?;
            return Ok(Pruned { start, start_before, deleted: 0 });
        }
        let manifest = self.chain.change(async |latest: &Manifest| {
            let start = self.start_to_keep(latest, keep).await?;
            if start <= latest.start() {
                return Ok(None);
            }
            let objects = self.objects_from(latest, start).await?;
            Ok(Some(Manifest { objects, ..latest.clone() }))
        });
        let manifest = manifest.await?;
        let deleted = self.sweep(&manifest).await?;
        Ok(Pruned { start: manifest.start(), start_before, deleted })
    }

    /// The beginning of the oldest chunk to keep.
    async fn start_to_keep(&self, manifest: &Manifest, keep: Keep) -> Result<u64> {
        let store = &self.chain.store;
        let chunk_of = async |offset: u64| {
            let found = restore::last_where(store, manifest, |object| object.chunk <= offset).await?;
            Ok::<u64, Error>(found.map_or(manifest.start(), |object| object.chunk))
        };
        let wanted = match keep {
            Keep::From(offset) => chunk_of(offset).await?,
            Keep::Age(age) => {
                let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                let oldest_ms = now_ms().saturating_sub(age_ms);
                let found =
                    restore::last_where(store, manifest, |object| object.time_ms <= oldest_ms).await?;
                found.map_or(manifest.start(), |object| object.chunk)
            }
            Keep::Bytes(bytes_max) => {
                let chunks = restore::parts(store, manifest, 0..=u64::MAX).await?;
                let mut bytes = 0;
                let fits = |parts: &Vec<Object>| {
                    bytes += parts.iter().map(Object::bytes).sum::<u64>();
                    bytes <= bytes_max
                };
                let newest = chunks.keys().next_back().copied();
                let kept = chunks.iter().rev().map_while({
                    let mut fits = fits;
                    move |(chunk, parts)| fits(parts).then_some(*chunk)
                });
                kept.last().or(newest).unwrap_or(0)
            }
        };
        match manifest.pins.values().min() {
            Some(pinned) => Ok(wanted.min(chunk_of(*pinned).await?)),
            None => Ok(wanted),
        }
    }

    /// The manifest's objects without those of chunks before `start`. Indexes that have both are opened.
    async fn objects_from(&self, manifest: &Manifest, start: u64) -> Result<Vec<Object>> {
        let mut todo: Vec<Object> = manifest.objects.iter().rev().cloned().collect();
        let mut kept = Vec::new();
        while let Some(object) = todo.pop() {
            if object.chunk >= start {
                kept.push(object);
            } else if object.level > 0 && object.end > start {
                todo.extend(restore::children(&self.chain.store, manifest, &object).await?.into_iter().rev());
            }
        }
        Ok(kept)
    }

    /// Deletes what no manifest will name again: objects before the start, and objects of earlier epochs that are in
    /// no manifest.
    async fn sweep(&self, manifest: &Manifest) -> Result<u64> {
        let (store, start) = (&self.chain.store, manifest.start());
        let named = self.named(manifest).await?;
        let mut deleted = 0;
        for prefix in [OBJECTS, INDEXES] {
            for name in store.list(prefix).await? {
                let Some(found) = Named::parse(&name) else { continue };
                // An archiver of this epoch may be about to publish what it has uploaded.
                let is_left = found.epoch < manifest.epoch || found.last_used <= start;
                if is_left && !named.contains(&name) {
                    store.delete(&name).await?;
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }

    /// The names of all objects and indexes of a manifest.
    async fn named(&self, manifest: &Manifest) -> Result<BTreeSet<String>> {
        let mut todo = manifest.objects.clone();
        let mut names = BTreeSet::new();
        while let Some(object) = todo.pop() {
            names.insert(object.name(&manifest.log_id));
            if object.level > 0 {
                todo.extend(restore::children(&self.chain.store, manifest, &object).await?);
            }
        }
        Ok(names)
    }
}

/// Whether a prune changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneMode {
    /// Prunes.
    Apply,
    /// Only reports what a prune would do.
    Dry,
}
