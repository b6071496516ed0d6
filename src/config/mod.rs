//! [`Config`]: plain values, checked once, when a log is opened.

mod setters;
#[cfg(test)]
mod tests;
#[cfg(feature = "serde")]
mod text;

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
#[cfg(feature = "lz4")]
use crate::format::Compressor;
use crate::format::{HEADER_LEN, PENDING_LIMIT, RECORD_SIZE_LIMIT, Transform};
use crate::position::ChunkId;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The largest `chunk_max_size`: 1 TiB, below what common file systems allow for a file.
const CHUNK_SIZE_LIMIT: u64 = 1 << 40;

/// The largest `read_buffer_size`, so that opening a log stays within a known memory.
const READ_BUFFER_LIMIT: u64 = 64 * MIB;

/// The largest `zero_ahead_bytes`. No step is that large: it is for small syncs, and enough for a few of them.
const ZERO_AHEAD_LIMIT: u64 = 64 * MIB;

/// Whether an idle log syncs its mark. A log writes the mark after its last record, once it has been idle
/// for 5 ms.
///
/// The mark proves that the last records were durable: without the mark, a last batch that is damaged
/// later looks like a batch that a crash has torn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum IdleMark {
    /// The mark is written, and becomes durable when the operating system writes it back, with the next
    /// sync, or with a close.
    #[default]
    Written,
    /// The mark is synced: one more sync for each burst of records, in the background. A sync that is requested
    /// meanwhile waits for the mark's sync.
    Synced,
}

/// How [`read_record`](crate::WalReader::read_record) reads records of closed chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ClosedReads {
    /// By positional reads: a failure to read a file is returned as an error.
    #[default]
    Positional,
    /// From memory maps of the files: reading cached bytes takes no system call. The log maps at most 64
    /// chunks at a time, each as a whole. It reads positionally if the storage can't map files.
    ///
    /// The log never cuts or overwrites a file that it has mapped. But if another program cuts the file, or
    /// the device fails to read, no error is returned: the operating system kills the process with `SIGBUS`.
    /// Closing the log waits for running reads.
    ///
    /// Needs the cargo feature `mmap`.
    ///
    /// ```
    /// let mut config = chunked_wal::Config::new("/var/lib/my-store/log");
    /// config.closed_reads = chunked_wal::ClosedReads::Mapped;
    /// ```
    #[cfg(feature = "mmap")]
    Mapped,
}

/// Whether the payloads of records are compressed.
///
/// The setting affects only appends. Compressed and uncompressed records may be in one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Compression {
    /// Every payload is stored as it is.
    #[default]
    None,
    /// A payload of up to 64 MiB is compressed with LZ4 if that makes its frame smaller; any other payload
    /// is stored unchanged. Compression runs on the appender's thread, in buffers that are reused.
    ///
    /// Needs the cargo feature `lz4`, also to read such a log; see [`Config::compression`].
    #[cfg(feature = "lz4")]
    Lz4 {
        /// Payloads of fewer bytes are stored uncompressed without trying. Below about 64 bytes, compression
        /// gains hardly anything.
        min_len: u64,
    },
}

impl Compression {
    /// The transformation of a chunk's payloads, if there is one.
    pub(crate) fn transform(self) -> Option<Transform> {
        match self {
            Compression::None => None,
            #[cfg(feature = "lz4")]
            Compression::Lz4 { min_len } => Some(Transform::Lz4(Compressor::new(min_len))),
        }
    }
}

