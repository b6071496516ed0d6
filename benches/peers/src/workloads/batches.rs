//! S10: batches, each made durable by one blocking sync. A fresh log is compared with raw programs on a file
//! that is as new: it has its blocks, and they were never written.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use super::Age;
use super::case;
use super::turn_with;
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

/// Bytes of a record, and records of a batch.
const CASES: [(usize, u64, Age); 6] = [
    (64, 1000, Age::Warm),
    (256, 1000, Age::Warm),
    (4 << 10, 1000, Age::Warm),
    (64 << 10, 100, Age::Warm),
    (256, 1000, Age::Fresh),
    (4 << 10, 1000, Age::Fresh),
];

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    for (size, batch, age) in CASES {
        let payload = payload(size);
        let mut contest =
            Contest::new(context, Workload::S10, age.case(format!("{batch} × {}", case(size))), report);
        enter_raw(&mut contest, scale, &payload, batch, FileState::Reused);
        if age == Age::Fresh {
            enter_raw(&mut contest, scale, &payload, batch, FileState::Allocated);
        }
        let unsynced_bytes = batch * size as u64;
        let setup = Setup { unsynced_bytes, ..Setup::forgetting(scale.chunk_bytes) };
        contest.enter_peers(|peer, dir| {
            turn_with(age, peer, dir, &setup, scale, &payload, move |log| {
                rate(batch, scale.turn, || log.append_then_sync(batch))
            })
        });
        contest.run();
    }
}

/// Adds the raw programs, each with a new file in each turn.
fn enter_raw<'a>(contest: &mut Contest<'a>, scale: &'a Scale, payload: &[u8], batch: u64, state: FileState) {
    let (raw, len) = match state {
        // Longer than what a turn writes, so that no block is written twice.
        FileState::Allocated => ("raw allocated", 16 * scale.chunk_bytes),
        _ => ("raw", scale.chunk_bytes),
    };
    for (way, write_back) in [
        ("copy + CRC + write", WriteBack::AtTheSync),
        ("copy + CRC + write, early write-back", WriteBack::Early),
    ] {
        contest.enter(&format!("{raw} {way}"), |dir| {
            let (dir, payload) = (dir.to_owned(), payload.to_vec());
            Ok(Box::new(move || {
                let mut file = BufferedWriter::create(&dir, len, state, write_back)?;
                rate(batch, scale.turn, || file.append_then_sync(&payload, batch))
            }))
        });
    }
    contest.enter(&format!("{raw}, two threads, early write-back"), |dir| {
        let (dir, payload) = (dir.to_owned(), payload.to_vec());
        Ok(Box::new(move || {
            let mut pipeline = Pipeline::start(&dir, len, state)?;
            rate(batch, scale.turn, || pipeline.append_then_sync(&payload, batch))
        }))
    });
}

/// Runs batches for a turn.
fn rate(
    batch: u64,
    turn: Duration,
    mut append_then_sync: impl FnMut() -> Result<Instant>,
) -> Result<Vec<Value>> {
    let started = Instant::now();
    let mut batches = 0;
    while started.elapsed() < turn {
        append_then_sync()?;
        batches += 1;
    }
    let rate = (batches * batch) as f64 / started.elapsed().as_secs_f64();
    Ok(vec![Value { metric: "rate", unit: "k/s", value: rate / 1e3 }])
}
