//! `SharedWal` beside the bare log in a mutex: durable commits from threads and from tasks, and what it costs a task
//! to wait.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench shared                  # 51 rounds, about a minute
//! cargo bench -p chunked-wal-benches --bench shared -- 9 /dev/shm    # another number, in another directory
//! ```
//!
//! The two take turns, each in a log of its own; a figure is the median of all rounds, the ratio that of the rounds'
//! ratios.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

#[allow(dead_code, reason = "it has more for others")]
#[path = "../examples/tuning/common.rs"]
mod common;
#[path = "figures.rs"]
mod figures;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Config, Error, Flush, FlushTicket, Replay, SharedWal};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use common::{Count, Home, Payloads};
use figures::{cpu_time, median};

/// How long the threads commit in one turn.
const TURN: Duration = Duration::from_millis(60);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn payload() -> Vec<u8> {
    vec![7; 64]
}

/// A log that many use, in one of two ways.
#[derive(Clone)]
enum Log {
    ByHand(Arc<Mutex<(ChunkedWal<Payloads>, Count)>>),
    Shared(SharedWal<Payloads, Count>),
}

impl Log {
    fn ticket_by_hand(log: &Mutex<(ChunkedWal<Payloads>, Count)>) -> Result<FlushTicket, Error> {
        let (wal, count) = &mut *log.lock();
        wal.append_and_apply(payload(), count)?;
        wal.flush_ticket(Flush::Sync)
    }

    /// Returns once it is durable.
    fn commit(&self) -> Result<(), Error> {
        match self {
            Log::ByHand(log) => Log::ticket_by_hand(log)?.wait(),
            Log::Shared(wal) => wal.commit(payload())?.wait().map(drop),
        }
    }

    async fn commit_async(self) -> Result<(), Error> {
        match self {
            Log::ByHand(log) => {
                let ticket = Log::ticket_by_hand(&log)?;
                ticket.await
            }
            Log::Shared(wal) => wal.commit_async(payload()).await?.await.map(drop),
        }
    }

    /// Keeps only the open chunk.
    fn shorten(&self) -> Result<(), Error> {
        let shorten = |wal: &mut ChunkedWal<Payloads>| {
            let ids = wal.drain_closed_chunks_while(|_| true);
            wal.remove_chunks(ids)?;
            wal.wait_idle()
        };
        match self {
            Log::ByHand(log) => shorten(&mut log.lock().0),
            Log::Shared(wal) => wal.with_log(|wal, _| shorten(wal))?,
        }
    }
}

/// Both logs, each in its steady state.
fn logs(homes: &[Home; 2]) -> Result<[Log; 2], Error> {
    let mut opened = Vec::new();
    for home in homes {
        let mut log = home.open(Replay::All)?;
        log.warm()?;
        opened.push((log.wal, Count(log.count)));
    }
    let [by_hand, (wal, count)] = opened.try_into().map_err(|_| Error::Closed)?;
    Ok([Log::ByHand(Arc::new(Mutex::new(by_hand))), Log::Shared(SharedWal::new(wal, count))])
}

/// Commits that were made, and how long that took.
type Turn = (usize, Duration);

fn by_threads(log: &Log, threads: usize) -> Turn {
    let started = Instant::now();
    let commit = || (0..).take_while(|_| started.elapsed() < TURN).map(|_| log.commit().unwrap()).count();
    let commits = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(commit)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    (commits, started.elapsed())
}

