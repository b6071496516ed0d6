//! The directory under a running log: renamed, replaced, linked to, read by others, out of descriptors.
//!
//! On the real disk. Tests of a limit run this binary again, with the limit set.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use chunked_wal::{ChunkId, Error, Segment};

use crate::common::on_disk::{config, open};
use crate::common::*;
use crate::{ROLE, assert_passes};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn append(wal: &mut Wal, list: &mut List, word: &str) -> Segment {
    wal.append_and_apply(word.to_string(), list).unwrap()
}

/// Starts that many chunks, each once the one before is on disk.
fn start_chunks(wal: &mut Wal, list: &mut List, count: usize) {
    for _ in 0..count {
        append(wal, list, "a later word");
        wal.close_open_chunk(list).unwrap();
        wal.wait_idle().unwrap();
    }
}

// Names --------------------------------------------------------------------------------------------

#[test]
fn a_directory_that_is_renamed_stays_the_logs_and_its_successor_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let (old, new) = (parent.path().join("log"), parent.path().join("moved"));
    let (mut wal, mut list) = open(&old);
    let first = append(&mut wal, &mut list, "before");
    wal.close_open_chunk(&list).unwrap();
    wal.sync().unwrap();
    fs::rename(&old, &new).unwrap();
    // Another log is started in its place.
    let (other, _) = open(&old);
    other.close().unwrap();
    let before = names(&old);

    for i in 0..20 {
        append(&mut wal, &mut list, &format!("word {i}"));
        wal.close_open_chunk(&list).unwrap();
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
    }
    assert_eq!(wal.read_record(first).unwrap(), action("before"));
    let mut is_first = true;
    let drained = wal.drain_closed_chunks_while(|_| std::mem::take(&mut is_first));
    wal.remove_chunks(drained).unwrap();
    wal.wait_idle().unwrap();
    wal.close().unwrap();
    assert_eq!(names(&old), before);
    assert_eq!(open(&old).1.words, [""; 0]);
    assert_eq!(open(&new).1.words, list.words);
}

#[test]
fn a_file_with_the_next_chunks_name_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, mut list) = open(dir.path());
    append(&mut wal, &mut list, "kept");
    wal.sync().unwrap();
    let next = dir.path().join(ChunkId(wal.progress().appended).file_name());
    fs::write(&next, "somebody's").unwrap();
    wal.close_open_chunk(&list).unwrap();
    // The first call returns the cause, later calls that there was one.
    let _may_be_told = wal.append(&action("lost"));
    let error = wal.sync().unwrap_err();
    let cause = if let Error::Poisoned { cause } = &error { cause } else { &error };
    assert!(matches!(cause, Error::ChunkExists { path } if *path == next), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(next.to_str().unwrap()) && text.contains("move that file away"), "{text}");
    drop(wal);
    assert_eq!(fs::read_to_string(&next).unwrap(), "somebody's");

    // It looks like a chunk of this log, and is none.
    assert!(matches!(Wal::open(config(dir.path()), &mut List::default()), Err(Error::NotAChunk { .. })));
    fs::remove_file(&next).unwrap();
    // What came with the failure may be there.
    let words = open(dir.path()).1.words;
    assert!(words == ["kept"] || words == ["kept", "lost"], "{words:?}");
}

// Permissions and links ----------------------------------------------------------------------------

#[test]
fn files_are_for_the_owner_alone_unless_the_config_says_otherwise() {
    for (mode, expected) in [(None, 0o600), (Some(0o640), 0o640)] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.file_mode = mode.unwrap_or(config.file_mode);
        let mut list = List::default();
        let mut wal = Wal::open(config, &mut list).unwrap();
        for _ in 0..3 {
            append(&mut wal, &mut list, "a");
            wal.close_open_chunk(&list).unwrap();
        }
        let drained = wal.drain_closed_chunks_while(|_| true);
        wal.remove_chunks(drained).unwrap();
        append(&mut wal, &mut list, &"x".repeat(3000));
        wal.wait_idle().unwrap();
        let names = names(dir.path());
        assert!(names.iter().any(|name| name.starts_with("spare-")) && names.len() >= 3, "{names:?}");
        for name in names {
            let mode = fs::metadata(dir.path().join(&name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected, "{name}");
        }
    }
}

/// `cp -al` is a way to take a backup.
#[test]
fn a_file_that_has_another_name_is_not_written_to_again() {
    let dir = tempfile::tempdir().unwrap();
    let backup = tempfile::tempdir_in(dir.path().parent().unwrap()).unwrap();
    let (mut wal, mut list) = open(dir.path());
    append(&mut wal, &mut list, "a word of the backup");
    wal.close_open_chunk(&list).unwrap();
    // Until the file is cut after its seal.
    wal.wait_idle().unwrap();
    let name = ChunkId(0).file_name();
    let copy = backup.path().join(&name);
    fs::hard_link(dir.path().join(&name), &copy).unwrap();
    let bytes = fs::read(&copy).unwrap();
    let drained = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(drained).unwrap();
    wal.wait_idle().unwrap();
    start_chunks(&mut wal, &mut list, 4);
    wal.close().unwrap();
    assert!(fs::read(&copy).unwrap() == bytes, "the copy has changed");
    assert_eq!(fs::metadata(&copy).unwrap().nlink(), 1);

    // Nor is a spare that was left.
    let spare = "spare-0000000000000001.tmp";
    fs::write(dir.path().join(spare), "bytes of somebody's copy").unwrap();
    let copy = backup.path().join("spare");
    fs::hard_link(dir.path().join(spare), &copy).unwrap();
    let bytes = fs::read(&copy).unwrap();
    let (mut wal, mut list) = open(dir.path());
    start_chunks(&mut wal, &mut list, 4);
    wal.close().unwrap();
    assert_eq!(fs::read(&copy).unwrap(), bytes);
}

