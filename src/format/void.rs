//! The frame in the place of a record that a repair took out, because its codec could not decode it.
//!
//! ```text
//! | frame header 16 | crc u32 | zeros |     as many bytes as the record's frame
//!                     ^ of the record's frame
//! ```
//!
//! - It counts as the record did: in the seal's number of records, and in the data CRC with the CRC that the
//!   record's frame had. So neither the seal nor the next chunk's header has to be written anew.
//! - It proves what the record proved: `unsynced` is the same.
//! - It has the record's place in a batch.
//! - A record without payload has no room for it.

use std::io;

use super::{FLAG_MORE, FRAME_HEADER_LEN, FrameHeader, Header, Kind, ReadAt, Salt, array_at, finish_frame};

/// The shortest payload of a void frame.
pub(super) const VOID_LEN_MIN: u32 = 8;

/// The void frame in the place of the record's `frame` at `offset`; `None` if the frame has no room for it.
pub(crate) fn void_frame(frame: &[u8], offset: u64, salt: &Salt) -> Option<Vec<u8>> {
    let header = FrameHeader::parse(frame.first_chunk()?);
    let len = u32::try_from(frame.len().checked_sub(FRAME_HEADER_LEN)?).ok()?;
    if len < VOID_LEN_MIN {
        return None;
    }
    let mut void = vec![0; frame.len()];
    void[FRAME_HEADER_LEN..][..4].copy_from_slice(&header.crc.to_le_bytes());
    finish_frame(&mut void, len, Kind::Void, header.flags & FLAG_MORE, offset, header.unsynced, salt);
    Some(void)
}

/// Whether this is the header of a void frame.
pub(super) fn is_void(header: &FrameHeader) -> bool {
    header.kind == Kind::Void as u8 && header.flags & !FLAG_MORE == 0 && header.len >= VOID_LEN_MIN
}

/// The CRC that the record's frame had; `frame` is a whole void frame.
pub(super) fn voided_crc(frame: &[u8]) -> u32 {
    u32::from_le_bytes(array_at(frame, FRAME_HEADER_LEN))
}

/// Whether a void frame begins at the global `offset` of a chunk.
pub(crate) fn is_void_at<R: ReadAt>(source: R, header: &Header, offset: u64) -> io::Result<bool> {
    let mut bytes = [0; FRAME_HEADER_LEN];
    let n = source.read_at(&mut bytes, offset.saturating_sub(header.chunk_id))?;
    let found = FrameHeader::parse(&bytes);
    Ok(n == bytes.len() && is_void(&found) && found.check_ok(&Salt::new(header.salt), offset))
}
