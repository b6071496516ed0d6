//! S1: one thread, each append durable before the next.

use super::Age;
use super::case;
use super::latencies;
use super::latency_values;
use super::turn_with;
use crate::contest::Contest;
use crate::contest::Report;
use crate::context::Context;
use crate::peer::Setup;
use crate::peer::payload;
use crate::raw::file::FileState;
use crate::raw::sync::DurableWriter;
use crate::raw::sync::How;
use crate::workload::Workload;

const CASES: [(usize, Age); 4] = [(64, Age::Warm), (256, Age::Warm), (4096, Age::Warm), (4096, Age::Fresh)];

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
    let setup = Setup::forgetting(scale.chunk_bytes);
    for (size, age) in CASES {
        let payload = payload(size);
        let mut contest = Contest::new(context, Workload::S1, age.case(case(size)), report);
        for (name, state, how, header) in RAW {
            let mut payload = payload.clone();
            payload.resize(size + header, 0);
            contest.enter(name, |dir| {
                let mut file = DurableWriter::create(dir, scale.chunk_bytes, state, how)?;
                Ok(Box::new(move || {
                    file.renew()?;
                    Ok(latency_values(&latencies(scale.turn, || file.write(&payload))?))
                }))
            });
        }
        contest.enter_peers(|peer, dir| {
            turn_with(age, peer, dir, &setup, scale, &payload, move |log| {
                Ok(latency_values(&latencies(scale.turn, || log.append_durable())?))
            })
        });
        contest.run();
    }
}
