//! Figures of the archive on this machine, with a directory and with a store at a distance:
//!
//! ```text
//! cargo run --release -p chunked-wal-archive --example figures                    prints the table, in 3 minutes
//! cargo run --release -p chunked-wal-archive --example figures -- --write PAGE    and writes it into docs/benchmarks.md
//! cargo run --release -p chunked-wal-archive --example figures -- --dir DIR       on another disk
//! ```
//!
//! - `writing`: a log of 1 KB records at 50 MB/s, alone and archived in turns.
//! - `uploading`: a log that is archived late, as fast as the store takes it.
//! - `restoring`: a restore, and what it can't do without, in turns.
#![allow(clippy::unwrap_used, reason = "a measurement")]

mod distant;
mod restoring;
mod stats;
mod table;
mod uploading;
mod writing;

use std::path::PathBuf;

/// Rounds of everything. In a round, each case has a turn.
const ROUNDS: usize = 5;

fn main() {
    let (mut page, mut dir) = (None, std::env::temp_dir());
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().map(PathBuf::from);
        match (arg.to_str(), value) {
            (Some("--write"), Some(path)) => page = Some(path),
            (Some("--dir"), Some(path)) => dir = path,
            _ => panic!("usage: figures [--write PAGE] [--dir DIR]"),
        }
    }
    let dir = tempfile::tempdir_in(dir).unwrap();
    let (mut writing, mut uploading, mut restoring) = Default::default();
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        writing::round(dir.path(), round, &mut writing);
        uploading::round(dir.path(), &mut uploading);
        restoring::round(dir.path(), &mut restoring);
    }
    let text = table::text(dir.path(), &writing, &uploading, &restoring);
    println!("{text}");
    if let Some(page) = page {
        table::write(&page, &text);
    }
}
