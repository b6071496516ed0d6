//! The part of a log that takes records: its open chunk, or the checkpoint that the next chunk starts with.

use crate::chunk::OpenChunk;
use crate::error::{Error, Result};

/// Takes the next record. There is always one of the two: a log with neither would lose its next record.
#[allow(clippy::large_enum_variant, reason = "a log has one, and every record passes it")]
pub(super) enum Head<C> {
    Open(OpenChunk),
    /// No chunk could be created yet, because the disk is full; the next append tries again. Has the
    /// checkpoint with which the chunk will start.
    Unopened(C),
}

impl<C> Head<C> {
    pub(super) fn open(&self) -> Option<&OpenChunk> {
        match self {
            Head::Open(open) => Some(open),
            Head::Unopened(_) => None,
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut OpenChunk> {
        match self {
            Head::Open(open) => Some(open),
            Head::Unopened(_) => None,
        }
    }

    /// The chunk that was just seen to be open.
    #[inline]
    pub(super) fn opened(&mut self) -> Result<&mut OpenChunk> {
        match self {
            Head::Open(open) => Ok(open),
            Head::Unopened(_) => Err(no_chunk()),
        }
    }
}

/// The error of a bug: the log has no open chunk, so it accepts no record.
#[cold]
fn no_chunk() -> Error {
    Error::io("append", "", std::io::Error::other("the log has no open chunk"))
}
