//! What an import did, as text and as JSON.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::source::{Torn, Totals};

/// What an import did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The old log's directory.
    pub old: PathBuf,
    /// The new log's directory.
    pub new: PathBuf,
    /// The chunks of the old log, and of the new one.
    pub chunks: u64,
    /// The records of the old log, checkpoints among them.
    pub old_records: u64,
    /// The bytes of these records.
    pub old_bytes: u64,
    /// The records of the new log, checkpoints among them.
    pub new_records: u64,
    /// The bytes from the new log's start to its end.
    pub new_bytes: u64,
    /// The torn tail of the old log, which the new log doesn't have.
    pub torn: Option<Torn>,
    /// Whether an earlier import was killed before its end, and this one began anew.
    pub begun_anew: bool,
    /// What the converter says of the records.
    pub notes: Map<String, Value>,
    /// How long writing the new log took; zero if it was only checked.
    pub write: Duration,
    /// How long reading and comparing both logs took.
    pub check: Duration,
    /// How long all of it took.
    pub elapsed: Duration,
}

impl Report {
    pub(crate) fn new(old: &Path, new: &Path) -> Self {
        Report {
            old: old.to_owned(),
            new: new.to_owned(),
            chunks: 0,
            old_records: 0,
            old_bytes: 0,
            new_records: 0,
            new_bytes: 0,
            torn: None,
            begun_anew: false,
            notes: Map::new(),
            write: Duration::ZERO,
            check: Duration::ZERO,
            elapsed: Duration::ZERO,
        }
    }

    pub(crate) fn old_totals(&mut self, totals: Totals) {
        self.chunks = totals.chunks;
        self.old_records = totals.records;
        self.old_bytes = totals.bytes;
        self.torn = totals.torn;
    }

    /// Returns the report as one JSON object. Sizes are in bytes, durations in seconds.
    pub fn to_json(&self) -> Value {
        let torn = self.torn.as_ref().map(|torn| {
            json!({ "file": torn.path.display().to_string(), "offset": torn.offset, "bytes": torn.bytes })
        });
        json!({
            "old": self.old.display().to_string(),
            "new": self.new.display().to_string(),
            "chunks": self.chunks,
            "old_records": self.old_records,
            "old_bytes": self.old_bytes,
            "new_records": self.new_records,
            "new_bytes": self.new_bytes,
            "torn": torn,
            "begun_anew": self.begun_anew,
            "notes": self.notes,
            "write_s": self.write.as_secs_f64(),
            "check_s": self.check.as_secs_f64(),
            "elapsed_s": self.elapsed.as_secs_f64(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.begun_anew {
            writeln!(f, "an earlier import had been interrupted, and was begun anew")?;
        }
        let seconds = |duration: Duration| format!("{:.2} s", duration.as_secs_f64());
        writeln!(f, "old     '{}'", self.old.display())?;
        writeln!(f, "        {}, {} bytes", self.counts(self.old_records), grouped(self.old_bytes))?;
        writeln!(f, "new     '{}'", self.new.display())?;
        writeln!(f, "        {}, {} bytes", self.counts(self.new_records), grouped(self.new_bytes))?;
        for (name, value) in &self.notes {
            writeln!(f, "        {name}: {value}")?;
        }
        if let Some(torn) = &self.torn {
            let (bytes, offset, path) = (torn.bytes, torn.offset, torn.path.display());
            writeln!(f, "torn    {bytes} bytes from offset {offset} on, in '{path}': not imported")?;
        }
        let written = if self.write.is_zero() { "not needed".to_string() } else { seconds(self.write) };
        write!(f, "time    {written} to write, {} to check every record", seconds(self.check))
    }
}

impl Report {
    fn counts(&self, records: u64) -> String {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let (chunks, records_s) = (plural(self.chunks), plural(records));
        format!("{} chunk{chunks}, {} record{records_s}", grouped(self.chunks), grouped(records))
    }
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_in_groups_of_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }
}