// Descriptors --------------------------------------------------------------------------------------

/// Runs this test once more in a process that may open `files` files; returns whether this process is that one.
fn limited(test: &str, files: u32) -> bool {
    if std::env::var_os(ROLE).is_some() {
        return true;
    }
    let child = again(&format!("directory::{test}"));
    let limit = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    let mut limited = Command::new("sh");
    limited.args(["-c", &limit]).arg(child.get_program()).args(child.get_args()).env(ROLE, "limited");
    assert_passes(&mut limited);
    false
}

/// All descriptors that are left.
fn exhaust() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn a_log_whose_spare_is_ready_needs_no_descriptor_to_rotate_or_remove() {
    if !limited("a_log_whose_spare_is_ready_needs_no_descriptor_to_rotate_or_remove", 100) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, mut list) = open(dir.path());
    append(&mut wal, &mut list, "x".repeat(3000).as_str());
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    assert!(names(dir.path()).iter().any(|name| name.starts_with("spare-")));
    let all = exhaust();
    append(&mut wal, &mut list, "the last of its chunk");
    wal.close_open_chunk(&list).unwrap();
    append(&mut wal, &mut list, "the first of the next");
    wal.sync().unwrap();
    let drained = wal.drain_closed_chunks_while(|_| true);
    assert!(!drained.is_empty());
    wal.remove_chunks(drained).unwrap();
    wal.sync().unwrap();
    // A spare can't be made now, which harms nothing.
    let _no_spare = wal.wait_idle();
    drop(all);
    for i in 0..3 {
        append(&mut wal, &mut list, &format!("later {i}"));
        wal.close_open_chunk(&list).unwrap();
        wal.sync().unwrap();
    }
    wal.close().unwrap();
    assert!(open(dir.path()).1.words.ends_with(&["later 2".to_string()]));
}

/// Each keeps up to 64 files of closed chunks open between reads.
#[test]
fn logs_that_share_few_descriptors_give_up_the_files_that_they_only_keep() {
    if !limited("logs_that_share_few_descriptors_give_up_the_files_that_they_only_keep", 128) {
        return;
    }
    let dirs: Vec<PathBuf> = (0..5).map(|_| tempfile::tempdir().unwrap().keep()).collect();
    let mut logs: Vec<_> = dirs.iter().map(|dir| (open(dir), Vec::new())).collect();
    for round in 0..60 {
        for ((wal, list), segments) in &mut logs {
            let word = format!("word {round}");
            segments.push((append(wal, list, &word), word));
            wal.close_open_chunk(list).unwrap();
            wal.sync().unwrap();
        }
        for ((wal, _), segments) in &logs {
            for (segment, word) in segments {
                assert_eq!(wal.read_record(*segment).unwrap(), action(word), "round {round}");
            }
        }
    }
    for ((wal, _), _) in logs {
        wal.close().unwrap();
    }
    for dir in dirs {
        assert_eq!(open(&dir).1.words.len(), 60);
        fs::remove_dir_all(dir).unwrap();
    }
}

/// What this process has open in a directory, and the directory itself.
#[cfg(target_os = "linux")]
fn open_in(dir: &Path) -> Vec<PathBuf> {
    let dir = dir.canonicalize().unwrap();
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    let open = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    open.filter(|path| path.starts_with(&dir)).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_of_a_closed_log_keeps_nothing_open() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, mut list) = open(dir.path());
    let mut segments = Vec::new();
    for i in 0..10 {
        segments.push(append(&mut wal, &mut list, &format!("word {i}")));
        wal.close_open_chunk(&list).unwrap();
    }
    segments.push(append(&mut wal, &mut list, "in the open chunk"));
    wal.sync().unwrap();
    let reader = wal.reader();
    for segment in &segments {
        reader.read_record(*segment).unwrap();
    }
    // One that is in the middle of the first chunk.
    let mut records = reader.records();
    records.next().unwrap().unwrap();
    assert!(open_in(dir.path()).len() > 10);
    let drained = wal.drain_closed_chunks_while(|all| split(all).len() < 3);
    wal.remove_chunks(drained).unwrap();
    wal.close().unwrap();
    for segment in &segments {
        assert!(matches!(reader.read_record(*segment), Err(Error::Closed)));
    }
    drop(records);
    assert_eq!(open_in(dir.path()), Vec::<PathBuf>::new());
    drop(reader);

    // Nor does one that was never asked, nor one that pins the log.
    let (wal, _) = open(dir.path());
    let (reader, pinned) = (wal.reader(), wal.pinned_reader());
    drop(wal);
    assert_eq!(open_in(dir.path()), Vec::<PathBuf>::new());
    drop((reader, pinned));
}
