//! The thread that looks: when the operating system reports a change, and once per poll interval.
//!
//! ```text
//! notify's thread: event ─► touch ─┐
//!                                  ├─► wal-monitor: renew watch? ─► look ─► pause ┐
//! poll interval ───────────────────┘      ▲                                      │
//!                                         └──────────────────────────────────────┘
//! ```
//!
//! - The thread looks at least once per poll interval. So a watch that can't be set up, a file system
//!   that doesn't report changes by other machines, and a lost event cost time and nothing else: there
//!   is no second mode to fall back to.
//! - The thread pauses between looks, so that following a busy log doesn't slow it down.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Watch;
use super::shared::Shared;

/// What to watch, and how.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) dir: PathBuf,
    /// Only files whose names start with the prefix; all files where it is empty.
    pub(super) prefix: OsString,
    pub(super) watch: Watch,
    pub(super) poll_interval: Duration,
}

/// A watch on a directory, and which directory that is: another one may get its name.
struct Watched {
    _watcher: RecommendedWatcher,
    identity: (u64, u64),
}

/// Starts the thread, which ends once `shared` is stopped.
pub(super) fn spawn<S>(shared: Arc<Shared<S>>, target: Target) -> std::io::Result<JoinHandle<()>>
where
    S: Clone + PartialEq + Send + 'static,
{
    std::thread::Builder::new().name("wal-monitor".to_string()).spawn(move || {
        let mut watched = None;
        loop {
            // Before the look, so that no change in between is missed.
            if target.watch == Watch::Os {
                target.renew_watch(&mut watched, &shared);
            }
            shared.look();
            if !shared.wait_for_change(target.poll_interval) {
                return;
            }
        }
    })
}

impl Target {
    /// Sets up the watch if there is none, or if its directory was replaced.
    fn renew_watch<S>(&self, watched: &mut Option<Watched>, shared: &Arc<Shared<S>>)
    where
        S: Clone + PartialEq + Send + 'static,
    {
        let Ok(found) = std::fs::metadata(&self.dir) else {
            // The directory is missing or unreadable, which the look will report.
            *watched = None;
            return;
        };
        let identity = (found.dev(), found.ino());
        if watched.as_ref().is_some_and(|watched| watched.identity == identity) {
            return;
        }
        *watched = None;
        match self.set_up(shared) {
            Ok(watcher) => {
                shared.set_watch_error(None);
                *watched = Some(Watched { _watcher: watcher, identity });
            }
            Err(error) => {
                let error = error.to_string();
                if shared.watch_error().is_none() {
                    let (dir, interval) = (self.dir.display(), self.poll_interval);
                    log::warn!("'{dir}' can't be watched, it is looked at every {interval:?}: {error}");
                }
                shared.set_watch_error(Some(error));
            }
        }
    }

    fn set_up<S>(&self, shared: &Arc<Shared<S>>) -> notify::Result<RecommendedWatcher>
    where
        S: Clone + PartialEq + Send + 'static,
    {
        let (shared, prefix) = (shared.clone(), self.prefix.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !concerns(&event, prefix.as_bytes())) {
                return;
            }
            shared.touch();
        })?;
        watcher.watch(&self.dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }
}

/// Whether an event can have changed anything. The look itself opens files, which is an event too.
fn concerns(event: &Event, prefix: &[u8]) -> bool {
    let named = |path: &PathBuf| {
        let name = Path::file_name(path).unwrap_or_default();
        name.as_bytes().starts_with(prefix)
    };
    // An event without a path means that events were lost.
    !matches!(event.kind, EventKind::Access(_)) && (event.paths.is_empty() || event.paths.iter().any(named))
}
