//! The bytes of an SQLite WAL file, as SQLite's document "Database File Format" defines them in its
//! section on the write-ahead log (<https://www.sqlite.org/fileformat2.html#walformat>).
//!
//! ```text
//! header, 32 bytes: | magic | version | page size | sequence | salt 1 | salt 2 | checksum 1 | 2 |
//! frame, 24 bytes:  | page number | pages, if a commit | salt 1 | salt 2 | checksum 1 | 2 | page |
//! ```
//!
//! - All fields are 32 bits, big-endian. The lowest bit of the magic says whether the checksum takes the
//!   bytes as big-endian words or as little-endian ones.
//! - A frame is valid if its salts are the header's, and its checksum is that of all before it: of the
//!   header's first 24 bytes, and of the first 8 bytes and the page of every frame up to this one. Its
//!   page number is not 0.
//! - Pure: bytes in, values out. No bytes panic or make anything grow.

use thiserror::Error;

/// Bytes of a WAL's header.
pub(super) const HEADER_LEN: usize = 32;
/// Bytes of a frame in front of its page.
pub(super) const FRAME_HEADER_LEN: usize = 24;

/// Its lowest bit is the checksum's byte order.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// Why a file's first bytes are no header of an SQLite WAL. SQLite takes such a file for empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SqliteDefect {
    /// The file is shorter than a header.
    #[error("{len} bytes are no header of an SQLite WAL, which has 32")]
    Short {
        /// Bytes in the file.
        len: u64,
    },
    /// It begins otherwise than a WAL.
    #[error(
        "an SQLite WAL begins with 377f0682 or 377f0683, this file with {found:08x}: is it the file that ends in `-wal`?"
    )]
    Magic {
        /// The first four bytes.
        found: u32,
    },
    /// A format of a later SQLite.
    #[error("the WAL is of format version {found}, known is 3007000: a later release may read it")]
    Version {
        /// The version.
        found: u32,
    },
    /// No power of two from 512 to 65536.
    #[error("the WAL's page size is {found}, no power of two from 512 to 65536")]
    PageSize {
        /// The page size.
        found: u32,
    },
    /// The header is damaged, or being written.
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
    /// Takes bytes, a multiple of 8 of them.
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

/// What a WAL says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) page_size: u32,
    /// Counts checkpoints.
    pub(super) sequence: u32,
    pub(super) salts: [u32; 2],
    /// Where the frames' checksum begins.
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

    /// Bytes of a whole frame.
    pub(super) fn frame_size(&self) -> usize {
        FRAME_HEADER_LEN + self.page_size as usize
    }

    /// Looks at a whole frame behind those whose checksum is `checksum`. If it is valid, takes it into
    /// the checksum, and returns the database's size in pages if it ends a transaction, else 0.
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

/// Bytes as big-endian words; the caller gives 4 for each.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let (all, _none) = bytes.as_chunks::<4>();
    std::array::from_fn(|i| all.get(i).map_or(0, |word| u32::from_be_bytes(*word)))
}

/// Bytes at the beginning of a WAL index that are of interest.
pub(super) const INDEX_LEN: usize = 100;

/// How many frames of the WAL with this header a checkpoint has copied, by its index, the `-shm` file;
/// `None` if that is of another WAL, or in the middle of a change.
///
/// By SQLite's document "WAL-mode File Format" (<https://www.sqlite.org/walformat.html>), the index
/// begins with two copies of a header of 48 bytes, equal when at rest: at 0 the version, at 12 whether
/// it is initialized, at 32 the WAL's salts as they stand there. `nBackfill` follows them, at 96.
/// Numbers are in the machine's byte order.
pub(super) fn backfilled(index: &[u8; INDEX_LEN], wal_header: &[u8; HEADER_LEN]) -> Option<u32> {
    let (words, _none) = index.as_chunks::<4>();
    let same = index[..48] == index[48..96] && index[32..40] == wal_header[16..24];
    let known = u32::from_ne_bytes(words[0]) == VERSION && index[12] == 1;
    (same && known).then(|| u32::from_ne_bytes(words[24]))
}
