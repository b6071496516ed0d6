//! What is in the region, as far as the host needs it: for reading, and to go on from.

use std::sync::Arc;

use crate::embedded::Checkpoint;
use crate::embedded::Region;
use crate::embedded::RingStats;
use crate::embedded::error::Error;
use crate::embedded::error::Result;
use crate::embedded::frame::CHECKPOINT_LEN;
use crate::embedded::records::Records;
use crate::embedded::ring::Ring;
use crate::embedded::walk::Step;
use crate::embedded::walk::Walk;
use crate::storage::StorageFile;

/// The size of the pieces in which a region is looked through for zeros.
const PIECE: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) ring: Ring,
    /// Those from the one that is stored in the host on, which is the first: none before the new log has
    /// its own.
    pub(super) checkpoints: Vec<Checkpoint>,
    /// The position behind the last entry.
    pub(super) end: u64,
    /// The last record's.
    pub(super) sequence: u64,
    /// That of the last entry.
    pub(super) epoch: u32,
    /// All below had been durable when the log was opened.
    pub(super) proven: u64,
}

impl Log {
    /// Reads the log from a checkpoint on. Writes nothing.
    pub(super) fn open(file: Arc<dyn StorageFile>, region: Region, from: Checkpoint) -> Result<Self> {
        let ring = Ring::new(file, region)?;
        let mut walk = Walk::new(&ring, from)?;
        let mut checkpoints = Vec::new();
        loop {
            match walk.step()? {
                Step::Record { .. } => {}
                Step::Checkpoint(checkpoint) => checkpoints.push(checkpoint),
                Step::End => break,
            }
        }
        match checkpoints.is_empty() {
            false => walk.judge_end()?,
            true if from == Checkpoint::default() && is_new(&ring)? => {}
            true => {
                let Checkpoint { position, sequence } = from;
                let file_offset = ring.file_offset(position);
                return Err(Error::NotACheckpoint { position, sequence, file_offset });
            }
        }
        let (end, sequence) = (walk.position(), walk.sequence());
        let (epoch, proven) = (walk.epoch(), walk.proven());
        Ok(Log { ring, checkpoints, end, sequence, epoch, proven })
    }

    /// The checkpoint that is stored in the host.
    pub(super) fn start(&self) -> Checkpoint {
        self.checkpoints.first().copied().unwrap_or_default()
    }

    /// Bytes that can't be overwritten.
    pub(super) fn used(&self) -> u64 {
        self.end - self.start().position
    }

    /// The records behind `sequence`.
    pub(super) fn records_after(&self, sequence: u64) -> Result<Records<'_>> {
        let (oldest, newest) = (self.start().sequence, self.sequence);
        if sequence < oldest || sequence > newest {
            return Err(Error::NotInLog { sequence, oldest, newest });
        }
        Ok(Records::new(self, sequence))
    }

    pub(super) fn stats(&self) -> RingStats {
        let capacity = self.ring.capacity;
        RingStats {
            capacity,
            used: self.used(),
            checkpoint: self.start(),
            checkpoints_not_stored: self.checkpoints.len().saturating_sub(1) as u64,
            last_sequence: self.sequence,
            pending_records: self.sequence - self.start().sequence,
            batch_max: capacity - 3 * CHECKPOINT_LEN,
        }
    }
}

/// Whether nobody has used the region: behind the first checkpoint, which a crash may have torn, are
/// only zeros. Whatever else may be the host's, or a log whose beginning is damaged.
fn is_new(ring: &Ring) -> Result<bool> {
    let mut buf = vec![0; PIECE.min(usize::try_from(ring.capacity).unwrap_or(PIECE))];
    let mut at = CHECKPOINT_LEN;
    while at < ring.capacity {
        let n = usize::try_from(ring.capacity - at).map_or(buf.len(), |rest| rest.min(buf.len()));
        ring.read(at, &mut buf[..n]).map_err(|e| Error::io("read", e))?;
        if buf[..n].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += n as u64;
    }
    Ok(true)
}
