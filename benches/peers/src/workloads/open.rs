//! S6: open at the last checkpoint after a clean close. The logs differ in length and have the same tail after
//! the checkpoint. In other cases the newest chunk's file is large and was used before, so that old records follow
//! the tail; or the newest chunk is full, so that all of its records come after the checkpoint. Peers open in
//! their own way, most by reading the log.

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

/// The log of a case.
struct Logged {
    count: u64,
    /// Records after the last checkpoint.
    tail: u64,
    chunk_bytes: u64,
    /// Whether the newest chunk's file was used before.
    reused: bool,
}

pub(crate) fn run(context: &Context, report: &mut Report) {
    let scale = &context.scale;
    let mut counts = vec![SHORT, scale.open_records_read, scale.open_records];
    counts.dedup();
    for count in counts {
        // Reading a log of more records takes seconds.
        let rounds = if count > scale.open_records_read { scale.rounds.min(3) } else { scale.rounds };
        let logged = Logged { count, tail: TAIL, chunk_bytes: scale.chunk_bytes, reused: false };
        let contest = Contest::new(context, Workload::S6, count_case(count), report).rounds(rounds);
        compare(contest, &logged, true);
    }
    let [usual, large] = scale.open_chunks;
    for chunk_bytes in [usual, large] {
        let logged = Logged { count: SHORT, tail: TAIL, chunk_bytes, reused: true };
        let case = format!("reused chunk of {} MiB", chunk_bytes >> 20);
        compare(Contest::new(context, Workload::S6, case, report), &logged, false);
    }
    let tail = records_of(usual);
    let logged = Logged { count: tail + SHORT, tail, chunk_bytes: usual, reused: false };
    let case = format!("{}, all in the newest chunk of {} MiB", count_case(tail), usual >> 20);
    compare(Contest::new(context, Workload::S6, case, report), &logged, true);
}

/// Records that nearly fill a chunk.
fn records_of(chunk_bytes: u64) -> u64 {
    chunk_bytes * 9 / 10 / FRAME
}

fn compare(mut contest: Contest<'_>, logged: &Logged, with_peers: bool) {
    contest.enter_peers_where(
        |peer| with_peers || peer.name() == Ours::Plain.name(),
        |peer, dir| prepare(peer, dir, logged),
    );
    contest.run();
}

/// Makes a log and closes it; a turn opens it.
fn prepare<'a>(peer: &'a dyn Peer, dir: &Path, logged: &Logged) -> Result<Turn<'a>> {
    let &Logged { count, tail, chunk_bytes, reused } = logged;
    let setup = Setup { at_checkpoint: true, ..Setup::keeping(chunk_bytes) };
    let payload = payload(SIZE);
    if peer.name() == Ours::Plain.name() {
        let mut log = Ours::Plain.open_own(dir, &Setup { forget: reused, ..setup.clone() })?;
        log.set_payload(&payload);
        // The first chunks have new files, and the fourth has the file of one that was removed.
        let chunks = if reused { vec![records_of(chunk_bytes); 3] } else { vec![count - tail] };
        for records in chunks {
            log.append_many(records)?;
            log.rotate()?;
            log.wait_idle()?;
        }
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
