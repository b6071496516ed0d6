//! A log in a fixed region of the host's file: for a database that is one file (feature `embedded`).
//!
//! ```text
//! the host's file   | header, checkpoint | pages ... |  region of the log  | pages ...
//!                           │                        | ... 7 8 9 | 4 5 6   |
//!                           └────────────────────────────────────^ checkpoint
//!
//! append ─► write ─► sync ─► sequence           checkpoint ─► the host stores it ─► checkpoint_stored
//! ```
//!
//! The region is a ring: records after the stored checkpoint are kept, older bytes are overwritten. A
//! record that reaches the region's end continues at its start.
//!
//! ```
//! use chunked_wal::embedded::{Checkpoint, EmbeddedWal, Region};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = tempfile::tempfile()?;
//! file.set_len(1 << 20)?; // zeros: a new log
//! let region = Region { offset: 4096, len: 64 << 10 };
//!
//! let mut wal = EmbeddedWal::open(file.try_clone()?, region, Checkpoint::default())?;
//! assert_eq!(wal.append(b"one")?, 1); // durable
//! assert_eq!(wal.append_batch(&["two", "three"])?, 2..4); // with one sync
//!
//! // The host writes its pages, then the checkpoint into its header, and syncs them.
//! let checkpoint = wal.checkpoint()?;
//! // ...
//! wal.checkpoint_stored(checkpoint)?;
//! wal.append(b"four")?;
//!
//! // After a crash: the records that the stored checkpoint doesn't cover.
//! let wal = EmbeddedWal::open(file, region, checkpoint)?;
//! let pending = wal.pending().collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(pending, [(4, b"four".to_vec())]);
//! # Ok(())
//! # }
//! ```
//!
//! - **Appended is durable.** A record whose sequence was returned is there after a crash, with all
//!   records before it, back to the stored checkpoint.
//! - **Crashes are repaired, corruption is reported.** A torn end, left by a crash, was never
//!   acknowledged and is given up. Damage in bytes that a later record proves to have been durable is
//!   [`Error::Corrupt`]. The limit: the very last batch, as long as nothing after it proves that it was
//!   durable.
//! - **Full is a state.** [`Error::RegionFull`] loses nothing; there is always room for the checkpoint
//!   that makes room.
//! - **Only the region** is written. A sync applies to the whole file.
//!
//! `docs/features/embedded.md` in the repository describes the region byte by byte, and why a checkpoint takes
//! two calls.

mod error;
mod frame;
mod log;
mod records;
mod ring;
mod wal;
mod walk;

use std::fs::File;
use std::sync::Arc;

use crate::storage::{DiskFile, StorageFile};

pub use self::error::{Error, Result};
pub use self::records::Records;
pub use self::wal::{EmbeddedReader, EmbeddedWal};

/// The part of the host's file that belongs to the log, in bytes. Any offset is allowed. A length that
/// is no multiple of 8 is rounded down.
///
/// The region must be inside the file. Allocate its space first: a file system that runs full during an
/// append poisons the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// The region's first byte in the file.
    pub offset: u64,
    /// The region's length; at least 152.
    pub len: u64,
}

/// The start of the log for the host: records up to `sequence` are applied, later ones follow.
///
/// The host stores both numbers, durably. A new log starts with the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checkpoint {
    /// The bytes of the log before the checkpoint, since the log was new. The checkpoint's offset in the
    /// file is `region.offset` plus `position` modulo [`RingStats::capacity`].
    pub position: u64,
    /// The last record before the checkpoint; 0 if there is none.
    pub sequence: u64,
}

/// When to take a checkpoint: as soon as one of the two limits is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointWhen {
    /// Percent of the region that is used. Default: 50.
    pub used_percent: u64,
    /// Records after the stored checkpoint. Default: unlimited (`u64::MAX`).
    pub pending_records: u64,
}

impl Default for CheckpointWhen {
    fn default() -> Self {
        CheckpointWhen { used_percent: 50, pending_records: u64::MAX }
    }
}

/// How full a region is. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingStats {
    /// The bytes that the region can hold.
    pub capacity: u64,
    /// The bytes that can't be overwritten: from the stored checkpoint to the end.
    pub used: u64,
    /// The checkpoint that the host has stored.
    pub checkpoint: Checkpoint,
    /// The number of later checkpoints, which [`checkpoint_stored`](EmbeddedWal::checkpoint_stored) may
    /// name.
    pub checkpoints_not_stored: u64,
    /// The last record's sequence; 0 if there never was a record.
    pub last_sequence: u64,
    /// The number of records after the stored checkpoint.
    pub pending_records: u64,
    /// The largest batch that the empty region has room for. A record takes 28 bytes more than its own
    /// length, rounded up to a multiple of 8.
    pub batch_max: u64,
}

/// The host's file that contains the region: from a [`File`], or from a [`StorageFile`].
#[derive(Debug)]
pub struct HostFile(Arc<dyn StorageFile>);

impl From<File> for HostFile {
    fn from(file: File) -> Self {
        HostFile(Arc::new(DiskFile::from(file)))
    }
}

impl From<Arc<dyn StorageFile>> for HostFile {
    fn from(file: Arc<dyn StorageFile>) -> Self {
        HostFile(file)
    }
}
