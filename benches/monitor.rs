//! What a monitor costs the writer that it follows: a log with and without a [`WalMonitor`] in another process.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench monitor                  # 101 rounds, a minute
//! cargo bench -p chunked-wal-benches --bench monitor -- 9 /dev/shm    # another number, in another directory
//! ```
//!
//! Each round has a turn with the monitor and one without it, on the same log, in changing order. A figure is the
//! median of all rounds, the ratio that of the rounds' ratios.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

#[allow(dead_code, reason = "it has more for others")]
#[path = "../examples/tuning/common.rs"]
mod common;
#[path = "figures.rs"]
mod figures;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use chunked_wal::monitor::WalMonitor;
use chunked_wal::{Error, Flush, Replay, SharedWal, WalRecord};

use common::{Count, Home, Payloads};
use figures::{cpu_time, median};

/// How long the threads write in one turn.
const TURN: Duration = Duration::from_millis(100);
const FOLLOW: &str = "CHUNKED_WAL_BENCH_FOLLOW";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn payload() -> Vec<u8> {
    vec![7; 256]
}

/// Follows the log in `dir` from an odd line of standard input to the next even one; answers each line. The answer to
/// an even line is the number of events.
fn follow(dir: &Path) -> Outcome<()> {
    let mut lines = std::io::stdin().lines();
    while lines.next().is_some() {
        let mut monitor = WalMonitor::open(dir)?;
        let stop = monitor.stop_handle();
        let events = std::thread::spawn(move || monitor.events().filter(Result::is_ok).count());
        // The thread of the monitor sets up its watch.
        std::thread::sleep(Duration::from_millis(5));
        println!("0");
        lines.next();
        stop.stop();
        println!("{}", events.join().unwrap());
    }
    Ok(())
}

/// The process with the monitor.
struct Follower {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Follower {
    fn start(dir: &Path) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(FOLLOW, dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Ok(Follower { child, to, from })
    }

    /// Starts or stops the monitor; returns its number of events.
    fn switch(&mut self) -> Outcome<u64> {
        writeln!(self.to)?;
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        Ok(answer.trim().parse()?)
    }
}

/// How much was written, and how long that took.
type Turn = (usize, Duration);

/// Commits in `threads` threads.
fn commits(log: &SharedWal<Payloads, Count>, threads: usize) -> Turn {
    let started = Instant::now();
    let commit = || log.commit(payload()).unwrap().wait().map(drop).unwrap();
    let count = || (0..).take_while(|_| started.elapsed() < TURN).map(|_| commit()).count();
    let commits = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    (commits, started.elapsed())
}

/// Writes each record to its file, and waits for that, without a sync.
fn writes(log: &SharedWal<Payloads, Count>) -> Outcome<Turn> {
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < TURN {
        log.with_log(|wal, state| {
            if wal.is_open_chunk_full() {
                wal.close_open_chunk_with(state.read(|count| count.0))?;
            }
            wal.append(&WalRecord::Action(payload()))?;
            state.change(|count| count.0 += 1);
            wal.flush_ticket(Flush::Write)?.wait()
        })??;
        count += 1;
    }
    Ok((count, started.elapsed()))
}

/// Keeps only the open chunk.
fn shorten(log: &SharedWal<Payloads, Count>) -> Result<(), Error> {
    log.with_log(|wal, _| {
        let ids = wal.drain_closed_chunks_while(|_| true);
        wal.remove_chunks(ids)?;
        wal.wait_idle()
    })?
}

/// One line of the table.
fn compare(
    rounds: usize,
    name: &str,
    log: &SharedWal<Payloads, Count>,
    follower: &mut Follower,
    turn: impl Fn() -> Outcome<Turn>,
) -> Outcome<()> {
    let (mut rates, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    let (mut events, mut follower_cpu, mut writer_cpu) = (0, 0.0, [(0, 0.0); 2]);
    for round in 0..rounds {
        for followed in [round % 2, 1 - round % 2] {
            if followed == 1 {
                follower.switch()?;
            }
            let before = [cpu_time(std::process::id()), cpu_time(follower.child.id())];
            let (count, took) = turn()?;
            writer_cpu[followed].0 += count;
            writer_cpu[followed].1 += cpu_time(std::process::id()) - before[0];
            rates[followed].push(count as f64 / took.as_secs_f64() / 1000.0);
            if followed == 1 {
                follower_cpu += cpu_time(follower.child.id()) - before[1];
                events += follower.switch()?;
            }
            shorten(log)?;
        }
        ratios.push(rates[1][round] / rates[0][round]);
    }
    let [alone, followed] = rates.map(median);
    let [alone_cpu, followed_cpu] = writer_cpu.map(|(count, seconds)| seconds * 1e6 / count as f64);
    let seconds = TURN.as_secs_f64() * rounds as f64;
    let (ratio, events, cpu) = (median(ratios), events as f64 / seconds, follower_cpu * 100.0 / seconds);
    print!("| {name} | {alone:.2} | {followed:.2} | {ratio:.3} | ");
    println!("{alone_cpu:.2} | {followed_cpu:.2} | {events:.0} | {cpu:.1} |");
    Ok(())
}

fn main() -> Outcome<()> {
    if let Some(dir) = std::env::var_os(FOLLOW) {
        return follow(Path::new(&dir));
    }
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(101);
    let dir = std::env::args().skip(1).find(|arg| Path::new(arg).is_dir());
    let dir = dir.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_string());
    let home = Home::new_in(Path::new(&dir), 16 << 20);
    let mut log = home.open(Replay::All)?;
    log.warm()?;
    let log = SharedWal::new(log.wal, Count(log.count));
    let mut follower = Follower::start(&home.config.dir)?;
    println!("Medians of {rounds} rounds, records of 256 bytes\n");
    print!("| | alone, k/s | followed, k/s | ratio | alone, CPU µs | followed, CPU µs ");
    println!("| events, 1/s | the monitor's process, % of a core |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for threads in [1, 8] {
        let name = format!("commits by {threads} thread{}", if threads == 1 { "" } else { "s" });
        compare(rounds, &name, &log, &mut follower, || Ok(commits(&log, threads)))?;
    }
    compare(rounds, "writes without a sync", &log, &mut follower, || writes(&log))?;
    drop(follower.to);
    follower.child.wait()?;
    Ok(())
}
