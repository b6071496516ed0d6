//! A file mapped into memory: [`MappedFile`], which reads by copying.
//!
//! - No caller gets a reference into the map. A read copies out of it, and the copy is checked and
//!   decoded: so bytes that another program changes meanwhile are read once, and then fail their
//!   checksum.

use std::fs::File;
use std::io;
use std::io::{ErrorKind, IoSlice};

use memmap2::{Mmap, MmapOptions};

use crate::storage::StorageFile;

/// The start of a file, in memory, for reading only.
#[derive(Debug)]
pub(super) struct MappedFile(Mmap);

impl MappedFile {
    /// Maps the first `len` bytes; `None` if the file has fewer.
    pub(super) fn new(file: &File, len: u64) -> io::Result<Option<Self>> {
        let map_len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        // Reading a mapping after the end of the file raises a signal.
        if file.metadata()?.len() < len {
            return Ok(None);
        }
        #[expect(
            unsafe_code,
            reason = "measured: a read from a map takes a fraction of a system call's time"
        )]
        // SAFETY: A map is sound as long as these bytes are not changed or cut. The log does neither
        // while a map lives: it maps complete, written bytes, reuses a file only when the file is no
        // longer mapped (`ChunkFile::retire`), and releases its lock only after the last of its maps
        // (`OpenFiles::close`). Another program may do it all the same. If it changes bytes, only the
        // one copy in `read_at` is affected, and no reference lives longer than that. If it cuts the
        // file, a signal ends the process; the documentation of the setting says so.
        let map = unsafe { MmapOptions::new().len(map_len).map(file)? };
        Ok(Some(MappedFile(map)))
    }
}

impl StorageFile for MappedFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let from = usize::try_from(position).ok().and_then(|position| self.0.get(position..));
        let from = from.unwrap_or_default();
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }

    fn write_at(&self, _bufs: &[IoSlice<'_>], _position: u64) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}
