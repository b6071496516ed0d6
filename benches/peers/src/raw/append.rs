//! S4 and S10: copy, checksum, and one `write` for each MiB. S8: one for each record, and a sync.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::file::FileState;
use super::file::Ring;
use super::frame;

const BUFFER: usize = 1 << 20;

/// Whether written bytes start on their way to the disk before the sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteBack {
    AtTheSync,
    Early,
}

/// Appends through a buffer.
#[derive(Debug)]
pub(crate) struct BufferedWriter {
    ring: Ring,
    write_back: WriteBack,
    buffer: Vec<u8>,
}

impl BufferedWriter {
    pub(crate) fn create(dir: &Path, len: u64, state: FileState, write_back: WriteBack) -> Result<Self> {
        let ring = Ring::create_in(&dir.join("file"), len, state)?;
        Ok(BufferedWriter { ring, write_back, buffer: Vec::with_capacity(2 * BUFFER) })
    }

    /// Appends `count` times, then syncs; returns when the last record was appended.
    pub(crate) fn append_then_sync(&mut self, payload: &[u8], count: u64) -> Result<Instant> {
        for _ in 0..count {
            self.append(payload);
            if self.buffer.len() >= BUFFER {
                self.write()?;
                if self.write_back == WriteBack::Early {
                    self.ring.write_back(BUFFER)?;
                }
            }
        }
        let appended = Instant::now();
        self.sync()?;
        Ok(appended)
    }

    /// Appends to memory.
    pub(crate) fn append(&mut self, payload: &[u8]) {
        frame::push(&mut self.buffer, payload);
    }

    /// Writes and syncs everything appended.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.write()?;
        Ok(self.ring.file.sync_data()?)
    }

    fn write(&mut self) -> Result<()> {
        self.ring.write(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
