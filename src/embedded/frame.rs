//! The contents of the ring's frames.
//!
//! ```text
//! frame header 16 | sequence u64 | epoch u32 | a record's bytes                             | zeros to 8
//!                                            | a checkpoint's next epoch u32, ring's salt u64 |
//! ```
//!
//! - A frame's check and CRC cover its position, which never repeats: a frame that an earlier lap left
//!   at the same place in the file doesn't check out.
//! - Each checkpoint has the ring's random salt, which enters the check and the CRC of all frames: no
//!   record's bytes can form a valid frame.
//! - A record has the sequence after the last record's; a checkpoint repeats the last record's
//!   sequence.
//! - Each frame has the epoch that the checkpoint before it started. Frames that an earlier life of the
//!   ring gave up after a crash stay given up, because no later life has the same epoch.

use crate::embedded::Checkpoint;
use crate::format::{FLAG_MORE, FRAME_HEADER_LEN, FrameHeader, Kind, Salt, array_at, finish_frame, unsynced};
use crate::position::ceil8;
use crate::random::splitmix64;

/// The bytes of a payload before the data.
const PREFIX_LEN: usize = 12;

/// The bytes of a checkpoint's payload after the prefix: the next epoch and the ring's salt.
const CHECKPOINT_DATA_LEN: usize = 12;

/// The bytes of a checkpoint's whole frame.
pub(super) const CHECKPOINT_LEN: u64 = (FRAME_HEADER_LEN + PREFIX_LEN + CHECKPOINT_DATA_LEN) as u64;

/// The salt of a ring whose checkpoints store `stored`, in a region of this capacity. With it, frames
/// of a chunk, of another ring or of a region of another size don't check out. Mixed, because a frame's CRC takes the
/// salt XOR the position: two capacities must not differ by as much as two positions.
pub(super) fn salt(stored: u64, capacity: u64) -> Salt {
    Salt::new(splitmix64(u64::from_le_bytes(*b"CHNKRING") ^ stored, capacity))
}

/// The salt that the checkpoint `frame` stores, whether the frame is sound or not.
pub(super) fn stored_salt(frame: &[u8; CHECKPOINT_LEN as usize]) -> u64 {
    u64::from_le_bytes(array_at(frame, FRAME_HEADER_LEN + PREFIX_LEN + 4))
}

/// Whether `bytes` may be the start of an entry of any ring: its fields fit a region of this capacity
/// in its first block, even with right checksums.
pub(super) fn looks_like_entry(bytes: &[u8], capacity: u64) -> bool {
    let (Some(header), Some(payload)) = (bytes.first_chunk(), bytes.get(FRAME_HEADER_LEN..)) else {
        return false;
    };
    let header = FrameHeader::parse(header);
    let Some(sequence) = payload.first_chunk().map(|sequence| u64::from_le_bytes(*sequence)) else {
        return false;
    };
    let fits = match Kind::from_u8(header.kind) {
        Some(Kind::Action) => sequence >= 1 && header.len as usize >= PREFIX_LEN,
        Some(Kind::Checkpoint) => header.len as usize == PREFIX_LEN + CHECKPOINT_DATA_LEN,
        _ => false,
    };
    fits && header.flags & !FLAG_MORE == 0 && header.frame_size() <= capacity && sequence <= FIRST_SEQUENCES
}

/// More records than can start in a region's first block.
const FIRST_SEQUENCES: u64 = 4096;

/// The frame's size for a record of `len` bytes; `None` if no frame can hold it.
pub(super) fn record_size(len: usize) -> Option<u64> {
    let payload = u32::try_from(len.checked_add(PREFIX_LEN)?).ok()?;
    ceil8(u64::from(payload))?.checked_add(FRAME_HEADER_LEN as u64)
}

/// The data after a checkpoint's prefix.
pub(super) type CheckpointData = [u8; CHECKPOINT_DATA_LEN];

/// The data of a checkpoint that starts the epoch `next`.
pub(super) fn checkpoint_data(next: u32, stored_salt: u64) -> CheckpointData {
    let mut data = [0; CHECKPOINT_DATA_LEN];
    data[..4].copy_from_slice(&next.to_le_bytes());
    data[4..].copy_from_slice(&stored_salt.to_le_bytes());
    data
}

