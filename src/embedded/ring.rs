//! A region of a file as a ring: positions go on for ever, places in the file come again.
//!
//! ```text
//! position   0 ........ capacity ........ 2 · capacity ........
//! file       offset + position % capacity
//! ```
//!
//! - What reaches over the region's end goes on at its beginning: two writes, two reads.
//! - Nothing outside the region is read or written.

use std::io;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::embedded::Region;
use crate::embedded::error::Error;
use crate::embedded::error::Result;
use crate::embedded::frame::salt;
use crate::format::ReadAt;
use crate::format::Salt;
use crate::position::ALIGN;
use crate::storage::StorageFile;
use crate::storage::read_full_at;
use crate::storage::write_all_at;

/// The smallest region: three checkpoints and the shortest record.
const LEN_MIN: u64 = 128;

#[derive(Debug)]
pub(super) struct Ring {
    file: Arc<dyn StorageFile>,
    offset: u64,
    /// Bytes in a lap: the region's, without a rest that no frame begins in.
    pub(super) capacity: u64,
    pub(super) salt: Salt,
}

impl Ring {
    pub(super) fn new(file: Arc<dyn StorageFile>, region: Region) -> Result<Self> {
        let file_len = file.len().map_err(|e| Error::io("measure", e))?;
        let inside = region.offset.checked_add(region.len).is_some_and(|end| end <= file_len);
        if region.len < LEN_MIN || !inside {
            return Err(Error::InvalidRegion { region, file_len, len_min: LEN_MIN });
        }
        let capacity = region.len / ALIGN * ALIGN;
        Ok(Ring { file, offset: region.offset, capacity, salt: salt(capacity) })
    }

    /// Where a position is in the file.
    pub(super) fn file_offset(&self, position: u64) -> u64 {
        self.offset + position % self.capacity
    }

    /// `len` bytes from `position` on, which are no more than a lap: first what stands before the
    /// region's end, then what goes on at its beginning.
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

/// One lap, from a position on.
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
}
