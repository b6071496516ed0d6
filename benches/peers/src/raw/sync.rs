//! S1: one record, `pwrite`, `fdatasync`.

use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use anyhow::ensure;
use rustix::io::ReadWriteFlags;

use super::file::FileState;
use super::file::create;

/// How a record is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// `pwrite`, then `fdatasync`.
    Fdatasync,
    /// One `pwritev2` with `RWF_DSYNC`.
    Dsync,
}

/// Writes records one after the other, each durable before the next.
#[derive(Debug)]
pub(crate) struct DurableWriter {
    path: PathBuf,
    file: File,
    state: FileState,
    how: How,
    len: u64,
    next: u64,
}

impl DurableWriter {
    pub(crate) fn create(dir: &Path, len: u64, state: FileState, how: How) -> Result<Self> {
        let path = dir.join("file");
        let file = create(&path, len, state)?;
        Ok(DurableWriter { path, file, state, how, len, next: 0 })
    }

    /// Starts over with a file in the wanted state, if this one has no room for `bytes`. Not timed.
    pub(crate) fn make_room(&mut self, bytes: u64) -> Result<()> {
        if self.next + bytes > self.len {
            self.next = 0;
            if self.state != FileState::Reused {
                self.file = create(&self.path, self.len, self.state)?;
            }
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<()> {
        match self.how {
            How::Fdatasync => {
                self.file.write_all_at(payload, self.next)?;
                self.file.sync_data()?;
            }
            How::Dsync => {
                let bytes = [IoSlice::new(payload)];
                let n = rustix::io::pwritev2(&self.file, &bytes, self.next, ReadWriteFlags::DSYNC)?;
                ensure!(n == payload.len(), "wrote {n} bytes of {}", payload.len());
            }
        }
        self.next += payload.len() as u64;
        Ok(())
    }
}
