//! `wal-db`: any thread appends, by a `pwrite` of its own; syncs are shared.

use std::path::Path;

use anyhow::Result;
use anyhow::anyhow;
use wal_db::Lsn;
use wal_db::SegmentedStore;
use wal_db::Wal;

use crate::peer::Fit;
use crate::peer::Found;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::RandomReads;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::found;
use crate::workload::Workload;

#[derive(Debug, Clone, Copy)]
pub(crate) struct WalDb;

impl Peer for WalDb {
    fn name(&self) -> &'static str {
        "wal-db"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S3 => Fit::No("a sync blocks: nothing can be handed over and waited for later"),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let wal = Wal::open_segmented(dir, setup.chunk_bytes)?;
        let forget_after = setup.forget.then_some(3 * setup.chunk_bytes);
        Ok(Box::new(WalDbLog { wal, payload: Vec::new(), forget_after, appended: 0 }))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        let wal = Wal::open_segmented(dir, setup.chunk_bytes)?;
        let mut count = 0;
        for record in wal.iter()? {
            record?;
            count += 1;
        }
        Ok(count)
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let wal = Wal::open_segmented(dir, 1 << 30)?;
        let places = (0..count).map(|_| Ok(wal.append(payload)?)).collect::<Result<_>>()?;
        wal.sync()?;
        Ok(Box::new(Reads { wal, places }))
    }
}

struct WalDbLog {
    wal: Wal<SegmentedStore>,
    payload: Vec<u8>,
    forget_after: Option<u64>,
    appended: u64,
}

impl Log for WalDbLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = payload.to_vec();
    }

    fn append(&mut self) -> Result<()> {
        let lsn = self.wal.append(&self.payload)?;
        self.appended += self.payload.len() as u64;
        if self.forget_after.is_some_and(|bytes| self.appended >= bytes) {
            self.appended = 0;
            self.wal.sync()?;
            let _first = self.wal.truncate_before(lsn)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.wal.sync()?)
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        self
    }
}

impl SharedLog for WalDbLog {
    fn append_durable(&self) -> Result<()> {
        let _lsn = self.wal.append_and_sync(&self.payload)?;
        Ok(())
    }
}

struct Reads {
    wal: Wal<SegmentedStore>,
    places: Vec<Lsn>,
}

impl RandomReads for Reads {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        let places = records.iter().map(|record| self.places[*record as usize]);
        found(places, |place| {
            let record = self.wal.iter_from(*place)?.next();
            Ok(record.ok_or_else(|| anyhow!("no such record"))??.len())
        })
    }
}
