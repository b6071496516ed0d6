//! A log of many bytes: append, open at the last checkpoint, replay, verify, drain to nothing.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use anyhow::ensure;
use chunked_wal::tools::Tool;

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
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers::ours::OurLog;
use crate::peers::ours::Ours;

/// Appends between two looks at the size.
const PART: u64 = 4096;

/// Points of a curve.
const POINTS: u64 = 100;

pub(super) fn run(options: &Options, dir: &Path) -> Result<Measured> {
    std::fs::create_dir_all(dir)?;
    let mut table = Table::new(&[
        "MiB",
        "append and sync, MiB/s",
        "open, ms",
        "open: memory, MiB",
        "replay, s",
        "replay, ns per record",
        "verify, s",
    ]);
    let mut curves =
        Table::new(&["MiB", "append, MiB/s", "memory of the process, MiB", "disk, MiB", "longest part, ms"]);
    let mut count = 0;
    for bytes in [options.bytes / 16, options.bytes / 4, options.bytes] {
        let mut log = Ours::Plain.open_own(dir, &at_checkpoint(options))?;
        let before = log.bytes();
        let (appended, time) = timed(|| append_until(&mut log, options, dir, bytes, &mut curves))?;
        count += appended;
        let rate = mib(log.bytes() - before) / time.as_secs_f64();
        log.wait_idle()?;
        let bytes = log.bytes();
        drop(log);
        table.rows.push(measure(options, dir, bytes, count, rate)?);
    }
    let drained = drain(options, dir)?;
    let sentences = sentences(&table, drained);
    std::fs::remove_dir_all(dir)?;
    let title = format!("A log of {} MiB", shown(mib(options.bytes)));
    Ok(Measured { title, tables: vec![table], sentences, curves })
}

/// Drains the log to nothing; returns a sentence about that.
fn drain(options: &Options, dir: &Path) -> Result<String> {
    let mut log = Ours::Plain.open_own(dir, &at_checkpoint(options))?;
    log.rotate()?;
    log.sync()?;
    let (chunks, drained) = timed(|| log.drain())?;
    let ((), removed) = timed(|| log.wait_idle())?;
    let (left, _) = disk_use(dir)?;
    Ok(format!(
        "Draining to nothing: O(chunks): {chunks} chunks in {} ms in the call, and {} ms until the files were gone; \
         {} MiB were left, which are the open chunk and the spare ones.",
        shown(ms(drained)),
        shown(ms(removed)),
        shown(mib(left)),
    ))
}

fn append_until(
    log: &mut OurLog,
    options: &Options,
    dir: &Path,
    bytes: u64,
    curves: &mut Table,
) -> Result<u64> {
    log.set_payload(&payload(options.record as usize));
    let mut count = 0;
    let mut noted = (log.bytes(), Instant::now());
    let mut longest: f64 = 0.0;
    while log.bytes() < bytes {
        let started = Instant::now();
        log.append_many(PART)?;
        longest = longest.max(ms(started.elapsed()));
        count += PART;
        let (before, since) = noted;
        if log.bytes() - before >= options.bytes / POINTS {
            let rate = mib(log.bytes() - before) / since.elapsed().as_secs_f64();
            let (memory, disk) = (mib(memory::resident()?), mib(disk_use(dir)?.0));
            curves.rows.push(vec![mib(log.bytes()), rate, memory, disk, longest]);
            (noted, longest) = ((log.bytes(), Instant::now()), 0.0);
        }
    }
    log.sync()?;
    Ok(count)
}

/// Returns a row of the table.
fn measure(options: &Options, dir: &Path, bytes: u64, count: u64, rate: f64) -> Result<Vec<f64>> {
    let (log, opened) = timed(|| Ours::Plain.open_own(dir, &at_checkpoint(options)))?;
    drop(log);
    let (memory, _) = opened_in_a_process(dir, &at_checkpoint(options))?;
    let (replayed, replay) = timed(|| Ours::Plain.replay(dir, &Setup::keeping(options.chunk)))?;
    ensure!(replayed == count, "replayed {replayed} records of {count}");
    let (verified, verify) = timed(|| {
        let arguments = ["chunked-wal", "verify"].map(OsString::from);
        Ok(Tool::raw().run(arguments.into_iter().chain([dir.as_os_str().to_owned()])))
    })?;
    ensure!(verified == ExitCode::SUCCESS, "the log is not sound");
    let replay = replay.as_secs_f64();
    let per_record = replay * 1e9 / count as f64;
    Ok(vec![mib(bytes), rate, ms(opened), mib(memory), replay, per_record, verify.as_secs_f64()])
}

fn sentences(table: &Table, drained: String) -> Vec<String> {
    let [small, large] = table.ends(0);
    let between = |[first, last]: [String; 2], unit: &str| {
        format!("{first} {unit} at {small} MiB, {last} {unit} at {large} MiB")
    };
    vec![
        format!("Appending: O(1) for each byte: {}.", between(table.ends(1), "MiB/s")),
        format!(
            "Opening at the last checkpoint: O(newest chunk's tail) + one directory listing + header, seal and \
             first record of each older chunk: {}.",
            between(table.ends(2), "ms")
        ),
        format!("Memory: O(chunks): {} after opening.", between(table.ends(3), "MiB")),
        format!("Replaying: O(bytes): {} for each record.", between(table.ends(5), "ns")),
        format!("Verifying: O(bytes): {}.", between(table.ends(6), "s")),
        drained,
    ]
}

fn at_checkpoint(options: &Options) -> Setup {
    Setup { at_checkpoint: true, ..Setup::keeping(options.chunk) }
}
