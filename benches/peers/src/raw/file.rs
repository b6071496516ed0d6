//! Files in the three states that a log's file may be in when a record is written to it.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;
use rustix::fs::FallocateFlags;

const MIB: usize = 1 << 20;

/// The state of a file where the next record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    /// The file ends there: each write makes it longer.
    Growing,
    /// The file has its length and its blocks, but they were never written.
    Allocated,
    /// The file's blocks were written before.
    Reused,
}

/// Makes a new file of `len` bytes, durable with its name; an empty one to grow.
pub(crate) fn create(path: &Path, len: u64, state: FileState) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    match state {
        FileState::Growing => {}
        FileState::Allocated => rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len)?,
        FileState::Reused => {
            let bytes = crate::peer::payload(MIB);
            for offset in (0..len).step_by(MIB) {
                let n = (len - offset).min(MIB as u64) as usize;
                file.write_all_at(&bytes[..n], offset)?;
            }
        }
    }
    file.sync_all()?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

/// A file that is written from start to end, and then again from the start.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) file: File,
    len: u64,
    next: u64,
}

impl Ring {
    /// Makes the file, all of whose blocks were written before.
    pub(crate) fn create(path: &Path, len: u64) -> Result<Self> {
        Ring::create_in(path, len, FileState::Reused)
    }

    pub(crate) fn create_in(path: &Path, len: u64, state: FileState) -> Result<Self> {
        Ok(Ring { file: create(path, len, state)?, len, next: 0 })
    }

    /// Has the system start to write the last `len` bytes to the disk, and doesn't wait for that.
    pub(crate) fn write_back(&self, len: usize) -> Result<()> {
        if len == 0 {
            // To the system that means everything.
            return Ok(());
        }
        let start = self.next.saturating_sub(len as u64);
        #[expect(unsafe_code, reason = "neither std nor rustix has this call")]
        // SAFETY: the descriptor is open as long as `self.file` is; the rest are numbers.
        let done = unsafe {
            libc::sync_file_range(
                self.file.as_raw_fd(),
                start as i64,
                len as i64,
                libc::SYNC_FILE_RANGE_WRITE,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) }
    }

    /// Writes after the last write; at the start if there is no room before the end.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.next + bytes.len() as u64 > self.len {
            self.next = 0;
        }
        self.file.write_all_at(bytes, self.next)?;
        self.next += bytes.len() as u64;
        Ok(())
    }
}
