//! What is kept of a closed chunk while the log is open: a few words, no file handle of its own.

use std::sync::Arc;
use std::time::Instant;

use super::ChunkFile;
use crate::position::ChunkId;

/// A chunk that takes no more records.
#[derive(Debug)]
pub(crate) struct ClosedChunk<C> {
    pub(crate) file: Arc<ChunkFile>,
    /// The global offset after its last record: its successor's id.
    pub(crate) end: u64,
    pub(crate) records: u64,
    /// The state after its last record, which is also its successor's first record.
    pub(crate) checkpoint: C,
    /// When it was closed, or found by an open.
    pub(crate) since: Instant,
}

impl<C: Clone> ClosedChunk<C> {
    /// A chunk that is closed, or found closed, now.
    pub(crate) fn new(file: Arc<ChunkFile>, end: u64, records: u64, checkpoint: C) -> Self {
        ClosedChunk { file, end, records, checkpoint, since: Instant::now() }
    }

    pub(crate) fn id(&self) -> ChunkId {
        self.file.id()
    }

    pub(crate) fn stat(&self) -> ChunkStat<C> {
        ChunkStat::new(self.id(), self.end, self.records, self.checkpoint.clone())
    }
}

/// What a chunk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkStat<C> {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its records, the first checkpoint included.
    pub records_count: u64,
    /// The global offset at which it begins.
    pub global_start: u64,
    /// The global offset after its last record.
    pub global_end: u64,
    /// Bytes from start to end: header, records and their padding; the seal is not counted.
    pub size: u64,
    /// The state after its last record.
    pub checkpoint: C,
}

impl<C> ChunkStat<C> {
    pub(crate) fn new(chunk_id: ChunkId, end: u64, records_count: u64, checkpoint: C) -> Self {
        ChunkStat {
            chunk_id,
            records_count,
            global_start: chunk_id.0,
            global_end: end,
            size: end - chunk_id.0,
            checkpoint,
        }
    }
}
