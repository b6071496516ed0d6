//! Entries of raft, by several writers, each of whom waits until its own are durable: through this crate's raft
//! store, through raft-log with two settings, and as plain records of this log. They take turns, in another order in
//! each round, and each turn has a new log.
//!
//! ```text
//! peers raft                                three minutes, on a quiet machine
//! peers raft --write docs/benchmarks.md     and writes the table into that page
//! ```

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::anyhow;
use chunked_wal::ChunkId;
use chunked_wal::ChunkedWal;
use chunked_wal::Config;
use chunked_wal::Flush;
use chunked_wal::Segment;
use chunked_wal::StateMachine;
use chunked_wal::WalRecord;
use chunked_wal::WalTypes;
use chunked_wal_raft::RaftTypes;
use chunked_wal_raft::blocking::LogStore;
use clap::Args;
use parking_lot::Mutex;
use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter as _;

use crate::docs;
use crate::machine::Machine;
use crate::stats::Random;
use crate::stats::median;
use crate::table::with_range;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the logs are put: a directory on the disk to measure, made if missing.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/logs"))]
    dir: PathBuf,

    /// Writes the table into this page, between two comments.
    #[arg(long)]
    write: Option<PathBuf>,

    /// Turns of each log.
    #[arg(long, default_value_t = 7)]
    rounds: usize,

    /// Milliseconds of a turn.
    #[arg(long, default_value_t = 1000)]
    turn: u64,
}

const BEGIN: &str = "<!-- raft: written by benches/peers -->\n";
const END: &str = "<!-- End of raft. -->\n";

/// Bytes of an entry's command.
const COMMAND: usize = 256;

/// Writers, and the entries that each appends at a time.
const CASES: [(usize, u64); 5] = [(1, 1), (8, 1), (64, 1), (8, 16), (8, 256)];

type Done = SyncSender<io::Result<()>>;

/// A log that several writers append entries to.
trait Log: Sync {
    /// Appends this many entries, and returns when they are durable.
    fn append(&self, count: u64) -> Result<()>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Bare,
    Ours,
    RaftLog,
    /// Its worker waits only [`SHORT`] for more flushes.
    RaftLogShort,
}

/// With no wait at all, it would sync for each flush.
const SHORT: Duration = Duration::from_micros(10);

impl Store {
    const ALL: [Store; 4] = [Store::Bare, Store::Ours, Store::RaftLog, Store::RaftLogShort];

    fn name(self) -> &'static str {
        match self {
            Store::Bare => "records of this log",
            Store::Ours => "chunked-wal-raft",
            Store::RaftLog => "raft-log 0.4",
            Store::RaftLogShort => "raft-log, waits 10 µs",
        }
    }

    fn open(self, dir: &Path) -> Result<Box<dyn Log>> {
        Ok(match self {
            Store::Bare => Box::new(Mutex::new(ChunkedWal::<Bare>::open(Config::new(dir), &mut Nothing)?)),
            Store::Ours => {
                let store = LogStore::<Types>::open(Config::new(dir))?;
                Box::new(Mutex::new(Numbered { log: store, next: 0 }))
            }
            Store::RaftLog | Store::RaftLogShort => {
                let mut config = raft_log::Config::new(dir.to_str().context("a path that is text")?);
                config.wal.flush_batch_wait = (self == Store::RaftLogShort).then_some(SHORT);
                let log = RaftLog::<Types>::open(Arc::new(config))?;
                Box::new(Mutex::new(Numbered { log, next: 0 }))
            }
        })
    }
}

/// A log and the index of its next entry.
struct Numbered<L> {
    log: L,
    next: u64,
}

impl<L> Numbered<L> {
    fn entries(&mut self, count: u64) -> impl Iterator<Item = ((u64, u64), String)> + use<L> {
        let from = self.next;
        self.next += count;
        (from..from + count).map(|index| ((1, index), command()))
    }
}

fn command() -> String {
    "x".repeat(COMMAND)
}

/// The records are the commands alone.
struct Bare;

impl WalTypes for Bare {
    type Action = String;
    type Checkpoint = u64;
    type Callback = ();
}

struct Nothing;

impl StateMachine<Bare> for Nothing {
    type Error = Infallible;

    fn apply(&mut self, _: &WalRecord<Bare>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        0
    }
}

impl Log for Mutex<ChunkedWal<Bare>> {
    fn append(&self, count: u64) -> Result<()> {
        let ticket = {
            let mut log = self.lock();
            for _ in 0..count {
                log.append_and_apply(command(), &mut Nothing)?;
            }
            log.flush_ticket(Flush::Sync)?
        };
        Ok(ticket.wait()?)
    }
}

/// A log id is a term and an index, as in raft-log's own examples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Types;

impl RaftTypes for Types {
    type LogId = (u64, u64);
    type Vote = (u64, u64);
    type Entry = ((u64, u64), String);
    type Callback = Done;

    fn index(log_id: &(u64, u64)) -> u64 {
        log_id.1
    }

    fn log_id(entry: &Self::Entry) -> (u64, u64) {
        entry.0
    }
}

