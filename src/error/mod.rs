//! What can go wrong, as data: every variant has the fields that a program needs to decide, and a
//! sentence that says what happened, where, and what to do.
//!
//! Errors are [`Clone`] (sources are in [`Arc`]s), because every waiting completion gets the first
//! failure of a log.

mod holder;
#[cfg(feature = "blob")]
mod no_blob;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use crate::position::{ChunkId, Segment};

pub(crate) use holder::lock_holder;
#[cfg(feature = "blob")]
pub use no_blob::NoBlob;

/// The result of nearly every function here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the log.
///
/// Converts into [`io::Error`] with a fitting [`io::ErrorKind`]; the original error stays inside as the
/// source.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation.
    #[error("{op} '{}' failed: {source}{}", path.display(), words::io_advice(op, source))]
    Io {
        /// The operation: `write`, `sync`, `rename`, ...
        op: &'static str,
        /// The file or directory of the operation.
        path: PathBuf,
        /// The operating system's error.
        source: Arc<io::Error>,
    },

    /// Another writer, in this process or another, has the log open.
    ///
    /// The sentence names that process where the system reports it (on Linux), as it is when the sentence is
    /// made.
    #[error("'{}' is locked: {}; close it first. To read the log meanwhile, use `WalReader::open_read_only`", path.display(), words::lock_holder_now(path))]
    Locked {
        /// The lock file.
        path: PathBuf,
    },

    /// A file that the log did not make has the name of the next chunk. The file was left alone, and
    /// the log has stopped: everything before is as durable as it was.
    #[error("'{}' exists already, and this log did not make it: another program writes to the log's directory, or a file was copied into it; move that file away, then open the log again", path.display())]
    ChunkExists {
        /// The file.
        path: PathBuf,
    },

    /// There is no log, and the caller demanded one.
    #[error("no log in '{}': is the right directory given, and its file system mounted?", path.display())]
    NotFound {
        /// The directory.
        path: PathBuf,
    },

    /// The log ends before the offset that the caller gave to `OpenOptions::must_reach`. Nothing was
    /// changed on disk.
    #[error("the log in '{}' ends at offset {found}, but must reach {expected}: its newest records are missing; nothing was changed. Restore the newest chunks from a copy, or check that the right directory is mounted", path.display())]
    EndMissing {
        /// The directory.
        path: PathBuf,
        /// The global offset that the log must reach.
        expected: u64,
        /// The global offset at which the log ends; 0 if there is no chunk.
        found: u64,
    },

    /// A file that is named like a chunk does not start as a chunk.
    #[error("'{}' is not a chunk: {}; {}", path.display(), words::beginning(found), words::no_chunk_advice(found))]
    NotAChunk {
        /// The file.
        path: PathBuf,
        /// The first bytes of the file, at most 8.
        found: Vec<u8>,
    },

    /// The bytes are sound, but this version or build can't read them.
    #[error("'{}' at offset {offset} {}", path.display(), words::unsupported(what, *found, *known))]
    Unsupported {
        /// The chunk's file.
        path: PathBuf,
        /// The global offset of the part that can't be read.
        offset: u64,
        /// The part: `format version`, `features`, ``features (cargo feature `lz4`)``, `frame kind`,
        /// `frame flags` and others.
        what: &'static str,
        /// The value on disk.
        found: u64,
        /// The value, or all bits, that this build knows.
        known: u64,
    },

    /// Bytes that had been durable, provably, no longer check out. Nothing was changed on disk.
    #[error("'{}' is damaged at offset {offset} (byte {} of the file): {damage}; it was durable before: {proof}. Nothing was changed: {}", path.display(), offset.saturating_sub(chunk_id.0), damage.advice())]
    Corrupt {
        /// The chunk's file.
        path: PathBuf,
        /// The chunk.
        chunk_id: ChunkId,
        /// The global offset of the damaged frame or header.
        offset: u64,
        /// What is wrong at this offset.
        damage: Damage,
        /// Why this can't be a write that a crash tore.
        proof: Proof,
    },

    /// The newest chunk ends in a torn write, and `Config::truncate_torn_tail` is off.
    #[error("'{}' ends in a torn write: sound up to offset {data_end}, and nothing proves that the {lost} bytes after that were ever durable; set `truncate_torn_tail` to have them cut off", path.display())]
    TornTail {
        /// The chunk's file.
        path: PathBuf,
        /// The newest chunk.
        chunk_id: ChunkId,
        /// The global offset at which the last sound record ends.
        data_end: u64,
        /// Bytes of the torn write after the last sound record.
        lost: u64,
    },

    /// A chunk is missing, or a chunk does not start where its predecessor ends.
    #[error("the log has a gap: after offset {expected}, the next chunk is '{}' at {found}; restore the missing chunk", path.display())]
    Gap {
        /// The file after the gap.
        path: PathBuf,
        /// The global offset at which the next chunk should start.
        expected: u64,
        /// The global offset at which it starts.
        found: u64,
    },

    /// A chunk of another log, or one under a wrong name.
    #[error("'{}' doesn't belong here: {reason}; move it out of the log's directory", path.display())]
    ForeignChunk {
        /// The file.
        path: PathBuf,
        /// Why the chunk is foreign.
        reason: Foreign,
    },

    /// A record's bytes check out, but the codec refuses them.
    #[error("the codec can't decode the record at offset {offset} in '{}': {source}; is it opened with the types that wrote it? If the codec can't be corrected, `chunked-wal repair DIR --void {offset}` takes this one record out of the log", path.display())]
    Decode {
        /// The chunk's file.
        path: PathBuf,
        /// The chunk.
        chunk_id: ChunkId,
        /// The global offset of the record's frame.
        offset: u64,
        /// The codec's error.
        source: Arc<io::Error>,
    },

    /// The codec failed to encode a record, or wrote a different number of bytes than it returned.
    #[error("the codec can't encode the record: {source}; nothing was appended")]
    Encode {
        /// The codec's error.
        source: Arc<io::Error>,
    },

    /// The state machine refused a record.
    #[error("the state machine refused the record at offset {offset} of '{}': {source}; nothing was appended or changed (when opening: use a state machine that takes this record)", chunk_id.file_name())]
    StateMachine {
        /// The chunk.
        chunk_id: ChunkId,
        /// The global offset of the record's frame.
        offset: u64,
        /// The state machine's error.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },

    /// A record's payload is larger than `Config::max_record_size`; nothing was appended.
    #[error(
        "the record is too large: more than the {max} bytes that `max_record_size` allows; split it, or raise the limit"
    )]
    RecordTooLarge {
        /// The limit, in bytes.
        max: u64,
    },

    /// A checkpoint is larger than `Config::max_record_size`, so the open chunk can't be closed and no
    /// chunk can start with it; nothing was appended.
    #[error(
        "the checkpoint is too large: more than the {max} bytes that `max_record_size` allows, so no chunk can start with it; make the state machine's checkpoint smaller, or raise the limit"
    )]
    CheckpointTooLarge {
        /// The limit, in bytes.
        max: u64,
    },

    /// A setting is out of its range.
    #[error("config: `{field}` is {value}; allowed: {allowed}")]
    InvalidConfig {
        /// The field of [`Config`](crate::Config) or the option.
        field: &'static str,
        /// The value.
        value: String,
        /// The values that are allowed.
        allowed: String,
    },

    /// A segment or offset outside the log that is kept.
    #[error(
        "[{offset}, {offset}+{size}) is not in the log, which keeps [{start}, {end}): was it removed, drained, or never appended?"
    )]
    NotInLog {
        /// The global offset asked for.
        offset: u64,
        /// The size asked for, in bytes.
        size: u64,
        /// The global offset of the oldest byte kept.
        start: u64,
        /// The global offset after the newest byte appended.
        end: u64,
    },

    /// A segment inside the log that is not a record's segment. Nothing is damaged: the record at that
    /// offset is sound.
    #[error(
        "no record starts at offset {offset} with {size} bytes; the record there starts at {} with {} bytes: is the segment from another log, or computed?", found.offset, found.size
    )]
    NoSuchRecord {
        /// The global offset asked for.
        offset: u64,
        /// The size asked for, in bytes.
        size: u64,
        /// The record that holds the byte at this offset.
        found: Segment,
    },

    /// A repair took the record at this offset out of the log, because no codec could decode it. Its
    /// bytes are in the copy of the chunk that the repair left beside the chunk.
    #[error(
        "the record at offset {offset} was taken out by a repair; its bytes are in '{}.broken', if that was kept", path.display()
    )]
    Voided {
        /// The chunk's file.
        path: PathBuf,
        /// The global offset of the record's frame.
        offset: u64,
    },

    /// The record can't be taken out; nothing was changed.
    #[error("the record at offset {offset} of '{}' can't be taken out: {why}", path.display())]
    NotVoidable {
        /// The chunk's file.
        path: PathBuf,
        /// The global offset of the record's frame.
        offset: u64,
        /// The reason.
        why: &'static str,
    },

    /// `remove_chunks` was given a chunk that isn't the oldest drained one.
    #[error("'{}' can't be removed: {}; drain first, then remove what was drained, oldest first", chunk_id.file_name(), match expected { Some(id) => format!("the oldest drained chunk is '{}'", id.file_name()), None => "no chunk is drained".to_string() })]
    NotDrained {
        /// The chunk that can't be removed.
        chunk_id: ChunkId,
        /// The chunk that must be removed next.
        expected: Option<ChunkId>,
    },

    /// The disk is full. Every accepted record is kept; make room or remove chunks, then go on.
    #[error("no space for '{}' ({needed} bytes): {source}; nothing was appended, and all accepted records are kept. Make room on that file system, or remove old chunks if the log has any, then try again; a chunk, and each spare, reserves `chunk_max_size` bytes ahead, which can be set lower", path.display())]
    StorageFull {
        /// The file that needs the space.
        path: PathBuf,
        /// The size that the file should have, in bytes.
        needed: u64,
        /// The operating system's error.
        source: Arc<io::Error>,
    },

    /// The reference leads to no blob of this store.
    #[cfg(feature = "blob")]
    #[error("[{offset}, +{length}) of blob chunk {chunk_id:08x} is no blob here: {reason}")]
    NotABlob {
        /// The chunk in the reference.
        chunk_id: u32,
        /// The position in that chunk.
        offset: u64,
        /// The blob's length in the reference, in bytes.
        length: u64,
        /// Why there is no such blob.
        reason: NoBlob,
    },

    /// The global offsets are used up.
    #[error("the log's offsets are used up at {end}: start a new log")]
    OffsetsUsedUp {
        /// The last global offset.
        end: u64,
    },

    /// An earlier failure on the write path stopped the log for good; nothing is retried.
    #[error(
        "the log stopped at its first failure ({cause}); open it again to continue from what is on the disk"
    )]
    Poisoned {
        /// The first failure.
        #[source]
        cause: Arc<Error>,
    },

    /// The log is closed, or the sender that would have completed this was dropped.
    #[error("the log is closed")]
    Closed,

    /// A blocking method was called where it would wait for its own thread: in a callback of the log,
    /// or in a codec.
    #[error(
        "`{method}` called from a callback or codec of the same log would wait for itself; hand the work to another thread"
    )]
    WouldDeadlock {
        /// The method.
        method: &'static str,
    },
}

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
    /// The frame is sound, but its compressed payload can't be decompressed.
    Compressed,
    /// The first frame is sound but is not a checkpoint.
    FirstFrameKind,
    /// The seal is sound but counts other records than those found.
    SealMismatch,
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

    fn advice(self) -> &'static str {
        if self.can_be_mended() {
            "open it with `OpenOptions::mend`, or run `chunked-wal repair`, to write it again; no record is lost"
        } else {
            "restore the file from a copy; otherwise a person must choose what to give up"
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
            Damage::Compressed => "the payload there is compressed and can't be decompressed",
            Damage::FirstFrameKind => "the first frame is not a checkpoint",
            Damage::SealMismatch => "the seal there doesn't match the records found",
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

/// Why a chunk is foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Its log id is not that of the other chunks.
    LogId {
        /// The log id of most chunks; of the oldest chunk, if another id is as frequent.
        expected: [u8; 16],
        /// The log id of this chunk.
        found: [u8; 16],
    },
    /// The predecessor isn't the chunk that was there when this chunk was started: the predecessor is
    /// sealed and has the right length, but has other records.
    Predecessor {
        /// The checksum of the predecessor's records, as this chunk's header has it.
        expected: u32,
        /// The checksum in the seal of the chunk that is there.
        found: u32,
    },
    /// Its header and its file name have different ids.
    Name {
        /// The id in the file name.
        named: ChunkId,
        /// The id in the header.
        header: ChunkId,
    },
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreign::LogId { expected, found } => {
                write!(
                    f,
                    "it belongs to log {:032x}, the others to {:032x}",
                    u128::from_be_bytes(*found),
                    u128::from_be_bytes(*expected)
                )
            }
            Foreign::Predecessor { expected, found } => write!(
                f,
                "it follows a chunk with the checksum {expected:08x}, but the chunk before it has {found:08x}; one of the two is from another history of this log"
            ),
            Foreign::Name { named, header } => write!(f, "its name says {named}, its header {header}"),
        }
    }
}

