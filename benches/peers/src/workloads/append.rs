//! S4: append without sync, one at the end.

use std::time::Instant;

use anyhow::Result;

use super::case;
use super::records;
use super::warm_log;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::context::Scale;
use crate::peer::Setup;
use crate::peer::payload;
use crate::raw::append::BufferedWriter;
use crate::raw::append::WriteBack;
use crate::raw::file::FileState;
use crate::raw::pipeline::Pipeline;
use crate::workload::Workload;

const SIZES: [usize; 5] = [64, 256, 1 << 10, 4 << 10, 64 << 10];

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    for size in SIZES {
        let payload = payload(size);
        let most = records(scale.append_bytes, size);
        let mut contest = Contest::new(context, Workload::S4, case(size), report);
        for (name, write_back) in [
            ("raw copy + CRC + write", WriteBack::AtTheSync),
            ("raw copy + CRC + write, early write-back", WriteBack::Early),
        ] {
            contest.enter(name, |dir| {
                let mut file =
                    BufferedWriter::create(dir, 2 * scale.append_bytes, FileState::Reused, write_back)?;
                let payload = payload.clone();
                Ok(Box::new(move || measure(most, || file.append_then_sync(&payload, most))))
            });
        }
        contest.enter("raw, two threads, early write-back", |dir| {
            let mut pipeline = Pipeline::start(dir, 2 * scale.append_bytes, FileState::Reused)?;
            let payload = payload.clone();
            Ok(Box::new(move || measure(most, || pipeline.append_then_sync(&payload, most))))
        });
        let unsynced_bytes = scale.append_bytes;
        let setup = Setup { unsynced_bytes, ..Setup::forgetting(scale.chunk_bytes) };
        contest.enter_peers(|peer, dir| {
            let mut log = warm_log(peer, dir, &setup, scale, &payload)?;
            let count = affordable(scale, most, |count| log.append_then_sync(count))?;
            Ok(Box::new(move || measure(count, || log.append_then_sync(count))))
        });
        contest.run();
    }
}

/// How many records a turn has: the most, unless they would take several turns' time.
fn affordable(scale: &Scale, most: u64, append: impl FnOnce(u64) -> Result<Instant>) -> Result<u64> {
    let trial = (most / 64).max(1);
    let started = Instant::now();
    append(trial)?;
    let affordable = trial as f64 * 3.0 * scale.turn.as_secs_f64() / started.elapsed().as_secs_f64();
    Ok((affordable as u64).clamp(1, most))
}

fn measure(count: u64, append_then_sync: impl FnOnce() -> Result<Instant>) -> Result<Vec<Value>> {
    let started = Instant::now();
    let appended = append_then_sync()?;
    let synced = Instant::now();
    let ns = |until: Instant| (until - started).as_secs_f64() * 1e9 / count as f64;
    Ok(vec![
        Value { metric: "append", unit: "ns", value: ns(appended) },
        Value { metric: "with sync", unit: "ns", value: ns(synced) },
    ])
}
