//! A writer that drains all it may and a subscriber in another process, killed at any moment.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use chunked_wal::{ChunkId, Config, Error, Flush, Subscriber, WalReader, WalRecord};

use crate::ROLE;
use crate::common::*;

const DIR: &str = "CHUNKED_WAL_TEST_DIR";

/// How often each of the two is killed.
const KILLS: u64 = 60;

fn spawn(role: &str, dir: &Path) -> Child {
    again("subscribers::each_record_is_done_and_only_the_last_one_twice")
        .env(ROLE, role)
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Appends numbers, and removes every chunk that the subscriber has left behind.
fn write_until_killed(dir: &Path) -> ! {
    let mut config = Config::new(dir.join("log"));
    config.chunk_max_size = 4096;
    let mut count = Counted::default();
    let mut wal = Wal::open(config, &mut count).unwrap();
    loop {
        for _ in 0..20 {
            wal.append_and_apply(count.0.to_string(), &mut count).unwrap();
        }
        wal.flush(Flush::Sync, None).unwrap();
        // Before there is a subscriber, nothing keeps the chunk that it is about to begin with.
        let place = fs::metadata(dir.join("log/subscribers/reader/cursor"));
        if place.is_ok_and(|place| place.len() > 4096) {
            let drained = wal.drain_closed_chunks_while(|_| true);
            wal.remove_chunks(drained).unwrap();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Writes each number to a file, then moves past it.
fn read_until_killed(dir: &Path) -> ! {
    let log = dir.join("log");
    let mut done = OpenOptions::new().create(true).append(true).open(dir.join("done")).unwrap();
    let mut subscriber = loop {
        match Subscriber::options(&log, "reader").open() {
            Ok(subscriber) => break subscriber,
            // The writer has not started the log yet.
            Err(Error::NotFound { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    };
    let reader = WalReader::<Words>::open_read_only(&log).unwrap();
    for record in reader.follow(subscriber.offset()) {
        let (_, segment, record) = record.unwrap();
        if let WalRecord::Action(number) = record {
            // One write, so that a kill leaves the whole line or nothing.
            done.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        subscriber.advance(segment.offset + segment.size).unwrap();
    }
    unreachable!("a follower ends with an error only");
}

/// The state of a log of numbers: how many there are.
#[derive(Debug, Default)]
struct Counted(u64);

impl chunked_wal::StateMachine<Words> for Counted {
    type Error = String;

    fn apply(
        &mut self,
        record: &Record,
        _: chunked_wal::ChunkId,
        _: chunked_wal::Segment,
    ) -> Result<(), String> {
        match record {
            WalRecord::Action(_) => self.0 += 1,
            WalRecord::Checkpoint(count) => self.0 = count.parse().unwrap_or(0),
        }
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.0.to_string()
    }
}

#[test]
fn each_record_is_done_and_only_the_last_one_twice() {
    if let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) {
        match std::env::var(ROLE).unwrap().as_str() {
            "writer" => write_until_killed(&dir),
            _ => read_until_killed(&dir),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("done");
    let lines = || fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    let mut children = ["writer", "reader"].map(|role| (role, spawn(role, dir.path())));
    for kill in 0..2 * KILLS {
        let before = lines();
        let (role, child) = &mut children[(kill % 2) as usize];
        assert!(child.try_wait().unwrap().is_none(), "the {role} gave up");
        child.kill().unwrap();
        child.wait().unwrap();
        *child = spawn(role, dir.path());
        // Until something was done since, and a moment more.
        let started = Instant::now();
        while lines() == before && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(kill * 7919 % 20_000));
    }
    for (_, mut child) in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let done: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(done[0], 0);
    let twice = done.windows(2).filter(|pair| pair[1] == pair[0]).count() as u64;
    assert!(done.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    assert!(twice <= KILLS, "{twice}");
    println!("{} records, {twice} twice", done.len());
    assert!(done.len() as u64 > KILLS);
    // Chunks went as the subscriber let go of them.
    assert!(!dir.path().join("log").join(ChunkId(0).file_name()).exists());
}
