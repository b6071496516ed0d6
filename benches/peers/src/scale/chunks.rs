//! A log of many chunks, of one record each: open, memory, listing, drain.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;

use super::Measured;
use super::Options;
use super::disk_use;
use super::mib;
use super::ms;
use super::opened_in_a_process;
use super::outcome::Table;
use super::outcome::shown;
use super::timed;
use crate::memory;
use crate::peer::Log;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers::ours::OurLog;
use crate::peers::ours::Ours;

/// Points of a curve.
const POINTS: u64 = 100;

/// Chunks that are made before the first measurement, between it and the second, and so on.
fn steps(chunks: u64) -> [u64; 3] {
    [chunks / 100, chunks / 10, chunks].map(|chunks| chunks.max(1))
}

pub(super) fn run(options: &Options, dir: &Path) -> Result<Measured> {
    std::fs::create_dir_all(dir)?;
    // A chunk is full as soon as it has a record, so that every append starts a new one.
    let setup = Setup { at_checkpoint: true, ..Setup::keeping(64) };
    let mut table = Table::new(&[
        "chunks",
        "made, chunks/s",
        "open, ms",
        "memory, MiB",
        "open files",
        "listing, ms",
        "disk, MiB",
    ]);
    let mut curves = Table::new(&["chunks", "made, chunks/s", "memory of the process, MiB"]);
    let mut made = 0;
    for chunks in steps(options.chunks) {
        let mut log = Ours::Plain.open_own(dir, &setup)?;
        log.set_payload(&payload(16));
        let ((), making) = timed(|| make(&mut log, made, chunks, options.chunks / POINTS, &mut curves))?;
        let rate = log.rotations as f64 / making.as_secs_f64();
        made += log.rotations;
        drop(log);
        let (log, opened) = timed(|| Ours::Plain.open_own(dir, &setup))?;
        let (listed, listing) = timed(|| Ok(log.closed_chunks()))?;
        drop(log);
        let (bytes, files) = opened_in_a_process(dir, &setup)?;
        let disk = mib(disk_use(dir)?.0);
        table.rows.push(vec![listed as f64, rate, ms(opened), mib(bytes), files as f64, ms(listing), disk]);
    }
    let mut log = Ours::Plain.open_own(dir, &setup)?;
    let (chunks, drained) = timed(|| log.drain())?;
    let ((), removed) = timed(|| log.wait_idle())?;
    let left = disk_use(dir)?.1;
    drop(log);
    std::fs::remove_dir_all(dir)?;
    let sentences = sentences(&table, chunks, drained, removed, left);
    Ok(Measured {
        title: format!("A log of {} chunks", options.chunks),
        tables: vec![table],
        sentences,
        curves,
    })
}

/// Appends until the log has this many chunks; notes the rate and the memory on the way.
fn make(log: &mut OurLog, before: u64, chunks: u64, step: u64, curves: &mut Table) -> Result<()> {
    let mut noted = (0, Instant::now());
    while before + log.rotations < chunks {
        log.append_many(64)?;
        log.sync()?;
        let (made, since) = noted;
        if log.rotations - made >= step.max(1) {
            let rate = (log.rotations - made) as f64 / since.elapsed().as_secs_f64();
            curves.rows.push(vec![(before + log.rotations) as f64, rate, mib(memory::resident()?)]);
            eprintln!("{} chunks", before + log.rotations);
            noted = (log.rotations, Instant::now());
        }
    }
    log.wait_idle()
}

fn sentences(table: &Table, chunks: u64, drained: Duration, removed: Duration, left: u64) -> Vec<String> {
    let [few, many] = table.ends(0);
    let (making, open) = (table.ends(1), table.ends(2));
    let (memory, listing) = (table.ends(3), table.ends(5));
    let between = |[first, last]: [String; 2], unit: &str| {
        format!("{first} {unit} with {few} chunks, {last} {unit} with {many}")
    };
    vec![
        format!(
            "Opening: O(newest chunk's tail) + one directory listing + header, seal and first record \
             of each older chunk: {}.",
            between(open, "ms")
        ),
        format!("Memory: O(chunks), no open file for a closed chunk: {}.", between(memory, "MiB")),
        format!("Listing closed chunks: O(chunks), in memory: {}.", between(listing, "ms")),
        format!("Making a chunk: O(1): {} chunks/s up to {few}, {} up to {many}.", making[0], making[1]),
        format!(
            "Draining: O(chunks): {chunks} chunks in {} ms in the call, and {} s until the files were gone; {left} \
             files were left.",
            shown(ms(drained)),
            shown(removed.as_secs_f64()),
        ),
    ]
}
