//! S8: durable appends while chunks rotate every second and old ones are removed, against the same
//! without rotation. The longest `append`, which is a copy in memory and little more, is held against
//! that of raw system calls: how long the machine keeps a thread from running at times.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Value;
use crate::context::Context;
use crate::peer::Log;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers::ours::OurLog;
use crate::peers::ours::Ours;
use crate::raw::append::BufferedWriter;
use crate::stats::quantile;
use crate::workload::Workload;

const SIZE: usize = 256;

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let payload = payload(SIZE);
    let mut contest =
        Contest::new(context, Workload::S8, super::case(SIZE), report).rounds(scale.rotate_rounds);
    contest.enter("raw", |dir| {
        let mut file = BufferedWriter::create(dir, scale.chunk_bytes)?;
        let payload = payload.clone();
        let append = move |file: &mut BufferedWriter| {
            file.append(&payload);
            Ok(())
        };
        let calls = Calls { append, sync: BufferedWriter::sync, rotate: |_: &mut BufferedWriter| Ok(()) };
        Ok(Box::new(move || calls.measure(&mut file, scale.rotate_turn, None)))
    });
    for (name, every) in [("ours, not rotating", None), ("ours, rotating", Some(scale.rotate_turn / 4))] {
        contest.enter(name, |dir| {
            let mut log = Ours::Plain.open_own(dir, &Setup::forgetting(scale.chunk_bytes))?;
            super::warm(&mut log, scale, &payload)?;
            let calls = Calls { append: OurLog::append, sync: OurLog::sync, rotate: OurLog::rotate };
            Ok(Box::new(move || calls.measure(&mut log, scale.rotate_turn, every)))
        });
    }
    contest.run();
}

/// The calls that are timed.
struct Calls<A, S, R> {
    append: A,
    sync: S,
    rotate: R,
}

impl<A, S, R> Calls<A, S, R> {
    /// Appends durably for a turn, and starts a new chunk at intervals.
    fn measure<L>(&self, log: &mut L, turn: Duration, every: Option<Duration>) -> Result<Vec<Value>>
    where
        A: Fn(&mut L) -> Result<()>,
        S: Fn(&mut L) -> Result<()>,
        R: Fn(&mut L) -> Result<()>,
    {
        let mut durable = Vec::with_capacity(100_000);
        let mut append_max = Duration::ZERO;
        let mut rotate_max = Duration::ZERO;
        let started = Instant::now();
        let mut rotated = started;
        let mut before = started;
        while before - started < turn {
            let mut appending = before;
            if every.is_some_and(|every| before - rotated >= every) {
                rotated = before;
                (self.rotate)(log)?;
                appending = Instant::now();
                rotate_max = rotate_max.max(appending - before);
            }
            (self.append)(log)?;
            append_max = append_max.max(appending.elapsed());
            (self.sync)(log)?;
            let after = Instant::now();
            durable.push((after - before).as_secs_f64() * 1e6);
            before = after;
        }
        durable.sort_by(f64::total_cmp);
        let us = |duration: Duration| duration.as_secs_f64() * 1e6;
        Ok([
            ("p50", quantile(&durable, 0.5)),
            ("p99", quantile(&durable, 0.99)),
            ("p99.9", quantile(&durable, 0.999)),
            ("longest", quantile(&durable, 1.0)),
            ("longest `append`", us(append_max)),
            ("longest rotation", us(rotate_max)),
        ]
        .map(|(metric, value)| Value { metric, unit: "µs", value })
        .to_vec())
    }
}
