//! Golden scripts: what reaches the storage, step by step.
//!
//! Each step is what was done, and below it every operation that it led to. `r-88` is the chunk with
//! that id, `spare-*` any spare file. A change of protocol shows here as a difference.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write;

use chunked_wal::storage::OpKind;
use chunked_wal::{ChunkId, Error, Flush};

use crate::common::*;

/// What was done so far, and what it led to.
struct Script {
    disk: Disk,
    text: String,
}

impl Script {
    fn on(disk: &Disk) -> Self {
        disk.storage.record(true);
        Script { disk: disk.clone(), text: String::new() }
    }

    fn step<T>(&mut self, title: &str, f: impl FnOnce() -> T) -> T {
        let done = f();
        writeln!(self.text, "{title}").unwrap();
        for line in self.disk.storage.take_log() {
            writeln!(self.text, "  {}", short(&line)).unwrap();
        }
        done
    }

    #[track_caller]
    fn expect(&self, expected: &str) {
        expect(&self.text, expected);
    }
}

/// Compares with the expected text, whose indentation does not count as a whole.
#[track_caller]
fn expect(text: &str, expected: &str) {
    let expected = unindent(expected);
    if text != expected {
        panic!("the script differs (- expected, + found):\n{}", diff(&expected, text));
    }
}

/// `r-00_000_000_000_000_000_088.wal` becomes `r-88`, and `.tmp` goes.
fn short(line: &str) -> String {
    let words = line.split(' ').map(|word| match ChunkId::parse_file_name(word) {
        Some(id) => format!("r-{}", id.0),
        None => word.trim_end_matches(".tmp").to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn unindent(text: &str) -> String {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines().map(|line| format!("{}\n", &line[indent..])).collect()
}

/// Lines of both texts, by their longest common subsequence.
fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            writeln!(out, "    {}", old[i]).unwrap();
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            writeln!(out, "  - {}", old[i]).unwrap();
            i += 1;
        } else {
            writeln!(out, "  + {}", new[j]).unwrap();
            j += 1;
        }
    }
    out
}

/// Syncs so many words of this length, one by one, with nothing under way after each.
fn sync_words(wal: &mut Wal, words: usize, len: usize) {
    for _ in 0..words {
        wal.append(&action(&"w".repeat(len))).unwrap();
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
    }
}

#[test]
fn zeros_are_written_ahead_of_a_log_that_syncs_often() {
    let disk = Disk::with(|config| {
        config.chunk_max_size = 64 << 10;
        config.zero_ahead_bytes = 8 << 10;
    });
    let (mut wal, _) = disk.open();
    let mut script = Script::on(&disk);
    sync_words(&mut wal, 7, 1000);
    disk.storage.take_log();
    script.step("the eighth sync in a row", || sync_words(&mut wal, 1, 1000));
    sync_words(&mut wal, 6, 1000);
    disk.storage.take_log();
    script.step("as long as the next sync finds zeros", || sync_words(&mut wal, 1, 1000));
    script.step("and then", || sync_words(&mut wal, 1, 1000));
    script.expect(
        "
        the eighth sync in a row
          write r-0 1024@7256
          write r-0 8192@12288
          sync r-0
          write r-0 16@8280
        as long as the next sync finds zeros
          write r-0 1024@14424
          sync r-0
          write r-0 16@15448
        and then
          write r-0 1024@15448
          sync r-0
          write r-0 16@16472
    ",
    );
    wal.close().unwrap();
    assert_eq!(disk.open().1.words.len(), 16);
}

