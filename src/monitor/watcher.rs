//! The thread that looks: at once when an idle source changes, every 20 ms while the source is busy, and
//! once per poll interval in any case.
//!
//! ```text
//! idle: set up the watch ─► look ─► wait ─┬─ a change ──────► busy
//!                                         └─ poll interval ─► idle
//! busy: look ─► lift the watch ─► pause ─┬─ the look brought something new ─► busy
//!                                        └─ nothing new ────────────────────► idle
//! ```
//!
//! - While a watch is set up, the operating system makes an event of each write, and wakes a thread for
//!   it. A busy writer pays for that, so a busy source is not watched: the thread looks at it after
//!   pauses instead.
//! - The watch is set up before a look, so that no change in between is missed.
//! - The thread looks at least once per poll interval. So a watch that can't be set up, a file system
//!   that doesn't report changes by other machines, and a lost event cost time and nothing else: there
//!   is no second mode to fall back to.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Watch;
use super::shared::{Shared, Wake};

/// The shortest time between two looks at a busy source. A record is seen this much later at most, if a
/// look is short.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(20);
/// A pause takes this many times as long as the look before it: in a directory of many chunks a look
/// is long.
const PAUSE_LOOKS: u32 = 10;
/// The longest pause after a long look.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What to watch, and how.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) dir: PathBuf,
    /// Only files whose names start with the prefix; all files where it is empty.
    pub(super) prefix: OsString,
    pub(super) watch: Watch,
    pub(super) poll_interval: Duration,
}

/// The watch on a directory.
#[derive(Default)]
struct Watched {
    watcher: Option<RecommendedWatcher>,
    /// The directory that is watched: another one may get its name. `None` while the watch is lifted.
    identity: Option<(u64, u64)>,
}

/// Starts the thread, which ends once `shared` is stopped.
pub(super) fn spawn<S>(shared: Arc<Shared<S>>, target: Target) -> std::io::Result<JoinHandle<()>>
where
    S: Clone + PartialEq + Send + 'static,
{
    std::thread::Builder::new().name("wal-monitor".to_string()).spawn(move || {
        let mut watched = Watched::default();
        loop {
            if target.watch == Watch::Os {
                watched.set_up(&target, &shared);
            }
            shared.look();
            match shared.wait_for_change(target.poll_interval) {
                Wake::Stopped => return,
                Wake::Interval => {}
                Wake::Changed if follow_busy(&mut watched, &shared, &target) => {}
                Wake::Changed => return,
            }
        }
    })
}

/// Looks, without a watch, until a look brings nothing new, and pauses after each look; `false` once stopped.
fn follow_busy<S>(watched: &mut Watched, shared: &Shared<S>, target: &Target) -> bool
where
    S: Clone + PartialEq,
{
    loop {
        let started = Instant::now();
        let is_new = shared.look();
        let look = started.elapsed();
        watched.lift(&target.dir);
        if !shared.pause(pause(look).min(target.poll_interval)) {
            return false;
        }
        if !is_new {
            return true;
        }
    }
}

/// The pause after a look that took so long.
pub(super) fn pause(look: Duration) -> Duration {
    look.saturating_mul(PAUSE_LOOKS).clamp(PAUSE_MIN, PAUSE_MAX)
}

impl Watched {
    /// Sets up the watch if there is none, or if its directory was replaced.
    fn set_up<S>(&mut self, target: &Target, shared: &Arc<Shared<S>>)
    where
        S: Clone + PartialEq + Send + 'static,
    {
        let dir = &target.dir;
        let Ok(found) = std::fs::metadata(dir) else {
            // The directory is missing or unreadable, which the look will report.
            self.lift(dir);
            return;
        };
        let identity = Some((found.dev(), found.ino()));
        if self.identity == identity {
            return;
        }
        self.lift(dir);
        match self.watch(target, shared) {
            Ok(()) => {
                shared.set_watch_error(None);
                self.identity = identity;
            }
            Err(error) => {
                self.watcher = None;
                let error = error.to_string();
                if shared.watch_error().is_none() {
                    let (dir, interval) = (dir.display(), target.poll_interval);
                    log::warn!("'{dir}' can't be watched, it is looked at every {interval:?}: {error}");
                }
                shared.set_watch_error(Some(error));
            }
        }
    }

    fn watch<S>(&mut self, target: &Target, shared: &Arc<Shared<S>>) -> notify::Result<()>
    where
        S: Clone + PartialEq + Send + 'static,
    {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => none.insert(watcher(target, shared)?),
        };
        watcher.watch(&target.dir, RecursiveMode::NonRecursive)
    }

    /// Lifts the watch, if there is one. The watcher stays, because closing it takes the operating system longer.
    fn lift(&mut self, dir: &Path) {
        if self.identity.take().is_none() {
            return;
        }
        if let Some(watcher) = &mut self.watcher
            && watcher.unwatch(dir).is_err()
        {
            // The directory was deleted, and the watch with it.
            self.watcher = None;
        }
    }
}

/// A watcher, whose thread reports changes of the files that matter.
fn watcher<S>(target: &Target, shared: &Arc<Shared<S>>) -> notify::Result<RecommendedWatcher>
where
    S: Clone + PartialEq + Send + 'static,
{
    let (shared, prefix) = (shared.clone(), target.prefix.clone());
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| !concerns(&event, prefix.as_bytes())) {
            return;
        }
        shared.touch();
    })
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