fn by_tasks(runtime: &Runtime, log: &Log, tasks: usize) -> Turn {
    let started = Instant::now();
    runtime.block_on(async {
        let spawned: Vec<_> = (0..tasks).map(|_| tokio::spawn(log.clone().commit_async())).collect();
        for task in spawned {
            task.await.unwrap().unwrap();
        }
    });
    (tasks, started.elapsed())
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

/// Nanoseconds for the first poll of a ticket, for giving one up, and for waking one, while this number of tickets waits.
fn waiting(tickets: usize) -> Outcome<[f64; 3]> {
    let disk = MemoryStorage::default();
    let mut count = Count::default();
    let wal = ChunkedWal::options(Config::new("/log")).storage(Arc::new(disk.clone())).open(&mut count)?;
    wal.wait_idle()?;
    let wal = SharedWal::new(wal, count);
    disk.pause_syncs(true);
    let mut commits = (0..tickets).map(|_| wal.commit(payload())).collect::<Result<Vec<_>, _>>()?;
    let wakers: Vec<_> = (0..tickets).map(|_| Waker::from(Arc::new(Nothing))).collect();
    let each = |started: Instant, count: usize| started.elapsed().as_nanos() as f64 / count as f64;
    let started = Instant::now();
    for (commit, waker) in commits.iter_mut().zip(&wakers) {
        assert!(Pin::new(commit).poll(&mut Context::from_waker(waker)).is_pending());
    }
    let poll = each(started, tickets);
    let kept = commits.split_off(tickets / 2);
    let started = Instant::now();
    drop(commits);
    let drops = each(started, tickets / 2);
    let started = Instant::now();
    disk.pause_syncs(false);
    let last = kept.into_iter().next_back().ok_or(Error::Closed)?;
    last.wait()?;
    wal.with_log(|wal, _| wal.wait_idle())??;
    Ok([poll, drops, each(started, tickets - tickets / 2)])
}

/// One line of a table: both rates, how the second compares, and the processor time of one commit.
fn compare(rounds: usize, name: &str, logs: &[Log; 2], turn: impl Fn(&Log) -> Turn) -> Result<(), Error> {
    let (mut rates, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    let mut used = [(0, 0.0); 2];
    for round in 0..rounds {
        // Each is the first one every other time.
        for which in [round % 2, 1 - round % 2] {
            let before = cpu_time(std::process::id());
            let (commits, took) = turn(&logs[which]);
            used[which].0 += commits;
            used[which].1 += cpu_time(std::process::id()) - before;
            rates[which].push(commits as f64 / took.as_secs_f64() / 1000.0);
            logs[which].shorten()?;
        }
        ratios.push(rates[1][round] / rates[0][round]);
    }
    let [by_hand, shared] = rates.map(median);
    let [by_hand_cpu, shared_cpu] = used.map(|(commits, seconds)| seconds * 1e6 / commits as f64);
    let ratio = median(ratios);
    println!("| {name} | {by_hand:.1} | {shared:.1} | {ratio:.3} | {by_hand_cpu:.2} | {shared_cpu:.2} |");
    Ok(())
}

fn main() -> Outcome<()> {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(51);
    let dir = std::env::args().skip(1).find(|arg| Path::new(arg).is_dir());
    let dir = dir.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_string());
    let homes = [0, 1].map(|_| Home::new_in(Path::new(&dir), 8 << 20));
    let logs = logs(&homes)?;
    println!("Medians of {rounds} rounds, records of 64 bytes\n");
    println!(
        "| durable commits | by hand, k/s | `SharedWal`, k/s | ratio | by hand, CPU µs | `SharedWal`, CPU µs |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for threads in [1, 8, 64] {
        let name = if threads == 1 { "1 thread".to_string() } else { format!("{threads} threads") };
        compare(rounds, &name, &logs, |log| by_threads(log, threads))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    for tasks in [1_000, 10_000, 64_000] {
        compare(rounds, &format!("{tasks} tasks"), &logs, |log| by_tasks(&runtime, log, tasks))?;
    }
    println!("\n| commits that wait | first poll, ns | given up, ns | woken, ns |");
    println!("| --- | ---: | ---: | ---: |");
    for tickets in [1_000, 10_000, 64_000] {
        let turns = (0..rounds.min(9)).map(|_| waiting(tickets)).collect::<Outcome<Vec<_>>>()?;
        let [poll, drops, wake] = [0, 1, 2].map(|i| median(turns.iter().map(|turn| turn[i]).collect()));
        println!("| {tickets} | {poll:.0} | {drops:.0} | {wake:.0} |");
    }
    Ok(())
}
