//! The worst-case cost of opening: chunks and rings full of data that looks like frames, closed cleanly
//! or torn, compared with reading and checking the same bytes once.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench opening             # 64 MiB
//! cargo bench -p chunked-wal-benches --bench opening -- 1024     # or another number of MiB
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

mod common;

use std::error::Error;
use std::fs;
use std::fs::File;
use std::hash::Hasher;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chunked_wal::codeq::config::{CodeqConfig, Crc32fast};
use chunked_wal::embedded::{Checkpoint, EmbeddedWal, Region};
use chunked_wal::{ChunkedWal, Config, Flush, WalRecord};

use common::{Nothing, Types};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How many times each case is measured; the median counts.
const ROUNDS: usize = 5;

fn main() -> Outcome<()> {
    let mib = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(64);
    let size: u64 = mib << 20;
    println!("{mib} MiB, medians of {ROUNDS}\n");
    println!(
        "| content | file | open, ms | of which the file's cut, ms | read and check once, ms | ratio without the cut |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: |");
    for (name, record) in contents(size) {
        for (file, make) in [
            ("fresh, torn at its start", fresh_torn as fn(&Path, u64, &[u8]) -> Outcome<()>),
            ("reused, closed", reused_closed),
            ("reused, killed when idle", reused_idle),
            ("reused, torn at its start", reused_torn),
        ] {
            let dir = tempfile::tempdir()?;
            make(dir.path(), size, &record)?;
            let path = newest(dir.path())?;
            let saved = dir.path().join("saved");
            fs::copy(&path, &saved)?;
            let (mut opens, mut reads, mut cuts) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                if file.contains("torn") {
                    cuts.push(cut(&path)?);
                    restore(dir.path(), &path, &saved)?;
                }
                let began = Instant::now();
                read_and_check(&path)?;
                reads.push(began.elapsed());
                let began = Instant::now();
                let wal = ChunkedWal::<Types>::open(config(dir.path(), size), &mut Nothing)?;
                opens.push(began.elapsed());
                drop(wal);
                restore(dir.path(), &path, &saved)?;
            }
            print_row(name, file, opens, cuts, reads);
        }
        ring(name, &record, size)?;
    }
    Ok(())
}

/// The payloads that were worst for a search that believes lengths.
fn contents(size: u64) -> Vec<(&'static str, Vec<u8>)> {
    let words = |f: &dyn Fn(u64) -> u64| (0..512).flat_map(|i| f(i).to_le_bytes()).collect::<Vec<u8>>();
    let mut x = 1u64;
    let random: Vec<u8> = (0..512)
        .flat_map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_le_bytes()
        })
        .collect();
    vec![
        ("a repeated word, half the chunk as a length", words(&|_| (size / 2) << 32 | 1)),
        ("an edge list", words(&|i| (size / 4 + i * 97) << 32 | (1 + i % 2))),
        ("small integers", words(&|i| i)),
        ("random", random),
    ]
}

fn config(dir: &Path, size: u64) -> Config {
    let mut config = Config::new(dir.join("log"));
    config.chunk_max_size = size;
    config.spare_chunks = 1;
    config
}

fn newest(dir: &Path) -> Outcome<PathBuf> {
    let names = fs::read_dir(dir.join("log"))?.map(|entry| Ok(entry?.path()));
    let mut chunks: Vec<PathBuf> = names.collect::<std::io::Result<_>>()?;
    chunks.retain(|path| path.extension().is_some_and(|ext| ext == "wal"));
    chunks.sort();
    chunks.pop().ok_or_else(|| "no chunk".into())
}

/// Restores the directory: one chunk, with the saved bytes.
fn restore(dir: &Path, path: &Path, saved: &Path) -> Outcome<()> {
    for entry in fs::read_dir(dir.join("log"))? {
        fs::remove_file(entry?.path())?;
    }
    fs::copy(saved, path)?;
    // Otherwise the log's own syncs would pay for the copy.
    File::open(path)?.sync_all()?;
    Ok(())
}

fn fill(wal: &mut ChunkedWal<Types>, record: &[u8]) -> Outcome<()> {
    while !wal.is_open_chunk_full() {
        wal.append(&WalRecord::Action(record.to_vec()))?;
    }
    Ok(())
}

