//! `nodedb-wal`: `O_DIRECT`, a second file against torn writes (each sync is two), `fsync`.

use std::path::Path;

use anyhow::Result;
use anyhow::ensure;
use nodedb_wal::GroupCommitter;
use nodedb_wal::RecordType;
use nodedb_wal::SegmentedWal;
use nodedb_wal::SegmentedWalConfig;
use nodedb_wal::WalWriter;
use nodedb_wal::group_commit::PendingWrite;
use nodedb_wal::mmap_reader::MmapWalReader;
use nodedb_wal::segment::discover_segments;
use nodedb_wal::writer::WalWriterConfig;

use super::OURS_ALONE;
use crate::peer::Fit;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::workload::Workload;

const RECORD: u32 = RecordType::Put as u32;

#[derive(Debug, Clone, Copy)]
pub(crate) struct NodedbWal;

impl Peer for NodedbWal {
    fn name(&self) -> &'static str {
        "nodedb-wal"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S3 => Fit::No("a sync blocks: nothing can be handed over and waited for later"),
            Workload::S7 => Fit::No("no read by place"),
            Workload::S8 => Fit::No(OURS_ALONE),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let mut config = SegmentedWalConfig::new(dir.to_owned());
        config.segment_target_size = setup.chunk_bytes;
        // With O_DIRECT its readers stop at the padding after the first flush.
        config.writer_config.use_direct_io = setup.forget;
        let wal = SegmentedWal::open(config)?;
        let first = wal.active_segment_first_lsn();
        Ok(Box::new(NodedbLog { wal, payload: Vec::new(), forget: setup.forget, first }))
    }

    fn replay(&self, dir: &Path, _setup: &Setup) -> Result<u64> {
        let mut count = 0;
        for segment in discover_segments(dir)? {
            let mut reader = MmapWalReader::open(&segment.path)?;
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
        let path = self.wal.wal_dir().join("shared");
        let writer = WalWriter::open(&path, WalWriterConfig::default());
        Box::new(SharedNodedb {
            writer: writer.map(std::sync::Mutex::new).map_err(|error| error.to_string()),
            committer: GroupCommitter::new(),
            payload: self.payload,
        })
    }
}

/// Its group commit knows one file, not segments.
struct SharedNodedb {
    writer: Result<std::sync::Mutex<WalWriter>, String>,
    committer: GroupCommitter,
    payload: Vec<u8>,
}

impl SharedLog for SharedNodedb {
    fn append_durable(&self) -> Result<()> {
        let writer = self.writer.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
        let write = PendingWrite {
            record_type: RECORD,
            tenant_id: 0,
            vshard_id: 0,
            database_id: 0,
            payload: self.payload.clone(),
        };
        ensure!(self.committer.submit(writer, write)?.durable, "not durable");
        Ok(())
    }
}
