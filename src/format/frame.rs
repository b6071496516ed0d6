//! One frame: a 16-byte header, the payload, zeros up to a multiple of 8.
//!
//! ```text
//! 0     4     8            9          12      16
//! | crc | len | kind flags | unsynced | check | payload ... | zeros |
//!                4     4 bits
//! ```
//!
//! - `crc` covers `salt XOR global offset ‖ the frame with 0 as the CRC`, padding included. Salt and offset are not
//!   stored.
//! - `check` hashes offset and header fields, keyed by the salt, to 32 bits: whether to believe `len`
//!   is decided before a byte of payload is read. Payloads don't know the salt, so they pass the check
//!   neither on purpose nor, more often than once in 4 billion positions, by chance.
//! - 16 zero bytes are never a frame, as `kind` 0 is never used.

use super::{Crc, array_at};
use crate::error::Damage;
use crate::position::{ALIGN, ceil8};
use crate::random::splitmix64;

/// Bytes of a frame header.
pub(crate) const FRAME_HEADER_LEN: usize = 16;

/// The field `unsynced` of a frame that proves nothing.
pub(crate) const UNSYNCED_UNKNOWN: u32 = 0xFF_FFFF;

/// Bytes of a sync mark: a frame header alone.
pub(crate) const SYNC_MARK_LEN: u64 = FRAME_HEADER_LEN as u64;

/// A sync mark of a log that was closed: nothing was written after the mark since.
pub(crate) const FLAG_CLOSED: u8 = 1;

/// A record, or the void that replaces it, whose batch includes the next frame's record: a reader takes the records
/// of one batch together or not at all.
pub(crate) const FLAG_MORE: u8 = 2;

/// The content of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A record: something that the user appended.
    Action = 1,
    /// A record: the state at the beginning of a chunk.
    Checkpoint = 2,
    /// The end of a closed chunk.
    Seal = 3,
    /// The end of a log that was idle or closed; the next frame overwrites it.
    SyncMark = 4,
    /// The place of a record that a repair took out.
    Void = 5,
}

impl Kind {
    /// The kind with this number; `None` for one that this build doesn't know.
    pub(crate) fn from_u8(kind: u8) -> Option<Self> {
        let kinds = [Kind::Action, Kind::Checkpoint, Kind::Seal, Kind::SyncMark, Kind::Void];
        kinds.into_iter().find(|k| *k as u8 == kind)
    }
}

/// The salt of one life of a chunk file.
#[derive(Debug, Clone)]
pub(crate) struct Salt {
    salt: u64,
    /// The key of `check`, three words drawn from the salt.
    fields_factor: u64,
    offset_factor: u64,
    addend: u64,
}

impl Salt {
    pub(crate) fn new(salt: u64) -> Self {
        let [fields_factor, offset_factor, addend] = [1, 2, 3].map(|n| splitmix64(salt, n));
        // Odd, so that multiplying by them loses no bit.
        Self { salt, fields_factor: fields_factor | 1, offset_factor: offset_factor | 1, addend }
    }

    /// The CRC of the frame at `offset` with these header fields and the `payload`, padding included, or the start of
    /// it.
    #[inline(always)]
    fn crc(&self, offset: u64, len: u32, second_word: u64, payload: &[u8]) -> Crc {
        let mut crc = Crc::default();
        // The header's first word has the length and, for now, 0 as the CRC.
        crc.take([self.salt ^ offset, u64::from(len) << 32, second_word], payload);
        crc
    }

    /// The field `check` of a header at `offset` with the length `len` and the [`marks`].
    #[inline(always)]
    fn check(&self, offset: u64, len: u32, marks: u32) -> u32 {
        self.checks_from(offset).check(u64::from(len) | u64::from(marks) << 32)
    }

    /// The checks of headers at `offset` and, one by one, at the positions after it.
    #[inline(always)]
    pub(super) fn checks_from(&self, offset: u64) -> Checks {
        Checks {
            fields_factor: self.fields_factor,
            step: self.offset_factor.wrapping_mul(ALIGN),
            addend: self.addend.wrapping_add(offset.wrapping_mul(self.offset_factor)),
        }
    }
}

