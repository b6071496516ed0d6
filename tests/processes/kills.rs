//! Real processes on real files: killed at any moment, racing for the lock, out of space.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chunked_wal::{Config, Error, Flush};

use crate::ROLE;
use crate::common::*;

const DIR: &str = "CHUNKED_WAL_TEST_DIR";

/// How often the writer is killed.
const KILLS: u64 = 200;

fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.chunk_max_size = 16 << 10;
    config
}

/// Starts this binary again, to run `test` as `role`.
fn spawn(test: &str, role: &str, dir: &Path) -> Child {
    again(&format!("kills::{test}"))
        .env(ROLE, role)
        .env(DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The directory, if this process is a child that is to play `role`.
fn playing(role: &str) -> Option<PathBuf> {
    (std::env::var(ROLE).ok()? == role).then(|| PathBuf::from(std::env::var_os(DIR).unwrap()))
}

/// A child's report: a line that starts with `! `, between the lines of the test harness.
fn said(line: &str) -> Option<&str> {
    line.split_once("! ").map(|(_, said)| said)
}

/// The state of a log of numbers: how many there are. A number out of order is refused.
#[derive(Debug, Default)]
struct Count(u64);

impl chunked_wal::StateMachine<Words> for Count {
    type Error = String;

    fn apply(
        &mut self,
        record: &Record,
        _: chunked_wal::ChunkId,
        _: chunked_wal::Segment,
    ) -> Result<(), String> {
        match record {
            chunked_wal::WalRecord::Action(word) => {
                let number: u64 = word.trim_start_matches('0').parse().unwrap_or(0);
                if number != self.0 {
                    return Err(format!("{number} after {} numbers", self.0));
                }
                self.0 += 1;
            }
            chunked_wal::WalRecord::Checkpoint(count) => {
                let count = count.parse().unwrap_or(0);
                // The first checkpoint kept says how much went before; later ones must agree.
                if self.0 != 0 && self.0 != count {
                    return Err(format!("a checkpoint of {count} after {} numbers", self.0));
                }
                self.0 = count;
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.0.to_string()
    }
}

/// Appends numbers forever, prints each that is durable, drains and removes as it goes.
fn write_until_killed(dir: &Path) -> ! {
    let mut count = Count::default();
    let mut wal = Wal::open(config(dir), &mut count).unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        for _ in 0..1 + count.0 % 7 {
            // Of different lengths, so that tears and rotations fall anywhere.
            let width = 8 + (count.0 * 37 % 400) as usize;
            wal.append_and_apply(format!("{:0width$}", count.0), &mut count).unwrap();
            if count.0.is_multiple_of(3) {
                wal.flush(Flush::Write, None).unwrap();
            }
        }
        if count.0.is_multiple_of(5) {
            wal.append(&checkpoint(&count.0.to_string())).unwrap();
        }
        wal.sync().unwrap();
        writeln!(out, "! {}", count.0).unwrap();
        if wal.closed_chunk_stats().len() > 3 {
            let keep_from = count.0.saturating_sub(200);
            let ids = wal.drain_closed_chunks_while(|all| all.parse::<u64>().unwrap() < keep_from);
            wal.remove_chunks(ids).unwrap();
        }
    }
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_acknowledged() {
    if let Some(dir) = playing("writer") {
        write_until_killed(&dir);
    }
    let test = "a_writer_killed_at_any_moment_loses_nothing_acknowledged";
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let (mut acknowledged, mut torn, mut sealed_again) = (0, 0, BTreeSet::new());
    for kill in 0..KILLS {
        let mut child = spawn(test, "writer", &log);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // From before the log is open to some way into it.
        if kill % 4 != 0 {
            let _first = lines.by_ref().find(|line| line.as_ref().is_ok_and(|line| said(line).is_some()));
        }
        std::thread::sleep(Duration::from_micros(kill * 7919 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines.map_while(Result::ok).filter_map(|line| said(&line)?.parse::<u64>().ok()).last();
        acknowledged = acknowledged.max(last.unwrap_or(0));

        let mut count = Count::default();
        let wal = Wal::open(config(&log), &mut count).unwrap();
        assert!(count.0 >= acknowledged, "kill {kill}: {} left of {acknowledged}", count.0);
        torn += u64::from(wal.recovery().torn_tail.is_some());
        sealed_again.insert(wal.open_chunk_id());
        assert!(wal.recovery().foreign_names.is_empty());
        // What is recovered is durable, so it counts from now on.
        acknowledged = count.0;
        wal.close().unwrap();
    }
    assert!(acknowledged > KILLS, "the children got to write");
    println!("{KILLS} kills, {acknowledged} records, {torn} torn tails, {} open chunks", sealed_again.len());
}

#[test]
fn of_many_processes_one_gets_the_log() {
    if let Some(dir) = playing("racer") {
        let opened = Wal::open(config(&dir), &mut Count::default());
        let word = match &opened {
            Ok(_) => "open".to_string(),
            Err(Error::Locked { .. }) => "locked".to_string(),
            Err(other) => other.to_string(),
        };
        println!("! {word}");
        // Holds the lock, if it got it, until the parent has heard all children.
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let racers: Vec<Child> =
            (0..4).map(|_| spawn("of_many_processes_one_gets_the_log", "racer", dir.path())).collect();
        let mut words = Vec::new();
        let mut held = Vec::new();
        for mut racer in racers {
            let mut lines = BufReader::new(racer.stdout.take().unwrap()).lines();
            words.push(lines.find_map(|line| said(&line.unwrap()).map(str::to_string)).unwrap());
            held.push((racer, lines));
        }
        for (mut racer, lines) in held {
            drop(racer.stdin.take());
            lines.for_each(drop);
            assert!(racer.wait().unwrap().success());
        }
        words.sort();
        assert_eq!(words, ["locked", "locked", "locked", "open"], "round {round}");
    }
}

/// A file system of its own, gone with the value.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where this machine doesn't let a test mount one.
    fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        mount.is_ok_and(|out| out.status.success()).then(|| Mounted(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_file_system_runs_full_and_is_freed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::tmpfs(&dir.path().join("small"), "3m") else {
        println!("skipped: this machine lets no test mount a file system");
        return;
    };
    let mut config = Config::new(mounted.0.join("log"));
    config.chunk_max_size = 256 << 10;
    let mut count = Count::default();
    let mut wal = Wal::open(config.clone(), &mut count).unwrap();
    for round in 0..4 {
        let word = |n: u64| format!("{n:01000}");
        let full = loop {
            match wal.append_and_apply(word(count.0), &mut count) {
                Ok(_) => assert!(count.0 < 20_000, "never full"),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Error::StorageFull { .. }), "{full}");
        wal.sync().unwrap();
        assert_eq!(wal.records().filter(|record| record.is_ok()).count() as u64, wal_records(&wal));
        if round == 2 {
            wal.close().unwrap();
            count = Count::default();
            wal = Wal::open(config.clone(), &mut count).unwrap();
        }
        let before = count.0;
        let ids = wal.drain_closed_chunks_while(|all| all.parse::<u64>().unwrap() + 500 < before);
        assert!(!ids.is_empty());
        wal.remove_chunks(ids).unwrap();
        wal.append_and_apply(word(count.0), &mut count).unwrap();
        wal.sync().unwrap();
    }
    let total = count.0;
    wal.close().unwrap();
    let mut again = Count::default();
    Wal::open(config, &mut again).unwrap().close().unwrap();
    assert_eq!(again.0, total);
}

fn wal_records(wal: &Wal) -> u64 {
    let closed: u64 = wal.closed_chunk_stats().iter().map(|stat| stat.records_count).sum();
    closed + wal.open_chunk_stat(String::new()).records_count
}
