//! A rotation: the worker seals one chunk and begins the next, whose head and name wait for the next sync.
//!
//! ```text
//! worker       last frames ► sync ► seal ► sync │ header, checkpoint ► records ► sync ► rename ► publish
//!              └────── the old chunk ─────────┘ │ └─────── a spare file ──────────┘ └ the new chunk
//! housekeeper                                   └────────────────────────► cut of the old ► sync directory
//! ```
//!
//! - Data before its seal, the seal before a successor's head, the head before the final name: each step is durable
//!   when the next one starts.
//! - The first sync of the new chunk makes its head durable along with the first records, so a commit that meets a
//!   rotation waits for two syncs: the seal's and its own.
//! - A record is acknowledged once the file has the chunk's name. A crash may take the name back as long as the
//!   directory is not synced; then the next open finds the chunk by its head (`directory/adopt.rs`).
//! - So the name of one chunk at most is not durable, and no mark is written before it is:
//!   [`Naming`](super::Naming).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::worker::no_chunk;
use super::{ChunkBeginning, Rotation, Spare, Worker};
use crate::chunk::{ChunkFile, ChunkWriter, Cut};
use crate::error::{Error, Result};
use crate::format::Seal;
use crate::panics::report;
use crate::record::WalTypes;

/// The rest of a rotation, which the next sync of the open chunk completes.
pub(crate) struct Unnamed {
    /// The chunk's final name.
    path: PathBuf,
    /// The cut of its predecessor, if that was open.
    cut: Option<Cut>,
    /// Removals that were asked for since the rotation. They wait for the chunk's name, so that a rotation, a removal
    /// and a commit after them need no sync more than a rotation and a commit.
    pub(super) removals: Vec<Arc<ChunkFile>>,
}

impl<W: WalTypes> Worker<W> {
    /// Seals the open chunk, if there is one, and begins the next.
    pub(super) fn rotate(&mut self, rotation: Rotation<W>) -> Result<()> {
        let Rotation { ending, beginning } = rotation;
        let Some(seal) = ending else {
            self.begin_chunk(beginning, None)?;
            // It may be the log's first chunk: without one before it, only its name tells what it is.
            return self.name_chunk_durably();
        };
        let cut = self.end_chunk(&seal)?;
        self.shared.metrics.rotation_count.fetch_add(1, Relaxed);
        self.begin_chunk(beginning, Some(cut))
    }

    fn end_chunk(&mut self, seal: &Seal) -> Result<Cut> {
        let id = self.chunk.as_ref().ok_or_else(|| no_chunk(&self.dir))?.id();
        let end = id.0 + seal.data_len;
        self.write_until(end)?;
        if self.shared.positions.synced() < end {
            let sync = self.shared.positions.begin_sync(end);
            let metrics = self.shared.metrics.clone();
            metrics.sync_under_way.during(|| self.sync_chunk())?;
            self.publish_sync(sync)?;
        }
        let chunk = self.chunk.take().ok_or_else(|| no_chunk(&self.dir))?;
        // The data must be durable before a seal says so.
        let cut = self.shared.metrics.sync_under_way.during(|| chunk.seal(seal))?;
        report(|| log::info!("sealed '{}' at {end}, {} records", id.file_name(), seal.records));
        Ok(cut)
    }

    /// Writes the chunk's head into its file, which keeps the name of a spare until the next sync.
    fn begin_chunk(&mut self, beginning: ChunkBeginning<W>, cut: Option<Cut>) -> Result<()> {
        let ChunkBeginning { file, path, spare, end, checkpoint } = beginning;
        let Spare { path: spare_path, handle, allocated, zeroed, .. } = spare;
        let chunk = ChunkWriter::new(file.header(), spare_path, handle);
        let mut chunk = chunk.for_records(file.header(), self.zero_ahead_bytes, allocated, zeroed);
        let head = self.shared.tail.next(end);
        if let Some(head) = &head {
            chunk.write(head.bytes(), head.start)?;
        }
        self.chunk = Some(chunk);
        self.unnamed = Some(Unnamed { path, cut, removals: Vec::new() });
        self.predecessor = checkpoint;
        if let Some(head) = head {
            self.shared.metrics.write_bytes.fetch_add(head.end() - head.start, Relaxed);
            self.shared.tail.written(head);
        }
        self.shared.positions.publish_written(end);
        Ok(())
    }

    /// Syncs the open chunk, and names it if it has no name yet. What is synced counts once this returns.
    pub(super) fn sync_chunk(&mut self) -> Result<()> {
        let chunk = self.chunk.as_mut().ok_or_else(|| no_chunk(&self.dir))?;
        chunk.sync()?;
        // The final name proves that header and first frame are durable.
        let Some(Unnamed { path, cut, removals }) = self.unnamed.take() else { return Ok(()) };
        let spare = chunk.path().to_owned();
        // Waits for a removal's sync of the directory, if one is under way.
        let naming = self.shared.housekeeper.naming();
        let names = naming.lock()?;
        self.name_chunk(&spare, &path)?;
        naming.set_pending(names);
        if let Some(chunk) = &mut self.chunk {
            chunk.set_path(path);
            report(|| log::info!("began {}", chunk.id()));
        }
        self.shared.housekeeper.finish_rotation(cut);
        if !removals.is_empty() {
            self.shared.housekeeper.remove(removals);
        }
        Ok(())
    }

    /// Syncs and names the open chunk if it has no name yet.
    pub(super) fn name_open_chunk(&mut self) -> Result<()> {
        if self.unnamed.is_none() {
            return Ok(());
        }
        let sync = self.shared.positions.begin_sync(self.shared.positions.written());
        let metrics = self.shared.metrics.clone();
        metrics.sync_under_way.during(|| self.sync_chunk())?;
        self.publish_sync(sync)
    }

    /// As [`name_open_chunk`](Self::name_open_chunk), and makes the name durable before anything is acknowledged.
    fn name_chunk_durably(&mut self) -> Result<()> {
        let sync = self.shared.positions.begin_sync(self.shared.positions.written());
        let metrics = self.shared.metrics.clone();
        metrics.sync_under_way.during(|| {
            self.sync_chunk()?;
            self.shared.housekeeper.naming().sync()
        })?;
        self.publish_sync(sync)
    }

    /// Gives a chunk its final name, which no other file has.
    fn name_chunk(&self, spare: &Path, path: &Path) -> Result<()> {
        let renamed = match self.storage.rename_new(spare, path) {
            // A directory takes space for a name now and then; another spare has some.
            Err(e)
                if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
                    && self.shared.housekeeper.give_up_spare() =>
            {
                self.storage.rename_new(spare, path)
            }
            renamed => renamed,
        };
        renamed.map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Error::ChunkExists { path: path.to_owned() },
            _ => Error::io("rename", path, e),
        })
    }
}