/// The field `check` at one offset, of any header: the upper half of a product and a sum, as in the
/// multiply-shift hash (Dietzfelbinger 1996). With a random addend each value is equally likely for a
/// given header and offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checks {
    fields_factor: u64,
    step: u64,
    addend: u64,
}

impl Checks {
    /// The check of a header whose bytes 4 to 12 are `fields`.
    #[inline(always)]
    pub(super) fn check(&self, fields: u64) -> u32 {
        (fields.wrapping_mul(self.fields_factor).wrapping_add(self.addend) >> 32) as u32
    }

    /// Goes on to the next position where a frame may begin.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.addend = self.addend.wrapping_add(self.step);
    }
}

/// The first 16 bytes of a frame, as read: believed only once checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// The CRC of the frame, with its salt and offset.
    pub(crate) crc: u32,
    /// Bytes of the payload, as stored.
    pub(crate) len: u32,
    /// A [`Kind`], or one of a later version.
    pub(crate) kind: u8,
    /// `FLAG_*` bits, four of them.
    pub(crate) flags: u8,
    /// The frame's offset minus the synced offset known when it was encoded, in units of 8 bytes;
    /// [`UNSYNCED_UNKNOWN`] says nothing.
    pub(crate) unsynced: u32,
    /// A test of this header.
    pub(crate) check: u32,
}

impl FrameHeader {
    #[inline]
    pub(crate) fn parse(bytes: &[u8; FRAME_HEADER_LEN]) -> Self {
        let marks = u32::from_le_bytes(array_at(bytes, 8));
        Self {
            crc: u32::from_le_bytes(array_at(bytes, 0)),
            len: u32::from_le_bytes(array_at(bytes, 4)),
            kind: marks as u8 & 0xF,
            flags: marks as u8 >> 4,
            unsynced: marks >> 8,
            check: u32::from_le_bytes(array_at(bytes, 12)),
        }
    }

    /// The CRC of the frame at `offset` with this header and the `payload`, padding included, or the start of it.
    #[inline]
    pub(super) fn crc_of(&self, offset: u64, salt: &Salt, payload: &[u8]) -> Crc {
        salt.crc(offset, self.len, second_word(self.marks(), self.check), payload)
    }

    /// Bytes of the whole frame: header, payload and padding.
    #[inline]
    pub(crate) fn frame_size(&self) -> u64 {
        // A u32 rounded up can't pass u64.
        FRAME_HEADER_LEN as u64 + ceil8(self.len.into()).unwrap_or(u64::MAX - FRAME_HEADER_LEN as u64)
    }

    /// The header that `bytes`, which are at `offset`, begin with, if its check is right and its frame takes no
    /// more than the `room` that there is: its length may be believed then.
    #[inline(always)]
    pub(crate) fn believed(bytes: &[u8], offset: u64, room: u64, salt: &Salt) -> Result<Self, Damage> {
        let header = bytes.first_chunk().map(Self::parse).ok_or(Damage::FrameHeader)?;
        if !header.check_ok(salt, offset) {
            return Err(Damage::FrameHeader);
        }
        if header.frame_size() > room { Err(Damage::FrameCutShort) } else { Ok(header) }
    }

    /// Whether this can be the header of a frame at `offset`.
    #[inline]
    pub(super) fn check_ok(&self, salt: &Salt, offset: u64) -> bool {
        self.kind != 0 && self.check == salt.check(offset, self.len, self.marks())
    }

    #[inline]
    fn marks(&self) -> u32 {
        marks(self.kind, self.flags, self.unsynced)
    }

    /// Whether the CRC is right; `frame` is the whole frame, which begins with this header.
    #[inline(always)]
    pub(super) fn crc_ok(&self, frame: &[u8], offset: u64, salt: &Salt) -> bool {
        self.crc == self.crc_of(offset, salt, &frame[FRAME_HEADER_LEN..]).value()
    }

    /// The offset below which all was durable when this frame, which is at `offset`, was encoded.
    #[inline]
    pub(crate) fn synced(&self, offset: u64) -> Option<u64> {
        if self.unsynced == UNSYNCED_UNKNOWN {
            return None;
        }
        offset.checked_sub(u64::from(self.unsynced) * ALIGN)
    }

