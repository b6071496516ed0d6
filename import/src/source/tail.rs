//! Whether the end of the newest chunk is torn or damaged, and what checksums prove.

use std::fs::File;
use std::io;
use std::io::{Read, Seek, SeekFrom};

use chunked_wal_02::{WALRecord, WalTypes};
use codeq::Decode;

use super::chunk::ChunkRecords;
use crate::convert::OldFormat;
use crate::error::{Error, Result};

/// The bytes of a record's type, at its start.
const TYPE_LEN: usize = 4;
/// The bytes of a checksum: a CRC-32 as a `u64`, big-endian.
const CHECKSUM_LEN: usize = 8;

/// The bytes that a checkpoint's codec reads. The log wrote the type before them, and the checksum after them.
pub(super) fn checkpoint_payload(record: &[u8]) -> &[u8] {
    &record[TYPE_LEN..record.len() - CHECKSUM_LEN]
}

/// Whether an undecodable record at the end of the newest chunk is a torn write; otherwise it is damaged.
pub(super) fn is_torn<W: WalTypes>(
    records: &ChunkRecords,
    error: &io::Error,
    format: &OldFormat,
) -> Result<bool> {
    let rest = rest_of(records).map_err(Error::io("read", records.path()))?;
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(true);
    }
    let is_cut = error.kind() == io::ErrorKind::UnexpectedEof && !has_checksum(&rest, format);
    Ok(is_cut && !(1..rest.len()).any(|at| starts_with_proven_record::<W>(&rest[at..], format)))
}

fn rest_of(records: &ChunkRecords) -> io::Result<Vec<u8>> {
    let mut file = File::open(records.path())?;
    file.seek(SeekFrom::Start(records.place().position))?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    Ok(rest)
}

/// Whether a whole record that has a checksum starts here.
fn starts_with_proven_record<W: WalTypes>(bytes: &[u8], format: &OldFormat) -> bool {
    let Some((kind, _)) = bytes.split_first_chunk::<TYPE_LEN>() else { return false };
    let kind = u32::from_be_bytes(*kind);
    format.checksummed.contains(&kind) && WALRecord::<W>::decode(bytes).is_ok()
}

/// Whether a record with a checksum is whole here, although its codec can't decode it: then it is of other types.
///
/// Its length is unknown, so this looks for a prefix that its own checksum follows.
pub(super) fn is_whole(records: &ChunkRecords, format: &OldFormat) -> io::Result<bool> {
    Ok(has_checksum(&rest_of(records)?, format))
}

fn has_checksum(bytes: &[u8], format: &OldFormat) -> bool {
    let Some((kind, rest)) = bytes.split_first_chunk::<TYPE_LEN>() else { return false };
    if !format.checksummed.contains(&u32::from_be_bytes(*kind)) {
        return false;
    }
    let mut prefix = crc32fast::Hasher::new();
    prefix.update(kind);
    for (i, byte) in rest.iter().enumerate() {
        let Some(checksum) = rest[i..].first_chunk::<CHECKSUM_LEN>() else { return false };
        let checksum = u64::from_be_bytes(*checksum);
        // The first test is cheap, and nearly always says no.
        if checksum <= u64::from(u32::MAX) && checksum == u64::from(prefix.clone().finalize()) {
            return true;
        }
        prefix.update(&[*byte]);
    }
    false
}
