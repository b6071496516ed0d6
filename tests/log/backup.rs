//! A copy of a running log is a log, made as the guide says: links to all chunks but the newest, newest first.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use chunked_wal::raw::Listing;
use chunked_wal::{ChunkId, Config, Error};

use crate::common::*;

/// Closed chunks that the writer keeps.
const KEPT: usize = 4;

const RUNS_FOR: Duration = Duration::from_secs(4);

/// The same where a busy machine makes few copies in that time.
const BUSY_FOR: Duration = Duration::from_secs(60);

fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.chunk_max_size = 1024;
    config
}

/// Appends numbers, rotates, and removes old chunks until it is stopped. Files are reused.
fn write(dir: &Path, stop: &AtomicBool) {
    let mut list = List::default();
    let mut wal = Wal::open(config(dir), &mut list).unwrap();
    for n in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        // The state is the last word, so that checkpoints stay small.
        list.words.clear();
        wal.append_and_apply(format!("{n}"), &mut list).unwrap();
        if n % 10 == 9 {
            wal.sync().unwrap();
            let mut surplus = wal.closed_chunk_stats().len().saturating_sub(KEPT);
            let drained = wal.drain_closed_chunks_while(|_| {
                let goes = surplus > 0;
                surplus = surplus.saturating_sub(1);
                goes
            });
            wal.remove_chunks(drained).unwrap();
        }
    }
    wal.close().unwrap();
}

/// The guide's way, with something happening after each link; returns where the copy ends, which is where the chunk left out begins.
fn back_up(
    log: &Path,
    links: &Path,
    copy: &Path,
    mut meanwhile: impl FnMut(),
) -> io::Result<Option<ChunkId>> {
    let mut chunks = Listing::of(log)?.chunks;
    // It is being written.
    let newest = chunks.pop();
    for id in chunks.iter().rev() {
        match fs::hard_link(log.join(id.file_name()), links.join(id.file_name())) {
            // Removed meanwhile, and so are all that are older.
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            linked => linked?,
        }
        meanwhile();
    }
    // From here on the log may do anything: it reuses no file that has a link.
    for entry in fs::read_dir(links)? {
        let link = entry?;
        fs::copy(link.path(), copy.join(link.file_name()))?;
    }
    Ok(newest)
}

/// Stops the writer, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn links_to_all_chunks_but_the_newest_make_a_copy_of_a_running_log() {
    let log = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let (mut copies, mut began_later) = (0, 0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(log.path(), &stop));
        let stopping = Stop(&stop);
        let start = Instant::now();
        let goes_on = |is_enough: bool| start.elapsed() < if is_enough { RUNS_FOR } else { BUSY_FOR };
        while goes_on(copies > 20 && began_later > 10) && !writer.is_finished() {
            let (links, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let newest = back_up(log.path(), links.path(), copy.path(), || {}).unwrap();
            if fs::read_dir(copy.path()).unwrap().next().is_none() {
                continue;
            }
            copies += 1;
            let mut list = List::default();
            let wal =
                Wal::open(config(copy.path()), &mut list).unwrap_or_else(|e| panic!("copy {copies}: {e}"));
            // Nothing is missing from the first to the last.
            assert_eq!(Some(wal.open_chunk_id()), newest);
            began_later += u32::from(wal.closed_chunk_stats()[0].chunk_id.0 > 0);
            let numbers: Vec<u64> = list.words.iter().filter_map(|word| word.parse().ok()).collect();
            assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "{numbers:?}");
        }
        drop(stopping);
        writer.join().unwrap();
    });
    println!("{copies} copies, {began_later} of a log of which chunks were gone");
    assert!(copies > 20 && began_later > 10, "{copies} copies, {began_later} later");
}

#[test]
fn chunks_that_go_while_others_are_linked_leave_no_gap() {
    let (log, links, copy) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut list = List::default();
    let mut wal = Wal::open(config(log.path()), &mut list).unwrap();
    for n in 0..6 {
        wal.append_and_apply(format!("{n}"), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
    }
    wal.wait_idle().unwrap();
    let mut linked = 0;
    let newest = back_up(log.path(), links.path(), copy.path(), || {
        linked += 1;
        // The two oldest go in the middle, and their files are used again for what comes.
        if linked == 3 {
            let mut goes = [true, true, false].into_iter();
            let drained = wal.drain_closed_chunks_while(|_| goes.next().unwrap());
            wal.remove_chunks(drained).unwrap();
            wal.wait_idle().unwrap();
            for n in 6..10 {
                wal.append_and_apply(format!("{n}"), &mut list).unwrap();
                wal.close_open_chunk(&list).unwrap();
            }
            wal.wait_idle().unwrap();
        }
    });
    assert_eq!(linked, 4, "two of six were gone");
    let mut copied = List::default();
    let copied_wal = Wal::open(config(copy.path()), &mut copied).unwrap();
    assert_eq!(copied.words, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(
        (Some(copied_wal.open_chunk_id()), copied_wal.closed_chunk_stats().len()),
        (newest.unwrap(), 4)
    );
}

#[test]
fn a_directory_of_version_0_2_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = config(dir.path()).chunk_path(ChunkId(0));
    // Its first record, the checkpoint `state`, as 0.2.3 has written it.
    let bytes = b"\0\0\0\x05\0\0\0\x05state\0\0\0\0\xdc\x21\x39\x93";
    fs::write(&path, bytes).unwrap();
    let error = Wal::open(config(dir.path()), &mut List::default()).unwrap_err();
    assert!(matches!(error, Error::NotAChunk { .. }), "{error}");
    for words in ["raft-log", "chunked-wal 0.2", "`chunked-wal-import OLD NEW`"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
    fs::write(&path, b"something else").unwrap();
    let error = Wal::open(config(dir.path()), &mut List::default()).unwrap_err();
    assert!(!error.to_string().contains("0.2"), "{error}");
}
