//! The seal: the last frame of a closed chunk, whose file is cut right after it.
//!
//! ```text
//! | frame header 16 | records u64 | data_len u64 | data_crc u32 | reserved u32 |   40 bytes
//! ^ data_end = ChunkId + data_len                                              ^ end of the file
//! ```
//!
//! `data_crc` is the CRC of the stored CRCs of all frames in order: it costs 4 bytes of checksum per
//! frame while appending, and finds a frame that is missing or misplaced.

use std::io;

use super::{
    Crc, FRAME_HEADER_LEN, FrameHeader, HEADER_LEN, Header, Kind, ReadAt, Salt, array_at, finish_frame,
    read_exact_at, sound_frame,
};

/// Bytes of a seal's payload.
pub(super) const SEAL_PAYLOAD_LEN: usize = 24;

const LEN: usize = FRAME_HEADER_LEN + SEAL_PAYLOAD_LEN;

/// Bytes of a whole seal.
pub(crate) const SEAL_LEN: u64 = LEN as u64;

/// A seal's description of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// How many records the chunk has, its checkpoint included.
    pub(crate) records: u64,
    /// `data_end - ChunkId`: the position of the seal in the file.
    pub(crate) data_len: u64,
    /// The [`DataCrc`] of the records.
    pub(crate) data_crc: u32,
}

impl Seal {
    /// The whole frame, for `offset`.
    pub(crate) fn frame(&self, offset: u64, unsynced: u32, salt: &Salt) -> [u8; LEN] {
        let mut frame = [0; LEN];
        frame[16..24].copy_from_slice(&self.records.to_le_bytes());
        frame[24..32].copy_from_slice(&self.data_len.to_le_bytes());
        frame[32..36].copy_from_slice(&self.data_crc.to_le_bytes());
        finish_frame(&mut frame, SEAL_PAYLOAD_LEN as u32, Kind::Seal, 0, offset, unsynced, salt);
        frame
    }

    /// Reads the seal whose whole frame `bytes` begin with; `None` if they are too few.
    pub(super) fn in_frame(bytes: &[u8]) -> Option<Self> {
        let frame: &[u8; LEN] = bytes.first_chunk()?;
        Some(Self {
            records: u64::from_le_bytes(array_at(frame, 16)),
            data_len: u64::from_le_bytes(array_at(frame, 24)),
            data_crc: u32::from_le_bytes(array_at(frame, 32)),
        })
    }
}

/// Whether this is the header of a seal.
pub(super) fn is_seal(header: &FrameHeader) -> bool {
    header.kind == Kind::Seal as u8 && header.flags == 0 && header.len as usize == SEAL_PAYLOAD_LEN
}

/// The running CRC over the stored CRCs of a chunk's frames, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct DataCrc(Crc);

impl DataCrc {
    /// Takes the stored CRC of the next frame.
    #[inline]
    pub(crate) fn push(&mut self, crc: u32) {
        self.0.take([], &crc.to_le_bytes());
    }

    pub(crate) fn value(&self) -> u32 {
        self.0.value()
    }
}

/// The seal that ends the file. `None` when there is no sound one right before the end: the file may
/// still be sealed, if it was never cut, which only a scan finds out.
pub(crate) fn find_seal<R: ReadAt + ?Sized>(source: &R, header: &Header) -> io::Result<Option<Seal>> {
    source.len().checked_sub(SEAL_LEN).map_or(Ok(None), |position| seal_at(source, header, position))
}

/// The sound seal at a position of the file, if there is one.
pub(crate) fn seal_at<R: ReadAt + ?Sized>(
    source: &R,
    header: &Header,
    position: u64,
) -> io::Result<Option<Seal>> {
    if position.checked_add(SEAL_LEN).is_none_or(|end| end > source.len()) {
        return Ok(None);
    }
    // Like a scan: bytes that pass the last global offset are not part of the log.
    let beyond = header.chunk_id.checked_add(source.len()).is_none();
    if beyond || position < HEADER_LEN + FRAME_HEADER_LEN as u64 {
        return Ok(None);
    }
    let mut frame = [0; LEN];
    read_exact_at(source, &mut frame, position)?;

    let sound = sound_frame(&frame, header.chunk_id + position, &Salt::new(header.salt));
    let seal = sound.ok().filter(is_seal).and_then(|_| Seal::in_frame(&frame));
    Ok(seal.filter(|seal| seal.data_len == position))
}
