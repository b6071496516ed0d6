//! S9: the cost of an idle log: wake-ups, and memory and open files of a log with many closed chunks.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::child::Task;
use crate::child::What;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::context::Scale;
use crate::peer::Log;
use crate::peer::Peer as _;
use crate::peer::Setup;
use crate::peers::ours::OurLog;
use crate::peers::ours::Ours;
use crate::workload::Workload;

/// The number of chunks in the goal.
const CHUNKS: f64 = 100_000.0;

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let mut contest = Contest::new(context, Workload::S9, "idle", report).rounds(1);
    contest.enter_peers(|peer, dir| {
        let setup = Setup::keeping(scale.chunk_bytes);
        let what = What::Idle(scale.idle);
        let task = Task { what, peer: peer.name().to_owned(), dir: dir.to_owned(), setup };
        Ok(Box::new(move || {
            let per_second = task.run()?["wakeups"] / scale.idle.as_secs_f64();
            Ok(vec![Value { metric: "wake-ups", unit: "1/s", value: per_second }])
        }))
    });
    contest.run();
    let mut contest = Contest::new(context, Workload::S9, "100,000 chunks", report).rounds(1);
    contest.enter(Ours::Plain.name(), |dir| {
        let (empty, dir) = (dir.join("empty"), dir.join("log"));
        let chunks = make_chunks(&dir, scale)?;
        let setup = Setup { at_checkpoint: true, ..tiny() };
        let task = Task { what: What::Open, peer: Ours::Plain.name().to_owned(), dir, setup };
        let empty = Task { dir: empty, ..task.clone() };
        Ok(Box::new(move || {
            let measured = task.run()?;
            let empty = empty.run()?["bytes"];
            let bytes = empty + (measured["bytes"] - empty) * CHUNKS / chunks as f64;
            Ok(vec![
                Value { metric: "memory", unit: "MiB", value: bytes / f64::from(1 << 20) },
                Value { metric: "open files", unit: "", value: measured["files"] },
                Value { metric: "chunks made", unit: "", value: chunks as f64 },
            ])
        }))
    });
    contest.run();
}

fn tiny() -> Setup {
    Setup::keeping(64)
}

/// Makes chunks of one record until there are enough or the time is over; returns how many.
fn make_chunks(dir: &Path, scale: &Scale) -> Result<u64> {
    let mut log: OurLog = Ours::Plain.open_own(dir, &tiny())?;
    log.set_payload(&crate::peer::payload(16));
    let started = Instant::now();
    // A chunk is full as soon as it has a record, so that every append starts a new one.
    while log.rotations < scale.chunks && started.elapsed() < scale.chunks_time {
        log.append_many(64)?;
        log.sync()?;
    }
    log.wait_idle()?;
    Ok(log.rotations)
}
