//! S8: durable appends while chunks rotate many times a second and old ones are removed, against the same
//! without rotation, and against other logs with segments of the same size. The longest `append`, which is
//! a copy in memory and little more, is held against that of raw system calls: how long the machine keeps
//! a thread from running at times. The call that ends a chunk comes before the append, and has a figure of its own.

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
use crate::raw::file::FileState;
use crate::stats::quantile;
use crate::workload::Workload;

const SIZE: usize = 256;

/// Bytes of a chunk that ends often: one in some 60 appends is the last of its chunk, so that p99.9 sees
/// the end of a chunk. At 6,000 appends a second there are 100 ends, and more at a higher rate.
const SMALL: u64 = 16 << 10;

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let payload = payload(SIZE);
    let mut contest =
        Contest::new(context, Workload::S8, super::case(SIZE), report).rounds(scale.rotate_rounds);
    contest.enter("raw", |dir| {
        let mut file =
            BufferedWriter::create(dir, scale.chunk_bytes, FileState::Reused, WriteBack::AtTheSync)?;
        let payload = payload.clone();
        let append = move |file: &mut BufferedWriter| {
            file.append(&payload);
            Ok(())
        };
        let calls = Calls { end: |_: &mut BufferedWriter| Ok(()), append, sync: BufferedWriter::sync };
        Ok(Box::new(move || calls.measure(scale.rotate_turn, &mut file)))
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
                let calls = Calls { end: OurLog::rotate_if_full, append: OurLog::append, sync: OurLog::sync };
                let mut values = calls.measure(scale.rotate_turn, &mut log)?;
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

/// The calls that are timed.
struct Calls<E, A, S> {
    /// Ends the chunk if it is full: a call of its own, before the append.
    end: E,
    append: A,
    sync: S,
}

impl<E, A, S> Calls<E, A, S> {
    /// Appends durably for a turn; times the end of a chunk alone and the append alone, too.
    fn measure<L>(&self, turn: Duration, log: &mut L) -> Result<Vec<Value>>
    where
        E: Fn(&mut L) -> Result<()>,
        A: Fn(&mut L) -> Result<()>,
        S: Fn(&mut L) -> Result<()>,
    {
        let (mut append_max, mut end_max) = (Duration::ZERO, Duration::ZERO);
        let durable = latencies(turn, || {
            let started = Instant::now();
            (self.end)(log)?;
            let ended = Instant::now();
            (self.append)(log)?;
            append_max = append_max.max(ended.elapsed());
            end_max = end_max.max(ended - started);
            (self.sync)(log)
        })?;
        let mut values = durable_values(&durable);
        for (metric, longest) in [("longest `append`", append_max), ("longest end of a chunk", end_max)] {
            values.push(Value { metric, unit: "µs", value: longest.as_secs_f64() * 1e6 });
        }
        Ok(values)
    }
}

fn durable_values(sorted: &[f64]) -> Vec<Value> {
    let mut values = latency_values(sorted);
    values.push(Value { metric: "longest", unit: "µs", value: quantile(sorted, 1.0) });
    values
}
