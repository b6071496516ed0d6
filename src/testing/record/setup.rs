//! What stays the same through a whole crash test: the subject, and how it wants its log kept.

use std::path::Path;

use super::Subject;
use super::script::Script;
use crate::config::Config;
use crate::storage::MemoryStorage;

/// Where the log is, on every disk. Opening it makes two directories.
const DIR: &str = "/data/log";

/// Changes a log's settings.
pub(super) type Tune = Box<dyn Fn(&mut Config) + Send + Sync>;

/// Sets the switches of a new disk.
pub(super) type Prepare = Box<dyn Fn(&MemoryStorage) + Send + Sync>;

/// What is tested, and how.
pub(super) struct Plan<'a, S> {
    pub(super) subject: &'a S,
    pub(super) tune: Option<&'a Tune>,
    pub(super) prepare: Option<&'a Prepare>,
}

impl<S: Subject> Plan<'_, S> {
    /// A new disk.
    pub(super) fn disk(&self) -> MemoryStorage {
        let disk = MemoryStorage::default();
        if let Some(prepare) = self.prepare {
            prepare(&disk);
        }
        disk
    }

    /// The settings that a script asks for.
    pub(super) fn config(&self, script: &Script) -> Config {
        let mut config = Config::new(DIR);
        script.apply(&mut config);
        if let Some(tune) = self.tune {
            tune(&mut config);
            config.dir = Path::new(DIR).to_owned();
        }
        config
    }
}
