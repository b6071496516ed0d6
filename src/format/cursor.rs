//! A subscriber's file: where the subscriber is, and what the log has told it.
//!
//! ```text
//! position 0       4096      8192
//!          +-------+---------+--------+
//!          | cursor | cursor   | notice |     80 or 40 bytes each, then zeros
//!          +-------+---------+--------+
//!            written in turn   by the log
//! ```
//!
//! Each slot is in a block of its own, so a torn write leaves the other slots as they were. Of the two cursors the one
//! with the higher sequence number counts. The log repeats in its notice the cursor that it relies on when it lets chunks
//! go, so that cursor is durable whatever became of the subscriber's own sync.

use super::{Crc, array_at};

/// The distance between two slots.
const SLOT: u64 = 4096;

/// The size of the file.
pub(crate) const CURSOR_FILE_LEN: u64 = 3 * SLOT;

const CURSOR_MAGIC: [u8; 8] = *b"cwalpin1";
const NOTICE_MAGIC: [u8; 8] = *b"cwaltell";

const CURSOR_LEN: usize = 80;
const NOTICE_LEN: usize = 40;

/// Never to break by itself: a bit of a cursor's flags.
const UNBREAKABLE: u32 = 1;

/// A subscriber's cursor, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Raised by one with each cursor that is stored.
    pub(crate) sequence: u64,
    /// The sequence number with which the subscriber began, or started over: notices of before are not for it.
    pub(crate) first_sequence: u64,
    pub(crate) log_id: [u8; 16],
    /// The log is kept from this global offset on.
    pub(crate) offset: u64,
    /// `u64::MAX` for none, like the next one.
    pub(crate) max_bytes: u64,
    pub(crate) max_age_ms: u64,
    pub(crate) is_unbreakable: bool,
    /// When it was stored, in milliseconds since 1970.
    pub(crate) stored_ms: u64,
}

/// What the log has told a subscriber, about a cursor of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The cursor's sequence number.
    pub(crate) sequence: u64,
    /// The cursor's offset.
    pub(crate) offset: u64,
    pub(crate) kind: NoticeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoticeKind {
    /// The log is within its soft budget.
    Within,
    /// The log is over its soft budget.
    Over,
    /// The log is kept for this subscriber no longer.
    Broken,
}

impl Cursor {
    /// The position of the slot for this cursor.
    pub(crate) fn position(&self) -> u64 {
        self.sequence % 2 * SLOT
    }

    pub(crate) fn encode(&self) -> [u8; CURSOR_LEN] {
        let mut bytes = [0; CURSOR_LEN];
        bytes[..8].copy_from_slice(&CURSOR_MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id);
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.max_bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.max_age_ms.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.stored_ms.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[72..76].copy_from_slice(&if self.is_unbreakable { UNBREAKABLE } else { 0 }.to_le_bytes());
        finish(bytes)
    }

    /// The cursor that a notice proves to have been stored, if it is the later one.
    fn at_least(self, notice: Option<Notice>) -> Self {
        match notice {
            Some(Notice { sequence, offset, .. }) if (sequence, offset) > (self.sequence, self.offset) => {
                Cursor { sequence, offset, ..self }
            }
            _ => self,
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; CURSOR_LEN] = sound(bytes, CURSOR_MAGIC)?;
        Some(Cursor {
            sequence: u64::from_le_bytes(array_at(bytes, 8)),
            log_id: array_at(bytes, 16),
            offset: u64::from_le_bytes(array_at(bytes, 32)),
            max_bytes: u64::from_le_bytes(array_at(bytes, 40)),
            max_age_ms: u64::from_le_bytes(array_at(bytes, 48)),
            stored_ms: u64::from_le_bytes(array_at(bytes, 56)),
            first_sequence: u64::from_le_bytes(array_at(bytes, 64)),
            is_unbreakable: u32::from_le_bytes(array_at(bytes, 72)) & UNBREAKABLE != 0,
        })
    }
}

impl Notice {
    /// The position of its slot.
    pub(crate) const POSITION: u64 = 2 * SLOT;

    pub(crate) fn encode(&self) -> [u8; NOTICE_LEN] {
        let mut bytes = [0; NOTICE_LEN];
        bytes[..8].copy_from_slice(&NOTICE_MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.kind.code().to_le_bytes());
        finish(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; NOTICE_LEN] = sound(bytes, NOTICE_MAGIC)?;
        Some(Notice {
            sequence: u64::from_le_bytes(array_at(bytes, 8)),
            offset: u64::from_le_bytes(array_at(bytes, 16)),
            kind: NoticeKind::of_code(u64::from_le_bytes(array_at(bytes, 24)))?,
        })
    }
}

impl NoticeKind {
    fn code(self) -> u64 {
        match self {
            NoticeKind::Within => 0,
            NoticeKind::Over => 1,
            NoticeKind::Broken => 2,
        }
    }

