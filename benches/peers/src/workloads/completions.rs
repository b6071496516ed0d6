//! S3: one thread, each record with a completion of its own, waiting at the end.

use std::time::Instant;

use anyhow::Result;

use super::case;
use super::warm_log;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::peer::Setup;
use crate::peer::payload;
use crate::raw::completions::Handover;
use crate::raw::file::FileState;
use crate::raw::pipeline::Pipeline;
use crate::workload::Workload;

const SIZES: [usize; 3] = [64, 256, 4096];

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    for size in SIZES {
        let payload = payload(size);
        let mut contest = Contest::new(context, Workload::S3, case(size), report);
        contest.enter("raw handover", |dir| {
            let mut handover = Handover::start(dir, scale.chunk_bytes)?;
            let payload = payload.clone();
            Ok(Box::new(move || rate(scale.completions, |count| handover.append(&payload, count))))
        });
        contest.enter("raw handover by the MiB, early write-back", |dir| {
            let mut pipeline = Pipeline::start(dir, scale.chunk_bytes, FileState::Reused)?;
            let payload = payload.clone();
            Ok(Box::new(move || {
                rate(scale.completions, |count| pipeline.append_then_sync(&payload, count).map(drop))
            }))
        });
        contest.enter_peers(|peer, dir| {
            let setup = Setup { many_at_once: true, ..Setup::forgetting(scale.chunk_bytes) };
            let mut log = warm_log(peer, dir, &setup, scale, &payload)?;
            Ok(Box::new(move || {
                log.prepare_completions(scale.completions);
                rate(scale.completions, |count| log.append_with_completions(count))
            }))
        });
        contest.run();
    }
}

fn rate(count: u64, append: impl FnOnce(u64) -> Result<()>) -> Result<Vec<Value>> {
    let started = Instant::now();
    append(count)?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    Ok(vec![Value { metric: "rate", unit: "M/s", value: rate / 1e6 }])
}
