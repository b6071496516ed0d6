//! Changes since the last event, and the state of a log.

use std::fmt;

/// The changes since the last event, and the state now.
///
/// A consumer that takes events slowly gets fewer of them: all changes in between are one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalEvent<S> {
    /// The changes, counted. All zero where only [`state`](Self::state) has changed: because more of
    /// the log is durable, for example, or because a transaction was committed.
    pub changes: Changes,
    /// The state of the log.
    pub state: S,
}

/// The changes, counted.
///
/// Counts are of the changes that the monitor saw. Changes that came and went between two looks (a
/// chunk that was started and removed, a transaction that was rolled back) may be missing from the
/// counts, but never from the event's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// New sound records, checkpoints included; for SQLite, new valid frames.
    pub records: u64,
    /// New bytes. For a log, bytes of global offset, chunk headers included; for SQLite, bytes of valid
    /// frames.
    pub bytes: u64,
    /// Chunks started after other chunks. Always 0 for SQLite.
    pub rotated_chunks: u64,
    /// Old chunks removed, while others were kept. Always 0 for SQLite.
    pub removed_chunks: u64,
    /// Frames that a checkpoint copied into the database; counted only with
    /// [`read_wal_index`](super::MonitorOptions::read_wal_index). Always 0 for a log.
    pub checkpointed_frames: u64,
    /// How often the end moved back. For a log: records that had not been durable were lost, or another
    /// program cut a file. For an SQLite WAL: the file was truncated (as a rule by a checkpoint), or
    /// frames of a transaction that was rolled back were overwritten.
    pub shrunk: u64,
    /// How often the last chunk, or the SQLite WAL, disappeared.
    pub gone: u64,
    /// How often the log was replaced: by another log in its place; for an SQLite WAL by a restart,
    /// with new salts, after a checkpoint of its whole contents.
    pub reset: u64,
}

impl Changes {
    /// Returns the changes after `earlier`; both are counted from the same start.
    pub(super) fn since(self, earlier: Changes) -> Changes {
        Changes {
            records: self.records - earlier.records,
            bytes: self.bytes - earlier.bytes,
            rotated_chunks: self.rotated_chunks - earlier.rotated_chunks,
            removed_chunks: self.removed_chunks - earlier.removed_chunks,
            checkpointed_frames: self.checkpointed_frames - earlier.checkpointed_frames,
            shrunk: self.shrunk - earlier.shrunk,
            gone: self.gone - earlier.gone,
            reset: self.reset - earlier.reset,
        }
    }
}

impl fmt::Display for Changes {
    /// Describes the changes in one line: `1 chunk started; grown by 3 records, 96 bytes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        let mut say = |count: u64, what: String| {
            if count > 0 {
                said.push(what);
            }
        };
        let s = |n: u64| if n == 1 { "" } else { "s" };
        say(self.gone, "gone".to_string());
        say(self.reset, "replaced".to_string());
        say(self.shrunk, "shrunk".to_string());
        let Changes { records, bytes, rotated_chunks, removed_chunks, checkpointed_frames, .. } = *self;
        say(removed_chunks, format!("{removed_chunks} chunk{} removed", s(removed_chunks)));
        say(
            checkpointed_frames,
            format!("{checkpointed_frames} frame{} checkpointed", s(checkpointed_frames)),
        );
        say(rotated_chunks, format!("{rotated_chunks} chunk{} started", s(rotated_chunks)));
        say(records + bytes, format!("grown by {records} record{}, {bytes} bytes", s(records)));
        f.write_str(if said.is_empty() { "further" } else { "" })?;
        f.write_str(&said.join("; "))
    }
}
