//! This log alone where it is large: many bytes, many chunks, a long time. Each part prints Markdown, one
//! line for each size or interval, so that it is seen how a cost grows.
//!
//! ```text
//! peers scale                                            30 GB, 1,000,000 chunks, ten minutes
//! peers scale --only long,chunks --bytes 2G --chunks 10000
//! ```

mod chunks;
mod long;
mod steady;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use clap::Args;
use clap::ValueEnum;

use crate::machine::Machine;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The parts to run; all unless given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,

    /// Where the logs are put: a directory on the disk to measure, made if missing. Emptied of what was
    /// put there at the end.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/logs"))]
    dir: PathBuf,

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

pub(crate) fn run(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.dir).with_context(|| format!("make {}", options.dir.display()))?;
    let dir = tempfile::Builder::new().prefix("scale-").tempdir_in(&options.dir)?;
    let Machine { cpu, cores, memory_mib, kernel, filesystem, date } = Machine::of(dir.path())?;
    println!(
        "{date}: {cpu}, {cores} cores, {memory_mib} MiB of memory, Linux {kernel}, the log on {filesystem}.\n"
    );
    let runs = |part| options.only.is_empty() || options.only.contains(&part);
    if runs(Part::Long) {
        long::run(options, &dir.path().join("long"))?;
    }
    if runs(Part::Chunks) {
        chunks::run(options, &dir.path().join("chunks"))?;
    }
    if runs(Part::Steady) {
        steady::run(options, &dir.path().join("steady"))?;
    }
    Ok(())
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
    fn a_small_log_and_a_short_time_work() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            only: Vec::new(),
            dir: dir.path().to_owned(),
            bytes: 4 << 20,
            record: 256,
            chunk: 1 << 20,
            chunks: 200,
            seconds: 1,
            interval: 1,
            threads: 4,
        };
        long::append_and_measure(&options, &dir.path().join("long")).unwrap();
        steady::run(&options, &dir.path().join("steady")).unwrap();
    }
}
