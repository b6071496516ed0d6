//! Reading records, oldest first.

use std::fmt;

use crate::embedded::error::{Error, Result};
use crate::embedded::log::Log;
use crate::embedded::walk::{Step, Walk};
use crate::error::Proof;

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
