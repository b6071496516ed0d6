//! The driver: starts the processes, lets clients write, kills, and checks.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal::codeq::Decode;

use crate::client::{Client, Value};
use crate::server::Start;
use crate::wire::{Connection, Frame, Kind, Numbers};
use crate::{Outcome, PROCESSES};

const CLIENTS: u32 = 8;

/// How long the processes may take to reach an awaited state.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the processes run between two kills, and how long a killed one is down.
const UP: Duration = Duration::from_millis(800);
const DOWN: Duration = Duration::from_millis(300);

/// A run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) groups: u64,
    /// For how long the clients write.
    pub(crate) time: Duration,
}

/// A server's process. It ends with this one, because its standard input does.
struct Process {
    start: Start,
    child: Child,
}

impl Process {
    fn start(start: Start) -> Outcome<Self> {
        let (name, value) = start.variable();
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.env(name, value).stdin(Stdio::piped()).spawn()?;
        Ok(Process { start, child })
    }

    fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn ask(&self, kind: Kind) -> Outcome<Vec<u8>> {
        let answer =
            Connection::open(&self.start.dir, self.start.id)?.ask(&Frame::new(kind, 0, Vec::new()))?;
        Ok(answer.bytes)
    }

    fn numbers(&self) -> Outcome<Numbers> {
        Ok(Numbers::decode(&self.ask(Kind::Status)?[..])?)
    }

    /// What each group has applied.
    fn applied(&self) -> Outcome<Vec<Vec<u8>>> {
        let bytes = self.ask(Kind::Read)?;
        let mut rest = &bytes[..];
        Ok((0..self.start.groups).map(|_| Vec::decode(&mut rest)).collect::<Result<_, _>>()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _has_ended = self.kill();
    }
}

/// Runs the processes; an error if an acknowledged write is lost, or members differ. Then the directory is kept.
pub(crate) fn run(run: Run) -> Outcome<()> {
    let dir = tempfile::Builder::new().prefix("raft-groups-").tempdir()?;
    let report = run_in(dir.path(), run).map_err(|error| {
        let kept = dir.keep();
        format!("{error}\n  the logs are in {}", kept.display())
    })?;
    println!("{report}");
    Ok(())
}

fn run_in(dir: &Path, run: Run) -> Outcome<Report> {
    let Run { groups, time } = run;
    let start = |id| Process::start(Start { id, groups, dir: dir.to_owned() });
    let mut processes: Vec<_> = PROCESSES.into_iter().map(start).collect::<Outcome<_>>()?;
    wait("lead all groups", || all_lead(&processes, groups))?;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|number| spawn(number, groups, dir.to_owned(), &stop)).collect();
    let begun = Instant::now();
    let mut kills = 0;
    while begun.elapsed() + UP + DOWN < time {
        thread::sleep(UP);
        let killed = &mut processes[kills % PROCESSES.len()];
        killed.kill()?;
        kills += 1;
        thread::sleep(DOWN);
        *killed = Process::start(killed.start.clone())?;
        wait("start", || Ok(killed.numbers().is_ok()))?;
    }
    thread::sleep(time.saturating_sub(begun.elapsed()));
    stop.store(true, Relaxed);
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.join().map_err(|_| "a client panicked")?);
    }
    wait("lead all groups", || all_lead(&processes, groups))?;
    wait("agree", || agree(&processes))?;
    check(&processes[0].applied()?, &acknowledged)?;
    let numbers = processes.iter().map(Process::numbers).collect::<Outcome<_>>()?;
    Ok(Report { groups, acknowledged: acknowledged.len(), kills, numbers })
}

fn spawn(
    number: u32,
    groups: u64,
    dir: PathBuf,
    stop: &Arc<AtomicBool>,
) -> thread::JoinHandle<Vec<(u64, Value)>> {
    let stop = stop.clone();
    thread::spawn(move || Client { number, groups, dir }.run(&stop))
}

/// Waits until something is so.
fn wait(what: &str, is_so: impl Fn() -> Outcome<bool>) -> Outcome<()> {
    let begun = Instant::now();
    // A process may just have been started.
    while !is_so().unwrap_or(false) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("the processes don't {what} within {PATIENCE:?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether every group has one leader, which all members know.
fn all_lead(processes: &[Process], groups: u64) -> Outcome<bool> {
    let numbers: Vec<_> = processes.iter().map(Process::numbers).collect::<Outcome<_>>()?;
    let leaderless: u64 = numbers.iter().map(|numbers| numbers.leaderless).sum();
    Ok(leaderless == 0 && numbers.iter().map(|numbers| numbers.leads).sum::<u64>() == groups)
}

/// Whether all members of each group have applied the same.
fn agree(processes: &[Process]) -> Outcome<bool> {
    let applied: Vec<_> = processes.iter().map(Process::applied).collect::<Outcome<_>>()?;
    Ok(applied.windows(2).all(|two| two[0] == two[1]))
}

/// Every acknowledged write is there, and no write twice.
fn check(applied: &[Vec<u8>], acknowledged: &[(u64, Value)]) -> Outcome<()> {
    let mut found: BTreeSet<(u64, &[u8])> = BTreeSet::new();
    for (group, values) in (0..).zip(applied) {
        for value in values.chunks(size_of::<Value>()) {
            if !found.insert((group, value)) {
                return Err(format!("group {group} has the write {value:?} twice").into());
            }
        }
    }
    let lost: Vec<_> =
        acknowledged.iter().filter(|(group, value)| !found.contains(&(*group, &value[..]))).collect();
    match lost.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "{} of {} acknowledged writes are lost, first {first:?}",
            lost.len(),
            acknowledged.len()
        )
        .into()),
    }
}

/// What happened.
struct Report {
    groups: u64,
    acknowledged: usize,
    kills: usize,
    numbers: Vec<Numbers>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, of: fn(&Numbers) -> u64| {
            write!(f, "  {name:<32}")?;
            self.numbers.iter().try_for_each(|numbers| write!(f, " {:>12}", of(numbers)))?;
            writeln!(f)
        };
        writeln!(f, "  {:<32} {:>12}", "groups", self.groups)?;
        writeln!(f, "  {:<32} {:>12}", "writes acknowledged, all there", self.acknowledged)?;
        writeln!(f, "  {:<32} {:>12}\n", "kills", self.kills)?;
        write!(f, "  {:<32}", "process")?;
        PROCESSES.into_iter().try_for_each(|id| write!(f, " {id:>12}"))?;
        writeln!(f)?;
        line(f, "leaders", |numbers| numbers.leads)?;
        line(f, "log, bytes", |numbers| numbers.log)?;
        line(f, "alive, bytes", |numbers| numbers.alive)?;
        line(f, "moved since its start, bytes", |numbers| numbers.moved)
    }
}
