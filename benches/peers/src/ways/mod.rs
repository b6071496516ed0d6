//! Ways to make a batch of bytes durable, on blocks that were written before. The log uses the first one. The
//! ways take turns, in another order in each round, and each turn has a new file.
//!
//! ```text
//! peers ways                                   a minute, on a quiet machine
//! peers ways --write docs/guide/tuning.md      and writes the tables into that page
//! ```

mod uring;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::anyhow;
use anyhow::ensure;
use clap::Args;
use rustix::io::ReadWriteFlags;

use crate::docs;
use crate::machine::Machine;
use crate::raw::file;
use crate::raw::file::FileState;
use crate::stats::Random;
use crate::stats::median;
use crate::stats::quantile;
use crate::table::with_range;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the files are put: a directory on the disk to measure, made if missing.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/logs"))]
    dir: PathBuf,

    /// Writes the tables into this page, between two comments.
    #[arg(long)]
    write: Option<PathBuf>,

    /// Turns of each way.
    #[arg(long, default_value_t = 9)]
    rounds: usize,

    /// Milliseconds of a turn.
    #[arg(long, default_value_t = 250)]
    turn: u64,
}

const BEGIN: &str = "<!-- ways: written by benches/peers -->\n";
const END: &str = "<!-- -->\n";

/// Bytes of a batch.
const SIZES: [usize; 3] = [4 << 10, 32 << 10, 256 << 10];

/// Bytes of a file: it is written from start to end, and then again.
const FILE: u64 = 32 << 20;

/// What `O_DIRECT` asks of offsets, lengths and memory, on any disk of today.
const BLOCK: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Fdatasync,
    Dsync,
    Direct,
    DirectDsync,
    Uring,
    Overlapping,
}

impl Way {
    const ALL: [Way; 6] =
        [Way::Fdatasync, Way::Dsync, Way::Direct, Way::DirectDsync, Way::Uring, Way::Overlapping];

    fn name(self) -> &'static str {
        match self {
            Way::Fdatasync => "`pwrite`, `fdatasync`",
            Way::Dsync => "`pwritev2` with `RWF_DSYNC`",
            Way::Direct => "`O_DIRECT`: `pwrite`, `fdatasync`",
            Way::DirectDsync => "`O_DIRECT` and `O_DSYNC`: `pwrite`",
            Way::Uring => "io_uring: a write linked to a data sync",
            Way::Overlapping => "two threads: one writes while the other's sync runs",
        }
    }

    /// The flags to open the file with.
    fn flags(self) -> i32 {
        match self {
            Way::Direct => libc::O_DIRECT,
            Way::DirectDsync => libc::O_DIRECT | libc::O_DSYNC,
            _ => 0,
        }
    }

    /// Makes batches durable for a turn; returns how long each took, in µs.
    fn measure(self, file: &File, batch: &Batch, turn: Duration) -> Result<Vec<f64>> {
        let bytes = batch.bytes();
        let all = 0..FILE;
        match self {
            Way::Fdatasync | Way::Direct => {
                repeat(turn, &all, bytes, |offset| write_and_sync(file, bytes, offset))
            }
            Way::DirectDsync => repeat(turn, &all, bytes, |offset| Ok(file.write_all_at(bytes, offset)?)),
            Way::Dsync => repeat(turn, &all, bytes, |offset| {
                let written =
                    rustix::io::pwritev2(file, &[IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC)?;
                ensure!(written == bytes.len(), "wrote {written} bytes of {}", bytes.len());
                Ok(())
            }),
            Way::Uring => {
                let mut ring = uring::Ring::new()?;
                repeat(turn, &all, bytes, |offset| ring.write_and_sync(file, bytes, offset))
            }
            Way::Overlapping => std::thread::scope(|scope| {
                let halves = [0..FILE / 2, FILE / 2..FILE];
                let threads = halves.map(|half| {
                    scope.spawn(move || {
                        repeat(turn, &half, bytes, |offset| write_and_sync(file, bytes, offset))
                    })
                });
                let mut latencies = Vec::new();
                for thread in threads {
                    latencies.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
                }
                Ok(latencies)
            }),
        }
    }
}

fn write_and_sync(file: &File, bytes: &[u8], offset: u64) -> Result<()> {
    file.write_all_at(bytes, offset)?;
    Ok(file.sync_data()?)
}

/// Goes through a range of the file, batch after batch, and then again, for a turn.
fn repeat(
    turn: Duration,
    range: &std::ops::Range<u64>,
    bytes: &[u8],
    mut step: impl FnMut(u64) -> Result<()>,
) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(100_000);
    let started = Instant::now();
    let mut before = started;
    let mut offset = range.start;
    while before - started < turn {
        step(offset)?;
        let after = Instant::now();
        latencies.push((after - before).as_secs_f64() * 1e6);
        before = after;
        offset += bytes.len() as u64;
        if offset + bytes.len() as u64 > range.end {
            offset = range.start;
        }
    }
    Ok(latencies)
}