impl Log for Mutex<Numbered<LogStore<Types>>> {
    fn append(&self, count: u64) -> Result<()> {
        let (done, wait) = sync_channel(1);
        {
            let mut store = self.lock();
            let entries = store.entries(count);
            store.log.append(entries, done)?;
        }
        Ok(wait.recv()??)
    }
}

impl raft_log::Types for Types {
    type LogId = (u64, u64);
    type LogPayload = String;
    type Vote = (u64, u64);
    type UserData = String;
    type Callback = Done;

    fn log_index(log_id: &(u64, u64)) -> u64 {
        log_id.1
    }

    fn payload_size(payload: &String) -> u64 {
        payload.len() as u64
    }
}

impl Log for Mutex<Numbered<RaftLog<Types>>> {
    fn append(&self, count: u64) -> Result<()> {
        let (done, wait) = sync_channel(1);
        {
            let mut store = self.lock();
            let entries = store.entries(count);
            store.log.append(entries)?;
            store.log.flush(true, Some(done))?;
        }
        Ok(wait.recv()??)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.dir).with_context(|| format!("make {}", options.dir.display()))?;
    let dir = tempfile::Builder::new().prefix("raft-").tempdir_in(&options.dir)?;
    let machine = Machine::of(dir.path())?;
    let rates = measure_all(options, dir.path())?;
    let text = text(&machine, options, &rates);
    println!("{text}");
    match &options.write {
        Some(page) => docs::replace_in(page, BEGIN, END, &text),
        None => Ok(()),
    }
}

/// Returns thousands of entries per second by case, store and round.
fn measure_all(options: &Options, dir: &Path) -> Result<Vec<Vec<Vec<f64>>>> {
    let turn = Duration::from_millis(options.turn);
    let mut rates = vec![vec![Vec::new(); Store::ALL.len()]; CASES.len()];
    let mut random = Random::new(11);
    for round in 0..options.rounds.max(1) {
        for (case, (writers, count)) in CASES.into_iter().enumerate() {
            let mut order: Vec<usize> = (0..Store::ALL.len()).collect();
            random.shuffle(&mut order);
            for i in order {
                let path = dir.join(format!("log-{round}-{case}-{i}"));
                fs::create_dir(&path)?;
                let rate = measure(&*Store::ALL[i].open(&path)?, writers, count, turn)
                    .with_context(|| Store::ALL[i].name())?;
                rates[case][i].push(rate / 1e3);
                fs::remove_dir_all(path)?;
            }
        }
        eprintln!("round {}", round + 1);
    }
    Ok(rates)
}

/// Returns the entries per second.
fn measure(log: &dyn Log, writers: usize, count: u64, turn: Duration) -> Result<f64> {
    let started = Instant::now();
    let appended = std::thread::scope(|scope| {
        let write = || -> Result<u64> {
            let mut appended = 0;
            while started.elapsed() < turn {
                log.append(count)?;
                appended += count;
            }
            Ok(appended)
        };
        let writers: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        let mut sum = 0;
        for writer in writers {
            sum += writer.join().map_err(|_| anyhow!("a writer panicked"))??;
        }
        anyhow::Ok(sum)
    })?;
    Ok(appended as f64 / started.elapsed().as_secs_f64())
}

fn text(machine: &Machine, options: &Options, rates: &[Vec<Vec<f64>>]) -> String {
    let Machine { cpu, cores, kernel, filesystem, date, .. } = machine;
    let disk = filesystem.split(" (").next().unwrap_or(filesystem);
    let names: Vec<&str> = Store::ALL.iter().map(|store| store.name()).collect();
    let mut table =
        format!("| writers × entries, durable, k/s | {} | ÷ the better raft-log |\n", names.join(" | "));
    table.push_str(&format!("| --- |{} ---: |\n", " ---: |".repeat(names.len())));
    for ((writers, count), of_case) in CASES.iter().zip(rates) {
        let cells: Vec<String> = of_case.iter().map(|rates| with_range(rates)).collect();
        let ratio = median(&of_case[1]) / median(&of_case[2]).max(median(&of_case[3]));
        table.push_str(&format!("| {writers} × {count} | {} | {ratio:.1} |\n", cells.join(" | ")));
    }
    format!(
        "Measured on {date}: {cpu}, {cores} cores, Linux {kernel}, {disk}. Medians of {} rounds of {} ms, with the \
         least\nand the greatest in parentheses.\n\n{table}",
        options.rounds.max(1),
        options.turn
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_store_takes_entries_of_several_writers() {
        for store in Store::ALL {
            let dir = tempfile::tempdir().unwrap();
            let log = store.open(dir.path()).unwrap();
            let rate = measure(&*log, 3, 2, Duration::from_millis(20)).unwrap();
            assert!(rate > 0.0, "{store:?}");
        }
    }

    #[test]
    fn the_page_has_a_place_for_the_table() {
        let page =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md")).unwrap();
        let (_, rest) = page.split_once(BEGIN).unwrap();
        assert!(rest.contains(END));
    }
}
