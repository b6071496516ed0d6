//! What opening a log found and did, for programs and, as one line, for people.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Mended;
use crate::position::ChunkId;

/// What opening a log found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Chunks found.
    pub chunks: u64,
    /// Records in them, checkpoints included, whether or not they were replayed.
    pub records: u64,
    /// Bytes of log in them: from the oldest chunk's beginning to the last record's end.
    pub bytes: u64,
    /// The torn write that was cut off, if anything of one was there. A log whose process was killed between
    /// two writes ends whole.
    pub torn_tail: Option<TornTail>,
    /// Damage that was mended, with [`OpenOptions::mend`](crate::OpenOptions::mend); nothing was lost by it.
    pub mended: Vec<Mended>,
    /// What in the directory is not the log's, and was left alone.
    pub foreign_names: Vec<PathBuf>,
    /// How long opening took.
    pub elapsed: Duration,
}

/// A write that a crash interrupted, cut off after the last sound record. No byte that is left proves that it was
/// durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornTail {
    /// The chunk that it was in, the newest.
    pub chunk_id: ChunkId,
    /// The global offset at which the last sound record ends.
    pub data_end: u64,
    /// Bytes of the torn write, more than 0: up to the last one that isn't zero; in a file used again, whose old bytes
    /// look like new ones, up to the end of the last frame header that belongs here. Without such a header the log
    /// ended whole, and there is no torn tail.
    pub lost: u64,
}

/// One line for a program's log, without the directory: `3 chunks, 1200 records, 81920 bytes in 4.1ms; cut off 96 bytes of
/// a torn write at offset 81920`. What was normal is left out.
impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecoveryReport { chunks, records, bytes, torn_tail, mended, foreign_names, elapsed } = self;
        let chunk = if *chunks == 1 { "chunk" } else { "chunks" };
        let record = if *records == 1 { "record" } else { "records" };
        write!(f, "{chunks} {chunk}, {records} {record}, {bytes} bytes in {elapsed:.1?}")?;
        if let Some(TornTail { data_end, lost, .. }) = torn_tail {
            write!(f, "; cut off {lost} bytes of a torn write at offset {data_end}")?;
        }
        for Mended { path, offset, .. } in mended {
            write!(f, "; mended '{}' at offset {offset}", path.display())?;
        }
        match foreign_names.len() {
            0 => Ok(()),
            1 => f.write_str("; left alone 1 name that is not the log's"),
            names => write!(f, "; left alone {names} names that are not the log's"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Damage;

    #[test]
    fn one_line_says_what_was_found_and_what_was_done() {
        let mut report = RecoveryReport {
            chunks: 1,
            records: 1,
            bytes: 88,
            torn_tail: None,
            mended: Vec::new(),
            foreign_names: Vec::new(),
            elapsed: Duration::from_micros(4123),
        };
        assert_eq!(report.to_string(), "1 chunk, 1 record, 88 bytes in 4.1ms");
        report.chunks = 3;
        report.records = 1200;
        report.torn_tail = Some(TornTail { chunk_id: ChunkId(500), data_end: 700, lost: 96 });
        report.foreign_names = vec!["/log/notes".into()];
        report.mended =
            vec![Mended { path: "/log/a".into(), chunk_id: ChunkId(0), offset: 24, damage: Damage::Seal }];
        assert_eq!(
            report.to_string(),
            "3 chunks, 1200 records, 88 bytes in 4.1ms; cut off 96 bytes of a torn write at offset 700; \
             mended '/log/a' at offset 24; left alone 1 name that is not the log's"
        );
    }
}
