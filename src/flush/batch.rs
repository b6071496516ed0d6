//! What is handed to the worker, in the order in which it happens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::Flush;
use super::Spare;
use crate::chunk::ChunkFile;
use crate::chunk::Piece;
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
    /// What stood in the open buffer, if anything did.
    pub(crate) piece: Option<Piece>,
    /// The global offset that this flush reaches.
    pub(crate) end: u64,
    pub(crate) mode: Flush,
    pub(crate) callback: Option<W::Callback>,
    /// When the user asked for it; none for a flush of the log's own, which is not counted.
    pub(crate) asked_at: Option<Instant>,
}

/// End one chunk and begin the next, as one message: there is no half rotation.
pub(crate) struct Rotation<W: WalTypes> {
    /// The chunk that ends; none where the log has no open chunk.
    pub(crate) ending: Option<ChunkEnding>,
    pub(crate) beginning: ChunkBeginning<W>,
}

/// The end of a chunk.
#[derive(Debug)]
pub(crate) struct ChunkEnding {
    /// Its last frames, if they are not handed over yet.
    pub(crate) piece: Option<Piece>,
    pub(crate) seal: Seal,
}

/// The beginning of a chunk.
pub(crate) struct ChunkBeginning<W: WalTypes> {
    pub(crate) file: Arc<ChunkFile>,
    /// Its final name.
    pub(crate) path: PathBuf,
    pub(crate) spare: Spare,
    /// Header and first checkpoint frame.
    pub(crate) head: Piece,
    /// The checkpoint of its predecessor, if one is kept.
    pub(crate) checkpoint: Option<W::Checkpoint>,
}
