//! Frames as they are written: format.md.

use chunked_wal_protocol::Frame;

/// The size of a record's frame in these runs, and of a chunk's header with its checkpoint.
pub(crate) const FRAME: u64 = 88;
/// The payload of such a record.
pub(crate) const PAYLOAD: usize = 72;
/// The payload of a checkpoint, after a header.
pub(crate) const CHECKPOINT: usize = 8;

const HEADER: usize = 64;

/// A frame, as far as its bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A chunk's header and its checkpoint.
    Head {
        /// The chunk's first entry.
        start: usize,
        /// The salt.
        salt: u64,
        /// Whether the file had an earlier life.
        used: bool,
        /// What was durable when it was encoded.
        durable: Option<usize>,
    },
    /// A record.
    Record {
        /// The first eight bytes of its payload.
        id: u64,
        /// What was durable when it was encoded.
        durable: Option<usize>,
        /// Whether the next record is of the same batch.
        more: bool,
    },
    /// A mark.
    Mark {
        /// Whether it is a closing mark.
        closing: bool,
    },
    /// A seal.
    Seal {
        /// The number of records that it counts.
        records: u64,
    },
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The first frame of `bytes`, which are written to `place` of a chunk that starts with entry `start`, and its size.
/// For a head, `start` is not used.
pub(crate) fn parse(bytes: &[u8], place: usize, start: usize) -> Option<(Parsed, usize)> {
    if place == 0 {
        let start = entry(number(bytes, 16)?) + 1;
        let used = bytes.get(12)? & 2 != 0;
        let durable = durable(bytes.get(HEADER..)?, offset(start) + HEADER as u64)?;
        return Some((Parsed::Head { start, salt: number(bytes, 24)?, used, durable }, FRAME as usize));
    }
    let (kind, flags) = (bytes.get(8)? & 15, bytes.get(8)? >> 4);
    let size = 16 + number(bytes, 0)? as usize / (1 << 32);
    let parsed = match kind {
        1 | 2 => {
            let durable = durable(bytes, offset(start + place))?;
            Parsed::Record { id: number(bytes, 16)?, durable, more: flags & 2 != 0 }
        }
        3 => Parsed::Seal { records: number(bytes, 16)? },
        4 => Parsed::Mark { closing: flags & 1 != 0 },
        _ => return None,
    };
    Some((parsed, size))
}

/// The last entry that a frame at `at` says was durable; `None` if it says nothing.
#[allow(clippy::option_option, reason = "the outer one is of bytes that are no frame")]
fn durable(frame: &[u8], at: u64) -> Option<Option<usize>> {
    let unsynced = u64::from_le_bytes([*frame.get(9)?, *frame.get(10)?, *frame.get(11)?, 0, 0, 0, 0, 0]);
    let said = if unsynced == 0xFF_FFFF { None } else { at.checked_sub(8 * unsynced) };
    Some(said.map(entry))
}

/// The number of entries that end at or before a global offset.
pub(crate) fn entry(offset: u64) -> usize {
    (offset / FRAME) as usize
}

/// The global offset of an entry.
pub(crate) fn offset(entry: usize) -> u64 {
    (entry as u64 - 1) * FRAME
}

/// The place at a position.
pub(crate) fn place(position: u64) -> usize {
    entry(position)
}

/// Whether what a crash left at a place is this frame, which was written there as `written`.
pub(crate) fn is_left(frame: &Frame, written: Option<&[u8]>, bytes: &[u8]) -> bool {
    match (frame, written) {
        (Frame::Zero, _) => bytes.iter().all(|byte| *byte == 0),
        (_, Some(written)) => bytes.starts_with(written),
        (_, None) => false,
    }
}
