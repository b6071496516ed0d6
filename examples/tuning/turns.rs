//! The work of a turn, shared by several measurements.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use chunked_wal::{Config, Flush, Replay};

use crate::common::{Completions, Home, Log, OneMore, payload};
use crate::table::quantile;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// How long threads commit in a turn. A turn that can stop takes at most three times as long.
const TURN: Duration = Duration::from_millis(120);

/// A log with its own settings, in its steady state: the files that it writes to are reused.
pub(crate) fn warm_log(dir: &Path, set: impl FnOnce(&mut Config)) -> (Home, Log) {
    let mut home = Home::new_in(dir, 16 * MIB);
    set(&mut home.config);
    let mut log = home.open(Replay::All).unwrap();
    log.warm().unwrap();
    (home, log)
}

pub(crate) fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Appends records and makes each durable by `sync`; returns how long each took, in µs.
pub(crate) fn append_sync(log: &mut Log, size: usize, count: usize) -> Vec<f64> {
    let record = payload(size);
    time_each(count, || {
        log.append_to_short_log(&record).unwrap();
        log.wal.sync().unwrap();
    })
}

/// Returns how long each of `count` calls took, in µs; makes fewer calls on a disk where they would
/// take too long.
pub(crate) fn time_each(count: usize, mut call: impl FnMut()) -> Vec<f64> {
    let began = Instant::now();
    let mut took = Vec::with_capacity(count);
    while took.len() < count && began.elapsed() < TURN * 3 {
        let started = Instant::now();
        call();
        took.push(us(started.elapsed()));
    }
    took
}

pub(crate) fn quantiles<const N: usize>(mut values: Vec<f64>, shares: [f64; N]) -> Vec<f64> {
    shares.map(|share| quantile(&mut values, share)).to_vec()
}

/// Appends `count` records, each with its own callback, and waits at the end.
pub(crate) fn append_with_callbacks(log: &mut Log, size: usize, count: u64) -> Duration {
    let record = payload(size);
    let started = Instant::now();
    let done = Arc::new(Completions::default());
    for _ in 0..count {
        log.append_to_short_log(&record).unwrap();
        log.wal.flush(Flush::Sync, Some(OneMore(done.clone()))).unwrap();
    }
    done.wait_for(count);
    started.elapsed()
}

/// Returns how many thousand commits per second all threads make together.
pub(crate) fn commit_rate(threads: usize, log: &Mutex<Log>, commit: impl Fn(&Mutex<Log>) + Sync) -> f64 {
    let start = Barrier::new(threads + 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let commit_until_stopped = || {
            start.wait();
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                commit(log);
                count += 1;
            }
            count
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(commit_until_stopped)).collect();
        start.wait();
        let started = Instant::now();
        std::thread::sleep(TURN);
        stop.store(true, Ordering::Relaxed);
        let count: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        count as f64 / started.elapsed().as_secs_f64() / 1e3
    })
}

/// Appends under the lock and waits outside it, so that other threads append meanwhile.
pub(crate) fn commit_by_ticket(log: &Mutex<Log>) {
    let record = payload(64);
    let ticket = {
        let mut log = log.lock().unwrap();
        log.append_to_short_log(&record).unwrap();
        log.wal.flush_ticket(Flush::Sync).unwrap()
    };
    ticket.wait().unwrap();
}
