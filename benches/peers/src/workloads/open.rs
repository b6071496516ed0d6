//! S6: open at the last checkpoint. The logs differ in length and have the same tail after the
//! checkpoint; in one case the newest chunk is full. Peers open in their own way, most by reading the log.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::ensure;

use super::count_case;
use crate::contest::Contest;
use crate::contest::Report;
use crate::contest::Turn;
use crate::contest::Value;
use crate::context::Context;
use crate::context::Scale;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers::ours::Ours;
use crate::workload::Workload;

const SIZE: usize = 100;
const SHORT: u64 = 10_000;

/// Records after the last checkpoint, unless the newest chunk is full.
const TAIL: u64 = 1000;

/// Bytes of a record in a chunk, rounded up, so that a full newest chunk is not over-full.
const FRAME: u64 = SIZE as u64 + 32;

/// A log that takes longer to be filled is left out.
const FILL_MAX: Duration = Duration::from_secs(90);

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let full = scale.chunk_bytes * 9 / 10 / FRAME;
    let counts = [SHORT, scale.open_records_read, scale.open_records];
    let mut cases = Vec::from(counts.map(|count| (count, TAIL, count_case(count))));
    cases.dedup();
    let full_case = format!("{}, newest chunk full", count_case(scale.open_records_read));
    cases.push((scale.open_records_read.max(2 * full), full, full_case));
    for (count, tail, case) in cases {
        // Reading a log of this many records takes seconds.
        let rounds = if count > scale.open_records_read { scale.rounds.min(3) } else { scale.rounds };
        let mut contest = Contest::new(context, Workload::S6, case, report).rounds(rounds);
        contest.enter_peers(|peer, dir| prepare(peer, dir, scale, count, tail));
        contest.run();
    }
}

/// Makes a log and closes it; a turn opens it.
fn prepare<'a>(peer: &'a dyn Peer, dir: &Path, scale: &Scale, count: u64, tail: u64) -> Result<Turn<'a>> {
    let setup = Setup { at_checkpoint: true, ..Setup::keeping(scale.chunk_bytes) };
    let payload = payload(SIZE);
    if peer.name() == Ours::Plain.name() {
        let mut log = Ours::Plain.open_own(dir, &setup)?;
        log.set_payload(&payload);
        log.append_many(count - tail)?;
        log.rotate()?;
        log.append_many(tail)?;
        log.wait_idle()?;
    } else {
        let mut log = peer.open(dir, &setup)?;
        log.set_payload(&payload);
        fill(&mut *log, count)?;
        log.wait_idle()?;
    }
    let dir = dir.to_owned();
    Ok(Box::new(move || {
        let started = Instant::now();
        let log = peer.open(&dir, &setup)?;
        let elapsed = started.elapsed();
        drop(log);
        Ok(vec![Value { metric: "open", unit: "ms", value: elapsed.as_secs_f64() * 1e3 }])
    }))
}

fn fill(log: &mut dyn Log, count: u64) -> Result<()> {
    let started = Instant::now();
    let mut left = count;
    while left > 0 {
        let part = (count / 64).clamp(1, left);
        log.append_many(part)?;
        left -= part;
        ensure!(started.elapsed() < FILL_MAX, "not filled within {} s", FILL_MAX.as_secs());
    }
    Ok(())
}
