//! The savings and costs of compression on this machine: the log's size, appending, and replaying, for
//! text, JSON and random bytes, each with compression off and on.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench lz4
//! ```
//!
//! Off and on take turns, and the fastest round of each counts, because other load on the machine can
//! only make a round slower.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench may stop at the first error")]

#[allow(dead_code, reason = "shared with the other benches")]
#[path = "../examples/tuning/common.rs"]
mod common;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use chunked_wal::{Compression, Replay, WalRecord};
use common::{Home, Log, Payloads};

const SIZES: [usize; 3] = [256, 4 << 10, 64 << 10];
const MODES: [Compression; 2] = [Compression::None, Compression::Lz4 { min_len: 64 }];
const KINDS: [&str; 3] = ["text", "json", "random"];

/// How many different records of a kind a log has.
const DIFFERENT: u64 = 64;

/// Bytes of payload in a round.
const ROUND: usize = 4 << 20;
const ROUNDS: usize = 12;

type Record = WalRecord<Payloads>;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Phrases of the project's own documents in any order, or orders of a shop, or noise.
fn payload(kind: &str, size: usize, seed: u64) -> Vec<u8> {
    let words: Vec<&str> = include_str!("../docs/design/architecture.md").split_whitespace().collect();
    let mut random = Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut bytes = Vec::new();
    while bytes.len() < size {
        let n = random.next();
        match kind {
            // A run of six words from the document, so that phrases repeat as they do in prose.
            "text" => {
                let at = n as usize % (words.len() - 6);
                bytes.extend_from_slice(words[at..at + 6].join(" ").as_bytes());
                bytes.push(b' ');
            }
            "json" => bytes.extend_from_slice(
                format!(
                    r#"{{"id":{},"customer":"c-{:06}","state":"{}","amount_cents":{},"created":"2025-{:02}-{:02}T{:02}:15:00Z"}},"#,
                    n % 1_000_000_007,
                    n % 99_991,
                    ["open", "paid", "shipped", "returned"][(n >> 20) as usize % 4],
                    (n >> 8) % 100_000,
                    1 + (n >> 24) % 12,
                    1 + (n >> 32) % 28,
                    (n >> 40) % 24,
                )
                .as_bytes(),
            ),
            _ => bytes.extend_from_slice(&n.to_le_bytes()),
        }
    }
    bytes.truncate(size);
    bytes
}

fn records(kind: &str, size: usize) -> Vec<Record> {
    (0..DIFFERENT).map(|seed| WalRecord::Action(payload(kind, size, seed))).collect()
}

fn homes() -> [Home; 2] {
    MODES.map(|compression| {
        let mut home = Home::new_in(Path::new(env!("CARGO_TARGET_TMPDIR")), 16 << 20);
        home.config.compression = compression;
        home
    })
}

/// Runs rounds with compression off and on in turns; returns the fastest of each.
fn fastest(mut round: impl FnMut(usize) -> Duration) -> [Duration; 2] {
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        for (mode, fastest) in fastest.iter_mut().enumerate() {
            *fastest = round(mode).min(*fastest);
        }
    }
    fastest
}

/// Returns how long the appender takes for a round; the worker has written it all before the next one.
fn append(log: &mut Log, records: &[Record], count: usize) -> Duration {
    let started = Instant::now();
    for record in records.iter().cycle().take(count) {
        log.append(black_box(record)).unwrap();
    }
    let elapsed = started.elapsed();
    log.rotate_and_remove().unwrap();
    log.wal.wait_idle().unwrap();
    elapsed
}

/// Returns how long it takes to open the log of one round.
fn replay(home: &Home) -> Duration {
    let started = Instant::now();
    let log = home.open(Replay::All).unwrap();
    let elapsed = started.elapsed();
    log.wal.close().unwrap();
    elapsed
}

fn measure(kind: &str, size: usize) {
    let (records, count) = (records(kind, size), ROUND / size);
    let homes = homes();
    let mut logs = homes.each_ref().map(|home| home.open(Replay::All).unwrap());
    let appending = fastest(|mode| append(&mut logs[mode], &records, count));
    let [off, on] = logs.map(|mut log| {
        let before = log.wal.on_disk_size();
        for record in records.iter().cycle().take(count) {
            log.append(record).unwrap();
        }
        let bytes = log.wal.on_disk_size() - before;
        log.wal.close().unwrap();
        bytes as f64
    });
    let replaying = fastest(|mode| replay(&homes[mode]));
    let per_record = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let ([a, b], [c, d]) = (appending.map(per_record), replaying.map(per_record));
    let left = on * 100.0 / off;
    println!("| {kind} | {size} | {left:.0} % | {a:.2} | {b:.2} | {c:.2} | {d:.2} |");
}

fn main() {
    println!("| payload | bytes | left | append | compressed | replay | compressed |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for kind in KINDS {
        for size in SIZES {
            measure(kind, size);
        }
    }
}
