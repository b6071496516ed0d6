//! The settings with a measurable effect, two to four values of each.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chunked_wal::{IdleMark, Replay};

use crate::common::{Home, Log, payload};
use crate::table::{Contestant, bytes, compare};
use crate::turns::{
    KIB, MIB, append_sync, append_with_callbacks, commit_by_ticket, commit_rate, quantiles, time_each, us,
    warm_log,
};

pub(crate) fn chunk_max_size(dir: &Path) -> String {
    const RECORDS: u64 = 16 * KIB;
    let contestant = |size: u64| -> Contestant<'_> {
        let (home, mut log) = warm_log(dir, |config| config.chunk_max_size = size);
        // The longest distance from the last checkpoint: the chunk is full.
        let full = Home::new_in(dir, size);
        let mut filled = full.open(Replay::All).unwrap();
        while !filled.wal.is_open_chunk_full() {
            filled.append(&payload(4096)).unwrap();
        }
        filled.wal.close().unwrap();
        let turn = move || {
            let _keep = &home;
            let (_, durable) = burst(&mut log, 4096, RECORDS);
            let started = Instant::now();
            let opened = full.open(Replay::FromLastCheckpoint).unwrap();
            let open = us(started.elapsed()) / 1e3;
            drop(opened);
            vec![us(durable) / 1e3, (RECORDS * 4096) as f64 / size as f64, open]
        };
        (bytes(size), Box::new(turn))
    };
    let columns = ["appending 64 MiB, then `sync`, ms", "rotations", "`FromLastCheckpoint`, chunk full, ms"];
    compare("`chunk_max_size`", &columns, [MIB, 8 * MIB, 64 * MIB].map(contestant).into())
}

pub(crate) fn chunk_max_records(dir: &Path) -> String {
    const RECORDS: u64 = 100_000;
    let contestant = |max: u64| -> Contestant<'_> {
        let (home, mut log) = warm_log(dir, |config| config.chunk_max_records = max);
        let turn = move || {
            let _keep = &home;
            let rotations = log.wal.flush_metrics().rotation_count;
            let (_, durable) = burst(&mut log, 64, RECORDS);
            vec![us(durable) / 1e3, (log.wal.flush_metrics().rotation_count - rotations) as f64]
        };
        let name = if max == u64::MAX { "unlimited".to_string() } else { max.to_string() };
        (name, Box::new(turn))
    };
    let columns = ["appending 100,000 records of 64 B, then `sync`, ms", "rotations"];
    compare("`chunk_max_records`", &columns, [1000, 10_000, u64::MAX].map(contestant).into())
}

/// Appends records and syncs; returns the time until they were accepted, and until they were durable.
fn burst(log: &mut Log, size: usize, records: u64) -> (Duration, Duration) {
    let record = payload(size);
    let started = Instant::now();
    for _ in 0..records {
        log.append_to_short_log(&record).unwrap();
    }
    let accepted = started.elapsed();
    log.wal.sync().unwrap();
    (accepted, started.elapsed())
}

pub(crate) fn open_buffer_max_bytes(dir: &Path) -> String {
    const RECORDS: u64 = 100_000;
    let contestant = |max: u64| -> Contestant<'_> {
        let (home, mut log) = warm_log(dir, |config| {
            config.open_buffer_max_bytes = max;
            config.chunk_max_size = 64 * MIB;
        });
        let turn = move || {
            let _keep = &home;
            let batches = log.wal.flush_metrics().batch_count;
            let (accepted, durable) = burst(&mut log, 256, RECORDS);
            let batches = log.wal.flush_metrics().batch_count - batches;
            vec![us(accepted) * 1e3 / RECORDS as f64, us(durable - accepted) / 1e3, batches as f64]
        };
        (bytes(max), Box::new(turn))
    };
    let columns = ["appending 256 B, ns", "the `sync` after 100,000 of them, ms", "batches written"];
    let values = [16 * KIB, 256 * KIB, MIB, 32 * MIB];
    compare("`open_buffer_max_bytes`", &columns, values.map(contestant).into())
}

pub(crate) fn flush_queue_max_bytes(dir: &Path) -> String {
    const RECORDS: u64 = 12 * KIB;
    let contestant = |max: u64| -> Contestant<'_> {
        let (home, mut log) = warm_log(dir, |config| {
            config.flush_queue_max_bytes = max;
            config.chunk_max_size = 64 * MIB;
        });
        let turn = move || {
            let _keep = &home;
            let (accepted, durable) = burst(&mut log, 4096, RECORDS);
            vec![us(accepted) / 1e3, us(durable) / 1e3]
        };
        (bytes(max), Box::new(turn))
    };
    let columns = ["48 MiB accepted after, ms", "durable after, ms"];
    compare("`flush_queue_max_bytes`", &columns, [MIB, 32 * MIB, 128 * MIB].map(contestant).into())
}

pub(crate) fn flush_batch_max_items(dir: &Path) -> String {
    let contestant = |max: u64| -> Contestant<'_> {
        let (home, log) = warm_log(dir, |config| config.flush_batch_max_items = max);
        callbacks(home, log, max.to_string(), 64, 10_000)
    };
    let columns = ["10,000 flushes with callbacks, 64 B each, k/s", "syncs"];
    compare("`flush_batch_max_items`", &columns, [16, 256, 8192].map(contestant).into())
}

