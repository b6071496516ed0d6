//! Positions: global offsets, chunk ids and the file names made from them.
//!
//! ```text
//! global offset   0        64                         320       384
//!                 | header | frames of chunk 0 ...    | header  | frames of chunk 320 ...
//!                 ^ ChunkId(0)                        ^ ChunkId(320)
//! ```
//!
//! - A global offset counts the bytes of the log since the log was new.
//! - `file position = global offset - ChunkId`.
//! - A file name is the padded form of a chunk id, parsed strictly: one name for one id.

use std::fmt;

/// A region of the log: the global offset of a frame and its size in bytes, header and padding
/// included. [`append`](crate::ChunkedWal::append) returns it, and
/// [`read_record`](crate::ChunkedWal::read_record) takes it.
pub type Segment = codeq::Segment<codeq::config::Crc32fast>;

/// Frames, and with them all offsets in the log, are aligned to this many bytes.
pub(crate) const ALIGN: u64 = 8;

/// The digits of a padded `u64`, and of a group of them.
const DIGITS: usize = 20;
const GROUP: usize = 3;

/// Identifies a chunk: the global offset of its first byte.
///
/// ```
/// use chunked_wal::ChunkId;
/// assert_eq!(ChunkId(324).to_string(), "ChunkId(00_000_000_000_000_000_324)");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub u64);

impl ChunkId {
    /// Returns the global offset at which the chunk starts.
    pub fn offset(self) -> u64 {
        self.0
    }

    /// Returns the name of the chunk's file: `r-00_000_000_000_000_000_324.wal`.
    pub fn file_name(self) -> String {
        format!("r-{}.wal", Padded(self.0))
    }

    /// Parses a chunk id from a file name; `None` for any name that [`file_name`](Self::file_name)
    /// doesn't produce.
    pub fn parse_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("r-")?.strip_suffix(".wal")?;
        let number: u64 = digits.replace('_', "").parse().ok()?;
        let id = ChunkId(number);
        // Only the canonical spelling counts: formatting the id again checks groups, padding and range.
        (id.file_name() == name).then_some(id)
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({})", Padded(self.0))
    }
}

/// Formats a number with all its 20 digits in groups of three, so that names sort as numbers do.
pub(crate) struct Padded(pub(crate) u64);

impl fmt::Display for Padded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:0width$}", self.0, width = DIGITS);
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (DIGITS - i).is_multiple_of(GROUP) {
                f.write_str("_")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// `n` rounded up to the alignment of frames; `None` if that overflows.
pub(crate) fn ceil8(n: u64) -> Option<u64> {
    n.checked_next_multiple_of(ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_pad_and_group() {
        let name = |n| ChunkId(n).file_name();
        assert_eq!(name(0), "r-00_000_000_000_000_000_000.wal");
        assert_eq!(name(67_108_832), "r-00_000_000_000_067_108_832.wal");
        assert_eq!(name(u64::MAX), "r-18_446_744_073_709_551_615.wal");
    }

    #[test]
    fn only_the_canonical_name_parses() {
        for n in [0, 1, 324, 67_108_832, u64::MAX] {
            assert_eq!(ChunkId::parse_file_name(&ChunkId(n).file_name()), Some(ChunkId(n)));
        }
        for name in [
            "",
            "r-.wal",
            "r-0.wal",
            "r-00000000000000000000.wal",
            "r-00_000_000_000_000_000_00.wal",
            "r-00_000_000_000_000_000_0000.wal",
            "r-0_0000_000_000_000_000_000.wal",
            "r-00_000_000_000_000_000_00a.wal",
            "r-+0_000_000_000_000_000_000.wal",
            "r-18_446_744_073_709_551_616.wal",
            "r-99_999_999_999_999_999_999.wal",
            "r-00_000_000_000_000_000_000.wal.bak",
            "R-00_000_000_000_000_000_000.wal",
            "r-００_000_000_000_000_000_000.wal",
            "LOCK",
        ] {
            assert_eq!(ChunkId::parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn ceil8_rounds_up_and_never_wraps() {
        assert_eq!(ceil8(0), Some(0));
        assert_eq!(ceil8(1), Some(8));
        assert_eq!(ceil8(8), Some(8));
        assert_eq!(ceil8(u64::MAX), None);
    }
}
