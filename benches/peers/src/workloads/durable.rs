//! S1: one thread, each append durable before the next.

use super::case;
use super::latencies;
use super::latency_values;
use super::warm_log;
use crate::contest::Contest;
use crate::contest::Report;
use crate::context::Context;
use crate::peer::payload;
use crate::raw::file::FileState;
use crate::raw::sync::DurableWriter;
use crate::raw::sync::How;
use crate::workload::Workload;

const SIZES: [usize; 3] = [64, 256, 4096];

const RAW: [(&str, FileState, How); 4] = [
    ("raw reused", FileState::Reused, How::Fdatasync),
    ("raw reused, RWF_DSYNC", FileState::Reused, How::Dsync),
    ("raw allocated", FileState::Allocated, How::Fdatasync),
    ("raw growing", FileState::Growing, How::Fdatasync),
];

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    for size in SIZES {
        let payload = payload(size);
        let mut contest = Contest::new(context, Workload::S1, case(size), report);
        for (name, state, how) in RAW {
            let payload = payload.clone();
            contest.enter(name, |dir| {
                let mut file = DurableWriter::create(dir, scale.chunk_bytes, state, how)?;
                Ok(Box::new(move || {
                    file.make_room(scale.chunk_bytes / 2)?;
                    Ok(latency_values(&latencies(scale.turn, || file.write(&payload))?))
                }))
            });
        }
        contest.enter_peers(|peer, dir| {
            let mut log = warm_log(peer, dir, scale, &payload, false)?;
            Ok(Box::new(move || Ok(latency_values(&latencies(scale.turn, || log.append_durable())?))))
        });
        contest.run();
    }
}
