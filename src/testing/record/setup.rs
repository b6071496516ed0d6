//! The setup of a crash test, the same for all its workloads: the subject, and settings of log and
//! disk.

use std::path::Path;

use crate::config::Config;
use crate::storage::MemoryStorage;
use crate::testing::Subject;
use crate::testing::script::Script;

/// The log's directory on every disk. Opening the log makes two directories.
const DIR: &str = "/data/log";

/// Changes a log's settings.
pub(crate) type Tune = Box<dyn Fn(&mut Config) + Send + Sync>;

/// Sets the switches of a new disk.
pub(crate) type Prepare = Box<dyn Fn(&MemoryStorage) + Send + Sync>;

/// The subject of the test, and the settings for log and disk.
pub(crate) struct Setup<'a, S> {
    pub(crate) subject: &'a S,
    pub(crate) tune: Option<&'a Tune>,
    pub(crate) prepare: Option<&'a Prepare>,
}

impl<S: Subject> Setup<'_, S> {
    /// Returns a new disk.
    pub(crate) fn disk(&self) -> MemoryStorage {
        let disk = MemoryStorage::default();
        if let Some(prepare) = self.prepare {
            prepare(&disk);
        }
        disk
    }

    /// Returns the settings of a script.
    pub(crate) fn config(&self, script: &Script) -> Config {
        let mut config = Config::new(DIR);
        script.apply(&mut config);
        if let Some(tune) = self.tune {
            tune(&mut config);
            config.dir = Path::new(DIR).to_owned();
        }
        config
    }
}
