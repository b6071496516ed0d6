//! The bytes of a blob as they are stored: with a checksum for each block, so that a part can be read and checked.
//!
//! ```text
//! up to 64 KiB:   blob
//! longer:         blob                                             │ table: u32, little-endian, for each block
//!                 block 0, 64 KiB │ block 1 │ ... │ last, the rest │ crc 0 │ crc 1 │ ... │ last
//! ```
//!
//! - The frame's CRC covers all of it, and a read of the whole blob checks only that one.
//! - A block's CRC-32C covers its bytes and nothing else: which blob they belong to is what the frame's header
//!   says, whose check has the chunk's salt and the frame's offset in it.

use std::ops::Range;

use crate::format::Crc;

/// The length of a block; the last one may be shorter.
pub(super) const BLOCK: u64 = 64 << 10;

/// The length of a checksum in the table.
const CRC_LEN: u64 = 4;

/// The length of a stored blob, its table included; `None` for one that no offset reaches.
pub(super) fn stored_len(length: u64) -> Option<u64> {
    let table = if length > BLOCK { length.div_ceil(BLOCK) * CRC_LEN } else { 0 };
    length.checked_add(table)
}

/// Puts a blob after `stored` as it is stored.
pub(super) fn push(stored: &mut Vec<u8>, blob: &[u8]) {
    if blob.len() as u64 <= BLOCK {
        stored.extend_from_slice(blob);
        return;
    }
    let mut table = Vec::new();
    for block in blob.chunks(BLOCK as usize) {
        stored.extend_from_slice(block);
        // The block is still in the processor's cache.
        table.extend_from_slice(&Crc::of(block).to_le_bytes());
    }
    stored.extend_from_slice(&table);
}

/// The blocks that a range of a longer blob touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Touched {
    /// Their bytes in the stored blob.
    pub(super) bytes: Range<u64>,
    /// Their part of the table.
    pub(super) table: Range<u64>,
}

impl Touched {
    /// For a range inside a blob of `length` bytes.
    pub(super) fn by(range: &Range<u64>, length: u64) -> Self {
        let (first, end) = (range.start / BLOCK, range.end.div_ceil(BLOCK));
        let end = end.max(first);
        let bytes = (first * BLOCK).min(length)..(end * BLOCK).min(length);
        Touched { bytes, table: length + first * CRC_LEN..length + end * CRC_LEN }
    }

    /// The position of the first block whose checksum fails; `bytes` and `table` are what was read.
    pub(super) fn check(&self, bytes: &[u8], table: &[u8]) -> Result<(), u64> {
        let crcs = table.chunks_exact(CRC_LEN as usize);
        for (n, (block, crc)) in bytes.chunks(BLOCK as usize).zip(crcs).enumerate() {
            if Crc::of(block).to_le_bytes() != crc {
                return Err(self.bytes.start + n as u64 * BLOCK);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(len: u64) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    #[test]
    fn a_short_blob_is_stored_as_it_is_and_a_longer_one_with_a_table() {
        for (len, table) in [(0, 0), (1, 0), (BLOCK, 0), (BLOCK + 1, 8), (2 * BLOCK, 8), (2 * BLOCK + 1, 12)]
        {
            let mut stored = Vec::new();
            push(&mut stored, &blob(len));
            assert_eq!(stored.len() as u64, len + table);
            assert_eq!(stored_len(len), Some(len + table));
            assert_eq!(stored[..len as usize], blob(len));
        }
        assert_eq!(stored_len(u64::MAX), None);
    }

    #[test]
    fn every_block_is_checked_and_the_first_wrong_one_is_named() {
        let len = 3 * BLOCK + 100;
        let mut stored = Vec::new();
        push(&mut stored, &blob(len));
        for (range, bytes, blocks) in [
            (0..1, 0..BLOCK, 0..1),
            (BLOCK..BLOCK, BLOCK..BLOCK, 1..1),
            (BLOCK - 1..BLOCK + 1, 0..2 * BLOCK, 0..2),
            (BLOCK..3 * BLOCK, BLOCK..3 * BLOCK, 1..3),
            (3 * BLOCK + 99..len, 3 * BLOCK..len, 3..4),
            (0..len, 0..len, 0..4),
            (len..len, 3 * BLOCK..len, 3..4),
        ] {
            let touched = Touched::by(&range, len);
            assert_eq!(touched, Touched { bytes, table: len + blocks.start * 4..len + blocks.end * 4 });
            let slice = |range: &Range<u64>| stored[range.start as usize..range.end as usize].to_vec();
            let (mut bytes, table) = (slice(&touched.bytes), slice(&touched.table));
            assert_eq!(touched.check(&bytes, &table), Ok(()));
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
                let at = (touched.bytes.end - 1) / BLOCK * BLOCK;
                assert_eq!(touched.check(&bytes, &table), Err(at));
            }
        }
    }
}
