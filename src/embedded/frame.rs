//! What the ring puts into a frame.
//!
//! ```text
//! frame header 16 | sequence u64 | epoch u32 | a record's bytes, or a checkpoint's next epoch u32 | zeros to 8
//! ```
//!
//! - A frame's check and CRC cover its position, which never comes again: a frame that an earlier lap
//!   left at the same place in the file is no frame any more.
//! - A record has the sequence behind the last one's, a checkpoint has the last one's itself.
//! - Each frame has the epoch that the checkpoint before it began. What a crash made a life of the ring
//!   give up stays given up, since no later life has the same epoch.

use crate::embedded::Checkpoint;
use crate::format::FRAME_HEADER_LEN;
use crate::format::Kind;
use crate::format::Salt;
use crate::format::finish_frame;
use crate::format::unsynced;
use crate::position::ceil8;

/// Bytes of a payload before the data.
const PREFIX_LEN: usize = 12;

/// Bytes of a checkpoint's whole frame.
pub(super) const CHECKPOINT_LEN: u64 = 32;

/// Frames of a ring are those of no chunk, and of no region of another size.
pub(super) fn salt(capacity: u64) -> Salt {
    Salt::new(u64::from_le_bytes(*b"CHNKRING") ^ capacity)
}

/// Bytes of the frame of a record with `len` bytes; `None` if no frame can hold it.
pub(super) fn record_size(len: usize) -> Option<u64> {
    let payload = u32::try_from(len.checked_add(PREFIX_LEN)?).ok()?;
    ceil8(u64::from(payload))?.checked_add(FRAME_HEADER_LEN as u64)
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
    /// A checkpoint behind the record `sequence`, with which the epoch `next` begins.
    pub(super) fn checkpoint(sequence: u64, epoch: u32, next: &'a [u8; 4]) -> Self {
        Entry { kind: Kind::Checkpoint, sequence, epoch, data: next }
    }

    /// Reads a sound frame's payload; `None` if it has a length that no entry has.
    pub(super) fn parse(kind: Kind, payload: &'a [u8]) -> Option<Self> {
        let (sequence, rest) = payload.split_first_chunk()?;
        let (epoch, data) = rest.split_first_chunk()?;
        let entry =
            Entry { kind, sequence: u64::from_le_bytes(*sequence), epoch: u32::from_le_bytes(*epoch), data };
        (kind != Kind::Checkpoint || data.len() == 4).then_some(entry)
    }

    /// The epoch of what follows this.
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
    /// The position of the first.
    start: u64,
    salt: &'a Salt,
    bytes: Vec<u8>,
}

impl<'a> Batch<'a> {
    /// A batch at `start`, before which all is durable.
    pub(super) fn new(start: u64, size: u64, salt: &'a Salt) -> Self {
        Batch { start, salt, bytes: Vec::with_capacity(usize::try_from(size).unwrap_or(0)) }
    }

    /// The position behind the last frame.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds an entry, which the caller has found to fit; returns where it stands.
    pub(super) fn push(&mut self, entry: &Entry<'_>) -> Checkpoint {
        let position = self.end();
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&[0; FRAME_HEADER_LEN]);
        self.bytes.extend_from_slice(&entry.sequence.to_le_bytes());
        self.bytes.extend_from_slice(&entry.epoch.to_le_bytes());
        self.bytes.extend_from_slice(entry.data);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let unsynced = unsynced(position, self.start);
        let len = (PREFIX_LEN + entry.data.len()) as u32;
        finish_frame(&mut self.bytes[from..], len, entry.kind, 0, position, unsynced, self.salt);
        Checkpoint { position, sequence: entry.sequence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::verify_frame;

    #[test]
    fn entries_come_back_and_only_where_they_stand() {
        let salt = salt(4096);
        let mut batch = Batch::new(4088, 0, &salt);
        let checkpoint = Entry::checkpoint(7, 3, &[9, 0, 0, 0]);
        let record = Entry { kind: Kind::Action, sequence: 8, epoch: 9, data: b"record" };
        assert_eq!(batch.push(&checkpoint), Checkpoint { position: 4088, sequence: 7 });
        assert_eq!(batch.end(), 4088 + CHECKPOINT_LEN);
        assert_eq!(batch.push(&record).position, 4088 + CHECKPOINT_LEN);
        assert_eq!(batch.end(), 4088 + CHECKPOINT_LEN + record_size(6).unwrap());

        let frame = &batch.bytes()[32..];
        assert!(verify_frame(frame, 4120, &salt));
        assert!(!verify_frame(frame, 4120 + 4096, &salt), "a lap later it is stale");
        assert!(!verify_frame(frame, 4120, &super::salt(4104)), "not of a region of another size");
        assert_eq!(Entry::parse(Kind::Action, &frame[16..34]), Some(record));
        assert_eq!(Entry::parse(Kind::Checkpoint, &batch.bytes()[16..32]), Some(checkpoint));
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
