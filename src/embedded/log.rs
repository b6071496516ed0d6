//! The contents of the region, as far as the host needs them: for reading, and for appending.

use std::sync::Arc;

use crate::embedded::error::{Error, Result};
use crate::embedded::frame::{CHECKPOINT_LEN, looks_like_entry};
use crate::embedded::ring::Ring;
use crate::embedded::walk::{Step, Walk};
use crate::embedded::{Checkpoint, Region, RingStats};
use crate::position::ALIGN;
use crate::random::random_u64;
use crate::storage::StorageFile;

/// The size of the pieces in which a region is searched for zeros.
const PIECE: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) ring: Ring,
    /// The checkpoints from the one that the host has stored (the first here) to the newest; none
    /// before a new log writes its own.
    pub(super) checkpoints: Vec<Checkpoint>,
    /// The position after the last entry.
    pub(super) end: u64,
    /// The last record's sequence.
    pub(super) sequence: u64,
    /// The last entry's epoch.
    pub(super) epoch: u32,
    /// Everything below this position was durable when the log was opened.
    pub(super) proven: u64,
}

impl Log {
    /// Reads the log, starting at a checkpoint. Writes nothing.
    pub(super) fn open(file: Arc<dyn StorageFile>, region: Region, from: Checkpoint) -> Result<Self> {
        let mut ring = Ring::new(file, region, from.position)?;
        let mut walk = Walk::new(&ring, from)?;
        let mut checkpoints = Vec::new();
        // The end of the last whole batch, and its last record.
        let (mut end, mut sequence) = (walk.position(), walk.sequence());
        loop {
            match walk.step()? {
                Step::Record { .. } => {}
                Step::Checkpoint(checkpoint) => checkpoints.push(checkpoint),
                Step::End => break,
            }
            if !walk.is_in_batch() {
                (end, sequence) = (walk.position(), walk.sequence());
            }
        }
        match checkpoints.is_empty() {
            false => walk.check_end()?,
            true if from == Checkpoint::default() && is_new(&ring)? => {}
            true => {
                let Checkpoint { position, sequence } = from;
                let file_offset = ring.file_offset(position);
                return Err(Error::NotACheckpoint { position, sequence, file_offset });
            }
        }
        let (epoch, proven) = (walk.epoch(), walk.proven().min(end));
        if checkpoints.is_empty() {
            ring.set_salt(random_u64());
        }
        Ok(Log { ring, checkpoints, end, sequence, epoch, proven })
    }

    /// The checkpoint that the host has stored.
    pub(super) fn start(&self) -> Checkpoint {
        self.checkpoints.first().copied().unwrap_or_default()
    }

    /// The bytes that can't be overwritten.
    pub(super) fn used(&self) -> u64 {
        self.end - self.start().position
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

/// A write that a crash interrupts damages no more than the first block, even where the host's file is
/// sparse and the block then has older contents of the disk.
const BLOCK: u64 = 4096;

/// Whether the region was never used: all bytes after the first block of the file, in which a crash may
/// have torn the first checkpoint, are zeros, and no entry starts in that block after the checkpoint.
/// Anything else may be the host's data, or a log whose start is damaged.
fn is_new(ring: &Ring) -> Result<bool> {
    let capacity = usize::try_from(ring.capacity).unwrap_or(usize::MAX);
    let mut buf = vec![0; PIECE.min(capacity)];
    let block_end = (ring.file_offset(0) + CHECKPOINT_LEN).next_multiple_of(BLOCK) - ring.file_offset(0);
    let first_block = usize::try_from(block_end).unwrap_or(capacity).min(capacity);
    let mut at = 0;
    while at < ring.capacity {
        let n = usize::try_from(ring.capacity - at).map_or(buf.len(), |rest| rest.min(buf.len()));
        ring.read(at, &mut buf[..n]).map_err(|e| Error::io("read", e))?;
        let mut zeros_from = 0;
        if at == 0 {
            let mut places = (CHECKPOINT_LEN as usize..first_block).step_by(ALIGN as usize);
            if places.any(|place| looks_like_entry(&buf[place..n], ring.capacity)) {
                return Ok(false);
            }
            zeros_from = first_block;
        }
        if buf[zeros_from..n].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += n as u64;
    }
    Ok(true)
}
