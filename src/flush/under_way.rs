//! The sync under way: since when, so that a disk that hangs is seen while it hangs; and a watch that calls the
//! program then.
//!
//! ```text
//! worker:  begin ─► sync ......... hangs ......... ─► end
//! watch:       └─ looks ──── sleeps the rest ──┴─ calls, once
//!              <────────── threshold ──────────>
//! ```
//!
//! - One sync at most is under way: the worker's, on whichever thread holds its lock.
//! - The watch sleeps for the threshold, or until a sync that it saw reaches it. So no sync has to wake it, and none
//!   is seen later than it should be.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Metrics;
use super::export::Moment;
use crate::panics::{catch, report};

/// A shorter threshold would keep the watch busy.
const THRESHOLD_MIN: Duration = Duration::from_millis(1);

/// The sync under way, if there is one.
#[derive(Debug)]
pub(crate) struct SyncUnderWay {
    /// When the log was opened.
    opened: Instant,
    /// Microseconds from `opened` to its start, and one more; 0 if there is none.
    begun_us: AtomicU64,
    shown: Moment,
}

impl Default for SyncUnderWay {
    fn default() -> Self {
        Self::shown_as(Moment::default())
    }
}

impl SyncUnderWay {
    pub(super) fn shown_as(shown: Moment) -> Self {
        SyncUnderWay { opened: Instant::now(), begun_us: AtomicU64::new(0), shown }
    }

    /// Does a sync that begins now.
    pub(crate) fn during<T>(&self, sync: impl FnOnce() -> T) -> T {
        self.since(Instant::now(), sync)
    }

    /// Does a sync that begins at `now`.
    pub(crate) fn since<T>(&self, now: Instant, sync: impl FnOnce() -> T) -> T {
        let since_open = now.saturating_duration_since(self.opened);
        self.begun_us.store(micros(since_open) + 1, Relaxed);
        self.shown.set(Some(since_open));
        // A storage may panic.
        let _ends = EndsWhenDropped(self);
        sync()
    }

    /// Which one it is, and for how long it has been under way.
    fn look(&self) -> Option<(u64, Duration)> {
        let begun = self.begun_us.load(Relaxed);
        let begun_us = begun.checked_sub(1)?;
        Some((begun, self.opened.elapsed().saturating_sub(Duration::from_micros(begun_us))))
    }

    /// For how long it has been under way, in microseconds; 0 if there is none.
    pub(crate) fn age_us(&self) -> u64 {
        self.look().map_or(0, |(_, age)| micros(age))
    }
}

struct EndsWhenDropped<'a>(&'a SyncUnderWay);

impl Drop for EndsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.begun_us.store(0, Relaxed);
        self.0.shown.set(None);
    }
}

/// In 500,000 years they fit.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}

/// What a program wants to hear of a slow sync.
pub(crate) type OnSlowSync = Arc<dyn Fn(Duration) + Send + Sync>;

/// The thread that watches for slow syncs. It begins no call once this is dropped, and ends.
///
/// Nobody waits for its end: a call under way may itself wait for the thread that drops this, as one that closes the
/// log does.
#[derive(Debug)]
pub(crate) struct SlowSyncWatch {
    stop: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl SlowSyncWatch {
    /// Calls `f` for each sync that takes `threshold`, while it is under way.
    pub(crate) fn start(metrics: Arc<Metrics>, threshold: Duration, f: OnSlowSync) -> std::io::Result<Self> {
        let stop = Arc::<Stop>::default();
        let watched = stop.clone();
        let threshold = threshold.max(THRESHOLD_MIN);
        let watch = move || watch(&watched, &metrics, threshold, &*f);
        std::thread::Builder::new().name("wal-watch".to_string()).spawn(watch)?;
        Ok(SlowSyncWatch { stop })
    }
}

impl Drop for SlowSyncWatch {
    fn drop(&mut self) {
        *self.stop.stopped.lock() = true;
        self.stop.changed.notify_all();
    }
}

fn watch(stop: &Stop, metrics: &Metrics, threshold: Duration, f: &dyn Fn(Duration)) {
    let mut told = 0;
    let mut pause = threshold;
    let mut stopped = stop.stopped.lock();
    while !*stopped {
        stop.changed.wait_for(&mut stopped, pause);
        pause = threshold;
        match metrics.sync_under_way.look() {
            Some((sync, _)) if sync == told => {}
            Some((_, age)) if age < threshold => pause = threshold - age,
            Some((sync, age)) if !*stopped => {
                told = sync;
                MutexGuard::unlocked(&mut stopped, || {
                    if catch(|| f(age)).is_none() {
                        report(|| log::error!("on_slow_sync panicked; the log goes on"));
                        report(|| metrics.callback_panic_count.fetch_add(1, Relaxed));
                    }
                });
            }
            _ => {}
        }
    }
}
