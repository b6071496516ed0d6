//! S2: many threads, each append durable before the thread's next.

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::anyhow;

use super::Age;
use super::FreshLogs;
use super::case;
use super::warm_log;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::payload;
use crate::raw::group::GroupCommit;
use crate::raw::leader::Leaders;
use crate::raw::leader::WriterThread;
use crate::stats::quantile;
use crate::workload::Workload;

const THREADS: [usize; 2] = [8, 64];
const CASES: [(usize, Age); 5] =
    [(64, Age::Warm), (256, Age::Warm), (4096, Age::Warm), (256, Age::Fresh), (4096, Age::Fresh)];

/// Raw programs: each makes its log anew in each turn, in a file whose blocks were written before.
type Create = fn(&Path, u64, &[u8]) -> Result<Box<dyn SharedLog>>;
const RAW: [(&str, Create); 3] = [
    ("raw, a leader, woken by a condition", |dir, len, payload| {
        Ok(Box::new(GroupCommit::create(dir, len, payload)?))
    }),
    ("raw, a leader, woken by batch", |dir, len, payload| Ok(Box::new(Leaders::create(dir, len, payload)?))),
    ("raw, a writer thread, woken by batch", |dir, len, payload| {
        Ok(Box::new(WriterThread::start(dir, len, payload)?))
    }),
];

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let setup = Setup { many_at_once: true, ..Setup::forgetting(scale.chunk_bytes) };
    for (size, age) in CASES {
        let payload = payload(size);
        for threads in THREADS {
            let case = age.case(format!("{}, {threads} threads", case(size)));
            let mut contest = Contest::new(context, Workload::S2, case, report);
            for (name, create) in RAW {
                contest.enter(name, |dir| {
                    let (dir, payload) = (dir.to_owned(), payload.clone());
                    Ok(Box::new(move || {
                        let log = create(&dir, scale.chunk_bytes, &payload)?;
                        commit_together(threads, scale.turn, &*log)
                    }))
                });
            }
            contest.enter_peers(|peer, dir| {
                if age == Age::Warm {
                    let log = warm_log(peer, dir, &setup, scale, &payload)?.share();
                    return Ok(Box::new(move || commit_together(threads, scale.turn, &*log)));
                }
                let (dir, setup, payload) = (dir.to_owned(), setup.clone(), payload.clone());
                let mut logs = FreshLogs { peer, dir, setup, payload, made: 0 };
                Ok(Box::new(move || commit_together(threads, scale.turn, &*logs.open()?.share())))
            });
            contest.run();
        }
    }
}

/// Every thread commits for a turn.
fn commit_together(threads: usize, turn: Duration, log: &dyn SharedLog) -> Result<Vec<Value>> {
    let start = Barrier::new(threads + 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let commit_until_stopped = || {
            let mut latencies = Vec::with_capacity(100_000);
            start.wait();
            let mut before = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                log.append_durable()?;
                let after = Instant::now();
                latencies.push((after - before).as_secs_f64() * 1e6);
                before = after;
            }
            Ok(latencies)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(commit_until_stopped)).collect();
        start.wait();
        let started = Instant::now();
        std::thread::sleep(turn);
        stop.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        let mut elapsed = 0.0;
        for thread in threads {
            let of_one: Result<Vec<f64>> = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            elapsed = started.elapsed().as_secs_f64();
            latencies.extend(of_one?);
        }
        let rate = latencies.len() as f64 / elapsed;
        latencies.sort_by(f64::total_cmp);
        Ok(vec![
            Value { metric: "rate", unit: "k/s", value: rate / 1e3 },
            Value { metric: "p99", unit: "µs", value: quantile(&latencies, 0.99) },
        ])
    })
}
