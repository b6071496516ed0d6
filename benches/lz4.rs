//! What compression saves and costs on this machine: how much smaller the frames get, appending, and
//! replaying, for text, JSON and random bytes, each with compression off and on.
//!
//! ```text
//! cargo bench --features lz4 --bench lz4
//! ```
#![allow(clippy::expect_used, reason = "a bench may stop at the first error")]

#[allow(dead_code, reason = "shared with the other benches")]
mod common;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use chunked_wal::Compression;
use chunked_wal::Replay;
use chunked_wal::WalRecord;
use common::Home;
use common::Payloads;
use criterion::BenchmarkId;
use criterion::Criterion;
use criterion::SamplingMode;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;

const SIZES: [usize; 3] = [256, 4 << 10, 64 << 10];
const MODES: [(&str, Compression); 2] =
    [("off", Compression::None), ("on", Compression::Lz4 { min_len: 64 })];
const KINDS: [&str; 3] = ["text", "json", "random"];

/// Different records of a kind, as a log has them.
const DIFFERENT: u64 = 64;

/// Bytes of log that a replay reads.
const REPLAYED: usize = 8 << 20;

const CHUNK: u64 = 64 << 20;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Words of the project's own documents in any order, or an order of a shop, or noise.
fn payload(kind: &str, size: usize, seed: u64) -> Vec<u8> {
    let words: Vec<&str> = include_str!("../docs/architecture.md").split_whitespace().collect();
    let mut random = Random(seed * 2 + 1);
    let mut bytes = Vec::new();
    while bytes.len() < size {
        let n = random.next();
        match kind {
            // A run of six words as they stand there, so that phrases come again as they do in prose.
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

fn records(kind: &str, size: usize) -> Vec<WalRecord<Payloads>> {
    (0..DIFFERENT).map(|seed| WalRecord::Action(payload(kind, size, seed))).collect()
}

fn home(compression: Compression) -> Home {
    let mut home = Home::new_in(Path::new(env!("CARGO_TARGET_TMPDIR")), CHUNK);
    home.config.compression = compression;
    home
}

/// The share of the log's bytes that is left.
fn ratio(_: &mut Criterion) {
    println!("\n{:<8} {:>8} {:>8}", "payload", "bytes", "left");
    for kind in KINDS {
        for size in SIZES {
            let [off, on]: [u64; 2] = MODES.map(|(_, compression)| {
                let mut log = home(compression).open(Replay::All).expect("opens");
                let mut size_of = |record| log.append(record).expect("appends").size;
                records(kind, size).iter().map(&mut size_of).sum()
            });
            println!("{kind:<8} {size:>8} {:>7.0}%", on as f64 * 100.0 / off as f64);
        }
    }
    println!();
}

fn append(c: &mut Criterion) {
    for kind in KINDS {
        let mut group = c.benchmark_group(format!("lz4_append_{kind}"));
        for size in SIZES {
            let records = records(kind, size);
            group.throughput(Throughput::Bytes(size as u64));
            for (mode, compression) in MODES {
                let home = home(compression);
                let mut log = home.open(Replay::All).expect("opens");
                let mut next = records.iter().cycle();
                group.bench_function(BenchmarkId::new(mode, size), |b| {
                    b.iter(|| {
                        log.append_to_short_log(black_box(next.next().expect("a cycle"))).expect("appends")
                    });
                });
            }
        }
        group.finish();
    }
}

fn replay(c: &mut Criterion) {
    for kind in KINDS {
        let mut group = c.benchmark_group(format!("lz4_replay_{kind}"));
        group.sampling_mode(SamplingMode::Flat);
        for size in SIZES {
            let records = records(kind, size);
            group.throughput(Throughput::Bytes(REPLAYED as u64));
            for (mode, compression) in MODES {
                let home = home(compression);
                let mut log = home.open(Replay::All).expect("opens");
                for record in records.iter().cycle().take(REPLAYED / size) {
                    log.append(record).expect("appends");
                }
                log.wal.close().expect("closes");
                group.bench_function(BenchmarkId::new(mode, size), |b| {
                    b.iter(|| home.open(Replay::All).expect("opens").count);
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = lz4;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    targets = ratio, append, replay
}
criterion_main!(lz4);