    fn of_code(code: u64) -> Option<Self> {
        [NoticeKind::Within, NoticeKind::Over, NoticeKind::Broken]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// The content of a subscriber's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CursorFile {
    /// No cursor was ever stored: whoever made the file was killed first.
    New,
    Stored(Cursor, Option<Notice>),
    /// A cursor was stored, and can't be read any more.
    Damaged,
}

impl CursorFile {
    /// Reads the file's bytes; missing ones are zeros.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let slot = |position: u64| bytes.get(position as usize..).unwrap_or_default();
        let cursors = [0, SLOT].map(|position| Cursor::decode(slot(position)));
        match cursors.into_iter().flatten().max_by_key(|cursor| cursor.sequence) {
            Some(cursor) => {
                let notice = Notice::decode(slot(Notice::POSITION));
                let notice = notice.filter(|notice| notice.sequence >= cursor.first_sequence);
                CursorFile::Stored(cursor.at_least(notice), notice)
            }
            // The first cursor is in the second slot. Both slots are written before a new subscriber is returned.
            None if slot(0).iter().take(SLOT as usize).all(|byte| *byte == 0) => CursorFile::New,
            None => CursorFile::Damaged,
        }
    }
}

/// Adds the checksum, over all bytes before it.
fn finish<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    let crc = Crc::of(&bytes[..N - 4]);
    bytes[N - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The slot that `bytes` begin with, if it is whole and right.
fn sound<const N: usize>(bytes: &[u8], magic: [u8; 8]) -> Option<&[u8; N]> {
    let slot: &[u8; N] = bytes.first_chunk()?;
    let is_sound = slot.starts_with(&magic) && slot[N - 4..] == Crc::of(&slot[..N - 4]).to_le_bytes();
    is_sound.then_some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURSOR: Cursor = Cursor {
        sequence: 1,
        first_sequence: 1,
        log_id: [7; 16],
        offset: 640,
        max_bytes: 1 << 30,
        max_age_ms: u64::MAX,
        is_unbreakable: true,
        stored_ms: 1_700_000_000_000,
    };

    fn file(slots: &[(u64, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; CURSOR_FILE_LEN as usize];
        for (position, slot) in slots {
            bytes[*position as usize..][..slot.len()].copy_from_slice(slot);
        }
        bytes
    }

    #[test]
    fn the_place_with_the_higher_number_counts_and_each_byte_is_checked() {
        let newer = Cursor { sequence: 2, offset: 720, is_unbreakable: false, ..CURSOR };
        let notice = Notice { sequence: 1, kind: NoticeKind::Broken, offset: 640 };
        assert_ne!(CURSOR.position(), newer.position());
        let slots = [
            (CURSOR.position(), &CURSOR.encode()[..]),
            (newer.position(), &newer.encode()),
            (Notice::POSITION, &notice.encode()),
        ];
        let whole = file(&slots);
        assert_eq!(CursorFile::decode(&whole), CursorFile::Stored(newer, Some(notice)));
        for at in 0..CURSOR_LEN {
            let mut bytes = whole.clone();
            bytes[newer.position() as usize + at] ^= 1;
            assert_eq!(CursorFile::decode(&bytes), CursorFile::Stored(CURSOR, Some(notice)), "{at}");
            bytes[CURSOR.position() as usize + at] ^= 1;
            assert_eq!(CursorFile::decode(&bytes), CursorFile::Damaged, "{at}");
        }
        for at in 0..NOTICE_LEN {
            let mut bytes = whole.clone();
            bytes[Notice::POSITION as usize + at] ^= 1;
            assert_eq!(CursorFile::decode(&bytes), CursorFile::Stored(newer, None), "{at}");
        }
        for len in 0..whole.len() {
            // A file that was cut is read as far as it goes.
            let _read = CursorFile::decode(&whole[..len]);
        }
    }

    #[test]
    fn a_notice_keeps_the_place_that_the_log_has_relied_on() {
        let lost = Cursor { sequence: 2, offset: 720, ..CURSOR };
        let notice = Notice { sequence: 2, kind: NoticeKind::Within, offset: 720 };
        let slots = [(CURSOR.position(), &CURSOR.encode()[..]), (Notice::POSITION, &notice.encode())];
        assert_eq!(CursorFile::decode(&file(&slots)), CursorFile::Stored(lost, Some(notice)));
        let anew = Cursor { sequence: 3, first_sequence: 3, offset: 100, ..CURSOR };
        let slots = [(anew.position(), &anew.encode()[..]), (Notice::POSITION, &notice.encode())];
        assert_eq!(CursorFile::decode(&file(&slots)), CursorFile::Stored(anew, None));
    }

    #[test]
    fn a_torn_first_place_is_a_new_file() {
        let first = CURSOR.encode();
        for len in 0..first.len() {
            assert_eq!(
                CursorFile::decode(&file(&[(CURSOR.position(), &first[..len])])),
                CursorFile::New,
                "{len}"
            );
        }
        assert_eq!(CursorFile::decode(&[]), CursorFile::New);
    }
}
