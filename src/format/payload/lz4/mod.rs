//! Payloads compressed with LZ4: `raw length u32 ‖ LZ4 block`, in frames flagged with [`FLAG_LZ4`].
//!
//! The block format is that of Yann Collet's LZ4, without its frame format: our frames have lengths and
//! checksums already.
//!
//! - A compressed payload takes fewer bytes of the file than the raw one.
//! - Reading takes memory for the bytes that a block really holds, at most doubled, and never more than
//!   [`RAW_LEN_MAX`]. The length that it claims takes none, and no setting changes that.
//!
//! [`FLAG_LZ4`]: super::FLAG_LZ4

use std::fmt;

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use crate::position::ceil8;

/// Bytes of the raw length, in front of the block.
const PREFIX_LEN: usize = 4;

/// Larger payloads are stored as they are. A limit of the format, so that a hostile length has a bound
/// that no setting moves.
const RAW_LEN_MAX: usize = 64 << 20;

/// A byte of a block expands to no more bytes than this: as one of those that lengthen a match.
const EXPANSION_MAX: usize = 255;

/// The memory taken at first may be this large, or [`LIKELY_EXPANSION`] times the block.
const FIRST_STEP: usize = 64 << 10;
const LIKELY_EXPANSION: usize = 4;

/// Memory that is kept for the next payload.
const SCRATCH_KEPT: usize = 1 << 20;

/// From this length on, positions need a table of words twice as wide.
const SMALL_TABLE_LEN_MAX: usize = u16::MAX as usize;

/// Compresses one payload after another, in memory that it keeps.
pub(crate) struct Compressor {
    /// Shorter payloads are not tried.
    min_len: u64,
    small: CompressTable,
    large: Option<CompressTable>,
    scratch: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new(min_len: u64) -> Self {
        Compressor { min_len, small: CompressTable::small(), large: None, scratch: Vec::new() }
    }

    /// Compresses the payload in its place, if that makes its frame smaller; returns how long it is then.
    pub(crate) fn compress(&mut self, payload: &mut [u8]) -> Option<usize> {
        let raw_len = payload.len();
        if (raw_len as u64) < self.min_len || raw_len > RAW_LEN_MAX {
            return None;
        }
        let len_max = get_maximum_output_size(raw_len);
        if self.scratch.len() < len_max {
            self.scratch.resize(len_max, 0);
        }
        let table = match raw_len < SMALL_TABLE_LEN_MAX {
            true => &mut self.small,
            false => self.large.get_or_insert_with(CompressTable::large),
        };
        // There is room for anything, so it can't fail.
        let block_len = compress_into_with_table(payload, &mut self.scratch, table).ok();
        let block_len = block_len.filter(|len| is_smaller(PREFIX_LEN + len, raw_len));
        if let Some(len) = block_len {
            payload[..PREFIX_LEN].copy_from_slice(&(raw_len as u32).to_le_bytes());
            payload[PREFIX_LEN..PREFIX_LEN + len].copy_from_slice(&self.scratch[..len]);
        }
        if self.scratch.len() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        block_len.map(|len| PREFIX_LEN + len)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("min_len", &self.min_len).finish_non_exhaustive()
    }
}

/// Whether a frame with a payload of `stored` bytes takes less of the file than one with `raw`.
fn is_smaller(stored: usize, raw: usize) -> bool {
    ceil8(stored as u64) < ceil8(raw as u64)
}

/// The decompressed payload, in `scratch`; `None` if the block is none, or holds another number of bytes than
/// the raw length in front of it says.
pub(super) fn decompress<'s>(stored: &[u8], scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    let (raw_len, block) = stored.split_first_chunk::<PREFIX_LEN>()?;
    let raw_len = u32::from_le_bytes(*raw_len) as usize;
    if raw_len > block.len().saturating_mul(EXPANSION_MAX).min(RAW_LEN_MAX) {
        return None;
    }
    // No more memory than a block of this size is likely to need; more only once that is full.
    let likely = block.len().saturating_mul(LIKELY_EXPANSION).max(FIRST_STEP);
    let mut len = raw_len.min(likely.max(scratch.capacity()));
    loop {
        scratch.resize(len, 0);
        match decompress_into(block, scratch) {
            Ok(n) => return (n == raw_len).then_some(&scratch[..n]),
            Err(DecompressError::OutputTooSmall { .. }) if len < raw_len => {
                len = len.saturating_mul(2).min(raw_len);
            }
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests;
