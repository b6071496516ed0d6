//! What is handed to the worker, in the order in which it happens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::Flush;
use super::Spare;
use crate::chunk::ChunkFile;
use crate::format::Seal;
use crate::record::WalTypes;

/// One item of the queue.
pub(crate) enum Request<W: WalTypes> {
    Flush(FlushRequest<W>),
    Rotate(Box<Rotation<W>>),
    /// Oldest first. Whoever asks has flushed with a sync before.
    Remove(Vec<Arc<ChunkFile>>),
}

/// Write what is new; sync if asked to; then tell.
pub(crate) struct FlushRequest<W: WalTypes> {
    /// The global offset that this flush reaches.
    pub(crate) end: u64,
    pub(crate) mode: Flush,
    pub(crate) callback: Option<W::Callback>,
    /// The user's flushes that it stands for; none if it is the log's own.
    pub(crate) count: u64,
    /// When the first of them was asked for.
    pub(crate) asked_at: Instant,
}

/// While so many requests wait to be taken, the clock is read for each eighth flush only: it would take
/// longer than the rest, and what it says would hardly differ.
const MANY_WAITING: usize = 64;

impl<W: WalTypes> FlushRequest<W> {
    /// What is to be queued behind `last` of `waiting` requests, if there are any, for a flush up to `end`;
    /// none if `last` can stand for it as well.
    pub(crate) fn behind(
        last: Option<&mut Request<W>>,
        waiting: usize,
        end: u64,
        mode: Flush,
        callback: &mut Option<W::Callback>,
        count: u64,
    ) -> Option<Self> {
        let last = match last {
            Some(Request::Flush(last)) => Some(last),
            _ => None,
        };
        if let Some(last) = last {
            if last.mode == mode && last.callback.is_none() && callback.is_none() {
                if last.count == 0 {
                    last.asked_at = Instant::now();
                }
                last.count += count;
                last.end = end;
                return None;
            }
            if waiting > MANY_WAITING && !waiting.is_multiple_of(8) {
                let asked_at = last.asked_at;
                return Some(FlushRequest { end, mode, callback: callback.take(), count, asked_at });
            }
        }
        Some(FlushRequest { end, mode, callback: callback.take(), count, asked_at: Instant::now() })
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
    /// The global offset behind its first checkpoint.
    pub(crate) end: u64,
    /// The checkpoint of its predecessor, if one is kept.
    pub(crate) checkpoint: Option<W::Checkpoint>,
}
