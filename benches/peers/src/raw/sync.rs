//! S1: one record, `pwrite`, `fdatasync`.

use std::fs;
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
    dir: PathBuf,
    file: File,
    state: FileState,
    how: How,
    len: u64,
    next: u64,
    /// How many files there were before this one.
    number: u64,
}

impl DurableWriter {
    pub(crate) fn create(dir: &Path, len: u64, state: FileState, how: How) -> Result<Self> {
        let file = create(&path(dir, 0), len, state)?;
        Ok(DurableWriter { dir: dir.to_owned(), file, state, how, len, next: 0, number: 0 })
    }

    /// Starts over with a new file, at another place on the disk: one file's place may be a good or a bad
    /// one. Not timed.
    pub(crate) fn renew(&mut self) -> Result<()> {
        let old = path(&self.dir, self.number);
        self.number += 1;
        self.next = 0;
        self.file = create(&path(&self.dir, self.number), self.len, self.state)?;
        Ok(fs::remove_file(old)?)
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

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("file-{number}"))
}
