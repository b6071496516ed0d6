//! One chunk: the open one takes frames, closed ones are only read.
//!
//! ```text
//! append ──► OpenChunk ──frames──► Tail ──pieces──► ChunkWriter ──► StorageFile
//!                                   │                                   ▲
//! read ─────────────────────────────┴── still in memory? ── no ──► ChunkFile
//! ```

mod buffer;
mod closed;
mod open;
mod read;
mod tail;
mod writer;

pub use closed::ChunkStat;
pub(crate) use closed::ClosedChunk;
pub(crate) use open::{FrameEncoder, OpenChunk, OpenChunkState, Staged};
pub(crate) use read::{ChunkFile, OpenFiles, with_a_descriptor};
pub(crate) use tail::{Tail, TailWriter};
pub(crate) use writer::{BLOCK, ChunkWriter, Cut, spare_piece, write_zeros};
