//! Which call for which purpose: ways to wait until records are durable.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chunked_wal::Flush;

use crate::common::{Completions, Log, OneMore, payload};
use crate::table::{Contestant, compare};
use crate::turns::{
    append_with_callbacks, commit_by_ticket, commit_rate, quantiles, time_each, us, warm_log,
};

/// A way to do it, and its name.
type Way = (&'static str, fn(&mut Log));
type TimedWay = (&'static str, fn(&mut Log) -> Duration);
type SharedWay = (&'static str, fn(&Mutex<Log>));

/// One thread that waits for each record before it appends the next.
pub(crate) fn sync(dir: &Path) -> String {
    let ways: [Way; 3] = [
        ("`sync()`", |log| log.wal.sync().unwrap()),
        ("`flush_ticket(Sync)`, `wait()`", |log| {
            log.wal.flush_ticket(Flush::Sync).unwrap().wait().unwrap();
        }),
        ("`flush(Sync, callback)`, wait for the callback", |log| {
            let done = Arc::new(Completions::default());
            log.wal.flush(Flush::Sync, Some(OneMore(done.clone()))).unwrap();
            done.wait_for(1);
        }),
    ];
    let contestant = |(name, way): Way| -> Contestant<'_> {
        let (home, mut log) = warm_log(dir, |_| {});
        let record = payload(256);
        let turn = move || {
            let _keep = &home;
            let took = time_each(1000, || {
                log.append_to_short_log(&record).unwrap();
                way(&mut log);
            });
            quantiles(took, [0.5, 0.99])
        };
        (name.to_string(), Box::new(turn))
    };
    let columns = ["256 B durable, p50 µs", "p99 µs"];
    compare("one thread, one record at a time", &columns, ways.map(contestant).into())
}

/// One thread that has more to append before the first record is durable.
pub(crate) fn completions(dir: &Path) -> String {
    const RECORDS: u64 = 20_000;
    let ways: [TimedWay; 3] = [
        ("`flush(Sync, callback)` for each", |log| append_with_callbacks(log, 256, RECORDS)),
        ("`flush_ticket(Sync)` for each, `wait()` for all at the end", |log| {
            let record = payload(256);
            let started = Instant::now();
            let ticket = |_| {
                log.append_to_short_log(&record).unwrap();
                log.wal.flush_ticket(Flush::Sync).unwrap()
            };
            let tickets: Vec<_> = (0..RECORDS).map(ticket).collect();
            tickets.into_iter().for_each(|ticket| ticket.wait().unwrap());
            started.elapsed()
        }),
        ("no flush for each, one `sync()` at the end", |log| append_then_sync(log, RECORDS)),
    ];
    let contestant = |(name, way): TimedWay| -> Contestant<'_> {
        let (home, mut log) = warm_log(dir, |_| {});
        let turn = move || {
            let _keep = &home;
            let syncs = log.wal.flush_metrics().sync_batch_count;
            let took = way(&mut log);
            let syncs = log.wal.flush_metrics().sync_batch_count - syncs;
            vec![RECORDS as f64 / us(took) * 1e3, syncs as f64]
        };
        (name.to_string(), Box::new(turn))
    };
    let columns = ["thousands of records/s", "syncs"];
    compare("20,000 records of 256 B, all durable at the end", &columns, ways.map(contestant).into())
}

/// Batches that become durable by one sync.
pub(crate) fn batches(dir: &Path) -> String {
    let contestant = |records: u64| -> Contestant<'_> {
        let (home, mut log) = warm_log(dir, |_| {});
        let turn = move || {
            let _keep = &home;
            let took = time_each(300, || {
                append_then_sync(&mut log, records);
            });
            let batch = quantiles(took, [0.5])[0];
            vec![batch, records as f64 / batch * 1e3]
        };
        (records.to_string(), Box::new(turn))
    };
    let columns = ["a batch durable, p50 µs", "thousands of records/s"];
    let all = [1, 10, 100, 1000].map(contestant).into();
    compare("records of 256 B appended before one `sync()`", &columns, all)
}

fn append_then_sync(log: &mut Log, records: u64) -> Duration {
    let record = payload(256);
    let started = Instant::now();
    for _ in 0..records {
        log.append_to_short_log(&record).unwrap();
    }
    log.wal.sync().unwrap();
    started.elapsed()
}

/// Threads that share a log through a mutex, each waiting for its own record.
pub(crate) fn threads(dir: &Path) -> String {
    let ways: [SharedWay; 4] = [
        ("append and `sync()` under the lock", |log| {
            let record = payload(64);
            let mut log = log.lock().unwrap();
            log.append_to_short_log(&record).unwrap();
            log.wal.sync().unwrap();
        }),
        ("append and `flush_ticket(Sync)` under the lock, `wait()` outside", commit_by_ticket),
        ("append and `flush(Sync, callback)` under the lock, wait for the callback outside", |log| {
            let record = payload(64);
            let done = Arc::new(Completions::default());
            {
                let mut log = log.lock().unwrap();
                log.append_to_short_log(&record).unwrap();
                log.wal.flush(Flush::Sync, Some(OneMore(done.clone()))).unwrap();
            }
            done.wait_for(1);
        }),
        ("append and `flush(Sync, None)` under the lock, `wait_synced(end)` outside", |log| {
            let record = payload(64);
            let (progress, end) = {
                let mut log = log.lock().unwrap();
                let segment = log.append_to_short_log(&record).unwrap();
                log.wal.flush(Flush::Sync, None).unwrap();
                (log.wal.progress_handle(), segment.offset + segment.size)
            };
            progress.wait_synced(end).unwrap();
        }),
    ];
    let contestant = |(name, way): SharedWay| -> Contestant<'_> {
        let (home, log) = warm_log(dir, |_| {});
        let log = Mutex::new(log);
        let turn = move || {
            let _keep = &home;
            [1, 8, 64].map(|threads| commit_rate(threads, &log, way)).to_vec()
        };
        (name.to_string(), Box::new(turn))
    };
    let columns = ["1 thread, k/s", "8 threads, k/s", "64 threads, k/s"];
    compare("durable records of 64 B", &columns, ways.map(contestant).into())
}
