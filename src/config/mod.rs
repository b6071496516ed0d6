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

/// The largest `zero_ahead_bytes`: a sync may have to wait until that many zeros are written.
const ZERO_AHEAD_LIMIT: u64 = 64 * MIB;

/// Whether the mark that a log writes after its last record, once the log has been idle for 5 ms, is
/// synced.
///
/// The mark proves that the last records were durable: without the mark, a last batch that is damaged
/// later looks like a batch that a crash has torn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum IdleMark {
    /// The mark is written, and reaches the disk when the operating system writes it back, with the
    /// next sync, or with a close.
    #[default]
    Written,
    /// The mark is synced: one more sync for each burst of records, in the background. A sync requested meanwhile waits
    /// for this one.
    Synced,
}

/// How [`read_record`](crate::WalReader::read_record) reads records of closed chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ClosedReads {
    /// By positional reads: any failure to read a file is returned as an error.
    #[default]
    Positional,
    /// From memory maps of the files: reading cached bytes costs no system call. At most 64 chunks are
    /// mapped at a time, each as a whole. A storage that can't map files is read positionally.
    ///
    /// The log never cuts or overwrites a file that it has mapped. But where another program cuts the
    /// file, or the device fails to read, there is no error: the operating system ends the process by
    /// `SIGBUS`. Closing the log waits for reads that are under way.
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
/// A log is read as it was written, regardless of this setting; compressed and plain records may share a
/// chunk.
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
    /// A payload of up to 64 MiB is compressed with LZ4 where that makes its frame smaller; any other
    /// payload is stored as it is. Compression runs on the appender's thread, in memory that is used
    /// again.
    ///
    /// Needs the cargo feature `lz4`, for reading such a log too; see [`Config::compression`].
    #[cfg(feature = "lz4")]
    Lz4 {
        /// Payloads of fewer bytes are stored uncompressed without trying. Below about 64 bytes there is hardly
        /// anything to gain.
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
/// Make a `Config` with [`Config::new`], and set what should differ, by fields or by the methods of the same names:
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
/// With the cargo feature `serde` it can be a part of a program's configuration file. A setting that is left out has its
/// default; one that does not exist is an error. Without a `dir` in the file, set it before the log is opened:
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
    /// The log's directory, made when missing. Files there that are named like the log's files belong
    /// to the log; it leaves all other files alone.
    pub dir: PathBuf,

    /// A chunk is full once it has this many bytes; its last record may exceed the size. The log
    /// allocates this much disk space for each chunk ahead of writing. Default: 64 MiB.
    pub chunk_max_size: u64,

    /// A chunk is full once it has this many records, its first checkpoint included. Default: unlimited
    /// (`u64::MAX`).
    #[cfg_attr(feature = "serde", serde(with = "text::limit"))]
    pub chunk_max_records: u64,

    /// The largest payload of a record, before compression. Only appending checks the limit. It applies
    /// to checkpoints too, and each chunk starts with one: a checkpoint that is larger fails every
    /// rotation ([`Error::CheckpointTooLarge`]), and with it every
    /// [`append_and_apply`](crate::ChunkedWal::append_and_apply) from a full chunk on.
    /// [`validate`](Self::validate) can't know a checkpoint's size. Default: 64 MiB.
    pub max_record_size: u64,

    /// The most bytes that the records of a [`Batch`](crate::Batch) may take in the log together: their payloads as
    /// they are stored, and 16 to 23 bytes more for each. Only appending checks the limit. A reader needs this much
    /// memory to read such a batch. Default: 64 MiB.
    pub max_batch_size: u64,

    /// The most appended bytes that wait in memory for a flush; beyond that, `append` itself hands them over as a
    /// `Write`. Default: 1 MiB; more than 1 GiB counts as 1 GiB.
    pub open_buffer_max_bytes: u64,

    /// The most bytes that are handed over and not yet written; a caller that would exceed this waits. A
    /// rotation counts as a 64th of this limit at least, because each waiting rotation has a file open.
    /// Default: 32 MiB; more than 1 GiB counts as 1 GiB.
    pub flush_queue_max_bytes: u64,

    /// The most flushes that the worker takes into one batch. Default: 65,536.
    pub flush_batch_max_items: u64,

    /// The worker takes no more flushes into a batch that has this many bytes. Default: 8 MiB.
    pub flush_batch_max_bytes: u64,

    /// How long the worker waits for more flushes to share a sync with the first one. Default: zero,
    /// because the next batch gathers while a sync runs anyway.
    #[cfg_attr(feature = "serde", serde(with = "text::time"))]
    pub flush_batch_wait: Duration,

    /// Whether opening cuts off a tail that a crash left half-written. If not, opening such a log fails
    /// with [`Error::TornTail`]. Default: true.
    pub truncate_torn_tail: bool,

    /// How many files of removed chunks are kept for reuse; 0 never reuses a file. Default: 2.
    pub spare_chunks: u64,

    /// Zero-fills this many bytes ahead in the open chunk, in the background, where a log syncs little at a
    /// time: on most file systems a small sync costs about 50 % more where its blocks were never written
    /// before. Zero-filling doubles the bytes written, except in reused files of removed chunks, which need no
    /// zeros. 0 turns zero-filling off, which suits copy-on-write file systems. Default: 1 MiB.
    pub zero_ahead_bytes: u64,

    /// Whether the mark that an idle log writes after its last record is synced, too. Default:
    /// [`IdleMark::Written`].
    pub idle_mark: IdleMark,

    /// Whether payloads are compressed, in chunks started from now on: a continued chunk that was
    /// started without compression takes no compressed payload; compression starts with the next
    /// rotation. A build without the cargo feature `lz4` refuses a log that has a chunk started with
    /// compression: [`Error::Unsupported`]. Default: [`Compression::None`].
    pub compression: Compression,

    /// The size of the reads with which a log is opened, replayed and iterated. Default: 1 MiB.
    pub read_buffer_size: u64,

    /// How single records of closed chunks are read. Default: [`ClosedReads::Positional`].
    pub closed_reads: ClosedReads,

    /// The permissions of files that the log makes (chunks, spare files and the lock), less the
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
            truncate_torn_tail: true,
            spare_chunks: 2,
            zero_ahead_bytes: MIB,
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

    /// The bytes that a chunk's file is given ahead of writing: the size at which the chunk is full,
    /// and room for its last record and seal, so that most chunks never need more.
    pub(crate) fn chunk_file_size(&self) -> u64 {
        const BLOCK: u64 = 4 * KIB;
        let room = self.chunk_max_size.clamp(BLOCK, 64 * KIB);
        (self.chunk_max_size + room).next_multiple_of(BLOCK)
    }
}
