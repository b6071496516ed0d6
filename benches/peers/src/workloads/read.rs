//! S7: random reads of one 256-byte record, from the page cache.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::anyhow;
use anyhow::ensure;

use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Turn;
use crate::contest::Value;
use crate::context::Context;
use crate::peer::RandomReads;
use crate::peer::payload;
use crate::raw::read::Frames;
use crate::stats::Random;
use crate::workload::Workload;

const SIZE: usize = 256;

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let payload = payload(SIZE);
    let count = scale.read_records;
    for (case, threads) in [("1 thread", 1), ("2 threads", 2)] {
        let turn = |reads: Box<dyn RandomReads>| -> Turn<'_> {
            Box::new(move || measure(threads, scale.turn, count, &*reads))
        };
        let mut contest = Contest::new(context, Workload::S7, case, report);
        contest.enter("raw pread + CRC", |dir| Ok(turn(Box::new(Frames::create(dir, &payload, count)?))));
        contest
            .enter("raw map + CRC", |dir| Ok(turn(Box::new(Frames::create(dir, &payload, count)?.map()?))));
        contest.enter_peers(|peer, dir| Ok(turn(peer.random_reads(dir, &payload, count)?)));
        contest.run();
    }
}

/// Records that a thread reads before it starts over: enough of them that they are in no cache of the
/// processor.
const SEQUENCE: usize = 1 << 18;

fn measure(threads: u64, turn: Duration, records: u64, reads: &dyn RandomReads) -> Result<Vec<Value>> {
    let start = Barrier::new(threads as usize + 1);
    let start = &start;
    let (count, elapsed) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|seed| scope.spawn(move || read_for(turn, seed, records, reads, start)))
            .collect();
        start.wait();
        let started = Instant::now();
        let counts =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        let count = counts.sum::<Result<u64>>()?;
        anyhow::Ok((count, started.elapsed().as_secs_f64()))
    })?;
    Ok(vec![
        Value { metric: "per read", unit: "ns", value: elapsed * 1e9 * threads as f64 / count as f64 },
        Value { metric: "rate", unit: "M/s", value: count as f64 / elapsed / 1e6 },
    ])
}

/// Looks records up, then reads them for a turn; returns how often.
fn read_for(
    turn: Duration,
    seed: u64,
    records: u64,
    reads: &dyn RandomReads,
    start: &Barrier,
) -> Result<u64> {
    let mut random = Random::new(seed);
    let sequence: Vec<u64> = (0..SEQUENCE).map(|_| random.below(records)).collect();
    let found = reads.find(&sequence);
    start.wait();
    let mut count = 0;
    let started = Instant::now();
    while started.elapsed() < turn {
        for _ in 0..100 {
            let len = found.read(black_box(count % SEQUENCE))?;
            ensure!(len == SIZE, "{len} bytes, not {SIZE}");
            count += 1;
        }
    }
    Ok(count as u64)
}
