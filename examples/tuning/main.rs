//! Measures the effect of each setting of a log on this machine; prints the Markdown tables of
//! `docs/guide/tuning.md`.
//!
//! ```text
//! cargo run --release --example tuning                            all of it, in less than a minute
//! cargo run --release --example tuning chunk_max_size threads     some of it
//! cargo run --release --example tuning -- --dir /mnt/disk         on the disk that you care about
//! cargo run --release --example tuning -- --write docs/guide/tuning.md  and puts the tables into the page
//! ```
//!
//! The values of a setting take turns, each once in every round, so that other load on the machine
//! affects all of them alike. A figure is the median of the rounds. The first round is thrown away.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a measurement may stop at the first error")]

mod calls;
mod common;
mod settings;
mod table;
mod turns;

use std::error::Error;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use table::quantile;

/// A measurement, with logs in the directory, and its table.
type Measure = fn(&Path) -> String;

const MEASURES: [(&str, Measure); 15] = [
    ("sync", calls::sync),
    ("completions", calls::completions),
    ("batches", calls::batches),
    ("threads", calls::threads),
    ("chunk_max_size", settings::chunk_max_size),
    ("chunk_max_records", settings::chunk_max_records),
    ("open_buffer_max_bytes", settings::open_buffer_max_bytes),
    ("flush_queue_max_bytes", settings::flush_queue_max_bytes),
    ("flush_batch_max_items", settings::flush_batch_max_items),
    ("flush_batch_max_bytes", settings::flush_batch_max_bytes),
    ("flush_batch_wait", settings::flush_batch_wait),
    ("spare_chunks", settings::spare_chunks),
    ("zero_ahead_bytes", settings::zero_ahead_bytes),
    ("idle_mark", settings::idle_mark),
    ("read_buffer_size", settings::read_buffer_size),
];

fn main() -> Result<(), Box<dyn Error>> {
    // Next to the program, and not in `/tmp`, which is memory on many machines.
    let mut parent = std::env::current_exe()?.parent().ok_or("the program has no directory")?.to_owned();
    let mut page = None;
    let mut wanted = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match MEASURES.iter().find(|(name, _)| *name == arg) {
            Some(measure) => wanted.push(*measure),
            None if arg == "--dir" => parent = PathBuf::from(args.next().ok_or("--dir needs a directory")?),
            None if arg == "--write" => page = Some(args.next().ok_or("--write needs a page")?),
            None => {
                let names: Vec<_> = MEASURES.iter().map(|(name, _)| *name).collect();
                return Err(format!("'{arg}' is none of: --dir, --write, {}", names.join(", ")).into());
            }
        }
    }
    if wanted.is_empty() {
        wanted.extend(MEASURES);
    }
    let dir = tempfile::tempdir_in(parent)?;
    let started = Instant::now();
    let mut measured = vec![("machine", machine(dir.path())?)];
    println!("{}", measured[0].1);
    for (name, measure) in wanted {
        let table = measure(dir.path());
        println!("\n### {name}\n\n{table}");
        measured.push((name, table));
    }
    println!("\nTook {:.0} s.", started.elapsed().as_secs_f64());
    if let Some(page) = page {
        let text = measured.iter().try_fold(fs::read_to_string(&page)?, |text, (name, table)| {
            put(&text, name, table).ok_or(format!("'{page}' has no place for {name}"))
        })?;
        fs::write(page, text)?;
    }
    Ok(())
}

/// Puts a table in its place on the page, between two comments.
fn put(page: &str, name: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- {name} -->\n"))?;
    let (_, after) = rest.split_once("<!-- -->")?;
    Some(format!("{before}<!-- {name} -->\n{table}\n<!-- -->{after}"))
}

/// Describes the file system of the logs, a plain sync there without the log, and other load on the
/// machine.
fn machine(dir: &Path) -> Result<String, Box<dyn Error>> {
    const SYNCS: u64 = 500;
    let file = tempfile::tempfile_in(dir)?;
    file.write_all_at(&vec![1; (SYNCS * 4096) as usize], 0)?;
    file.sync_all()?;
    let mut took = Vec::new();
    for block in 0..SYNCS {
        let started = Instant::now();
        file.write_all_at(&[2; 4096], block * 4096)?;
        file.sync_data()?;
        took.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Ok(format!(
        "Logs on {}; {cores} cores, load average {} before. Writing 4 KiB over itself in a plain file, with \
         fdatasync: {:.0} µs.",
        filesystem(&mounts, &dir.canonicalize()?).unwrap_or("an unknown file system".to_string()),
        load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown"),
        quantile(&mut took, 0.5),
    ))
}

/// Returns type and device of the mount with the longest path above `dir`.
fn filesystem(mounts: &str, dir: &Path) -> Option<String> {
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        dir.starts_with(at).then(|| (at.len(), format!("{kind} on {device}")))
    });
    above.max_by_key(|(len, _)| *len).map(|(_, shown)| shown)
}
