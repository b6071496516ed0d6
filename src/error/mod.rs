//! What can go wrong, as data: every variant has the fields that a program needs to decide, and a
//! sentence that says what happened, where, and what to do.
//!
//! Errors are [`Clone`] (sources are in [`Arc`]s), because every waiting completion gets the first
//! failure of a log.

mod damage;
mod foreign;
mod holder;
#[cfg(feature = "blob")]
mod no_blob;
mod pin;
mod snapshot;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::position::{ChunkId, Segment};

pub use damage::{Damage, Proof};
pub use foreign::Foreign;
#[cfg(feature = "cli")]
pub(crate) use holder::lock_holder;
#[cfg(feature = "blob")]
pub use no_blob::NoBlob;
pub use pin::PinFault;
pub use snapshot::SnapshotFault;
#[cfg(feature = "cli")]
pub(crate) use words::old_log_advice;

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

    /// The records of a batch take more than `Config::max_batch_size` together; nothing was appended.
    #[error(
        "the batch is too large: the first {index} of its {len} records fit into the {max} bytes that `max_batch_size` allows; split it, or raise the limit"
    )]
    BatchTooLarge {
        /// How many records fit, from the first on.
        index: usize,
        /// The number of records in the batch.
        len: usize,
        /// The limit, in bytes.
        max: u64,
    },

    /// A batch has no record, so there is nothing to commit and no segment to return.
    #[error("the batch is empty: nothing was committed; commit it once it has a record")]
    EmptyBatch,

    /// A record of a batch can't be encoded, or is too large by itself; nothing was appended.
    #[error("record {index} of the batch (the first is 0): {source}")]
    InBatch {
        /// The index of the record in the batch, from 0.
        index: usize,
        /// [`Encode`](Self::Encode), [`RecordTooLarge`](Self::RecordTooLarge) or
        /// [`CheckpointTooLarge`](Self::CheckpointTooLarge).
        source: Box<Error>,
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

    /// The log takes as much of the disk as [`Config::hard_budget`](crate::Config::hard_budget) allows. The log goes on
    /// once chunks are removed.
    #[error("the log in '{}' takes {used} bytes of the disk, and `hard_budget` allows {budget}; nothing was appended, and all accepted records are kept. Remove old chunks{}, or raise the budget", path.display(), words::held_by(held_by.as_deref()))]
    OverBudget {
        /// The log's directory.
        path: PathBuf,
        /// The bytes that the log takes, space reserved ahead and spare files included.
        used: u64,
        /// The hard budget, in bytes.
        budget: u64,
        /// The name of the pin that is farthest behind, if it keeps a closed chunk.
        held_by: Option<String>,
    },

    /// A pin can't be set, moved or opened again.
    #[error("pin '{name}': {reason}")]
    Pin {
        /// The name of the pin or subscriber.
        name: String,
        /// What is wrong with it.
        reason: PinFault,
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

    /// A range that is not inside its blob.
    #[cfg(feature = "blob")]
    #[error(
        "bytes {start} to {end} are not in the blob, which has {length} bytes: ask for a range inside it"
    )]
    OutOfBlob {
        /// The range's first byte.
        start: u64,
        /// The byte after the range's last.
        end: u64,
        /// The blob's length in bytes, as its reference says.
        length: u64,
    },

    /// A snapshot can't be loaded or written. Neither the log nor a snapshot was changed.
    #[error("snapshot '{}': {reason}", path.display())]
    Snapshot {
        /// The snapshot's file, or the directory of the snapshots.
        path: PathBuf,
        /// What is wrong with it.
        reason: SnapshotFault,
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

    /// A blocking method was called where it would wait for its own thread: in a callback of the log, in a codec, or
    /// in the closure that writes a snapshot.
    #[error(
        "`{method}` called from a callback, a codec or a snapshot's writer of the same log would wait for itself; hand the work to another thread"
    )]
    WouldDeadlock {
        /// The method.
        method: &'static str,
    },
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
            #[cfg(feature = "blob")]
            Error::OutOfBlob { .. } => io::ErrorKind::InvalidInput,
            Error::Unsupported { .. } => io::ErrorKind::Unsupported,
            Error::Snapshot { reason, .. } => reason.io_kind(),
            Error::Pin { reason, .. } => reason.io_kind(),
            Error::OverBudget { .. } => io::ErrorKind::QuotaExceeded,
            Error::NotAChunk { .. }
            | Error::EndMissing { .. }
            | Error::Corrupt { .. }
            | Error::TornTail { .. }
            | Error::Gap { .. }
            | Error::ForeignChunk { .. }
            | Error::Decode { .. } => io::ErrorKind::InvalidData,
            Error::Encode { .. }
            | Error::InBatch { .. }
            | Error::EmptyBatch
            | Error::BatchTooLarge { .. }
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
