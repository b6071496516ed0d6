//! Reading records, oldest first.

use std::fmt;

use crate::embedded::error::{Error, Result};
use crate::embedded::log::Log;
use crate::embedded::walk::{Step, Walk};
use crate::error::Proof;
use crate::position::ALIGN;

/// The records after a sequence, oldest first: each record's sequence and bytes.
///
/// Reads records from the file on demand, through one buffer, and checks the checksum of each. Reading
/// starts at the stored checkpoint, so skipped records cost as much as reading them. The iterator ends
/// after an error.
pub struct Records<'a> {
    log: &'a Log,
    after: u64,
    /// `None` before the first record, and after the last one.
    walk: Option<Walk<'a>>,
    started: bool,
}

impl Log {
    /// All records after the stored checkpoint.
    pub(super) fn records(&self) -> Records<'_> {
        Records { log: self, after: self.start().sequence, walk: None, started: false }
    }

    /// The records after `sequence`.
    pub(super) fn records_after(&self, sequence: u64) -> Result<Records<'_>> {
        let (oldest, newest) = (self.start().sequence, self.sequence);
        if sequence < oldest || sequence > newest {
            return Err(Error::NotInLog { sequence, oldest, newest });
        }
        Ok(Records { log: self, after: sequence, walk: None, started: false })
    }
}

impl Log {
    /// All records in the ring, those before the stored checkpoint included.
    pub(super) fn history(&self) -> Result<Records<'_>> {
        let oldest = self.oldest()?;
        let mut walk = Walk::anywhere(&self.ring, oldest);
        if oldest < self.start().position && walk.resume(oldest)? {
            return Ok(Records { log: self, after: 0, walk: Some(walk), started: true });
        }
        Ok(self.records())
    }

    /// The position of the oldest entry from which others lead up to the stored checkpoint, without a gap.
    ///
    /// A frame before the checkpoint that is sound at its position is an entry of this log: what an earlier life gave
    /// up after a crash was at the end, and has been overwritten by what followed.
    fn oldest(&self) -> Result<u64> {
        let (low, stored) = (self.end.saturating_sub(self.ring.capacity), self.start());
        let mut walk = Walk::anywhere(&self.ring, low);
        let mut oldest = low;
        while oldest < stored.position {
            if !walk.resume(oldest)? {
                oldest += ALIGN;
                continue;
            }
            while walk.position() < stored.position && !matches!(walk.step()?, Step::End) {}
            let reached = walk.position();
            if reached == stored.position
                && matches!(walk.step()?, Step::Checkpoint(found) if found == stored)
            {
                return Ok(oldest);
            }
            oldest = reached.max(oldest + ALIGN);
        }
        Ok(stored.position)
    }
}

impl Records<'_> {
    fn step(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        if !std::mem::replace(&mut self.started, true) && self.after < self.log.sequence {
            self.walk = Some(Walk::new(&self.log.ring, self.log.start())?);
        }
        let Some(walk) = &mut self.walk else { return Ok(None) };
        while walk.sequence() < self.log.sequence {
            match walk.step()? {
                Step::Record { sequence, data } if sequence > self.after => {
                    return Ok(Some((sequence, data.to_vec())));
                }
                Step::Record { .. } | Step::Checkpoint(_) => {}
                Step::End => return Err(walk.corrupt(Proof::Seen)),
            }
        }
        Ok(None)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.walk = None;
        }
        item
    }
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("after", &self.after).finish_non_exhaustive()
    }
}
