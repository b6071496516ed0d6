//! [`Stats`]: what a store has on disk and in memory.

use std::sync::atomic::Ordering::Relaxed;

use chunked_wal::{ChunkStat, FlushMetrics};

use crate::reader::LogReader;
use crate::record::{Checkpoint, Meta};
use crate::store::LogStore;
use crate::types::RaftTypes;

/// What a [`LogStore`] has on disk and in memory, at one moment. Sizes are in bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stats<R: RaftTypes> {
    /// The closed chunks, oldest first, each with raft's state after its last record.
    pub closed_chunks: Vec<ChunkStat<Meta<R>>>,
    /// The open chunk, with raft's state now.
    pub open_chunk: ChunkStat<Meta<R>>,
    /// The entries in memory.
    pub cache: CacheStats,
    /// What the log's flushes cost.
    pub flush: FlushMetrics,
}

/// The newest entries, which are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Entries in memory.
    pub entries: u64,
    /// The bytes that these entries take on the disk.
    pub bytes: u64,
    /// [`Limits::recent_max_bytes`](crate::Limits::recent_max_bytes).
    pub max_bytes: u64,
    /// Entries read from memory, since the store was opened.
    pub hits: u64,
    /// Entries read from the log, since the store was opened.
    pub misses: u64,
}

impl<R: RaftTypes> LogStore<R> {
    /// Returns what the store has on disk and in memory. Never blocks for the disk.
    pub fn stats(&self) -> Stats<R> {
        let reader = self.reader();
        Stats {
            closed_chunks: self.wal().closed_chunk_stats().into_iter().map(without_index).collect(),
            open_chunk: without_index(
                self.wal().open_chunk_stat(Checkpoint { meta: reader.meta(), index: None }),
            ),
            cache: reader.cache(),
            flush: self.wal().flush_metrics(),
        }
    }
}

fn without_index<R: RaftTypes>(stat: ChunkStat<Checkpoint<R>>) -> ChunkStat<Meta<R>> {
    let ChunkStat { chunk_id, records_count, global_start, global_end, size, checkpoint } = stat;
    ChunkStat { chunk_id, records_count, global_start, global_end, size, checkpoint: checkpoint.meta }
}

/// The entries in memory.
impl<R: RaftTypes> LogReader<R> {
    /// Returns what is in memory, and how often it was used.
    pub fn cache(&self) -> CacheStats {
        let state = self.state.read();
        let recent = state.recent();
        CacheStats {
            entries: recent.len() as u64,
            bytes: recent.bytes(),
            max_bytes: recent.bytes_max(),
            hits: self.counters.hits.load(Relaxed),
            misses: self.counters.misses.load(Relaxed),
        }
    }

    /// Drops the entries up to the index `upto` from memory, as far as they are durable. From then on
    /// they are read from the log. Call this if the program needs the memory, these entries are applied,
    /// and no follower still has to get them.
    pub fn evict(&self, upto: u64) {
        let synced = self.progress.progress().synced;
        self.state.write().evict(upto, synced);
    }
}