#[test]
fn the_next_chunks_file_gets_zeros_while_the_open_chunk_fills() {
    let disk = Disk::with(|config| {
        config.chunk_max_size = 32 << 10;
        config.zero_ahead_bytes = 8 << 10;
    });
    let (mut wal, list) = disk.open();
    let mut script = Script::on(&disk);
    let mut sync_until = |script: &mut Script, title: &str, size: u64| {
        while wal.progress().appended < size {
            sync_words(&mut wal, 1, 1000);
        }
        // Only what concerns the spare.
        let log = disk.storage.take_log().into_iter().filter(|line| line.contains("spare"));
        let log: String = log.map(|line| format!("  {}\n", short(&line))).collect();
        script.text += &format!("{title}\n{log}");
    };
    sync_until(&mut script, "an eighth of the file, and less than a piece", 13 << 10);
    sync_until(&mut script, "and a piece", 15 << 10);
    sync_until(&mut script, "nearly full", 30 << 10);
    script.step("rotate", || {
        wal.close_open_chunk(&list).unwrap();
        wal.wait_idle().unwrap();
    });
    script.expect(
        "
        an eighth of the file, and less than a piece
        and a piece
          create spare-*
          allocate spare-* 65536
          write spare-* 8192@0
        nearly full
          write spare-* 8192@8192
          write spare-* 8192@16384
        rotate
          write r-0 40@30808
          sync r-0
          write spare-* 88@0
          sync spare-*
          rename spare-* -> r-30808
          set_len r-0 30848
          sync dir
          write r-30808 16@88
    ",
    );
}

#[test]
fn a_new_log_is_made_and_closed_and_opened_again() {
    let disk = Disk::default();
    let mut script = Script::on(&disk);
    let wal = script.step("open a new log", || {
        let (wal, _) = disk.open();
        wal.wait_idle().unwrap();
        wal
    });
    script.step("close", || wal.close().unwrap());
    let wal = script.step("open again", || {
        let (wal, _) = disk.open();
        wal.wait_idle().unwrap();
        wal
    });
    script.step("close untouched", || wal.close().unwrap());
    let mut wal = script.step("open again", || disk.open().0);
    script.step("append", || wal.append(&action("x")).unwrap());
    script.step("close with what was never flushed", || wal.close().unwrap());
    script.expect(
        "
        open a new log
          create dir log
          sync dir /
          create LOCK
          sync dir
          create spare-*
          sync dir
          allocate spare-* 8192
          write spare-* 88@0
          sync spare-*
          rename spare-* -> r-0
          sync dir
          write r-0 16@88
        close
          write r-0 16@88
          sync r-0
        open again
          sync dir
          write r-0 16@88
          sync r-0
        close untouched
          write r-0 16@88
          sync r-0
        open again
          sync dir
          write r-0 16@88
          sync r-0
        append
          allocate r-0 8192
        close with what was never flushed
          write r-0 24@88
          sync r-0
          write r-0 16@112
          sync r-0
    ",
    );
}

