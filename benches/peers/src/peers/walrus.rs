//! `walrus-rust`: a topic of a store whose files are opened with `O_SYNC`. Its data directory and its
//! silence come from the environment; see `main`.

use std::path::Path;

use anyhow::Result;
use anyhow::bail;
use walrus_rust::FsyncSchedule;
use walrus_rust::ReadConsistency;
use walrus_rust::Walrus;

use crate::peer::Fit;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::workload::Workload;

/// Where it puts its directories, by the environment.
pub(crate) const DIR_VARIABLE: &str = "WALRUS_DATA_DIR";

/// It prints all it does unless this is set.
pub(crate) const QUIET_VARIABLE: &str = "WALRUS_QUIET";

const TOPIC: &str = "t";

/// The most entries of a batch.
const BATCH: usize = 2000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct WalrusRust;

impl Peer for WalrusRust {
    fn name(&self) -> &'static str {
        "walrus-rust"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S3 => Fit::No("an append blocks: nothing can be handed over and waited for later"),
            Workload::S4 => Fit::No("no call that syncs what was appended before"),
            Workload::S6 => Fit::No("opens a file of a gigabyte for each log"),
            Workload::S7 => Fit::No("no read by place"),
            Workload::S8 => Fit::No("has files of a gigabyte"),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, _setup: &Setup) -> Result<Box<dyn Log>> {
        Ok(Box::new(WalrusLog { walrus: open(dir)?, payload: Vec::new() }))
    }

    fn replay(&self, dir: &Path, _setup: &Setup) -> Result<u64> {
        let walrus = open(dir)?;
        let mut count = 0;
        loop {
            let entries = walrus.batch_read_for_topic(TOPIC, 1 << 20, true)?;
            if entries.is_empty() {
                return Ok(count);
            }
            count += entries.len() as u64;
        }
    }
}

/// Opens the store in a directory. It takes a key, not a path: the key's directory is a link to this one.
fn open(dir: &Path) -> Result<Walrus> {
    let consistency = ReadConsistency::AtLeastOnce { persist_every: u32::MAX };
    let Some(data_dir) =
        std::env::var_os(DIR_VARIABLE).filter(|_| std::env::var_os(QUIET_VARIABLE).is_some())
    else {
        bail!("{DIR_VARIABLE} and {QUIET_VARIABLE} are not set");
    };
    let key = dir.to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let link = Path::new(&data_dir).join(&key);
    if !link.exists() {
        std::fs::create_dir_all(&data_dir)?;
        std::os::unix::fs::symlink(dir, &link)?;
    }
    Ok(Walrus::with_consistency_and_schedule_for_key(&key, consistency, FsyncSchedule::SyncEach)?)
}

struct WalrusLog {
    walrus: Walrus,
    payload: Vec<u8>,
}

impl Log for WalrusLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = payload.to_vec();
    }

    fn append(&mut self) -> Result<()> {
        Ok(self.walrus.append_for_topic(TOPIC, &self.payload)?)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn append_many(&mut self, count: u64) -> Result<()> {
        let mut left = count as usize;
        while left > 0 {
            let batch = vec![self.payload.as_slice(); left.min(BATCH)];
            self.walrus.batch_append_for_topic(TOPIC, &batch)?;
            left -= batch.len();
        }
        Ok(())
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        self
    }
}

impl SharedLog for WalrusLog {
    fn append_durable(&self) -> Result<()> {
        Ok(self.walrus.append_for_topic(TOPIC, &self.payload)?)
    }
}
