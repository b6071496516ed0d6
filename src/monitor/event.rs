//! What happened, and how things stand.

use std::fmt;

/// What has happened since the event before, and how the log stands now.
///
/// Who takes events slowly gets fewer of them: whatever happened meanwhile is one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalEvent<S> {
    /// How often what happened. All zero where only [`state`](Self::state) tells more than before: that
    /// more of the log is durable, for example, or that a transaction was committed.
    pub changes: Changes,
    /// How the log stands.
    pub state: S,
}

/// What happened, counted.
///
/// Counted is what was seen. What came and went between two looks (a chunk that was begun and removed,
/// a transaction that was rolled back) may be missing; the event's state never is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Grown: sound records, checkpoints included; for SQLite, valid frames.
    pub records: u64,
    /// Grown: bytes. For a log, of global offset, chunk headers included; for SQLite, of valid frames.
    pub bytes: u64,
    /// Chunks begun behind others. Always 0 for SQLite.
    pub rotated_chunks: u64,
    /// Old chunks removed, while others stayed. Always 0 for SQLite.
    pub removed_chunks: u64,
    /// Frames that a checkpoint copied into the database; seen only with
    /// [`read_wal_index`](super::MonitorOptions::read_wal_index). Always 0 for a log.
    pub checkpointed_frames: u64,
    /// The end went back: how often. Of a log, records that had not been durable were lost, or somebody
    /// cut a file. Of an SQLite WAL, the file was truncated (by a checkpoint, as a rule), or frames of a
    /// transaction that was rolled back were written over.
    pub shrunk: u64,
    /// The last chunk, or the SQLite WAL, disappeared: how often.
    pub gone: u64,
    /// What is there is another than before: how often. A log in the place of the old one; an SQLite
    /// WAL that was restarted, with new salts, after a checkpoint of all that it held.
    pub reset: u64,
}

impl Changes {
    /// What came after `earlier`, both counted since the same beginning.
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
    /// Says in a line what happened: `grew by 3 records, 96 bytes; 1 chunk begun`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        let mut say = |count: u64, what: String| {
            if count > 0 {
                said.push(what);
            }
        };
        let s = |n: u64| if n == 1 { "" } else { "s" };
        say(self.gone, "gone".to_string());
        say(self.reset, "begun anew".to_string());
        say(self.shrunk, "shrunk".to_string());
        let Changes { records, bytes, rotated_chunks, removed_chunks, checkpointed_frames, .. } = *self;
        say(removed_chunks, format!("{removed_chunks} chunk{} removed", s(removed_chunks)));
        say(
            checkpointed_frames,
            format!("{checkpointed_frames} frame{} checkpointed", s(checkpointed_frames)),
        );
        say(rotated_chunks, format!("{rotated_chunks} chunk{} begun", s(rotated_chunks)));
        say(records + bytes, format!("grown by {records} record{}, {bytes} bytes", s(records)));
        f.write_str(if said.is_empty() { "further" } else { "" })?;
        f.write_str(&said.join("; "))
    }
}
