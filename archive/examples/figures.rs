//! Figures of the archive on this machine, with a directory as the store:
//!
//! ```text
//! cargo run --release -p chunked-wal-archive --example figures -- DIR [SECONDS]
//! ```
//!
//! A log of 1 KB records at 50 MB/s, synced every 5 ms, alone and archived in turns: the time of an append and of a
//! sync, how far the archive was at the moment of an imagined loss, and the bytes uploaded for each byte logged. Then a
//! restore, beside reading and replaying the same bytes.
#![allow(clippy::unwrap_used, reason = "a measurement")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chunked_wal::raw::{Payload, Raw};
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord};
use chunked_wal_archive::{Archive, Archiver, Progress, RestoreFrom, RestoreTo, local_store};

const RECORD: usize = 1000;
const BYTES_PER_S: f64 = 50e6;
const TURN: Duration = Duration::from_millis(5);

/// Counts its records.
#[derive(Default)]
struct Count(u64);

impl StateMachine<Raw> for Count {
    type Error = std::convert::Infallible;

    fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        self.0 += 1;
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload::default()
    }
}

#[derive(Default)]
struct Times {
    appends: Vec<Duration>,
    syncs: Vec<Duration>,
    /// How long the oldest durable record that was not archived had been durable, once a second.
    lags: Vec<Duration>,
}

fn main() {
    let mut args = std::env::args_os().skip(1);
    let dir = args.next().map_or_else(|| PathBuf::from("figures"), PathBuf::from);
    let seconds = args.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(5);
    let (mut alone, mut archived) = (Times::default(), Times::default());
    // In turns, because the machine has other work in between.
    for round in 0..3 {
        write(&dir.join(format!("alone-{round}")), None, seconds, &mut alone);
        let store = dir.join(format!("store-{round}"));
        write(&dir.join(format!("archived-{round}")), Some(&store), seconds, &mut archived);
    }
    for (name, times) in [("alone", &mut alone), ("archived", &mut archived)] {
        let [append50, append99] = [0.5, 0.99].map(|part| percentile(&mut times.appends, part));
        let [sync50, sync99] = [0.5, 0.99].map(|part| percentile(&mut times.syncs, part));
        println!("{name}: append p50 {append50:?} p99 {append99:?}; sync p50 {sync50:?} p99 {sync99:?}");
    }
    let [lag50, lag_max] = [0.5, 1.0].map(|part| percentile(&mut archived.lags, part));
    println!("a lost machine would have cost the last {lag50:?} (median), {lag_max:?} (most)");
    restore(&dir);
}

fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    let at = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

fn write(log: &Path, store: Option<&Path>, seconds: u64, times: &mut Times) {
    let mut count = Count::default();
    let mut wal = ChunkedWal::<Raw>::open(Config::new(log), &mut count).unwrap();
    let archiver = store.map(|store| Archiver::attach(&wal, local_store(store).unwrap()).unwrap());
    let record = WalRecord::Action(Payload(vec![7; RECORD]));
    let per_turn = (BYTES_PER_S * TURN.as_secs_f64() / RECORD as f64) as usize;
    let mut synced: Vec<(Instant, u64)> = Vec::new();
    let started = Instant::now();
    for turn in 1.. {
        for _ in 0..per_turn {
            let began = Instant::now();
            wal.append(&record).unwrap();
            times.appends.push(began.elapsed());
        }
        let began = Instant::now();
        wal.sync().unwrap();
        times.syncs.push(began.elapsed());
        wal.try_close_full_chunk(&count).unwrap();
        synced.push((Instant::now(), wal.progress().synced));
        if let Some(archiver) = archiver.as_ref().filter(|_| turn % 200 == 0) {
            let end = archiver.status().end;
            let lost = synced.iter().find(|(_, offset)| *offset > end);
            times.lags.push(lost.map_or(Duration::ZERO, |(at, _)| at.elapsed()));
        }
        if started.elapsed().as_secs() >= seconds {
            break;
        }
        std::thread::sleep((TURN * turn).saturating_sub(started.elapsed()));
    }
    let (end, took) = (wal.progress().synced, started.elapsed());
    if let Some(archiver) = archiver {
        let status = archiver.close(Duration::from_secs(60)).unwrap();
        let (mb, ratio) = (end as f64 / 1e6, status.uploaded_bytes as f64 / end as f64);
        let (took, after) = (took.as_secs_f64(), (started.elapsed() - took).as_secs_f64());
        println!("{mb:.0} MB in {took:.1} s, archived {after:.2} s later; uploaded / logged {ratio:.4}");
    }
    wal.close().unwrap();
}

/// The best of three of each: a restore, and the two things that it can't do without.
fn restore(dir: &Path) {
    let store = dir.join("store-2");
    let (mut restored_in, mut needed) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let target = dir.join("restored");
        let began = Instant::now();
        let archive = Archive::new(local_store(&store).unwrap());
        archive.restore(RestoreFrom::Oldest, RestoreTo::Latest, &target, &Progress::default()).unwrap();
        restored_in = restored_in.min(began.elapsed());
        let began = Instant::now();
        read_all(&store);
        let read = began.elapsed();
        let began = Instant::now();
        ChunkedWal::<Raw>::open(Config::new(&target), &mut Count::default()).unwrap().close().unwrap();
        needed = needed.min(read + began.elapsed());
        std::fs::remove_dir_all(&target).unwrap();
    }
    let ratio = restored_in.as_secs_f64() / needed.as_secs_f64();
    println!("restored in {restored_in:?}; reading and replaying {needed:?}: {ratio:.2} times");
}

fn read_all(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path);
        } else {
            std::hint::black_box(std::fs::read(path).unwrap());
        }
    }
}