/// The settings of a log. Sizes are in bytes.
///
/// Create a `Config` with [`Config::new`], and change settings by fields or by the methods of the same names:
///
/// ```
/// use chunked_wal::Config;
///
/// let config = Config::new("/var/lib/my-store/log").chunk_max_size(16 << 20).spare_chunks(4);
/// assert_eq!(config.chunk_max_size, 16 << 20);
///
/// let mut config = Config::new("/var/lib/my-store/log");
/// config.chunk_max_size = 16 << 20;
/// config.validate()?;
/// # Ok::<(), chunked_wal::Error>(())
/// ```
///
/// With the cargo feature `serde`, a `Config` can be a part of a program's configuration file. A missing setting has
/// its default; an unknown setting is an error. If the file has no `dir`, set `dir` before you open the log:
///
/// ```
/// # #[cfg(feature = "serde")] {
/// let text = r#"{ "dir": "/var/lib/my-store/log", "flush_batch_wait": "2ms", "file_mode": "0o640",
///                 "chunk_max_records": "unlimited", "idle_mark": "synced" }"#;
/// let config: chunked_wal::Config = serde_json::from_str(text)?;
/// assert_eq!(config.flush_batch_wait, std::time::Duration::from_millis(2));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Every setting may change from one open to the next; the bytes on disk stay readable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default = "Config::without_dir", deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Config {
    /// The log's directory; opening creates it if it is missing. Files there that are named like the
    /// log's files belong to the log; the log leaves all other files alone.
    pub dir: PathBuf,

    /// A chunk is full once it has this many bytes; its last record may exceed the size. The log
    /// allocates this much disk space for each chunk ahead of writing. Default: 64 MiB.
    pub chunk_max_size: u64,

    /// A chunk is full once it has this many records, its first checkpoint included. Default: unlimited
    /// (`u64::MAX`).
    #[cfg_attr(feature = "serde", serde(with = "text::limit"))]
    pub chunk_max_records: u64,

    /// The largest payload of a record, before compression. Only appending checks the limit. It applies
    /// to checkpoints too. Each chunk starts with a checkpoint, so a larger checkpoint makes every rotation
    /// fail ([`Error::CheckpointTooLarge`]), and once the chunk is full, every
    /// [`append_and_apply`](crate::ChunkedWal::append_and_apply). [`validate`](Self::validate) can't check
    /// this, because it doesn't know a checkpoint's size. Default: 64 MiB.
    pub max_record_size: u64,

    /// The most bytes that all records of a [`Batch`](crate::Batch) together may take in the log: the stored payloads,
    /// and 16 to 23 bytes more for each record. Only appending checks the limit. A reader of such a batch needs this
    /// much memory. Default: 64 MiB.
    pub max_batch_size: u64,

    /// The most appended bytes that wait in memory for a flush; at this limit, `append` itself hands them over as a
    /// `Write`. Default: 1 MiB; more than 1 GiB counts as 1 GiB.
    pub open_buffer_max_bytes: u64,

    /// The most bytes that are handed over and not yet written; a caller that would exceed the limit waits. A
    /// rotation counts as at least a 64th of this limit, because each waiting rotation has a file open.
    /// Default: 32 MiB; more than 1 GiB counts as 1 GiB.
    pub flush_queue_max_bytes: u64,

    /// The most flushes that the worker takes into one batch. Default: 65,536.
    pub flush_batch_max_items: u64,

    /// The worker takes no more flushes into a batch that has this many bytes. Default: 8 MiB.
    pub flush_batch_max_bytes: u64,

    /// How long the worker waits for more flushes that can share a sync with the first one. Default: zero,
    /// because flushes gather anyway while a sync runs.
    #[cfg_attr(feature = "serde", serde(with = "text::time"))]
    pub flush_batch_wait: Duration,

    /// From how many bytes on the disk on the log gives up pins: a drain that meets a breakable
    /// [pin](crate::WalPin) or [subscriber](crate::Subscriber) breaks it. Counts like `hard_budget`. Default: unlimited
    /// (`u64::MAX`); otherwise at most `hard_budget`.
    #[cfg_attr(feature = "serde", serde(with = "text::limit"))]
    pub soft_budget: u64,

    /// The most bytes that the log takes on the disk: its chunks, until their files are removed, and, at their most,
    /// the space reserved in the open chunk and the spares. When the log takes all of it, actions are refused with
    /// [`Error::OverBudget`]; the last record may exceed it. Checkpoints and rotations are not refused, because a
    /// program may need them before it can remove chunks; nor are appends after
    /// [`ignore_budget`](crate::ChunkedWal::ignore_budget). At least `chunk_max_size` times two more than what is
    /// reserved: with the defaults, 5 chunks of 64 MiB. Default: unlimited (`u64::MAX`).
    #[cfg_attr(feature = "serde", serde(with = "text::limit"))]
    pub hard_budget: u64,

    /// Whether opening cuts off a torn tail. If false, opening a log with a torn tail returns
    /// [`Error::TornTail`]. Default: true.
    pub truncate_torn_tail: bool,

    /// How many files of removed chunks are kept for reuse; with 0, no file is reused. Default: 2.
    pub spare_chunks: u64,

    /// The most zeros, in bytes, that a log with small syncs writes ahead at a time in a file that was never used
    /// before: on most file systems, a small sync takes about 50 % longer if its blocks were never written before. In
    /// the open chunk, the zeros are written together with the records of a sync. The next chunk's file gets its zeros
    /// in the background while the open chunk fills, in pieces of at most 128 KiB. Zeros double the bytes written,
    /// except in reused files of removed chunks, which need no zeros. 0 turns zeros off, which suits copy-on-write file
    /// systems. Default: 256 KiB.
    pub zero_ahead_bytes: u64,

    /// Whether an idle log also syncs the mark that it writes after its last record. Default:
    /// [`IdleMark::Written`].
    pub idle_mark: IdleMark,

    /// Whether payloads are compressed. The setting applies to chunks that are started from now on: if the
    /// open chunk was started without compression, compression starts with the next rotation. A build
    /// without the cargo feature `lz4` refuses a log with a chunk that was started with compression:
    /// [`Error::Unsupported`]. Default: [`Compression::None`].
    pub compression: Compression,

    /// The size of the reads that open, replay and iterate a log. Default: 1 MiB.
    pub read_buffer_size: u64,

    /// How single records of closed chunks are read. Default: [`ClosedReads::Positional`].
    pub closed_reads: ClosedReads,

    /// The permissions of files that the log creates (chunks, spare files and the lock), less the
    /// process's umask: at least 0o600. Any process that may read the lock file can keep a writer out
    /// by locking it. Default: 0o600, for the owner alone. Existing files keep their permissions.
    #[cfg_attr(feature = "serde", serde(with = "text::mode"))]
    pub file_mode: u32,
}

