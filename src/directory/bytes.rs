//! A file's bytes for a scan, with sectors that can't be read filled in if asked for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;

use crate::format::ReadAt;
use crate::storage::{Access, Storage, StorageFile, read_full_at};

/// The bytes of one file, up to `len`, for the scan.
#[derive(Debug, Clone)]
pub(crate) struct FileBytes {
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) len: u64,
    /// The position after the last sector that couldn't be read and was [filled](Self::filling), 0 for none;
    /// `None` if an unreadable sector is an error.
    filled_to: Option<Arc<AtomicU64>>,
}

/// A disk reads no less at a time.
const SECTOR: u64 = 512;

impl FileBytes {
    pub(crate) fn new(file: Arc<dyn StorageFile>, len: u64) -> Self {
        FileBytes { file, len, filled_to: None }
    }

    /// All bytes of the file at `path`.
    pub(super) fn open(storage: &dyn Storage, path: &Path) -> io::Result<Self> {
        let file = storage.open(path, Access::Read)?;
        let len = file.len()?;
        Ok(Self::new(file, len))
    }

    /// The same bytes, with ones in the place of sectors that can't be read (`EIO`): neither part of a sound
    /// frame nor zeros.
    pub(crate) fn filling(self) -> Self {
        FileBytes { filled_to: Some(Arc::default()), ..self }
    }

    /// The position after the last sector that was filled.
    pub(crate) fn filled_to(&self) -> Option<u64> {
        self.filled_to.as_ref().map(|to| to.load(Relaxed)).filter(|to| *to > 0)
    }

    fn read_filling(&self, buf: &mut [u8], position: u64, filled_to: &AtomicU64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = position + done as u64;
            let n = buf.len().min(done + (SECTOR - at % SECTOR) as usize) - done;
            let piece = &mut buf[done..done + n];
            match read_full_at(&*self.file, piece, at) {
                Ok(got) if got < n => return Ok(done + got),
                Ok(_) => {}
                Err(error) if is_unreadable(&error) => {
                    piece.fill(0xFF);
                    filled_to.fetch_max(at + n as u64, Relaxed);
                }
                Err(error) => return Err(error),
            }
            done += n;
        }
        Ok(done)
    }
}

fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

impl ReadAt for FileBytes {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(position);
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        match (read_full_at(&*self.file, &mut buf[..n], position), &self.filled_to) {
            (Err(error), Some(filled_to)) if is_unreadable(&error) => {
                self.read_filling(&mut buf[..n], position, filled_to)
            }
            (read, _) => read,
        }
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        self.file.next_data(position)
    }
}