#[test]
fn flushes_write_once_and_sync_once() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    let mut script = Script::on(&disk);
    script.step("append", || wal.append(&action("a")).unwrap());
    script.step("write flush", || {
        wal.flush(Flush::Write, None).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("write flush of nothing new", || {
        wal.flush(Flush::Write, None).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("sync flush of what was written", || {
        wal.flush(Flush::Sync, None).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("sync flush of nothing new", || {
        wal.flush(Flush::Sync, None).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("append, sync flush", || {
        wal.append(&action("b")).unwrap();
        wal.flush(Flush::Sync, None).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("close", || wal.close().unwrap());
    script.expect(
        "
        append
        write flush
          write r-0 24@88
        write flush of nothing new
        sync flush of what was written
          sync r-0
          write r-0 16@112
        sync flush of nothing new
        append, sync flush
          write r-0 24@112
          sync r-0
          write r-0 16@136
        close
          write r-0 16@136
          sync r-0
    ",
    );
}

#[test]
fn flushes_that_wait_for_a_sync_share_the_next() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    let mut script = Script::on(&disk);
    script.step("a sync flush, and four of both kinds while it runs", || {
        let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Sync);
        wal.append(&action("a")).unwrap();
        wal.flush(Flush::Sync, None).unwrap();
        gate.wait_for(1);
        for mode in [Flush::Write, Flush::Sync, Flush::Sync, Flush::Write] {
            wal.append(&action("b")).unwrap();
            wal.flush(mode, None).unwrap();
        }
        gate.open();
        wal.wait_idle().unwrap();
    });
    script.step("close", || wal.close().unwrap());
    script.expect(
        "
        a sync flush, and four of both kinds while it runs
          write r-0 24@88
          sync r-0
          write r-0 96@112
          sync r-0
          write r-0 16@208
        close
          write r-0 16@208
          sync r-0
    ",
    );
}

/// A log with chunks of this many words, each synced by itself, and nothing under way.
fn log_of_chunks(disk: &Disk, chunks: usize, words: usize) -> (Wal, List) {
    let (mut wal, mut list) = disk.open();
    for chunk in 0..chunks {
        if chunk > 0 {
            wal.close_open_chunk(&list).unwrap();
        }
        for word in 0..words {
            wal.append_and_apply(format!("{chunk}-{word}"), &mut list).unwrap();
        }
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
    }
    (wal, list)
}

#[test]
fn rotation_syncs_seals_and_only_then_names_the_next() {
    let disk = Disk::default();
    let (mut wal, list) = log_of_chunks(&disk, 1, 1);
    let mut script = Script::on(&disk);
    script.step("append, rotate, append, sync", || {
        // The worker is held until all is handed over, so that it finds no time for a mark between.
        let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Sync);
        wal.append(&action("last")).unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.append(&action("first")).unwrap();
        wal.flush(Flush::Sync, None).unwrap();
        gate.open();
        wal.wait_idle().unwrap();
    });
    script.step("rotate where all is synced", || {
        wal.close_open_chunk(&list).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("close", || wal.close().unwrap());
    script.expect(
        "
        append, rotate, append, sync
          create spare-*
          sync dir
          allocate spare-* 8192
          write r-0 24@112
          sync r-0
          write r-0 40@136
          sync r-0
          write spare-* 88@0
          write spare-* 32@88
          sync spare-*
          rename spare-* -> r-136
          set_len r-0 176
          sync dir
          write r-136 16@120
        rotate where all is synced
          create spare-*
          sync dir
          allocate spare-* 8192
          write r-136 40@120
          sync r-136
          write spare-* 88@0
          sync spare-*
          rename spare-* -> r-256
          set_len r-136 160
          sync dir
          write r-256 16@88
        close
          write r-256 16@88
          sync r-256
    ",
    );
}

#[test]
fn a_removal_after_a_rotation_waits_for_the_sync_of_the_next_commit() {
    let disk = Disk::default();
    let (mut wal, list) = log_of_chunks(&disk, 2, 1);
    let oldest = disk.config.chunk_path(ChunkId(0));
    disk.storage.record(true);
    // The worker is held until all is handed over.
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Sync);
    wal.close_open_chunk(&list).unwrap();
    let mut left = 1;
    let drained = wal.drain_closed_chunks_while(|_| std::mem::take(&mut left) == 1);
    wal.remove_chunks(drained).unwrap();
    wal.append(&action("first")).unwrap();
    let committed = wal.flush_ticket(Flush::Sync).unwrap();
    gate.wait_for(1);
    gate.open();
    committed.wait().unwrap();
    wal.wait_idle().unwrap();
    let log: Vec<_> = disk.storage.take_log().iter().map(|line| short(line)).collect();
    let syncs: Vec<_> = log.iter().filter(|line| line.starts_with("sync ") && *line != "sync dir").collect();
    assert_eq!(syncs, ["sync r-112", "sync spare-*"], "{log:#?}");
    assert!(disk.storage.read_file(&oldest).is_none());

    // Without a commit it waits a few milliseconds, or for `wait_idle`.
    wal.close_open_chunk(&list).unwrap();
    let drained = wal.drain_closed_chunks_while(|_| true);
    assert_eq!(drained.len(), 2);
    let newest = disk.config.chunk_path(drained[1]);
    wal.remove_chunks(drained).unwrap();
    while disk.storage.read_file(&newest).is_some() {
        std::thread::yield_now();
    }
    wal.close().unwrap();
}

#[test]
fn a_chunk_half_full_has_the_next_file_made() {
    let disk = Disk::default();
    let (mut wal, list) = log_of_chunks(&disk, 1, 1);
    let mut script = Script::on(&disk);
    script.step("append a large word", || {
        wal.append(&action(&"x".repeat(2100))).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("rotate", || {
        wal.close_open_chunk(&list).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("append past what the file was given", || {
        wal.append(&action(&"x".repeat(9000))).unwrap();
        wal.wait_idle().unwrap();
    });
    script.expect(
        "
        append a large word
          create spare-*
          sync dir
          allocate spare-* 8192
        rotate
          write r-0 2120@112
          sync r-0
          write r-0 40@2232
          sync r-0
          write spare-* 88@0
          sync spare-*
          rename spare-* -> r-2232
          set_len r-0 2272
          sync dir
          write r-2232 16@88
        append past what the file was given
          allocate r-2232 65536
          create spare-*
          sync dir
          allocate spare-* 8192
    ",
    );
}

#[test]
fn removal_goes_oldest_first_with_a_directory_sync_after_each() {
    let disk = Disk::with(|config| config.spare_chunks = 0);
    let (mut wal, _) = log_of_chunks(&disk, 4, 1);
    let mut script = Script::on(&disk);
    script.step("append, remove three", || {
        // The removal is held until the worker has written its mark: two threads, and yet one order.
        let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Rename);
        wal.append(&action("why")).unwrap();
        let mut ids = wal.drain_closed_chunks_while(|_| true);
        ids.reverse();
        wal.remove_chunks(ids).unwrap();
        gate.wait_for(1);
        let chunk = wal.open_chunk_id();
        let mark = (wal.progress().appended - chunk.0) as usize;
        while disk.storage.read_file(disk.config.chunk_path(chunk)).unwrap()[mark..][..16] == [0; 16] {
            std::thread::yield_now();
        }
        gate.open();
        wal.wait_idle().unwrap();
    });
    script.expect(
        "
        append, remove three
          write r-344 24@120
          sync r-344
          write r-344 16@144
          rename r-0 -> spare-*
          sync dir
          remove spare-*
          rename r-112 -> spare-*
          sync dir
          remove spare-*
          rename r-224 -> spare-*
          sync dir
          remove spare-*
    ",
    );
}

#[test]
fn removed_files_become_spares_and_spares_become_chunks() {
    let disk = Disk::default();
    let (mut wal, list) = log_of_chunks(&disk, 4, 1);
    let mut script = Script::on(&disk);
    script.step("remove three", || {
        let ids = wal.drain_closed_chunks_while(|_| true);
        wal.remove_chunks(ids).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("rotate", || {
        wal.close_open_chunk(&list).unwrap();
        wal.wait_idle().unwrap();
    });
    script.step("close", || wal.close().unwrap());
    let mut fewer = disk.clone();
    fewer.config.spare_chunks = 0;
    for disk in [&disk, &fewer] {
        script.step(&format!("open for {} spares", disk.config.spare_chunks), || {
            let (wal, _) = disk.open();
            wal.wait_idle().unwrap();
            // Its threads end with it, and what they do belongs to this step.
            wal.close().unwrap();
        });
    }
    script.expect(
        "
        remove three
          rename r-0 -> spare-*
          sync dir
          allocate spare-* 8192
          rename r-112 -> spare-*
          sync dir
          allocate spare-* 8192
          rename r-224 -> spare-*
          sync dir
          remove spare-*
        rotate
          write r-344 40@120
          sync r-344
          write spare-* 104@0
          sync spare-*
          rename spare-* -> r-464
          set_len r-344 160
          sync dir
          write r-464 16@104
        close
          write r-464 16@104
          sync r-464
        open for 2 spares
          rename spare-* -> spare-*
          sync dir
          write r-464 16@104
          sync r-464
          allocate spare-* 8192
          write r-464 16@104
          sync r-464
        open for 0 spares
          rename spare-* -> spare-*
          sync dir
          remove spare-*
          write r-464 16@104
          sync r-464
          write r-464 16@104
          sync r-464
    ",
    );
}

/// The disk after the process was killed, with a word appended in each of these ways before.
fn killed_after(flushes: &[Flush]) -> Disk {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    for mode in flushes {
        wal.append(&action("word")).unwrap();
        wal.flush(*mode, None).unwrap();
        wal.wait_idle().unwrap();
    }
    disk.on(disk.storage.kill())
}

#[test]
fn recovery_writes_unproven_records_again() {
    let mut text = String::new();
    for flushes in [&[Flush::Sync][..], &[Flush::Write], &[Flush::Sync, Flush::Write, Flush::Write]] {
        let disk = killed_after(flushes);
        let mut script = Script::on(&disk);
        script.text = text;
        let wal = script.step(&format!("killed after {flushes:?}: open"), || {
            let (wal, _) = disk.open();
            wal.wait_idle().unwrap();
            wal
        });
        script.step("close", || wal.close().unwrap());
        text = script.text;
    }
    expect(
        &text,
        "
        killed after [Sync]: open
          sync dir
          write r-0 16@112
          sync r-0
        close
          write r-0 16@112
          sync r-0
        killed after [Write]: open
          rename r-0 -> r-00_000_000_000_000_000_000.wal.away
          rename r-00_000_000_000_000_000_000.wal.away -> r-0
          sync dir
          write r-0 24@88
          sync r-0
          write r-0 16@112
        close
          write r-0 16@112
          sync r-0
        killed after [Sync, Write, Write]: open
          rename r-0 -> r-00_000_000_000_000_000_000.wal.away
          rename r-00_000_000_000_000_000_000.wal.away -> r-0
          sync dir
          write r-0 48@112
          sync r-0
          write r-0 16@160
        close
          write r-0 16@160
          sync r-0
    ",
    );
}

#[test]
fn recovery_cuts_and_seals_a_torn_tail_and_starts_a_chunk() {
    let disk = killed_after(&[Flush::Sync, Flush::Write, Flush::Write]);
    let path = disk.config.chunk_path(ChunkId(0));
    let mut bytes = disk.storage.read_file(&path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    disk.storage.write_file(&path, &bytes).unwrap();

    let mut script = Script::on(&disk);
    let wal = script.step("open", || {
        let (wal, list) = disk.open();
        assert_eq!(list.words.len(), 2);
        wal.wait_idle().unwrap();
        wal
    });
    script.step("close", || wal.close().unwrap());
    script.expect(
        "
        open
          rename r-0 -> r-00_000_000_000_000_000_000.wal.away
          rename r-00_000_000_000_000_000_000.wal.away -> r-0
          sync dir
          write r-0 24@112
          sync r-0
          write r-0 40@136
          set_len r-0 176
          sync r-0
          create spare-*
          sync dir
          allocate spare-* 8192
          write spare-* 96@0
          sync spare-*
          rename spare-* -> r-136
          sync dir
          write r-136 16@96
        close
          write r-136 16@96
          sync r-136
    ",
    );
}

#[test]
fn an_error_of_recovery_leaves_no_trace() {
    let disk = killed_after(&[Flush::Sync, Flush::Sync]);
    disk.storage.flip_bit(disk.config.chunk_path(ChunkId(0)), 90 * 8).unwrap();
    let mut script = Script::on(&disk);
    script.step("open", || assert!(matches!(disk.try_open(), Err(Error::Corrupt { .. }))));
    script.expect(
        "
        open
    ",
    );
}
