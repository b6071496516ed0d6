//! The bytes of an SQLite WAL file, as SQLite's document "Database File Format" defines them in its
//! section on the write-ahead log (<https://www.sqlite.org/fileformat2.html#walformat>).
//!
//! ```text
//! header, 32 bytes: | magic | version | page size | sequence | salt 1 | salt 2 | checksum 1 | 2 |
//! frame, 24 bytes:  | page number | pages, if a commit | salt 1 | salt 2 | checksum 1 | 2 | page |
//! ```
//!
//! - All fields are 32 bits, big-endian. The lowest bit of the magic says whether the checksum reads
//!   the bytes as big-endian or as little-endian words.
//! - A frame is valid if its salts are the header's, its page number is not 0, and its checksum covers
//!   everything before it: the header's first 24 bytes, and the first 8 bytes and the page of every
//!   frame up to and including this one.
//! - Pure: bytes in, values out. No input panics or allocates without bound.

use thiserror::Error;

/// The bytes of a WAL's header.
pub(super) const HEADER_LEN: usize = 32;
/// The bytes of a frame before its page.
pub(super) const FRAME_HEADER_LEN: usize = 24;

/// The lowest bit is the checksum's byte order.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// Why a file's first bytes are not the header of an SQLite WAL. SQLite treats such a file as empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SqliteDefect {
    /// The file is shorter than a header.
    #[error("the file has {len} bytes, fewer than the 32 of an SQLite WAL's header")]
    Short {
        /// The file's length in bytes.
        len: u64,
    },
    /// The first bytes are not a WAL's.
    #[error(
        "an SQLite WAL starts with 377f0682 or 377f0683, this file with {found:08x}: is it the file that ends in `-wal`?"
    )]
    Magic {
        /// The first four bytes.
        found: u32,
    },
    /// The format is a later SQLite's.
    #[error("the WAL has format version {found}, this build knows 3007000: a later release may read it")]
    Version {
        /// The version.
        found: u32,
    },
    /// The page size is not a power of two from 512 to 65536.
    #[error("the WAL's page size is {found}, not a power of two from 512 to 65536")]
    PageSize {
        /// The page size.
        found: u32,
    },
    /// The header is damaged, or is being written.
    #[error("the WAL's header fails its checksum")]
    Checksum,
}

/// The running checksum of a WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum {
    big_endian: bool,
    sums: [u32; 2],
}

impl Checksum {
    /// Adds bytes to the checksum; their number must be a multiple of 8.
    fn push(&mut self, bytes: &[u8]) {
        let word = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let [mut a, mut b] = self.sums;
        let (words, _none) = bytes.as_chunks::<4>();
        for pair in words.chunks_exact(2) {
            a = a.wrapping_add(word(pair[0])).wrapping_add(b);
            b = b.wrapping_add(word(pair[1])).wrapping_add(a);
        }
        self.sums = [a, b];
    }
}

/// The fields of a WAL's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) page_size: u32,
    /// The number of checkpoints.
    pub(super) sequence: u32,
    pub(super) salts: [u32; 2],
    /// The initial value of the frames' checksum.
    pub(super) checksum: Checksum,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, SqliteDefect> {
        let [magic, version, page_size, sequence, salt_1, salt_2, sum_1, sum_2] = words(bytes);
        if magic & !1 != MAGIC {
            return Err(SqliteDefect::Magic { found: magic });
        }
        let mut checksum = Checksum { big_endian: magic & 1 == 1, sums: [0, 0] };
        checksum.push(&bytes[..24]);
        if checksum.sums != [sum_1, sum_2] {
            return Err(SqliteDefect::Checksum);
        }
        if version != VERSION {
            return Err(SqliteDefect::Version { found: version });
        }
        if !page_size.is_power_of_two() || !(512..=65536).contains(&page_size) {
            return Err(SqliteDefect::PageSize { found: page_size });
        }
        Ok(Header { page_size, sequence, salts: [salt_1, salt_2], checksum })
    }

    /// The bytes of a whole frame.
    pub(super) fn frame_size(&self) -> usize {
        FRAME_HEADER_LEN + self.page_size as usize
    }

    /// Checks a whole frame that follows frames with the checksum `checksum`. If the frame is valid,
    /// adds it to the checksum, and returns the database's size in pages if the frame ends a
    /// transaction, else 0.
    pub(super) fn accept(&self, frame: &[u8], checksum: &mut Checksum) -> Option<u32> {
        let header: &[u8; FRAME_HEADER_LEN] = frame.first_chunk()?;
        let [page, pages, salt_1, salt_2, sum_1, sum_2] = words(header);
        if page == 0 || self.salts != [salt_1, salt_2] {
            return None;
        }
        let mut sums = *checksum;
        sums.push(&header[..8]);
        sums.push(&frame[FRAME_HEADER_LEN..]);
        if sums.sums != [sum_1, sum_2] {
            return None;
        }
        *checksum = sums;
        Some(pages)
    }
}

/// Bytes as big-endian words; the caller passes 4 bytes for each.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let (all, _none) = bytes.as_chunks::<4>();
    std::array::from_fn(|i| all.get(i).map_or(0, |word| u32::from_be_bytes(*word)))
}

/// The bytes at the start of a WAL index that this file reads.
pub(super) const INDEX_LEN: usize = 100;

/// Returns how many frames of the WAL with this header a checkpoint has copied, according to the index,
/// the `-shm` file; `None` if the index belongs to another WAL, or is in the middle of a change.
///
/// By SQLite's document "WAL-mode File Format" (<https://www.sqlite.org/walformat.html>), the index
/// starts with two copies of a header of 48 bytes, equal when at rest: at 0 the version, at 12 whether
/// it is initialized, at 32 the WAL's salts as in the WAL. `nBackfill` follows them, at 96. Numbers are
/// in the machine's byte order.
pub(super) fn backfilled(index: &[u8; INDEX_LEN], wal_header: &[u8; HEADER_LEN]) -> Option<u32> {
    let (words, _none) = index.as_chunks::<4>();
    let same = index[..48] == index[48..96] && index[32..40] == wal_header[16..24];
    let known = u32::from_ne_bytes(words[0]) == VERSION && index[12] == 1;
    (same && known).then(|| u32::from_ne_bytes(words[24]))
}
