//! `nodedb-wal`: `O_DIRECT`, a second file against torn writes (each sync is two) unless it is switched off,
//! `fsync`.

use std::path::Path;

use anyhow::Result;
use nodedb_wal::DwbMode;
use nodedb_wal::RecordType;
use nodedb_wal::SegmentedWal;
use nodedb_wal::SegmentedWalConfig;
use nodedb_wal::mmap_reader::MmapWalReader;
use nodedb_wal::segment::discover_segments;
use parking_lot::Mutex;

use super::AS_THE_FIRST;
use crate::peer::Fit;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::workload::Workload;

const RECORD: u32 = RecordType::Put as u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodedbWal {
    Plain,
    /// Without the second file.
    WrittenOnce,
}

impl Peer for NodedbWal {
    fn name(&self) -> &'static str {
        match self {
            NodedbWal::Plain => "nodedb-wal",
            NodedbWal::WrittenOnce => "nodedb-wal (DwbMode::Off)",
        }
    }

    fn fit(&self, workload: Workload) -> Fit {
        use Workload::*;
        match (self, workload) {
            (_, S3) => Fit::No("a sync blocks: nothing can be handed over and waited for later"),
            (_, S7) => Fit::No("no read by place"),
            (NodedbWal::Plain, _) | (NodedbWal::WrittenOnce, S1 | S2 | S4 | S8 | S10) => Fit::Yes,
            _ => Fit::No(AS_THE_FIRST),
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let mut config = SegmentedWalConfig::new(dir.to_owned());
        config.segment_target_size = setup.chunk_bytes;
        // A log that is to be read was written anyhow: the second file is of no use for that, and slow.
        if *self == NodedbWal::WrittenOnce || !setup.forget {
            config.writer_config.dwb_mode = Some(DwbMode::Off);
        }
        let wal = SegmentedWal::open(config)?;
        let first = wal.active_segment_first_lsn();
        Ok(Box::new(NodedbLog { wal, payload: Vec::new(), forget: setup.forget, first }))
    }

    fn replay(&self, dir: &Path, _setup: &Setup) -> Result<u64> {
        let mut count = 0;
        for segment in discover_segments(dir)? {
            let mut reader = MmapWalReader::open(&segment.path, None)?;
            while reader.next_record()?.is_some() {
                count += 1;
            }
        }
        Ok(count)
    }
}

struct NodedbLog {
    wal: SegmentedWal,
    payload: Vec<u8>,
    forget: bool,
    /// The first record of the active segment.
    first: u64,
}

impl Log for NodedbLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = payload.to_vec();
    }

    fn append(&mut self) -> Result<()> {
        self.wal.append(RECORD, 0, 0, 0, &self.payload)?;
        let first = self.wal.active_segment_first_lsn();
        if self.forget && first != self.first {
            self.first = first;
            self.wal.truncate_before(first)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.wal.sync()?)
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        Box::new(SharedNodedb(Mutex::new(*self)))
    }
}

/// A sync makes the records of all threads durable that were appended before it: the next thread's finds
/// nothing to do.
struct SharedNodedb(Mutex<NodedbLog>);

impl SharedLog for SharedNodedb {
    fn append_durable(&self) -> Result<()> {
        self.0.lock().append()?;
        self.0.lock().sync()
    }
}
