//! `open-wal`: one owner; `append` gathers in memory, `commit` writes and syncs on the caller's thread.

use std::path::Path;

use anyhow::Result;
use open_wal::Lsn;
use open_wal::Wal;
use open_wal::WalConfig;
use parking_lot::Mutex;

use crate::peer::Fit;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::workload::Workload;

#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenWal;

impl Peer for OpenWal {
    fn name(&self) -> &'static str {
        "open-wal"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S3 => Fit::No("a commit blocks: nothing can be handed over and waited for later"),
            Workload::S7 => Fit::No("a record is found by reading its segment from the beginning"),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let (wal, _report) = Wal::open(dir, config(setup))?;
        let (chunk_bytes, forget) = (segment_bytes(setup), setup.forget);
        Ok(Box::new(OpenWalLog { wal, payload: Vec::new(), chunk_bytes, forget, gathered: 0, committed: 0 }))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        let (wal, _report) = Wal::open(dir, config(setup))?;
        let mut reader = wal.reader_from(Lsn(0))?;
        let mut count = 0;
        while let Some(record) = reader.next() {
            record?;
            count += 1;
        }
        Ok(count)
    }
}

fn config(setup: &Setup) -> WalConfig {
    let segment_size = segment_bytes(setup);
    WalConfig { segment_size, max_record_size: (512 << 10).min(segment_size as u32 / 2) }
}

/// A segment that has room for all that is appended between two syncs: only a commit writes, it syncs each
/// segment that it fills, and what is gathered stays in memory.
fn segment_bytes(setup: &Setup) -> u64 {
    setup.chunk_bytes.max(4 * setup.unsynced_bytes)
}

struct OpenWalLog {
    wal: Wal,
    payload: Vec<u8>,
    chunk_bytes: u64,
    forget: bool,
    /// Bytes since the last commit, and committed since the last segments were forgotten.
    gathered: u64,
    committed: u64,
}

impl Log for OpenWalLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = payload.to_vec();
    }

    fn append(&mut self) -> Result<()> {
        self.wal.append(&self.payload)?;
        self.gathered += self.payload.len() as u64;
        // Gathered records stay in memory until they are committed: there is no other way to write
        // them.
        if self.gathered >= self.chunk_bytes / 2 { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<()> {
        let durable = self.wal.commit()?;
        self.committed += self.gathered;
        self.gathered = 0;
        if self.forget && self.committed >= self.chunk_bytes {
            self.committed = 0;
            self.wal.checkpoint(durable)?;
        }
        Ok(())
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        Box::new(Mutex::new(*self))
    }
}
