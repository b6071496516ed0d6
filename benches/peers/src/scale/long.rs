//! A log of many bytes: append, open at the last checkpoint, replay, verify, drain to nothing.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use anyhow::ensure;
use chunked_wal::tools::Tool;

use super::Options;
use super::disk_use;
use super::mib;
use super::ms;
use super::timed;
use crate::child::Task;
use crate::child::What;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers::ours::OurLog;
use crate::peers::ours::Ours;
use crate::table::number;

/// Appends between two looks at the size.
const PART: u64 = 4096;

pub(super) fn run(options: &Options, dir: &Path) -> Result<()> {
    append_and_measure(options, dir)?;
    let setup = at_checkpoint(options);
    let mut log = Ours::Plain.open_own(dir, &setup)?;
    log.rotate()?;
    log.sync()?;
    let (chunks, drained) = timed(|| log.drain())?;
    let ((), removed) = timed(|| log.wait_idle())?;
    let (left, _) = disk_use(dir)?;
    println!(
        "\nDrained to nothing: {chunks} chunks, {} ms in the call, {} ms until the files were gone; {} MiB left.\n",
        number(ms(drained)),
        number(ms(removed)),
        number(mib(left)),
    );
    drop(log);
    Ok(std::fs::remove_dir_all(dir)?)
}

/// Appends until the log has all its bytes; measures a few times on the way.
pub(super) fn append_and_measure(options: &Options, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    // Shown at the end: `verify` prints, too.
    let mut lines = Vec::new();
    let mut count = 0;
    for bytes in [options.bytes / 16, options.bytes / 4, options.bytes] {
        let mut log = Ours::Plain.open_own(dir, &at_checkpoint(options))?;
        let before = log.bytes();
        let (appended, time) = timed(|| append_until(&mut log, options, bytes))?;
        count += appended;
        let rate = mib(log.bytes() - before) / time.as_secs_f64();
        log.wait_idle()?;
        let bytes = log.bytes();
        drop(log);
        lines.push(measure(options, dir, bytes, count, rate)?);
    }
    println!("\n## A log of {} MiB\n", number(mib(options.bytes)));
    println!(
        "| MiB | append and sync, MiB/s | open, ms | open: memory, MiB | replay, s | ns per record | verify, s |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n{}", lines.join("\n"));
    Ok(())
}

fn append_until(log: &mut OurLog, options: &Options, bytes: u64) -> Result<u64> {
    log.set_payload(&payload(options.record as usize));
    let mut count = 0;
    while log.bytes() < bytes {
        log.append_many(PART)?;
        count += PART;
    }
    log.sync()?;
    Ok(count)
}

/// Returns a line of the table.
fn measure(options: &Options, dir: &Path, bytes: u64, count: u64, rate: f64) -> Result<String> {
    let (log, opened) = timed(|| Ours::Plain.open_own(dir, &at_checkpoint(options)))?;
    drop(log);
    let open = Task {
        what: What::Open,
        peer: Ours::Plain.name().to_owned(),
        dir: dir.to_owned(),
        setup: at_checkpoint(options),
    };
    // A test is no program that could run itself as a child.
    let memory = if cfg!(test) { 0 } else { open.run()?["bytes"] as u64 };
    let (replayed, replay) = timed(|| Ours::Plain.replay(dir, &Setup::keeping(options.chunk)))?;
    ensure!(replayed == count, "replayed {replayed} records of {count}");
    let (verified, verify) = timed(|| {
        let arguments = ["chunked-wal", "verify"].map(OsString::from);
        Ok(Tool::raw().run(arguments.into_iter().chain([dir.as_os_str().to_owned()])))
    })?;
    ensure!(verified == ExitCode::SUCCESS, "the log is not sound");
    Ok(format!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        number(mib(bytes)),
        number(rate),
        number(ms(opened)),
        number(mib(memory)),
        number(replay.as_secs_f64()),
        number(replay.as_secs_f64() * 1e9 / count as f64),
        number(verify.as_secs_f64()),
    ))
}

fn at_checkpoint(options: &Options) -> Setup {
    Setup { at_checkpoint: true, ..Setup::keeping(options.chunk) }
}
