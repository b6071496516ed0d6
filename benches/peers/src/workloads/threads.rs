//! S2: many threads, each append durable before the thread's next.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::anyhow;

use super::warm_log;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::peer::payload;
use crate::raw::group::GroupCommit;
use crate::workload::Workload;

const THREADS: [usize; 2] = [8, 64];
const SIZE: usize = 64;

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let payload = payload(SIZE);
    for threads in THREADS {
        let mut contest = Contest::new(context, Workload::S2, format!("{threads} threads"), report);
        contest.enter("raw group commit", |dir| {
            let log = GroupCommit::create(dir, scale.chunk_bytes)?;
            let payload = payload.clone();
            Ok(Box::new(move || commit_together(threads, scale.turn, &|| log.commit(&payload))))
        });
        contest.enter_peers(|peer, dir| {
            let log = warm_log(peer, dir, scale, &payload, true)?.share();
            Ok(Box::new(move || commit_together(threads, scale.turn, &|| log.append_durable())))
        });
        contest.run();
    }
}

/// Every thread commits for a turn.
fn commit_together(
    threads: usize,
    turn: Duration,
    commit: &(dyn Fn() -> Result<()> + Sync),
) -> Result<Vec<Value>> {
    let start = Barrier::new(threads + 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let commit_until_stopped = || {
            start.wait();
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                commit()?;
                count += 1;
            }
            Ok(count)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(commit_until_stopped)).collect();
        start.wait();
        let started = Instant::now();
        std::thread::sleep(turn);
        stop.store(true, Ordering::Relaxed);
        let mut count = 0;
        for thread in threads {
            let counted: Result<u64> = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            count += counted?;
        }
        let rate = count as f64 / started.elapsed().as_secs_f64();
        Ok(vec![Value { metric: "rate", unit: "k/s", value: rate / 1e3 }])
    })
}
