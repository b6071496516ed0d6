//! [`Holder`] and [`SpaceStats`]: who has how much, and what reclaiming costs.

use chunked_wal::ChunkId;

use crate::entry::LogEntry;
use crate::index::{Group, Index};
use crate::store::GroupLog;

/// What a group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The group.
    pub group: u64,
    /// The index of its first entry, whether there is one or not.
    pub first: u64,
    /// The index of its next entry.
    pub next: u64,
    /// The bytes of its records that are alive.
    pub bytes: u64,
    /// The oldest chunk with such a record. It is no pin: once it is the log's oldest, the record moves.
    pub oldest_chunk: ChunkId,
}

/// How much space the log has, and for what. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceStats {
    /// The log, from its oldest chunk to its end.
    pub log: u64,
    /// The records that are alive.
    pub alive: u64,
    /// Above this, the oldest chunk is reclaimed.
    pub allowed: u64,
    /// What was appended by callers since the log was opened.
    pub appended: u64,
    /// What was appended anew since the log was opened. `(appended + moved) / appended` is the write amplification.
    pub moved: u64,
}

impl<E: LogEntry> GroupLog<E> {
    /// Returns what each group holds, the group with the most bytes first. Groups without a record are not there.
    /// Takes time for all groups; reads go on meanwhile, changes wait.
    pub fn holders(&self) -> Vec<Holder> {
        let shared = self.shared();
        let chunks = self.chunks();
        let index = shared.index.read();
        holders_of(&index, &chunks)
    }

    /// The ids of all chunks, oldest first; none once the log is closed.
    fn chunks(&self) -> Vec<ChunkId> {
        let wal = self.shared().wal.lock();
        let Some(wal) = wal.as_ref() else { return Vec::new() };
        let closed = wal.closed_chunk_stats().into_iter().map(|stat| stat.chunk_id);
        closed.chain([wal.open_chunk_id()]).collect()
    }

    /// Returns how much space the log has, and for what.
    pub fn space(&self) -> SpaceStats {
        let shared = self.shared();
        let log = shared.on_disk_size();
        let alive = shared.index.read().alive();
        let (appended, moved) = shared.appended_and_moved();
        let appended = appended.saturating_sub(moved);
        SpaceStats { log, alive, allowed: shared.config.allowed(alive), appended, moved }
    }
}

/// The holders, the largest first, in a log of these chunks, oldest first.
pub(crate) fn holders_of(index: &Index, chunks: &[ChunkId]) -> Vec<Holder> {
    let holder = |(group, found): (&u64, &Group)| {
        let (bytes, oldest) = found.held()?;
        let bounds = found.bounds().unwrap_or_default();
        let at = chunks.partition_point(|chunk| chunk.0 <= oldest);
        let oldest_chunk = chunks.get(at.saturating_sub(1)).copied().unwrap_or_default();
        Some(Holder { group: *group, first: bounds.start, next: bounds.end, bytes, oldest_chunk })
    };
    let mut holders: Vec<_> = index.groups().iter().filter_map(holder).collect();
    holders.sort_unstable_by_key(|holder| (u64::MAX - holder.bytes, holder.group));
    holders
}
