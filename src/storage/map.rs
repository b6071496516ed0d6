//! A file's bytes as the operating system shows them in memory: [`MappedFile`], which reads by copying.
//!
//! - Nobody is handed a reference into the map. A read copies out of it, and what is checked and decoded
//!   is the copy: bytes that somebody changes meanwhile are seen once, and found to be wrong.

use std::fs::File;
use std::io;
use std::io::{ErrorKind, IoSlice};

use memmap2::{Mmap, MmapOptions};

use super::StorageFile;

/// The beginning of a file, in memory, for reading only.
#[derive(Debug)]
pub(super) struct MappedFile(Mmap);

impl MappedFile {
    /// Maps the first `len` bytes; `None` if the file has fewer.
    pub(super) fn new(file: &File, len: u64) -> io::Result<Option<Self>> {
        let map_len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        // Behind the end there is nothing to see but a signal.
        if file.metadata()?.len() < len {
            return Ok(None);
        }
        #[expect(
            unsafe_code,
            reason = "measured: a read from a map takes a fraction of a system call's time"
        )]
        // SAFETY: A map is sound as long as nobody changes or cuts these bytes. The log does neither while
        // a map lives: it maps what is written and complete, gives a file another life only when it is
        // mapped no more (`ChunkFile::retire`), and gives its lock back only after the last of its maps
        // (`OpenFiles::close`). Others may do it all the same. Who changes bytes changes what the one
        // copy in `read_at` gets, and no reference lives longer than that. Who cuts the file ends the
        // process by a signal; whoever asks for maps is told so.
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
