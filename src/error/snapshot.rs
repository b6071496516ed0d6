//! What is wrong with a snapshot.

use std::sync::Arc;
use std::{fmt, io};

/// Why a snapshot can't be loaded or written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// The file's bytes do not check out.
    Damaged {
        /// What does not.
        what: &'static str,
    },
    /// The snapshot was taken of another log.
    OtherLog,
    /// The file is sound, but a newer version wrote it.
    Unsupported {
        /// The version in the file.
        found: u32,
        /// The version that this build reads and writes.
        known: u32,
    },
    /// The log has no records before `start` any more, and no whole snapshot covers all of those.
    Missing {
        /// The global offset up to which the newest whole snapshot covers the log; 0 without one.
        covered: u64,
        /// The global offset at which the log's records begin.
        start: u64,
    },
    /// The program can't make a state of the snapshot's bytes.
    Restore {
        /// The program's error.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The snapshot would cover records that are not durable in the log yet.
    AheadOfLog {
        /// The global offset that the snapshot would cover.
        offset: u64,
        /// The global offset up to which the log is durable.
        synced: u64,
    },
    /// There is a snapshot of a later state.
    NotNewer {
        /// The global offset that the newest snapshot covers.
        newest: u64,
    },
}

impl SnapshotFault {
    pub(super) fn io_kind(&self) -> io::ErrorKind {
        match self {
            SnapshotFault::Damaged { .. }
            | SnapshotFault::OtherLog
            | SnapshotFault::Missing { .. }
            | SnapshotFault::Restore { .. } => io::ErrorKind::InvalidData,
            SnapshotFault::Unsupported { .. } => io::ErrorKind::Unsupported,
            SnapshotFault::AheadOfLog { .. } | SnapshotFault::NotNewer { .. } => io::ErrorKind::InvalidInput,
        }
    }
}

impl fmt::Display for SnapshotFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotFault::Damaged { what } => write!(f, "the file is damaged: {what}"),
            SnapshotFault::OtherLog => f.write_str(
                "it was taken of another log: are the right two directories given? Nothing was changed",
            ),
            SnapshotFault::Unsupported { found, known } => write!(
                f,
                "it has version {found}, this build knows {known}: open it with the version that wrote it, or a newer one"
            ),
            SnapshotFault::Missing { covered, start } => write!(
                f,
                "the log's records begin at offset {start}, and the newest whole snapshot covers those before {covered}: \
                 what is between is in neither. Nothing was changed; restore the newer snapshot from a copy"
            ),
            SnapshotFault::Restore { source } => {
                write!(f, "its bytes are whole, but the program can't restore its state from them: {source}")
            }
            SnapshotFault::AheadOfLog { offset, synced } => write!(
                f,
                "it would cover the records before offset {offset}, but the log is durable only before {synced}; \
                 sync the log before the snapshot is written"
            ),
            SnapshotFault::NotNewer { newest } => {
                write!(f, "there is a newer one, of the records before offset {newest}; nothing was written")
            }
        }
    }
}