impl Config {
    /// Returns the defaults, for a log in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Config {
            dir: dir.into(),
            chunk_max_size: 64 * MIB,
            chunk_max_records: u64::MAX,
            max_record_size: 64 * MIB,
            max_batch_size: 64 * MIB,
            open_buffer_max_bytes: MIB,
            flush_queue_max_bytes: 32 * MIB,
            flush_batch_max_items: 65_536,
            flush_batch_max_bytes: 8 * MIB,
            flush_batch_wait: Duration::ZERO,
            soft_budget: u64::MAX,
            hard_budget: u64::MAX,
            truncate_torn_tail: true,
            spare_chunks: 2,
            zero_ahead_bytes: 256 * KIB,
            idle_mark: IdleMark::Written,
            compression: Compression::None,
            read_buffer_size: MIB,
            closed_reads: ClosedReads::Positional,
            file_mode: 0o600,
        }
    }

    /// The defaults that serde fills in.
    #[cfg(feature = "serde")]
    fn without_dir() -> Self {
        Config::new(PathBuf::new())
    }

    /// Checks every setting against its range. Opening a log does this first.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.dir.as_os_str().is_empty() {
            return Err(Error::InvalidConfig {
                field: "dir",
                value: "empty".to_string(),
                allowed: "the path of a directory".to_string(),
            });
        }
        for (field, value, min, max) in [
            ("chunk_max_size", self.chunk_max_size, HEADER_LEN, CHUNK_SIZE_LIMIT),
            ("chunk_max_records", self.chunk_max_records, 1, u64::MAX),
            ("max_record_size", self.max_record_size, 1, RECORD_SIZE_LIMIT),
            ("max_batch_size", self.max_batch_size, 1, RECORD_SIZE_LIMIT),
            ("open_buffer_max_bytes", self.open_buffer_max_bytes, 1, u64::MAX),
            ("flush_queue_max_bytes", self.flush_queue_max_bytes, 1, u64::MAX),
            ("flush_batch_max_items", self.flush_batch_max_items, 1, u64::MAX),
            ("flush_batch_max_bytes", self.flush_batch_max_bytes, 1, u64::MAX),
            ("spare_chunks", self.spare_chunks, 0, 1024),
            ("zero_ahead_bytes", self.zero_ahead_bytes, 0, ZERO_AHEAD_LIMIT),
            ("read_buffer_size", self.read_buffer_size, 1, READ_BUFFER_LIMIT),
        ] {
            if value < min || value > max {
                return Err(Error::InvalidConfig {
                    field,
                    value: value.to_string(),
                    allowed: format!("{min} to {max}"),
                });
            }
        }
        let least = self.bytes_ahead().saturating_add(self.chunk_max_size.saturating_mul(2));
        for (field, value) in [("soft_budget", self.soft_budget), ("hard_budget", self.hard_budget)] {
            if value < least {
                return Err(Error::InvalidConfig {
                    field,
                    value: value.to_string(),
                    allowed: format!("{least} or more, with this `chunk_max_size` and these `spare_chunks`"),
                });
            }
        }
        if self.soft_budget != u64::MAX && self.soft_budget > self.hard_budget {
            return Err(Error::InvalidConfig {
                field: "soft_budget",
                value: self.soft_budget.to_string(),
                allowed: "at most `hard_budget`, or unlimited: above it no drain would find the log"
                    .to_string(),
            });
        }
        if self.file_mode & !0o777 != 0 || self.file_mode & 0o600 != 0o600 {
            return Err(Error::InvalidConfig {
                field: "file_mode",
                value: format!("{:#o}", self.file_mode),
                allowed: "0o600 to 0o777, with both bits of 0o600".to_string(),
            });
        }
        let wait_max = Duration::from_secs(60);
        if self.flush_batch_wait > wait_max {
            return Err(Error::InvalidConfig {
                field: "flush_batch_wait",
                value: format!("{:?}", self.flush_batch_wait),
                allowed: format!("0s to {wait_max:?}"),
            });
        }
        Ok(())
    }

    /// Bounds the bytes that wait in memory, as the fields' documentation says: recovery relies on this
    /// bound for how far from the durable end a record can start.
    pub(crate) fn limit_pending(&mut self) {
        for bytes in [&mut self.open_buffer_max_bytes, &mut self.flush_queue_max_bytes] {
            *bytes = (*bytes).min(PENDING_LIMIT);
        }
    }

    /// The path of a chunk's file.
    pub fn chunk_path(&self, id: ChunkId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    /// The most bytes that the log's files take for records that are not there yet: the open chunk's, and spares, of
    /// which one is made ahead even if none is kept.
    pub(crate) fn bytes_ahead(&self) -> u64 {
        self.chunk_file_size().saturating_mul(1 + self.spare_chunks.max(1))
    }

    /// The bytes that a chunk's file is given ahead of writing: the size at which the chunk is full,
    /// and room for its last record and seal, so that most chunks never need more.
    pub(crate) fn chunk_file_size(&self) -> u64 {
        const BLOCK: u64 = 4 * KIB;
        let room = self.chunk_max_size.clamp(BLOCK, 64 * KIB);
        (self.chunk_max_size + room).next_multiple_of(BLOCK)
    }
}
