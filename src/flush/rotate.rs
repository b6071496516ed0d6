//! A rotation: the worker seals one chunk and begins the next.
//!
//! ```text
//! last frames ► sync ► seal, cut ► sync ► header, checkpoint ► sync ► rename ► sync directory
//! └──────── the old chunk ───────────┘    └────── a spare file ─────┘   └─ the new chunk ───┘
//! ```
//!
//! Each step relies on the one before being durable: a crash between two of them leaves a log that ends in the
//! old chunk or in the new one.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::worker::no_chunk;
use super::{ChunkBeginning, Rotation, Worker};
use crate::chunk::ChunkWriter;
use crate::error::{Error, Result};
use crate::format::Seal;
use crate::panics::report;
use crate::record::WalTypes;

impl<W: WalTypes> Worker<W> {
    /// Seals the open chunk, if there is one, and begins the next.
    pub(super) fn rotate(&mut self, rotation: Rotation<W>) -> Result<()> {
        if let Some(seal) = rotation.ending {
            self.end_chunk(seal)?;
            self.shared.metrics.rotation_count.fetch_add(1, Relaxed);
        }
        self.begin_chunk(rotation.beginning)
    }

    fn end_chunk(&mut self, seal: Seal) -> Result<()> {
        let id = self.chunk.as_ref().ok_or_else(|| no_chunk(&self.dir))?.id();
        let end = id.0 + seal.data_len;
        self.write_until(end)?;
        let chunk = self.chunk.as_mut().ok_or_else(|| no_chunk(&self.dir))?;
        if self.shared.positions.synced() < end {
            let sync = self.shared.positions.begin_sync(end);
            self.shared.metrics.sync_under_way.during(|| chunk.sync())?;
            self.publish_sync(sync)?;
        }
        let chunk = self.chunk.as_mut().ok_or_else(|| no_chunk(&self.dir))?;
        // The data must be durable before a seal says so.
        self.shared.metrics.sync_under_way.during(|| chunk.seal(&seal))?;
        report(|| log::info!("sealed '{}' at {end}, {} records", id.file_name(), seal.records));
        Ok(())
    }

    fn begin_chunk(&mut self, beginning: ChunkBeginning<W>) -> Result<()> {
        let ChunkBeginning { file, path, spare, end, checkpoint } = beginning;
        let chunk = ChunkWriter::new(file.header(), spare.path.clone(), spare.handle);
        let mut chunk = chunk.for_records(file.header(), self.zero_ahead_bytes, spare.allocated);
        let head = self.shared.tail.next(end);
        if let Some(head) = &head {
            chunk.write(head.bytes(), head.start)?;
        }
        // The final name proves that header and first frame are durable.
        let under_way = &self.shared.metrics.sync_under_way;
        under_way.during(|| chunk.sync())?;
        // With the wait for a removal's sync of the directory, which may hang too.
        under_way.during(|| {
            let _naming = self.shared.housekeeper.naming();
            self.name_chunk(&spare.path, &path)?;
            // The new name must be durable before a record in it is acknowledged.
            self.storage.sync_dir(&self.dir).map_err(|e| Error::io("sync directory", &self.dir, e))
        })?;
        chunk.set_path(path);
        report(|| log::info!("began {}", chunk.id()));
        self.chunk = Some(chunk);
        self.predecessor = checkpoint;
        if let Some(head) = head {
            self.shared.metrics.write_bytes.fetch_add(head.end() - head.start, Relaxed);
            self.shared.tail.written(head);
        }
        self.shared.positions.publish_written(end);
        self.publish_sync(self.shared.positions.begin_sync(end))
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