    /// Whether the batch goes on with the next frame.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.flags & FLAG_MORE != 0
    }

    /// Whether this is a mark of [`sync_mark`] or [`closing_mark`].
    pub(super) fn is_mark(&self) -> bool {
        let flags = self.flags & !FLAG_CLOSED;
        (self.kind, flags, self.len, self.unsynced) == (Kind::SyncMark as u8, 0, 0, 0)
    }
}

/// Bytes 8 to 12 of a header, the lowest first.
#[inline]
fn marks(kind: u8, flags: u8, unsynced: u32) -> u32 {
    u32::from(kind) | u32::from(flags) << 4 | unsynced << 8
}

/// Bytes 8 to 16 of a header, the lowest first.
#[inline]
fn second_word(marks: u32, check: u32) -> u64 {
    u64::from(marks) | u64::from(check) << 32
}

/// The field `unsynced` of a frame at `offset` when all below `synced` is known to be durable.
#[inline]
pub(crate) fn unsynced(offset: u64, synced: u64) -> u32 {
    // Rounded up, so that it never claims more; both are multiples of 8.
    let words = offset.saturating_sub(synced).div_ceil(ALIGN);
    words.min(UNSYNCED_UNKNOWN.into()) as u32
}

/// Fills in the header of `frame`: 16 bytes reserved for it, the payload, zeros up to a multiple
/// of 8. Returns the stored CRC.
///
/// # Panics
///
/// If `frame` is not as long as a frame with `payload_len` is, or a field has more bits than its place.
#[inline(always)]
pub(crate) fn finish_frame(
    frame: &mut [u8],
    payload_len: u32,
    kind: Kind,
    flags: u8,
    offset: u64,
    unsynced: u32,
    salt: &Salt,
) -> u32 {
    let padded_len = ceil8(payload_len.into());
    assert_eq!(Some(frame.len() as u64 - FRAME_HEADER_LEN as u64), padded_len, "a frame must be padded to 8");
    assert!(flags < 16 && unsynced <= UNSYNCED_UNKNOWN, "flags have 4 bits, `unsynced` has 24");
    let marks = marks(kind as u8, flags, unsynced);
    let second_word = second_word(marks, salt.check(offset, payload_len, marks));
    let crc = salt.crc(offset, payload_len, second_word, &frame[FRAME_HEADER_LEN..]).value();
    let first_word = u64::from(crc) | u64::from(payload_len) << 32;
    frame[..8].copy_from_slice(&first_word.to_le_bytes());
    frame[8..16].copy_from_slice(&second_word.to_le_bytes());
    crc
}

/// The header of the frame that `bytes`, which are at `offset`, begin with, if the frame is whole and all is
/// well with it.
#[inline(always)]
pub(crate) fn sound_frame(bytes: &[u8], offset: u64, salt: &Salt) -> Result<FrameHeader, Damage> {
    let header = FrameHeader::believed(bytes, offset, bytes.len() as u64, salt)?;
    let frame = &bytes[..header.frame_size() as usize];
    if header.crc_ok(frame, offset, salt) { Ok(header) } else { Err(Damage::FrameChecksum) }
}

/// The same of bytes that are one frame, padding included; fewer or more are no frame.
#[inline]
pub(crate) fn whole_frame(frame: &[u8], offset: u64, salt: &Salt) -> Result<FrameHeader, Damage> {
    let header = frame.first_chunk().map(FrameHeader::parse).ok_or(Damage::FrameHeader)?;
    if header.frame_size() != frame.len() as u64 {
        return Err(Damage::FrameHeader);
    }
    sound_frame(frame, offset, salt)
}

/// The sync mark of a log that ends at `offset` for now.
pub(crate) fn sync_mark(offset: u64, salt: &Salt) -> [u8; FRAME_HEADER_LEN] {
    mark(offset, 0, salt)
}

/// The sync mark of a log that is closed and ends at `offset`. Before a record is written over it or
/// after it, a [`sync_mark`] must have replaced it on stable storage.
pub(crate) fn closing_mark(offset: u64, salt: &Salt) -> [u8; FRAME_HEADER_LEN] {
    mark(offset, FLAG_CLOSED, salt)
}

fn mark(offset: u64, flags: u8, salt: &Salt) -> [u8; FRAME_HEADER_LEN] {
    let mut mark = [0; FRAME_HEADER_LEN];
    finish_frame(&mut mark, 0, Kind::SyncMark, flags, offset, 0, salt);
    mark
}