/// A record or checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// An action (a record) or a checkpoint.
    pub(super) kind: Kind,
    pub(super) sequence: u64,
    pub(super) epoch: u32,
    pub(super) data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A checkpoint after the record `sequence`; the epoch `next` starts with it.
    pub(super) fn checkpoint(sequence: u64, epoch: u32, data: &'a CheckpointData) -> Self {
        Entry { kind: Kind::Checkpoint, sequence, epoch, data }
    }

    /// Parses a sound frame's payload; `None` if no entry has its length.
    pub(super) fn parse(kind: Kind, payload: &'a [u8]) -> Option<Self> {
        let (sequence, rest) = payload.split_first_chunk()?;
        let (epoch, data) = rest.split_first_chunk()?;
        let entry =
            Entry { kind, sequence: u64::from_le_bytes(*sequence), epoch: u32::from_le_bytes(*epoch), data };
        (kind != Kind::Checkpoint || data.len() == CHECKPOINT_DATA_LEN).then_some(entry)
    }

    /// The epoch of the entries after this one.
    pub(super) fn next_epoch(&self) -> u32 {
        match (self.kind, self.data.first_chunk()) {
            (Kind::Checkpoint, Some(next)) => u32::from_le_bytes(*next),
            _ => self.epoch,
        }
    }
}

/// Frames that follow one another in the ring.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// The position of the first frame.
    start: u64,
    /// Everything below this position is durable.
    synced: u64,
    salt: &'a Salt,
    bytes: Vec<u8>,
}

impl<'a> Batch<'a> {
    /// A batch at `start`; everything before `synced` is durable.
    pub(super) fn new(start: u64, synced: u64, size: u64, salt: &'a Salt) -> Self {
        Batch { start, synced, salt, bytes: Vec::with_capacity(usize::try_from(size).unwrap_or(0)) }
    }

    /// The position after the last frame.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds the last entry and returns its position. The caller has checked that the entry fits.
    pub(super) fn push(&mut self, entry: &Entry<'_>) -> Checkpoint {
        self.push_with(entry, 0)
    }

    /// Adds an entry that others follow, which are kept with it or lost with it.
    pub(super) fn push_more(&mut self, entry: &Entry<'_>) {
        self.push_with(entry, FLAG_MORE);
    }

    fn push_with(&mut self, entry: &Entry<'_>, flags: u8) -> Checkpoint {
        let position = self.end();
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&[0; FRAME_HEADER_LEN]);
        self.bytes.extend_from_slice(&entry.sequence.to_le_bytes());
        self.bytes.extend_from_slice(&entry.epoch.to_le_bytes());
        self.bytes.extend_from_slice(entry.data);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let unsynced = unsynced(position, self.synced);
        let len = (PREFIX_LEN + entry.data.len()) as u32;
        finish_frame(&mut self.bytes[from..], len, entry.kind, flags, position, unsynced, self.salt);
        Checkpoint { position, sequence: entry.sequence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::whole_frame;

    #[test]
    fn entries_verify_only_at_their_own_position() {
        let salt = salt(5, 4096);
        let data = checkpoint_data(9, 5);
        let mut batch = Batch::new(4088, 4088, 0, &salt);
        let checkpoint = Entry::checkpoint(7, 3, &data);
        let record = Entry { kind: Kind::Action, sequence: 8, epoch: 9, data: b"record" };
        assert_eq!(batch.push(&checkpoint), Checkpoint { position: 4088, sequence: 7 });
        assert_eq!(batch.end(), 4088 + CHECKPOINT_LEN);
        assert_eq!(batch.push(&record).position, 4088 + CHECKPOINT_LEN);
        assert_eq!(batch.end(), 4088 + CHECKPOINT_LEN + record_size(6).unwrap());

        let (first, frame) = batch.bytes().split_at(40);
        assert_eq!(stored_salt(first.first_chunk().unwrap()), 5);
        assert!(whole_frame(frame, 4128, &salt).is_ok());
        assert!(whole_frame(frame, 4128 + 4096, &salt).is_err(), "a lap later it is stale");
        assert!(whole_frame(frame, 4128, &super::salt(5, 4104)).is_err(), "not of a region of another size");
        assert!(whole_frame(frame, 4128, &super::salt(6, 4096)).is_err(), "not of another ring");
        assert!(looks_like_entry(first, 4096) && looks_like_entry(frame, 4096));
        assert!(!looks_like_entry(&[0; 100], 4096) && !looks_like_entry(&frame[..20], 4096));
        assert_eq!(Entry::parse(Kind::Action, &frame[16..34]), Some(record));
        assert_eq!(Entry::parse(Kind::Checkpoint, &first[16..40]), Some(checkpoint));
        assert_eq!((checkpoint.next_epoch(), record.next_epoch()), (9, 9));
        assert_eq!(Entry::parse(Kind::Checkpoint, &frame[16..34]), None);
        assert_eq!(Entry::parse(Kind::Action, &frame[16..27]), None);
    }

    #[test]
    fn sizes_never_wrap() {
        assert_eq!(record_size(0), Some(32));
        assert_eq!(record_size(4), Some(32));
        assert_eq!(record_size(5), Some(40));
        assert_eq!(record_size(u32::MAX as usize - 12), Some(16 + (1 << 32)));
        assert_eq!(record_size(u32::MAX as usize - 11), None);
        assert_eq!(record_size(usize::MAX), None);
    }
}
