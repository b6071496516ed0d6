//! What stays the same through a whole crash test: the subject, and how it wants its log kept.

use std::path::Path;

use super::Subject;
use super::script::Script;
use crate::config::Config;

/// Where the log is, on every disk. Opening it makes two directories.
const DIR: &str = "/data/log";

/// Changes a log's settings.
pub(super) type Tune = Box<dyn Fn(&mut Config) + Send + Sync>;

/// What is tested, and how.
pub(super) struct Plan<'a, S> {
    pub(super) subject: &'a S,
    pub(super) tune: Option<&'a Tune>,
}

impl<S: Subject> Plan<'_, S> {
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