/// Why a record that checks out can't be read.
#[derive(Debug)]
pub(crate) enum Undecodable {
    /// Its compressed payload can't be decompressed.
    Compressed,
    /// The codec's error.
    Codec(io::Error),
}

impl Error {
    /// The error of an operation on a file or directory.
    pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Io { op, path: path.into(), source: Arc::new(source) }
    }

    /// The error of an operation that takes space: a full disk or quota is [`Error::StorageFull`].
    pub(crate) fn no_space(
        op: &'static str,
        path: impl Into<PathBuf>,
        needed: u64,
        source: io::Error,
    ) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Error::StorageFull { path: path.into(), needed, source: Arc::new(source) }
            }
            _ => Error::io(op, path, source),
        }
    }

    /// The error of a read through [`io::Error`]: the original error where there is one inside.
    pub(crate) fn from_read(path: impl Into<PathBuf>, source: io::Error) -> Self {
        match source.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(original) => original.clone(),
            None => Error::io("read", path, source),
        }
    }

    /// The error of a record that checks out but can't be decoded.
    pub(crate) fn undecodable(
        path: impl Into<PathBuf>,
        chunk_id: ChunkId,
        offset: u64,
        why: Undecodable,
    ) -> Self {
        let path = path.into();
        match why {
            Undecodable::Codec(source) => Error::Decode { path, chunk_id, offset, source: Arc::new(source) },
            Undecodable::Compressed => {
                let (damage, proof) = (Damage::Compressed, Proof::Checksum);
                Error::Corrupt { path, chunk_id, offset, damage, proof }
            }
        }
    }

    /// The error that later callers get once this error has stopped the log.
    pub(crate) fn poisoned(self) -> Self {
        Error::Poisoned { cause: Arc::new(self) }
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self {
            Error::Io { source, .. } => source.kind(),
            Error::Locked { .. } => io::ErrorKind::WouldBlock,
            Error::ChunkExists { .. } => io::ErrorKind::AlreadyExists,
            Error::NotFound { .. }
            | Error::NotInLog { .. }
            | Error::NoSuchRecord { .. }
            | Error::Voided { .. } => io::ErrorKind::NotFound,
            #[cfg(feature = "blob")]
            Error::NotABlob { .. } => io::ErrorKind::NotFound,
            Error::Unsupported { .. } => io::ErrorKind::Unsupported,
            Error::NotAChunk { .. }
            | Error::EndMissing { .. }
            | Error::Corrupt { .. }
            | Error::TornTail { .. }
            | Error::Gap { .. }
            | Error::ForeignChunk { .. }
            | Error::Decode { .. } => io::ErrorKind::InvalidData,
            Error::Encode { .. }
            | Error::RecordTooLarge { .. }
            | Error::CheckpointTooLarge { .. }
            | Error::InvalidConfig { .. }
            | Error::NotVoidable { .. }
            | Error::NotDrained { .. } => io::ErrorKind::InvalidInput,
            Error::StorageFull { .. } => io::ErrorKind::StorageFull,
            Error::WouldDeadlock { .. } => io::ErrorKind::Deadlock,
            Error::Closed => io::ErrorKind::BrokenPipe,
            Error::StateMachine { .. } | Error::OffsetsUsedUp { .. } | Error::Poisoned { .. } => {
                io::ErrorKind::Other
            }
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_kinds_fit_and_keep_the_original() {
        let full = Error::no_space("allocate", "x", 1, io::ErrorKind::StorageFull.into());
        let cases = [
            (Error::Locked { path: "x".into() }, io::ErrorKind::WouldBlock),
            (Error::Gap { path: "x".into(), expected: 1, found: 2 }, io::ErrorKind::InvalidData),
            (full.clone(), io::ErrorKind::StorageFull),
            (
                Error::InvalidConfig { field: "x", value: "0".into(), allowed: "1..".into() },
                io::ErrorKind::InvalidInput,
            ),
            (Error::io("sync", "x", io::ErrorKind::PermissionDenied.into()), io::ErrorKind::PermissionDenied),
            (full.poisoned(), io::ErrorKind::Other),
        ];
        for (error, kind) in cases {
            let text = error.to_string();
            let io = io::Error::from(error);
            assert_eq!(io.kind(), kind, "{text}");
            assert_eq!(io.to_string(), text);
            assert!(io.get_ref().is_some_and(|e| e.is::<Error>()));
        }
    }
}