/// No record was synced, and the first one is lost.
fn fresh_torn(dir: &Path, size: u64, record: &[u8]) -> Outcome<()> {
    let mut wal = ChunkedWal::<Types>::open(config(dir, size), &mut Nothing)?;
    fill(&mut wal, record)?;
    wal.flush_ticket(Flush::Write)?.wait()?;
    kill(dir, wal)?;
    File::options().write(true).open(newest(dir)?)?.write_all_at(&[0xFF; 64], 128)?;
    Ok(())
}

/// An earlier life of the file has filled it, this one has written next to nothing.
fn reused(dir: &Path, size: u64, record: &[u8]) -> Outcome<ChunkedWal<Types>> {
    let mut wal = ChunkedWal::<Types>::open(config(dir, size), &mut Nothing)?;
    for _ in 0..2 {
        fill(&mut wal, record)?;
        wal.close_open_chunk(&Nothing)?;
        let drained = wal.drain_closed_chunks_while(|_| true);
        wal.remove_chunks(drained)?;
        wal.wait_idle()?;
    }
    Ok(wal)
}

fn reused_closed(dir: &Path, size: u64, record: &[u8]) -> Outcome<()> {
    Ok(reused(dir, size, record)?.close()?)
}

fn reused_idle(dir: &Path, size: u64, record: &[u8]) -> Outcome<()> {
    kill(dir, reused(dir, size, record)?)
}

fn reused_torn(dir: &Path, size: u64, record: &[u8]) -> Outcome<()> {
    reused_idle(dir, size, record)?;
    // Over the sync mark.
    File::options().write(true).open(newest(dir)?)?.write_all_at(&[0xFF; 64], 80)?;
    Ok(())
}

/// Leaves the directory as after a kill of the process.
fn kill(dir: &Path, wal: ChunkedWal<Types>) -> Outcome<()> {
    let path = newest(dir)?;
    let killed = dir.join("killed");
    fs::copy(&path, &killed)?;
    wal.close()?;
    restore(dir, &path, &killed)
}

/// A ring after a full lap, dropped cleanly.
fn ring(name: &str, record: &[u8], size: u64) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("host");
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    file.set_len(size)?;
    let region = Region { offset: 0, len: size };
    let mut wal = EmbeddedWal::open(file.try_clone()?, region, Checkpoint::default())?;
    let batch = vec![record; 1000];
    let mut stored = Checkpoint::default();
    while stored.position < size + size / 2 {
        wal.append_batch(&batch)?;
        stored = wal.checkpoint()?;
        wal.checkpoint_stored(stored)?;
    }
    drop(wal);
    let (mut opens, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        read_and_check(&path)?;
        reads.push(began.elapsed());
        let began = Instant::now();
        drop(EmbeddedWal::open(file.try_clone()?, region, stored)?);
        opens.push(began.elapsed());
    }
    print_row(name, "ring, dropped", opens, Vec::new(), reads);
    Ok(())
}

fn read_and_check(path: &Path) -> Outcome<u64> {
    let mut file = File::open(path)?;
    let mut buf = vec![0; 1 << 20];
    let mut crc = <Crc32fast as CodeqConfig>::Hasher::default();
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(std::hint::black_box(crc.finish())),
            n => crc.write(&buf[..n]),
        }
    }
}

/// Returns how long the file system takes to cut a file to its start, which opening does after a torn
/// end.
fn cut(path: &Path) -> Outcome<Duration> {
    let file = File::options().write(true).open(path)?;
    let began = Instant::now();
    file.set_len(120)?;
    Ok(began.elapsed())
}

fn print_row(content: &str, file: &str, opens: Vec<Duration>, cuts: Vec<Duration>, reads: Vec<Duration>) {
    let [open, cut, read] = [opens, cuts, reads].map(|mut times| {
        times.sort();
        times.get(ROUNDS / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    });
    let ratio = (open - cut) / read;
    println!("| {content} | {file} | {open:.1} | {cut:.1} | {read:.1} | {ratio:.2} |");
}
