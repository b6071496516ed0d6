//! A region of a file as a ring: positions grow forever, places in the file repeat.
//!
//! ```text
//! position   0 ........ capacity ........ 2 · capacity ........
//! file       offset + position % capacity
//! ```
//!
//! - A write or read that crosses the region's end continues at its start: two writes, two reads.
//! - Nothing outside the region is read or written.

use std::io;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::embedded::Region;
use crate::embedded::error::{Error, Result};
use crate::embedded::frame::{CHECKPOINT_LEN, salt, stored_salt};
use crate::format::{ReadAt, Salt};
use crate::position::ALIGN;
use crate::storage::{StorageFile, read_full_at, write_all_at};

/// The smallest region: three checkpoints and the shortest record.
const LEN_MIN: u64 = 3 * CHECKPOINT_LEN + 32;

#[derive(Debug)]
pub(super) struct Ring {
    file: Arc<dyn StorageFile>,
    offset: u64,
    /// The bytes of a lap: the region's length, rounded down to a multiple of 8.
    pub(super) capacity: u64,
    /// Random, chosen with a new log; each checkpoint stores it.
    pub(super) stored_salt: u64,
    pub(super) salt: Salt,
}

impl Ring {
    /// Returns the ring in a region, with the salt of the checkpoint at `position`, if there is one.
    pub(super) fn new(file: Arc<dyn StorageFile>, region: Region, position: u64) -> Result<Self> {
        let file_len = file.len().map_err(|e| Error::io("measure", e))?;
        let inside = region.offset.checked_add(region.len).is_some_and(|end| end <= file_len);
        if region.len < LEN_MIN || !inside {
            return Err(Error::InvalidRegion { region, file_len, len_min: LEN_MIN });
        }
        let capacity = region.len / ALIGN * ALIGN;
        let mut ring =
            Ring { file, offset: region.offset, capacity, stored_salt: 0, salt: salt(0, capacity) };
        let mut frame = [0; CHECKPOINT_LEN as usize];
        ring.read(position, &mut frame).map_err(|e| Error::io("read", e))?;
        ring.set_salt(stored_salt(&frame));
        Ok(ring)
    }

    pub(super) fn set_salt(&mut self, stored: u64) {
        self.stored_salt = stored;
        self.salt = salt(stored, self.capacity);
    }

    /// The offset of a position in the file.
    pub(super) fn file_offset(&self, position: u64) -> u64 {
        self.offset + position % self.capacity
    }

    /// Splits `len` bytes from `position` on, no more than a lap: the part before the region's end, and
    /// the part that continues at its start.
    fn pieces(&self, position: u64, len: usize) -> [(u64, Range<usize>); 2] {
        let before_end = self.capacity - position % self.capacity;
        let first = usize::try_from(before_end).map_or(len, |n| n.min(len));
        [(self.file_offset(position), 0..first), (self.offset, first..len)]
    }

    pub(super) fn write(&self, position: u64, bytes: &[u8]) -> Result<()> {
        debug_assert!(bytes.len() as u64 <= self.capacity);
        for (at, piece) in self.pieces(position, bytes.len()) {
            write_all_at(&*self.file, &mut [IoSlice::new(&bytes[piece])], at)
                .map_err(|e| Error::io("write", e))?;
        }
        Ok(())
    }

    /// Fills `buf`.
    pub(super) fn read(&self, position: u64, buf: &mut [u8]) -> io::Result<()> {
        for (at, piece) in self.pieces(position, buf.len()) {
            let buf = &mut buf[piece];
            if read_full_at(&*self.file, buf, at)? < buf.len() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file was cut inside the region",
                ));
            }
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|e| Error::io("sync", e))
    }
}

/// One lap, starting at a position.
#[derive(Debug)]
pub(super) struct Lap<'a> {
    pub(super) ring: &'a Ring,
    pub(super) start: u64,
}

impl ReadAt for Lap<'_> {
    fn len(&self) -> u64 {
        self.ring.capacity
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let rest = self.ring.capacity.saturating_sub(position);
        let n = usize::try_from(rest).map_or(buf.len(), |rest| rest.min(buf.len()));
        self.ring.read(self.start + position, &mut buf[..n])?;
        Ok(n)
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        // The rest of this lap in two pieces, as it is in the file.
        let rest = self.ring.capacity.saturating_sub(position);
        let rest = usize::try_from(rest).unwrap_or(usize::MAX);
        for (at, piece) in self.ring.pieces(self.start + position, rest) {
            if let Some(data) = self.ring.file.next_data(at)?
                && data - at < piece.len() as u64
            {
                return Ok(Some(position + piece.start as u64 + (data - at)));
            }
        }
        Ok(None)
    }
}