/// Bytes in memory that `O_DIRECT` accepts.
struct Batch {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Batch {
    fn new(len: usize) -> Self {
        let memory = crate::peer::payload(len + BLOCK);
        let start = memory.as_ptr().align_offset(BLOCK);
        Batch { memory, start, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

/// The figures of one way and one size, from all rounds.
#[derive(Debug, Clone, Default)]
struct Figures {
    /// Batches in a second.
    rates: Vec<f64>,
    p99: Vec<f64>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.dir).with_context(|| format!("make {}", options.dir.display()))?;
    let dir = tempfile::Builder::new().prefix("ways-").tempdir_in(&options.dir)?;
    let machine = Machine::of(dir.path())?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let figures = measure_all(options, dir.path())?;
    let text = text(&machine, load.split(' ').next().unwrap_or("unknown"), options, &figures);
    println!("{text}");
    match &options.write {
        Some(page) => docs::replace_in(page, BEGIN, END, &text),
        None => Ok(()),
    }
}

/// Returns the figures by way and size.
fn measure_all(options: &Options, dir: &Path) -> Result<Vec<Vec<Figures>>> {
    let turn = Duration::from_millis(options.turn);
    let mut figures = vec![vec![Figures::default(); SIZES.len()]; Way::ALL.len()];
    let mut random = Random::new(7);
    for round in 0..options.rounds.max(1) {
        for (size, len) in SIZES.into_iter().enumerate() {
            let batch = Batch::new(len);
            let mut order: Vec<usize> = (0..Way::ALL.len()).collect();
            random.shuffle(&mut order);
            for i in order {
                let way = Way::ALL[i];
                let path = dir.join(format!("file-{round}-{size}-{i}"));
                drop(file::create(&path, FILE, FileState::Reused)?);
                let file = OpenOptions::new().write(true).custom_flags(way.flags()).open(&path)?;
                let started = Instant::now();
                let mut latencies =
                    way.measure(&file, &batch, turn).with_context(|| way.name().to_owned())?;
                let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
                latencies.sort_by(f64::total_cmp);
                figures[i][size].rates.push(rate);
                figures[i][size].p99.push(quantile(&latencies, 0.99));
                drop(file);
                fs::remove_file(path)?;
            }
        }
        eprintln!("round {}", round + 1);
    }
    Ok(figures)
}

fn text(machine: &Machine, load: &str, options: &Options, figures: &[Vec<Figures>]) -> String {
    let Machine { cpu, cores, kernel, filesystem, date, .. } = machine;
    let disk = filesystem.split(" (").next().unwrap_or(filesystem);
    let sizes: Vec<String> = SIZES.iter().map(|size| format!("{} KiB", size >> 10)).collect();
    let table = |title: &str, cell: &dyn Fn(&Figures, &Figures) -> String| {
        let mut out = format!("| {title} | {} |\n", sizes.join(" | "));
        out.push_str(&format!("| --- |{}\n", " ---: |".repeat(SIZES.len())));
        for (way, of_way) in Way::ALL.iter().zip(figures) {
            let cells: Vec<String> =
                of_way.iter().zip(&figures[0]).map(|(figures, first)| cell(figures, first)).collect();
            out.push_str(&format!("| {} | {} |\n", way.name(), cells.join(" | ")));
        }
        out
    };
    let rates = table("batches/s; ÷ the first way", &|figures, first| {
        let ratio = median(&figures.rates) / median(&first.rates);
        format!("{}; {ratio:.2}", with_range(&figures.rates))
    });
    let p99 = table("a batch durable, p99 µs", &|figures, _| with_range(&figures.p99));
    format!(
        "Measured on {date}: {cpu}, {cores} cores, Linux {kernel}, {disk}, load average {load} before. Medians of {} \
         rounds,\nwith the least and the greatest in parentheses.\n\n{rates}\n{p99}",
        options.rounds.max(1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_writes_its_batches() {
        // Memory has no O_DIRECT on some kernels: beside the program is a disk.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        for way in Way::ALL {
            let path = dir.path().join("file");
            drop(file::create(&path, FILE, FileState::Allocated).unwrap());
            let file = OpenOptions::new().write(true).custom_flags(way.flags()).open(&path).unwrap();
            let batch = Batch::new(BLOCK);
            let latencies = way.measure(&file, &batch, Duration::from_millis(5)).unwrap();
            let written = fs::read(&path).unwrap();
            let count = written.chunks(BLOCK).filter(|block| *block == batch.bytes()).count();
            assert_eq!(count, latencies.len(), "{way:?}");
        }
    }

    #[test]
    fn the_page_has_a_place_for_the_tables() {
        let page =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/tuning.md")).unwrap();
        let (_, rest) = page.split_once(BEGIN).unwrap();
        assert!(rest.contains(END));
    }
}
