//! A log in a fixed region of somebody else's file: for a database that is one file (feature
//! `embedded`).
//!
//! ```text
//! the host's file   | header, checkpoint | pages ... |  region of the log  | pages ...
//!                           │                        | ... 7 8 9 | 4 5 6   |
//!                           └────────────────────────────────────^ checkpoint
//!
//! append ─► write ─► sync ─► sequence           checkpoint ─► the host stores it ─► checkpoint_stored
//! ```
//!
//! The region is a ring: records behind the stored checkpoint are kept, what lies before it is
//! overwritten. A record that reaches the region's end goes on at its beginning.
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
//!   before it, back to the stored checkpoint.
//! - **A crash is repaired, decay is told.** What a crash tore, at the end, was acknowledged to nobody
//!   and is given up. Damage in what a later record proves to have been durable is
//!   [`Error::Corrupt`]. The limit: the very last batch, while nothing behind it proves it.
//! - **Full is a state.** [`Error::RegionFull`] loses nothing; there is always room for the checkpoint
//!   that makes room.
//! - **Only the region** is written. A sync is the whole file's.
//!
//! What stands in the region, byte by byte, and why a checkpoint takes two calls: `docs/features/embedded.md` in
//! the repository.

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

/// The part of the host's file that is the log's, in bytes. Any offset will do; of the length, what
/// passes a multiple of 8 isn't used.
///
/// It must be inside the file. Have its space allocated: a file system that runs full under an append
/// poisons the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is; at least 152.
    pub len: u64,
}

/// Where the log begins for the host: the records up to `sequence` are applied, those behind follow.
///
/// The host stores both numbers where it finds them again. A new log begins with the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checkpoint {
    /// Counts bytes of the log since its beginning; its place in the file is `region.offset` plus the
    /// rest that it leaves when divided by the region's length.
    pub position: u64,
    /// The last record before the checkpoint; 0 if there is none.
    pub sequence: u64,
}

/// When it is time for a checkpoint: as soon as one of the two is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointWhen {
    /// Percent of the region that are used. 50 unless set.
    pub used_percent: u64,
    /// Records behind the stored checkpoint. Unlimited (`u64::MAX`) unless set.
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
    /// What the region can hold.
    pub capacity: u64,
    /// What can't be overwritten: from the stored checkpoint to the end.
    pub used: u64,
    /// The checkpoint that the host has stored.
    pub checkpoint: Checkpoint,
    /// Later checkpoints, which [`checkpoint_stored`](EmbeddedWal::checkpoint_stored) may name.
    pub checkpoints_not_stored: u64,
    /// The last record's sequence; 0 if there never was one.
    pub last_sequence: u64,
    /// Records behind the stored checkpoint.
    pub pending_records: u64,
    /// The largest batch that the empty region has room for. A record takes 28 bytes more than its own,
    /// rounded up to a multiple of 8.
    pub batch_max: u64,
}

/// The file of the host's that the region is in: from a [`File`], or from a
/// [`StorageFile`].
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
