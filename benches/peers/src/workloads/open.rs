//! S6: open at the last checkpoint. The logs differ in length and have the same tail after the
//! checkpoint. Peers open in their own way, most by reading the log.

use std::time::Instant;

use super::count_case;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers::ours::Ours;
use crate::workload::Workload;

const SIZE: usize = 100;
const SHORT: u64 = 10_000;

/// Records after the last checkpoint.
const TAIL: u64 = 1000;

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let setup = Setup { at_checkpoint: true, ..Setup::keeping(scale.chunk_bytes) };
    let payload = payload(SIZE);
    let mut lengths = vec![SHORT, scale.open_records_read, scale.open_records];
    lengths.dedup();
    for count in lengths {
        let mut contest = Contest::new(context, Workload::S6, count_case(count), report);
        let ours = Ours::Plain.name();
        let takes_part = |peer: &dyn Peer| peer.name() == ours || count <= scale.open_records_read;
        contest.enter_peers_where(takes_part, |peer, dir| {
            if peer.name() == ours {
                let mut log = Ours::Plain.open_own(dir, &setup)?;
                log.set_payload(&payload);
                log.append_many(count - TAIL)?;
                log.rotate()?;
                log.append_many(TAIL)?;
                log.wait_idle()?;
            } else {
                let mut log = peer.open(dir, &setup)?;
                log.set_payload(&payload);
                log.append_many(count)?;
                log.wait_idle()?;
            }
            let (dir, setup) = (dir.to_owned(), setup.clone());
            Ok(Box::new(move || {
                let started = Instant::now();
                let log = peer.open(&dir, &setup)?;
                let elapsed = started.elapsed();
                drop(log);
                Ok(vec![Value { metric: "open", unit: "ms", value: elapsed.as_secs_f64() * 1e3 }])
            }))
        });
        contest.run();
    }
}
