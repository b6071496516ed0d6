//! S5: open and replay everything, from the page cache.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::ensure;

use super::case;
use super::records;
use crate::child::Task;
use crate::child::What;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::peer::Log;
use crate::peer::Setup;
use crate::peer::payload;
use crate::raw;
use crate::workload::Workload;

const SIZES: [usize; 3] = [64, 256, 4096];

/// A log that is slow to fill is shorter.
const FILL_TIME: Duration = Duration::from_secs(3);

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let setup = Setup::keeping(scale.chunk_bytes);
    for size in SIZES {
        let payload = payload(size);
        let count = records(scale.replay_bytes, size);
        let mut contest = Contest::new(context, Workload::S5, case(size), report);
        contest.enter("raw read + CRC", |dir| {
            let path = dir.join("file");
            raw::replay::fill(&path, &payload, count)?;
            Ok(Box::new(move || measure(count, || raw::replay::replay(&path))))
        });
        contest.enter_peers(|peer, dir| {
            let mut log = peer.open(dir, &setup)?;
            log.set_payload(&payload);
            let count = fill(&mut *log, count)?;
            log.sync()?;
            log.wait_idle()?;
            drop(log);
            let (dir, setup) = (dir.to_owned(), setup.clone());
            let task = Task {
                what: What::Replay,
                peer: peer.name().to_owned(),
                dir: dir.clone(),
                setup: setup.clone(),
            };
            let mut peak = None;
            Ok(Box::new(move || {
                let mut values = measure(count, || peer.replay(&dir, &setup))?;
                let value = match peak {
                    Some(peak) => peak,
                    None => *peak.insert(task.run()?["peak_bytes"] / f64::from(1 << 20)),
                };
                values.push(Value { metric: "peak memory", unit: "MiB", value });
                Ok(values)
            }))
        });
        contest.run();
    }
}

/// Appends `most` records, or fewer if they would take more than a few seconds; returns how many.
fn fill(log: &mut dyn Log, most: u64) -> Result<u64> {
    let started = Instant::now();
    let mut count = 0;
    while count < most && started.elapsed() < FILL_TIME {
        let part = (most / 64).clamp(1, most - count);
        log.append_many(part)?;
        count += part;
    }
    Ok(count)
}

fn measure(expected: u64, replay: impl FnOnce() -> Result<u64>) -> Result<Vec<Value>> {
    let started = Instant::now();
    let count = replay()?;
    let elapsed = started.elapsed();
    ensure!(count == expected, "replayed {count} records of {expected}");
    let value = elapsed.as_secs_f64() * 1e9 / count as f64;
    Ok(vec![Value { metric: "per record", unit: "ns", value }])
}
