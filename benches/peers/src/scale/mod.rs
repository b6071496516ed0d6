//! This log alone where it is large: many bytes, many chunks, a long time. Each part has tables, one line for
//! each size or interval, curves, and a sentence on how each cost grows. A part removes its log at its end.
//!
//! ```text
//! peers scale                                            30 GB, 1,000,000 chunks, ten minutes
//! peers scale --only long,chunks --bytes 2G --chunks 10000
//! peers scale --only steady --write-docs                 and writes that part's section of docs/benchmarks.md
//! ```

mod chunks;
mod long;
mod outcome;
mod steady;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use clap::Args;
use clap::ValueEnum;
use outcome::Outcome;
use outcome::Table;

use crate::DOCS;
use crate::child::Task;
use crate::child::What;
use crate::machine::Machine;
use crate::peer::Peer as _;
use crate::peer::Setup;
use crate::peers::ours::Ours;
use crate::results;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The parts to run; all unless given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,

    /// Where the logs are put: a directory on the disk to measure, made if missing. Emptied of what was
    /// put there at the end.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/logs"))]
    dir: PathBuf,

    /// A directory for the results of each part: `scale-PART.json` and its curves, `scale-PART.svg`.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/results"))]
    out: PathBuf,

    /// Writes each part into its section of docs/benchmarks.md, and its JSON and curves into
    /// docs/benchmarks/.
    #[arg(long)]
    write_docs: bool,

    /// Bytes of the long log, like 30G. The disk needs room for a tenth more.
    #[arg(long, default_value = "30G", value_parser = size)]
    bytes: u64,

    /// Bytes of a record of the long log and of the long time.
    #[arg(long, default_value = "256", value_parser = size)]
    record: u64,

    /// Bytes of a chunk of the long log and of the long time.
    #[arg(long, default_value = "64M", value_parser = size)]
    chunk: u64,

    /// Chunks of the log of many chunks.
    #[arg(long, default_value_t = 1_000_000)]
    chunks: u64,

    /// Seconds of the long time.
    #[arg(long, default_value_t = 600)]
    seconds: u64,

    /// Seconds of a line of the long time.
    #[arg(long, default_value_t = 10)]
    interval: u64,

    /// Threads that commit for the long time.
    #[arg(long, default_value_t = 64)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A log of many bytes.
    Long,
    /// A log of many chunks.
    Chunks,
    /// A long time at full rate, with rotation, removal and a reader.
    Steady,
}

/// What a part has found.
struct Measured {
    title: String,
    tables: Vec<Table>,
    sentences: Vec<String>,
    curves: Table,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.dir).with_context(|| format!("make {}", options.dir.display()))?;
    let dir = tempfile::Builder::new().prefix("scale-").tempdir_in(&options.dir)?;
    let machine = Machine::of(dir.path())?;
    for (part, name) in [(Part::Long, "long"), (Part::Chunks, "chunks"), (Part::Steady, "steady")] {
        if !options.only.is_empty() && !options.only.contains(&part) {
            continue;
        }
        let (measured, time) = timed(|| measure(part, options, &dir.path().join(name)))?;
        let Measured { title, tables, sentences, curves } = measured;
        let (part, command, machine) =
            (name.to_owned(), results::command(std::env::args().skip(1)), machine.clone());
        let outcome = Outcome { part, title, command, machine, tables, sentences, curves };
        outcome.save(&options.out)?;
        if options.write_docs {
            outcome.write_docs(Path::new(DOCS))?;
        }
        eprintln!("{name}: {:.0} s in all", time.as_secs_f64());
    }
    Ok(())
}

fn measure(part: Part, options: &Options, dir: &Path) -> Result<Measured> {
    match part {
        Part::Long => {
            let free = rustix::fs::statvfs(&options.dir)?;
            let free = free.f_bavail * free.f_frsize;
            let needed = options.bytes / 10 * 11;
            ensure!(needed <= free, "{} MiB needed, and {} free: see --bytes", mib(needed), mib(free));
            long::run(options, dir)
        }
        Part::Chunks => chunks::run(options, dir),
        Part::Steady => steady::run(options, dir),
    }
}

/// Opens the log in a process of its own; returns the memory that takes, and the open files.
fn opened_in_a_process(dir: &Path, setup: &Setup) -> Result<(u64, u64)> {
    if cfg!(test) {
        // A test is no program that could run itself as a child.
        return Ok((0, 0));
    }
    let (peer, dir, setup) = (Ours::Plain.name().to_owned(), dir.to_owned(), setup.clone());
    let measured = Task { what: What::Open, peer, dir, setup }.run()?;
    Ok((measured["bytes"] as u64, measured["files"] as u64))
}

/// Bytes, with one of K, M and G for a power of 1024.
fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| format!("`{text}` is no size: try 256, 64M or 30G"))?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| format!("`{text}` is out of range"))
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let started = Instant::now();
    let done = work()?;
    Ok((done, started.elapsed()))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes of the blocks of the files in a directory, and how many files there are.
fn disk_use(dir: &Path) -> Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(dir)? {
        // A file may be removed meanwhile.
        if let Ok(metadata) = entry?.metadata() {
            bytes += metadata.blocks() * 512;
            files += 1;
        }
    }
    Ok((bytes, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("256"), Ok(256));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("30g"), Ok(30 << 30));
        for bad in ["", "G", "1T", "-1", "0", "99999999999G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn small_parts_work() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            only: Vec::new(),
            dir: dir.path().to_owned(),
            out: dir.path().to_owned(),
            write_docs: false,
            bytes: 4 << 20,
            record: 256,
            chunk: 1 << 20,
            chunks: 200,
            seconds: 2,
            interval: 1,
            threads: 4,
        };
        for (part, name) in [(Part::Long, "long"), (Part::Chunks, "chunks"), (Part::Steady, "steady")] {
            let measured = measure(part, &options, &dir.path().join(name)).unwrap();
            assert!(!measured.curves.rows.is_empty(), "{name}");
            assert!(!dir.path().join(name).exists(), "{name} left its log");
        }
        let too_large = Options { bytes: u64::MAX / 2, ..options };
        assert!(measure(Part::Long, &too_large, dir.path()).is_err());
    }
}