pub(crate) fn flush_batch_max_bytes(dir: &Path) -> String {
    let contestant = |max: u64| -> Contestant<'_> {
        let (home, log) = warm_log(dir, |config| {
            config.flush_batch_max_bytes = max;
            config.chunk_max_size = 64 * MIB;
        });
        callbacks(home, log, bytes(max), 4096, 5_000)
    };
    let columns = ["5,000 flushes with callbacks, 4 KiB each, k/s", "syncs"];
    compare("`flush_batch_max_bytes`", &columns, [64 * KIB, MIB, 8 * MIB].map(contestant).into())
}

fn callbacks<'a>(home: Home, mut log: Log, name: String, size: usize, count: u64) -> Contestant<'a> {
    let turn = move || {
        let _keep = &home;
        let syncs = log.wal.flush_metrics().sync_batch_count;
        let took = append_with_callbacks(&mut log, size, count);
        let syncs = log.wal.flush_metrics().sync_batch_count - syncs;
        vec![count as f64 / us(took) * 1e3, syncs as f64]
    };
    (name, Box::new(turn))
}

pub(crate) fn flush_batch_wait(dir: &Path) -> String {
    let contestant = |wait: Duration| -> Contestant<'_> {
        let (home, log) = warm_log(dir, |config| config.flush_batch_wait = wait);
        let log = Mutex::new(log);
        let turn = move || {
            let _keep = &home;
            let mut figures = quantiles(append_sync(&mut log.lock().unwrap(), 64, 200), [0.5]);
            figures.extend([1, 8, 64].map(|threads| commit_rate(threads, &log, commit_by_ticket)));
            figures
        };
        (if wait.is_zero() { "0".to_string() } else { format!("{wait:?}") }, Box::new(turn))
    };
    let columns = ["`sync()`, p50 µs", "tickets: 1 thread, k/s", "8 threads, k/s", "64 threads, k/s"];
    let values = [Duration::ZERO, Duration::from_micros(100), Duration::from_millis(1)];
    compare("`flush_batch_wait`", &columns, values.map(contestant).into())
}

/// A chunk of 4 MiB is full after a thousand records.
pub(crate) fn spare_chunks(dir: &Path) -> String {
    let contestant = |spares: u64| -> Contestant<'_> {
        let (home, mut log) = warm_log(dir, |config| {
            config.spare_chunks = spares;
            config.chunk_max_size = 4 * MIB;
        });
        let turn = move || {
            let _keep = &home;
            quantiles(append_sync(&mut log, 4096, 2000), [0.5, 0.99, 0.999])
        };
        (spares.to_string(), Box::new(turn))
    };
    let columns = ["4 KiB durable, p50 µs", "p99 µs", "p99.9 µs"];
    compare("`spare_chunks`, chunks of 4 MiB", &columns, [0, 1, 2].map(contestant).into())
}

/// A new log each time, because reused files need no zeros.
pub(crate) fn zero_ahead_bytes(dir: &Path) -> String {
    let contestant = |step: u64| -> Contestant<'_> {
        let turn = move || {
            let mut home = Home::new_in(dir, 64 * MIB);
            home.config.zero_ahead_bytes = step;
            let mut log = home.open(Replay::All).unwrap();
            quantiles(append_sync(&mut log, 4096, 2000), [0.5, 0.99, 0.999])
        };
        (bytes(step), Box::new(turn))
    };
    let columns = ["4 KiB durable in a new file, p50 µs", "p99 µs", "p99.9 µs"];
    compare("`zero_ahead_bytes`", &columns, [0, 16 * KIB, 64 * KIB, 256 * KIB].map(contestant).into())
}

/// A record now and then: in between, the log is idle long enough to write its mark.
pub(crate) fn idle_mark(dir: &Path) -> String {
    let contestant = |mark: IdleMark| -> Contestant<'_> {
        let mut home = Home::new_in(dir, 16 * MIB);
        home.config.idle_mark = mark;
        let mut log = home.open(Replay::All).unwrap();
        let turn = move || {
            let mut took = Vec::new();
            for pause_ms in [7, 20] {
                let record = payload(4096);
                let mut syncs = Vec::new();
                for _ in 0..100 {
                    std::thread::sleep(Duration::from_millis(pause_ms));
                    log.append_to_short_log(&record).unwrap();
                    syncs.extend(time_each(1, || log.wal.sync().unwrap()));
                }
                took.extend(quantiles(syncs, [0.5, 0.99]));
            }
            took
        };
        (format!("`{mark:?}`"), Box::new(turn))
    };
    let columns = ["4 KiB durable each 7 ms, p50 µs", "p99 µs", "each 20 ms, p50 µs", "p99 µs"];
    compare("`idle_mark`", &columns, [IdleMark::Written, IdleMark::Synced].map(contestant).into())
}

pub(crate) fn read_buffer_size(dir: &Path) -> String {
    const RECORDS: u64 = 200_000;
    let contestant = |size: u64| -> Contestant<'_> {
        let mut home = Home::new_in(dir, 16 * MIB);
        home.config.read_buffer_size = size;
        let mut log = home.open(Replay::All).unwrap();
        let record = payload(256);
        for _ in 0..RECORDS {
            log.append(&record).unwrap();
        }
        log.wal.close().unwrap();
        let turn = move || {
            let started = Instant::now();
            let log = home.open(Replay::All).unwrap();
            let took = started.elapsed();
            assert_eq!(log.count, RECORDS);
            vec![took.as_secs_f64() * 1e9 / RECORDS as f64]
        };
        (bytes(size), Box::new(turn))
    };
    let columns = ["replaying a record of 256 B, ns"];
    let values = [4 * KIB, 64 * KIB, MIB, 16 * MIB];
    compare("`read_buffer_size`", &columns, values.map(contestant).into())
}
