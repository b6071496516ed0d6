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
    /// When the user asked for it; none for a flush of the log's own, which is not counted.
    pub(crate) asked_at: Option<Instant>,
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
