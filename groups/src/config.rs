//! [`Config`]: the log's settings, and how much space may hold nothing alive.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// The settings of a [`GroupLog`](crate::GroupLog).
///
/// ```
/// let mut config = chunked_wal_groups::Config::new("/var/lib/my-store/groups");
/// config.wal.chunk_max_size = 16 << 20;
/// config.space_factor = 2.0;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The settings of the log below. Space is reclaimed chunk by chunk, so a chunk should be small beside what is
    /// alive. Defaults: those of [`chunked_wal::Config::new`], but chunks of 8 MiB, and one spare file.
    pub wal: chunked_wal::Config,

    /// How many bytes the log may have for each byte that is alive, from 1.1 on. Once it has more, and a chunk beyond
    /// that, the oldest chunk is reclaimed. While the log has a chunk more than that, each commit waits for a
    /// millisecond. A smaller factor takes less space, and writes more: each record that stays alive is written again
    /// about once while `(space_factor - 1) × alive` bytes are appended. Default: 1.4.
    pub space_factor: f64,
}

impl Config {
    /// The defaults, for a log in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let wal = chunked_wal::Config::new(dir).chunk_max_size(8 << 20).spare_chunks(1);
        Config { wal, space_factor: 1.4 }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.space_factor >= 1.1 && self.space_factor.is_finite() {
            return Ok(());
        }
        let value = self.space_factor.to_string();
        Err(Error::InvalidConfig { setting: "space_factor", value, wanted: "but it should be from 1.1 on" })
    }

    /// The bytes above which space is reclaimed, while this many are alive.
    pub(crate) fn allowed(&self, alive: u64) -> u64 {
        ((alive as f64 * self.space_factor) as u64).saturating_add(self.wal.chunk_max_size)
    }

    /// As [`allowed`](Self::allowed), on a full disk: as little as can be had without copying everything for it.
    pub(crate) fn allowed_when_full(&self, alive: u64) -> u64 {
        alive.saturating_add(alive / 10).saturating_add(self.wal.chunk_max_size)
    }

    /// The bytes above which commits wait.
    pub(crate) fn limit(&self, alive: u64) -> u64 {
        self.allowed(alive).saturating_add(self.wal.chunk_max_size)
    }
}
