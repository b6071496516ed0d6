//! What is handed to the worker, in the order in which it happens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::{BatchLimit, Entry, Flush, Spare};
use crate::chunk::ChunkFile;
use crate::config::Config;
use crate::format::Seal;
use crate::record::WalTypes;

/// One item of the queue.
pub(crate) enum Request<W: WalTypes> {
    Flush(FlushRequest<W>),
    Rotate(Box<Rotation<W>>),
    /// Oldest first. Whoever asks has flushed with a sync before.
    Remove(Vec<Arc<ChunkFile>>),
}

/// Writes the new bytes, syncs if a flush asks for it, then completes the callbacks.
pub(crate) struct FlushRequest<W: WalTypes> {
    /// The global offset that this flush reaches.
    pub(crate) end: u64,
    pub(crate) mode: Flush,
    pub(crate) callback: Option<W::Callback>,
    /// The number of the user's flushes in it; 0 if it is the log's own.
    pub(crate) count: u64,
    /// When the first of them was asked for.
    pub(crate) asked_at: Instant,
}

impl BatchLimit {
    pub(crate) fn of(config: &Config) -> Self {
        BatchLimit {
            items: config.flush_batch_max_items,
            bytes: config.flush_batch_max_bytes,
            wait: config.flush_batch_wait,
        }
    }
}

/// While this many requests are queued, the clock is read for every eighth flush only: reading it would take longer
/// than the rest of the call, and the times would hardly differ.
const MANY_WAITING: usize = 64;

/// A flush that is to be queued.
pub(crate) struct NewFlush<'a, C> {
    pub(crate) end: u64,
    pub(crate) mode: Flush,
    /// Taken when the flush is queued.
    pub(crate) callback: &'a mut Option<C>,
    pub(crate) count: u64,
    /// What makes a full batch: no more than that joins.
    pub(crate) limit: BatchLimit,
}

impl<C> NewFlush<'_, C> {
    /// Merges the flush into `last`, or returns a new request.
    pub(crate) fn behind<W: WalTypes<Callback = C>>(
        self,
        last: Option<&mut Entry<Request<W>>>,
        waiting: usize,
    ) -> Option<Request<W>> {
        let NewFlush { end, mode, callback, count, limit } = self;
        let mut asked_at = None;
        if let Some(Entry { item: Request::Flush(last), items, bytes }) = last {
            let nobody_is_called = last.callback.is_none() && callback.is_none();
            let is_full = *items >= limit.items || *bytes >= limit.bytes;
            if nobody_is_called && last.mode == mode && !is_full {
                if last.count == 0 {
                    last.asked_at = Instant::now();
                }
                last.count += count;
                last.end = end;
                return None;
            }
            asked_at = (waiting > MANY_WAITING && !waiting.is_multiple_of(8)).then_some(last.asked_at);
        }
        let asked_at = asked_at.unwrap_or_else(Instant::now);
        Some(Request::Flush(FlushRequest { end, mode, callback: callback.take(), count, asked_at }))
    }
}

/// End one chunk and begin the next, as one message: there is no half rotation.
pub(crate) struct Rotation<W: WalTypes> {
    /// What the open chunk is sealed with; none where the log has no open chunk.
    pub(crate) ending: Option<Seal>,
    pub(crate) beginning: ChunkBeginning<W>,
}

/// The beginning of a chunk.
pub(crate) struct ChunkBeginning<W: WalTypes> {
    pub(crate) file: Arc<ChunkFile>,
    /// Its final name.
    pub(crate) path: PathBuf,
    pub(crate) spare: Spare,
    /// The global offset after its first checkpoint.
    pub(crate) end: u64,
    /// The checkpoint of its predecessor, if one is kept.
    pub(crate) checkpoint: Option<W::Checkpoint>,
}
