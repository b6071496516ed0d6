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

/// Each with the bytes that it writes beside the payload.
const RAW: [(&str, FileState, How, usize); 5] = [
    ("raw reused", FileState::Reused, How::Fdatasync, 0),
    ("raw reused, with a header of 16 B", FileState::Reused, How::Fdatasync, 16),
    ("raw reused, RWF_DSYNC", FileState::Reused, How::Dsync, 0),
    ("raw allocated", FileState::Allocated, How::Fdatasync, 0),
    ("raw growing", FileState::Growing, How::Fdatasync, 0),
];

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    for size in SIZES {
        let payload = payload(size);
        let mut contest = Contest::new(context, Workload::S1, case(size), report);
        for (name, state, how, header) in RAW {
            let mut payload = payload.clone();
            payload.resize(size + header, 0);
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
