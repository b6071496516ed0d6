//! S8: durable appends while chunks rotate many times a second and old ones are removed, against the same
//! without rotation, and against other logs with segments of the same size. The longest `append`, which is
//! a copy in memory and little more, is held against that of raw system calls: how long the machine keeps
//! a thread from running at times.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use super::latencies;
use super::latency_values;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::context::Scale;
use crate::peer::Log;
use crate::peer::Peer as _;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers::ours::OurLog;
use crate::peers::ours::Ours;
use crate::raw::append::BufferedWriter;
use crate::raw::append::WriteBack;
use crate::stats::quantile;
use crate::workload::Workload;

const SIZE: usize = 256;

/// Bytes of a chunk that ends often: one in some 200 appends is the last of its chunk, so that p99.9 sees
/// the end of a chunk. At 10,000 appends a second there are about 50 ends.
const SMALL: u64 = 64 << 10;

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let payload = payload(SIZE);
    let mut contest =
        Contest::new(context, Workload::S8, super::case(SIZE), report).rounds(scale.rotate_rounds);
    contest.enter("raw", |dir| {
        let mut file = BufferedWriter::create(dir, scale.chunk_bytes, WriteBack::AtTheSync)?;
        let payload = payload.clone();
        let append = move |file: &mut BufferedWriter| {
            file.append(&payload);
            Ok(())
        };
        Ok(Box::new(move || measure(scale.rotate_turn, &mut file, &append, BufferedWriter::sync)))
    });
    for (name, chunk_bytes) in [("ours, not rotating", scale.chunk_bytes), ("ours, rotating", SMALL)] {
        contest.enter(name, |dir| {
            let mut log = Ours::Plain.open_own(dir, &Setup::forgetting(chunk_bytes))?;
            if chunk_bytes != SMALL {
                super::warm(&mut log, scale.warm_bytes, scale, &payload)?;
            }
            warm_durably(&mut log, scale, &payload)?;
            Ok(Box::new(move || {
                let before = log.rotations;
                let mut values = measure(scale.rotate_turn, &mut log, OurLog::append, OurLog::sync)?;
                let rate = (log.rotations - before) as f64 / scale.rotate_turn.as_secs_f64();
                values.push(Value { metric: "rotations", unit: "1/s", value: rate });
                Ok(values)
            }))
        });
    }
    let setup = Setup::forgetting(SMALL);
    contest.enter_peers_where(
        |peer| !peer.name().starts_with(Ours::Plain.name()),
        |peer, dir| {
            let mut log = peer.open(dir, &setup)?;
            warm_durably(&mut *log, scale, &payload)?;
            Ok(Box::new(move || Ok(durable_values(&latencies(scale.rotate_turn, || log.append_durable())?))))
        },
    );
    contest.run();
}

/// Appends durably for a while, until chunks were reused, if they are.
fn warm_durably(log: &mut dyn Log, scale: &Scale, payload: &[u8]) -> Result<()> {
    log.set_payload(payload);
    latencies(scale.turn, || log.append_durable())?;
    log.wait_idle()
}

/// Appends durably for a turn; times the append alone, too.
fn measure<L>(
    turn: Duration,
    log: &mut L,
    append: impl Fn(&mut L) -> Result<()>,
    sync: impl Fn(&mut L) -> Result<()>,
) -> Result<Vec<Value>> {
    let mut append_max = Duration::ZERO;
    let durable = latencies(turn, || {
        let started = Instant::now();
        append(log)?;
        append_max = append_max.max(started.elapsed());
        sync(log)
    })?;
    let mut values = durable_values(&durable);
    let value = append_max.as_secs_f64() * 1e6;
    values.push(Value { metric: "longest `append`", unit: "µs", value });
    Ok(values)
}

fn durable_values(sorted: &[f64]) -> Vec<Value> {
    let mut values = latency_values(sorted);
    values.push(Value { metric: "longest", unit: "µs", value: quantile(sorted, 1.0) });
    values
}
