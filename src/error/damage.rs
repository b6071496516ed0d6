//! What is wrong with bytes on disk, and what proves that they had been durable.

use std::fmt;

/// What is wrong with bytes that should be a header or a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The chunk's header fails its checksum or is cut short.
    Header,
    /// No frame of this chunk starts here.
    FrameHeader,
    /// The frame is longer than the rest of the file.
    FrameCutShort,
    /// The frame's checksum fails.
    FrameChecksum,
    /// The checksum of a block of a blob fails: of 64 KiB that start here.
    #[cfg(feature = "blob")]
    BlobBlock,
    /// The frame is sound, but its compressed payload can't be decompressed.
    Compressed,
    /// The first frame is sound but is not a checkpoint.
    FirstFrameKind,
    /// The seal is sound but counts other records than those found.
    SealMismatch,
    /// A batch of records ends without its last record, where all before is proven to have been whole.
    BatchCutShort,
    /// The chunk has a successor, but its frames end without a seal.
    NotSealed,
    /// Only the seal is damaged or missing: the next chunk proves that every record is there. The
    /// damage [can be mended](Self::can_be_mended).
    Seal,
    /// One bit of the header is flipped, and the header's checksum says which. The damage [can be
    /// mended](Self::can_be_mended).
    HeaderBit,
}

impl Damage {
    /// Whether the rest of the log proves which bytes were there: then
    /// [`OpenOptions::mend`](crate::OpenOptions::mend) or `chunked-wal repair` writes them again, and
    /// nothing is lost.
    pub fn can_be_mended(self) -> bool {
        matches!(self, Damage::Seal | Damage::HeaderBit)
    }

    pub(super) fn advice(self) -> &'static str {
        if self.can_be_mended() {
            "open it with `OpenOptions::mend`, or run `chunked-wal repair`, to write it again; no record is lost"
        } else {
            "restore the file from a copy; `chunked-wal repair` shows what else can be done, and what it would lose"
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Damage::Header => "the chunk header fails its checksum or is cut short",
            Damage::FrameHeader => "no frame of this chunk starts there",
            Damage::FrameCutShort => "the frame there is longer than the rest of the file",
            Damage::FrameChecksum => "the frame there fails its checksum",
            #[cfg(feature = "blob")]
            Damage::BlobBlock => "the blob's block there fails its checksum",
            Damage::Compressed => "the payload there is compressed and can't be decompressed",
            Damage::FirstFrameKind => "the first frame is not a checkpoint",
            Damage::SealMismatch => "the seal there doesn't match the records found",
            Damage::BatchCutShort => "the batch of records before it has no last record",
            Damage::NotSealed => "there is neither a frame nor the seal",
            Damage::Seal => "the seal that belongs there is damaged or missing, and every record is whole",
            Damage::HeaderBit => "one bit of the chunk header is flipped, and its checksum says which",
        })
    }
}

/// Why bytes must have been durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// The chunk has its final name, which it gets only after its header and first frame are durable.
    FinalName,
    /// A later frame was encoded when everything below `synced` was durable.
    LaterFrame {
        /// The later frame's global offset.
        offset: u64,
        /// The synced offset that it proves.
        synced: u64,
    },
    /// A later sync mark: everything before the mark was durable.
    SyncMark {
        /// The mark's global offset.
        offset: u64,
    },
    /// A seal: everything before the seal was durable.
    Seal {
        /// The seal's global offset.
        offset: u64,
    },
    /// The chunk has a successor, so it was sealed.
    Successor,
    /// The frame's checksum is right, so this is not a torn write: the frame was written like this.
    Checksum,
    /// This process appended the record, or saw it whole when it opened the log.
    Seen,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::FinalName => f.write_str("the file has its final name"),
            Proof::LaterFrame { offset, synced } => {
                write!(f, "the frame at {offset} was written when all below {synced} was synced")
            }
            Proof::SyncMark { offset } => write!(f, "there is a sync mark at {offset}"),
            Proof::Seal { offset } => write!(f, "there is a seal at {offset}"),
            Proof::Successor => f.write_str("the chunk has a successor"),
            Proof::Checksum => f.write_str("its checksum is right"),
            Proof::Seen => f.write_str("it was whole when this log was opened or appended to"),
        }
    }
}
