//! What is done with the groups, and measured.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::anyhow;
use anyhow::bail;

use super::stores::Groups;
use super::stores::PAYLOAD;
use super::stores::Store;
use crate::memory;

/// The figure of [`Task::Durable`].
pub(crate) const RATE: &str = "durable appends, 64 threads, k/s";

/// The entries of a log that is filled.
const FILLED: u64 = 300_000;

/// The bytes that the hot group appends, and the entries that it keeps.
const HOT_BYTES: u64 = 400_000_000;
const HOT_KEPT: u64 = 1_000;

/// How long each durable rate is measured.
const TURN: Duration = Duration::from_secs(3);

const THREADS: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Entries spread over the groups, one at a time, not synced.
    Fill,
    /// Opens a filled log.
    Reopen,
    /// In a filled log, one group appends and compacts itself.
    Hot,
    /// Threads append to random groups, and wait for the disk each time.
    Durable,
}

type Figures = Vec<(&'static str, f64)>;

impl Task {
    const ALL: [Task; 4] = [Task::Fill, Task::Reopen, Task::Hot, Task::Durable];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Fill => "fill",
            Task::Reopen => "reopen",
            Task::Hot => "hot",
            Task::Durable => "durable",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|task| task.name() == name) {
            Some(task) => Ok(task),
            None => bail!("no task is called {name}"),
        }
    }

    pub(crate) fn suits(self, store: Store) -> bool {
        store != Store::Bare || self == Task::Durable
    }

    pub(crate) fn run(self, store: Store, dir: &Path, groups: u64) -> Result<Figures> {
        match self {
            Task::Fill => fill(&*store.open(dir)?, groups),
            Task::Reopen => reopen(store, dir),
            Task::Hot => hot(&*store.open(dir)?, dir, groups),
            Task::Durable => durable(&*store.open(dir)?, groups),
        }
    }
}

fn fill(log: &dyn Groups, groups: u64) -> Result<Figures> {
    let append = |entries: std::ops::Range<u64>| -> Result<f64> {
        let (started, count) = (Instant::now(), entries.end - entries.start);
        for n in entries {
            log.append(n % groups, 1 + n / groups, false)?;
        }
        Ok(started.elapsed().as_nanos() as f64 / count as f64)
    };
    let first = append(0..groups)?;
    Ok(vec![
        ("the first append of each group, without a sync, ns", first),
        ("further appends, ns", append(groups..FILLED)?),
    ])
}

fn reopen(store: Store, dir: &Path) -> Result<Figures> {
    let before = memory::resident()?;
    let started = Instant::now();
    let log = store.open(dir)?;
    let elapsed = started.elapsed();
    let memory = memory::resident()?.saturating_sub(before);
    let groups = log.count();
    Ok(vec![
        ("reopen, ms", elapsed.as_secs_f64() * 1e3),
        ("memory of a group after that, bytes", memory as f64 / groups as f64),
    ])
}

fn hot(log: &dyn Groups, dir: &Path, groups: u64) -> Result<Figures> {
    let hot = groups;
    let ends = AtomicBool::new(false);
    let (asked, longest_reclaim, disk_max) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let appends = HOT_BYTES / PAYLOAD as u64;
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        let background = scope.spawn(|| -> Result<()> {
            while !ends.load(Relaxed) {
                let started = Instant::now();
                asked.fetch_max(log.reclaim()? as u64, Relaxed);
                longest_reclaim.fetch_max(started.elapsed().as_micros() as u64, Relaxed);
                disk_max.fetch_max(disk_of(dir)?, Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        });
        for index in 1..=appends {
            let started = Instant::now();
            log.append(hot, index, false)?;
            if index % HOT_KEPT == 0 && index > HOT_KEPT {
                log.compact(hot, index - HOT_KEPT)?;
            }
            longest = longest.max(started.elapsed());
        }
        // What is reclaimed with a delay.
        std::thread::sleep(Duration::from_millis(500));
        ends.store(true, Relaxed);
        background.join().map_err(|_| anyhow!("the background panicked"))?
    })?;
    let alive = (FILLED + HOT_KEPT) * PAYLOAD as u64;
    Ok(vec![
        ("longest call while space is reclaimed, ms", longest.as_secs_f64() * 1e3),
        ("disk ÷ alive payloads, at the end", disk_of(dir)? as f64 / alive as f64),
        ("disk ÷ alive payloads, at most", disk_max.load(Relaxed) as f64 / alive as f64),
        ("groups that the application is asked to compact", asked.load(Relaxed) as f64),
        (
            "longest call that reclaims, on a thread of the application, ms",
            longest_reclaim.load(Relaxed) as f64 / 1e3,
        ),
    ])
}

/// The bytes of all files, in blocks.
fn disk_of(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        // A file may go meanwhile.
        bytes += entry?.metadata().map_or(0, |metadata| metadata.blocks() * 512);
    }
    Ok(bytes)
}

fn durable(log: &dyn Groups, groups: u64) -> Result<Figures> {
    let started = Instant::now();
    let appended = std::thread::scope(|scope| {
        let write = |thread: u64| -> Result<u64> {
            // Each thread has groups of its own, and goes round in them.
            let own = (groups / THREADS).max(1);
            let mut appended = 0;
            while started.elapsed() < TURN {
                let group = if groups >= THREADS { thread + THREADS * (appended % own) } else { thread };
                log.append(group, 1 + appended / own, true)?;
                appended += 1;
            }
            Ok(appended)
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || write(thread))).collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(sum)
    })?;
    Ok(vec![(RATE, appended as f64 / started.elapsed().as_secs_f64() / 1e3)])
}
