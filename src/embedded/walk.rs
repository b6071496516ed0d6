//! Walks from a checkpoint, frame by frame, to the end of the log.
//!
//! ```text
//! checkpoint ─► record ─► record ─► checkpoint ─► record ─► ?
//!   its sequence   +1        +2       the same      +3      not the next one: the end,
//!                                                           or damage, if a later frame proves it
//! ```
//!
//! - The next entry is a sound frame for exactly this position, with the next sequence and the epoch
//!   that the last checkpoint started. Anything else (zeros, a frame of an earlier lap, a frame that a
//!   crash tore or that an earlier life left) is the end.
//! - All frames are inside the lap that starts with the checkpoint.

use crate::embedded::Checkpoint;
use crate::embedded::error::{Error, Result};
use crate::embedded::frame::{CHECKPOINT_LEN, Entry};
use crate::embedded::ring::{Lap, Ring};
use crate::error::Proof;
use crate::format::{FLAG_MORE, FRAME_HEADER_LEN, Kind, Origin, Place, Search, Window, inspect, search};

/// The size of reads.
const READ_SIZE: usize = 256 * 1024;

/// Positions and sequences start below this limit, so that none ever overflows `u64`.
const START_MAX: u64 = 1 << 62;

/// The bytes at a position: an entry, or the end.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Record { sequence: u64, data: &'a [u8] },
    Checkpoint(Checkpoint),
    End,
}

pub(super) struct Walk<'a> {
    ring: &'a Ring,
    window: Window<Lap<'a>>,
    origin: Origin,
    /// The distance from the start of the lap, in bytes.
    at: u64,
    /// The sequence of the last record before `at`.
    sequence: u64,
    /// `None` before the first checkpoint.
    epoch: Option<u32>,
    /// Everything below this position was durable once.
    proven: u64,
    /// Whether the last record belongs to a batch that goes on.
    in_batch: bool,
}

impl<'a> Walk<'a> {
    /// Starts a walk at a checkpoint. An error if no checkpoint can have such a position.
    pub(super) fn new(ring: &'a Ring, from: Checkpoint) -> Result<Self> {
        let Checkpoint { position, sequence } = from;
        if position % 8 != 0 || position > START_MAX || sequence > START_MAX {
            return Err(Error::NotACheckpoint { position, sequence, file_offset: 0 });
        }
        // A stored checkpoint was durable before the host got it. No host stored the default one.
        let proven = if from == Checkpoint::default() { 0 } else { position + CHECKPOINT_LEN };
        Ok(Walk { sequence, proven, ..Walk::anywhere(ring, position) })
    }

    /// A walk over a lap from any position, which [resumes](Self::resume) where an entry is.
    pub(super) fn anywhere(ring: &'a Ring, position: u64) -> Self {
        let lap = Lap { ring, start: position };
        Walk {
            ring,
            window: Window::new(lap, ring.capacity, READ_SIZE),
            origin: Origin { chunk_id: position, salt: ring.salt.clone(), record_flags: FLAG_MORE },
            at: 0,
            sequence: 0,
            epoch: None,
            proven: 0,
            in_batch: false,
        }
    }

    /// Goes to a position in the lap, whose entry is then the next one; `false` if there is none.
    pub(super) fn resume(&mut self, position: u64) -> Result<bool> {
        let at = position - self.origin.offset(0);
        let place = inspect(&mut self.window, &self.origin, at).map_err(read_error)?;
        let Place::Sound(header) = place else { return Ok(false) };
        let Some(kind) = Kind::from_u8(header.kind) else { return Ok(false) };
        let frame = self.window.at_least(at, header.frame_size() as usize).map_err(read_error)?;
        let payload = &frame[FRAME_HEADER_LEN..][..header.len as usize];
        let Some(entry) = Entry::parse(kind, payload) else { return Ok(false) };
        self.at = at;
        self.sequence = entry.sequence.saturating_sub(u64::from(kind == Kind::Action));
        self.epoch = Some(entry.epoch);
        Ok(true)
    }

    /// The position of the next entry.
    pub(super) fn position(&self) -> u64 {
        self.origin.offset(self.at)
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether the last record belongs to a batch of which others are still to come.
    pub(super) fn is_in_batch(&self) -> bool {
        self.in_batch
    }

    /// The epoch of the next entry; 0 before the first checkpoint.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch.unwrap_or(0)
    }

    /// Everything below was durable, as far as is proven; not after the last sound record.
    pub(super) fn proven(&self) -> u64 {
        self.proven.min(self.position())
    }

    /// Takes the next entry, if it is an entry of this log. The first one is a checkpoint.
    pub(super) fn step(&mut self) -> Result<Step<'_>> {
        let position = self.position();
        let place = inspect(&mut self.window, &self.origin, self.at).map_err(read_error)?;
        let Place::Sound(header) = place else { return Ok(Step::End) };
        let unsupported = |what, found: u64| Err(Error::Unsupported { position, what, found });
        let kind = match Kind::from_u8(header.kind) {
            _ if header.flags & !FLAG_MORE != 0 => return unsupported("frame flags", header.flags.into()),
            Some(kind @ (Kind::Action | Kind::Checkpoint)) => kind,
            _ => return unsupported("frame kind", header.kind.into()),
        };
        let frame = self.window.at_least(self.at, header.frame_size() as usize).map_err(read_error)?;
        let payload = &frame[FRAME_HEADER_LEN..][..header.len as usize];
        let Some(entry) = Entry::parse(kind, payload) else {
            return unsupported("payload length", header.len.into());
        };
        let expected = match (kind, self.epoch) {
            // No checkpoint is part of a batch, or follows one that was not whole.
            (Kind::Checkpoint, _) if self.in_batch || header.has_more() => return Ok(Step::End),
            (Kind::Checkpoint, None) => (self.sequence, entry.epoch),
            (Kind::Checkpoint, Some(epoch)) => (self.sequence, epoch),
            (_, Some(epoch)) => (self.sequence + 1, epoch),
            (_, None) => return Ok(Step::End),
        };
        if (entry.sequence, entry.epoch) != expected {
            return Ok(Step::End);
        }
        self.sequence = entry.sequence;
        self.epoch = Some(entry.next_epoch());
        self.in_batch = header.has_more();
        self.proven = self.proven.max(header.synced(position).unwrap_or(0));
        self.at += header.frame_size();
        Ok(match kind {
            Kind::Checkpoint => Step::Checkpoint(Checkpoint { position, sequence: self.sequence }),
            _ => Step::Record { sequence: self.sequence, data: entry.data },
        })
    }

    /// At the end: an error if a later frame proves that bytes at this position were durable.
    pub(super) fn check_end(&mut self) -> Result<()> {
        let position = self.position();
        let until = self.ring.capacity;
        let found = search(&mut self.window, &self.origin, position, self.at + 8, until, |_, _| false);
        match found.map_err(read_error)? {
            Search::Proven(proof) => Err(self.corrupt(proof)),
            Search::Unproven { synced, .. } => {
                self.proven = self.proven.max(synced);
                Ok(())
            }
        }
    }

    /// The error of a missing entry at this position.
    pub(super) fn corrupt(&self, proof: Proof) -> Error {
        let position = self.position();
        Error::Corrupt { position, file_offset: self.ring.file_offset(position), proof }
    }
}

fn read_error(error: std::io::Error) -> Error {
    Error::io("read", error)
}
