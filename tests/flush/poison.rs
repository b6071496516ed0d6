//! The first failure on the write path is final; a failed removal or spare is none.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use chunked_wal::storage::{Fault, FaultHow, OpKind};
use chunked_wal::{ChunkId, Error, Flush, FlushMetrics, Progress};

use crate::common::*;

/// A flush that was asked for.
struct Asked {
    mode: Flush,
    end: u64,
    /// Words appended before it.
    words: usize,
    completions: Receiver<Result<(), Error>>,
}

/// The outcome of the workload.
#[derive(Default)]
struct Outcome {
    asked: Vec<Asked>,
    /// Errors of the methods called, in order.
    errors: Vec<Error>,
    /// The errors of `wait_idle` that were no poison.
    told: Vec<Error>,
    removed: Vec<ChunkId>,
    words: Vec<String>,
    progress: Option<Progress>,
    metrics: FlushMetrics,
    closed: Option<Result<(), Error>>,
}

/// A workload in which every kind of operation occurs, one step after the other.
struct Workload {
    wal: Wal,
    list: List,
    outcome: Outcome,
}

impl Workload {
    fn run(disk: &Disk) -> Outcome {
        let (wal, list) = disk.open();
        let mut run = Workload { wal, list, outcome: Outcome::default() };
        disk.storage.record(true);
        run.all_steps();
        let Workload { wal, list, mut outcome } = run;
        let handle = wal.progress_handle();
        outcome.metrics = wal.flush_metrics();
        outcome.closed = Some(wal.close());
        outcome.progress = Some(handle.progress());
        outcome.words = list.words;
        outcome
    }

    fn all_steps(&mut self) {
        for round in 0..4 {
            self.append("a");
            self.flush(Flush::Write);
            self.append("b");
            self.append("c");
            self.flush(Flush::Sync);
            self.flush(Flush::Write);
            self.idle();
            if round == 2 {
                self.remove();
                self.idle();
                self.idle();
            }
            self.append("d");
            self.flush(Flush::Write);
            let rotated = self.wal.close_open_chunk(&self.list);
            self.note(rotated);
            self.append("e");
            self.flush(Flush::Sync);
            self.idle();
        }
    }

    fn note<T>(&mut self, result: Result<T, Error>) {
        self.outcome.errors.extend(result.err());
    }

    fn append(&mut self, word: &str) {
        let word = format!("{word}-{}", self.list.words.len());
        let appended = self.wal.append_and_apply(word, &mut self.list);
        self.note(appended);
    }

    fn flush(&mut self, mode: Flush) {
        let (told, completions) = channel();
        let end = self.wal.progress().appended;
        let asked = self.wal.flush(mode, Some(told));
        self.outcome.asked.push(Asked { mode, end, words: self.list.words.len(), completions });
        self.note(asked);
    }

    fn remove(&mut self) {
        let ids = self.wal.drain_closed_chunks_while(|_| true);
        match self.wal.remove_chunks(ids.clone()) {
            Ok(()) => self.outcome.removed = ids,
            refused => self.note(refused),
        }
    }

    fn idle(&mut self) {
        match self.wal.wait_idle() {
            Ok(()) => {}
            Err(error @ Error::Poisoned { .. }) => self.outcome.errors.push(error),
            Err(error) => self.outcome.told.push(error),
        }
    }
}

/// The operation of the log's that fails in a way that poisons, as errors name it.
fn poisonous(log: &[String], failed: usize) -> Option<&'static str> {
    let words: Vec<_> = log[failed].split(' ').collect();
    match words[..] {
        ["write", ..] => Some("write"),
        // `sync dir` after a chunk has got its name; after a removal it is the housekeeper's.
        ["sync", "dir:" | "dir", ..] => {
            let is_change = |line: &&String| ["create ", "rename "].iter().any(|op| line.starts_with(op));
            let before = log[..failed].iter().rev().find(is_change);
            before.is_some_and(|line| line.starts_with("rename spare")).then_some("sync directory")
        }
        ["sync", ..] => Some("sync"),
        ["rename", from, _, to, ..] => {
            // A full disk: the log gives up another spare and tries again.
            let made_room = log.get(failed + 1).is_some_and(|next| next.starts_with("remove spare"));
            (from.starts_with("spare") && !to.starts_with("spare") && !made_room).then_some("rename")
        }
        _ => None,
    }
}

fn is_on_write_path(line: &str) -> bool {
    let names = ["write ", "sync r-", "sync spare-", "rename spare-"];
    names.iter().any(|name| line.starts_with(name))
}

/// The operations of an open that cuts a torn chunk and starts another.
const OPEN_KINDS: [OpKind; 7] = [
    OpKind::Write,
    OpKind::Sync,
    OpKind::SetLen,
    OpKind::Rename,
    OpKind::SyncDir,
    OpKind::Create,
    OpKind::Allocate,
];

#[test]
fn the_first_failure_is_final_wherever_it_strikes() {
    let mut poisoned_by = std::collections::BTreeMap::new();
    let mut spared = std::collections::BTreeSet::new();
    for kind in OPEN_KINDS.into_iter().chain([OpKind::Remove]) {
        let mut hows = vec![FaultHow::Io, FaultHow::NoSpace, FaultHow::DoneButIo];
        hows.extend((kind == OpKind::Sync).then_some(FaultHow::SyncLies));
        let (mut positions, mut poisoned, mut passed) = (0, 0, 0);
        for how in hows {
            for nth in 0.. {
                let disk = Disk::with(|config| {
                    config.chunk_max_size = 512;
                    config.spare_chunks = 1;
                });
                let case = format!("{kind:?} number {nth}, {how:?}");
                let (wal, _) = disk.open();
                wal.close().unwrap();
                // Opening syncs names, and writes and syncs the mark: no fault strikes there.
                let opening = [OpKind::SyncDir, OpKind::Write, OpKind::Sync].contains(&kind);
                disk.storage.fail(Fault::new(kind, nth + u64::from(opening), how));
                let outcome = Workload::run(&disk);
                let log = disk.storage.take_log();
                let Some(failed) = log.iter().position(|line| line.contains(": E")) else {
                    assert!(nth > 0, "{case} never strikes");
                    break;
                };
                match poisonous(&log, failed) {
                    Some(op) => {
                        *poisoned_by.entry(op).or_insert(0) += 1;
                        poisoned += 1;
                        check_poisoned(&case, op, &outcome, &log, failed);
                    }
                    None => {
                        passed += 1;
                        spared.insert(log[failed].split(' ').next().unwrap().to_string());
                        check_not_poisoned(&case, &log[failed], &outcome, &disk);
                    }
                }
                check_reopen(&case, &disk, &outcome);
                positions = positions.max(nth + 1);
            }
        }
        println!("{kind:?}: {positions} positions, {poisoned} faults poisoned, {passed} passed");
    }
    assert_eq!(
        poisoned_by.keys().copied().collect::<Vec<_>>(),
        ["rename", "sync", "sync directory", "write"],
        "{poisoned_by:?}"
    );
    let spared: Vec<_> = spared.iter().map(String::as_str).collect();
    assert_eq!(spared, ["allocate", "create", "remove", "rename", "set_len", "sync"]);
}

fn check_poisoned(case: &str, op: &str, outcome: &Outcome, log: &[String], failed: usize) {
    let Some(Err(Error::Poisoned { cause })) = &outcome.closed else {
        panic!("{case}: close says {:?}", outcome.closed);
    };
    assert!(matches!(&**cause, Error::Io { op: found, .. } if *found == op), "{case}: {cause}");
    // The directory is synced while the worker goes on.
    let after = if op == "sync directory" { &[] } else { &log[failed + 1..] };
    for line in after {
        assert!(!is_on_write_path(line), "{case}: `{line}` after the failure");
    }
    for error in &outcome.errors {
        let Error::Poisoned { cause: found } = error else { panic!("{case}: {error}") };
        assert_eq!(found.to_string(), cause.to_string(), "{case}");
    }
    let progress = outcome.progress.unwrap();
    for Asked { mode, end, completions, .. } in &outcome.asked {
        let results: Vec<_> = completions.iter().collect();
        let [result] = &results[..] else { panic!("{case}: {mode:?} at {end} was told {results:?}") };
        let reached = *end <= if *mode == Flush::Write { progress.written } else { progress.synced };
        match result {
            // What was reached was reached, if it was asked for in time.
            Ok(()) => assert!(reached, "{case}: {mode:?} at {end} was told Ok"),
            Err(Error::Poisoned { cause: found }) => {
                assert_eq!(found.to_string(), cause.to_string(), "{case}")
            }
            Err(found) => {
                assert!(!reached, "{case}: {mode:?} at {end} was told {found}");
                assert_eq!(found.to_string(), cause.to_string(), "{case}");
            }
        }
    }
}

fn check_not_poisoned(case: &str, failed: &str, outcome: &Outcome, disk: &Disk) {
    // A chunk that goes on has its space asked for by the appender, who asks once more for less.
    let by_appender = failed.starts_with("allocate r-");
    // Where a name has no space, another way is taken at once.
    let another_way = failed.starts_with("rename ") && failed.ends_with(": ENOSPC");
    let failures = u64::from(!by_appender && !another_way);
    assert_eq!(outcome.metrics.housekeeping_failure_count, failures, "{case}");
    assert!(matches!(outcome.closed, Some(Ok(()))), "{case}: {:?}", outcome.closed);
    // Returned once, to the call that waited for the spare or to the next `wait_idle`.
    let told: Vec<_> = outcome.errors.iter().chain(&outcome.told).collect();
    assert!(told.len() <= 1, "{case}: {told:?}");
    assert!(!told.iter().any(|error| matches!(error, Error::Poisoned { .. })), "{case}: {told:?}");
    for Asked { completions, .. } in &outcome.asked {
        let results: Vec<_> = completions.iter().collect();
        assert!(matches!(results[..], [Ok(())]), "{case}: {results:?}");
    }
    assert!(!outcome.removed.is_empty(), "{case}");
    let files = disk.storage.files("/log");
    for id in &outcome.removed {
        assert!(!files.contains(&id.file_name()), "{case}: {id} was not tried again");
    }
}

/// After any power loss, the next open loses nothing acknowledged, and the records it replays are durable.
fn check_reopen(case: &str, disk: &Disk, outcome: &Outcome) {
    let told_ok = |asked: &&Asked| {
        let progress = outcome.progress.unwrap();
        asked.mode == Flush::Sync && asked.end <= progress.synced
    };
    let acknowledged = outcome.asked.iter().filter(told_ok).map(|asked| asked.words).max().unwrap_or(0);
    let left = (0..6).map(|seed| disk.storage.crash(seed));
    for (i, storage) in left.chain([disk.storage.kill()]).enumerate() {
        let disk = disk.on(storage);
        // Still open while the power goes: what closing syncs must not count.
        let (_wal, words) = match disk.try_open() {
            Ok((wal, list)) => (wal, list.words),
            Err(error) => panic!("{case}, disk {i}: {error}"),
        };
        assert!(words.len() >= acknowledged, "{case}, disk {i}: {acknowledged} words, {} found", words.len());
        assert_eq!(words, outcome.words[..words.len()], "{case}, disk {i}");
        let again = disk.on(disk.storage.crash(0)).open().1.words;
        assert_eq!(again, words, "{case}, disk {i}: recovered is durable");
    }
}

#[test]
fn interrupted_and_short_writes_are_no_failures() {
    let mut struck = 0;
    for how in [FaultHow::Interrupted, FaultHow::Short(1), FaultHow::Short(9)] {
        for nth in 0..20 {
            let disk = Disk::default();
            disk.storage.fail(Fault::new(OpKind::Write, nth, how));
            let outcome = Workload::run(&disk);
            let writes = disk.storage.take_log().iter().filter(|line| line.starts_with("write")).count();
            assert!(writes as u64 > nth, "{how:?} number {nth} never strikes");
            struck += 1;
            assert!(
                outcome.errors.is_empty() && matches!(outcome.closed, Some(Ok(()))),
                "{how:?} number {nth}"
            );
            assert_eq!(disk.open().1.words, outcome.words);
        }
    }
    println!("interrupted and short writes: {struck} tried, all went on");
}

/// Opening cuts and seals a torn chunk here, and starts another.
#[test]
fn an_open_that_fails_at_any_operation_can_be_tried_again() {
    let torn = Disk::default();
    let (mut wal, mut list) = torn.open();
    for word in ["a", "b", "c"] {
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
    }
    let path = torn.config.chunk_path(wal.open_chunk_id());
    wal.close().unwrap();
    let mut bytes = torn.storage.read_file(&path).unwrap();
    let mark = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[mark - 4..mark + 300].fill(0xA5);
    torn.storage.write_file(&path, &bytes).unwrap();

    for kind in OPEN_KINDS {
        let (mut positions, mut failed, mut opened) = (0, 0, 0);
        for how in [FaultHow::Io, FaultHow::NoSpace, FaultHow::DoneButIo] {
            for nth in 0.. {
                let disk = torn.on(torn.storage.kill());
                disk.storage.record(true);
                disk.storage.fail(Fault::new(kind, nth, how));
                let tried = disk.try_open();
                let case = format!("{kind:?} number {nth}, {how:?}: {:?}", tried.as_ref().err());
                if !disk.storage.take_log().iter().any(|line| line.contains(": E")) {
                    assert!(nth > 0, "{case}, never strikes");
                    break;
                }
                match tried {
                    // Without space for a new chunk, as on a full disk.
                    Ok(_) => opened += 1,
                    Err(_) => failed += 1,
                }
                positions = positions.max(nth + 1);
                disk.storage.heal();
                for left in (0..6).map(|seed| disk.storage.crash(seed)).chain([disk.storage.kill()]) {
                    assert_eq!(disk.on(left).open().1.words, list.words, "{case}");
                }
            }
        }
        println!("{kind:?} of an open: {positions} positions, {failed} faults failed it, {opened} did not");
    }
}

#[test]
fn a_sync_that_fails_once_and_then_claims_success_is_not_asked_again() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
    wal.append_and_apply("b".to_string(), &mut list).unwrap();
    assert!(matches!(wal.sync(), Err(Error::Io { op: "sync", .. })), "the caller hears what happened");
    disk.storage.record(true);
    for _ in 0..3 {
        assert!(matches!(wal.sync(), Err(Error::Poisoned { .. })));
        assert!(matches!(wal.append(&action("c")), Err(Error::Poisoned { .. })));
    }
    assert!(matches!(wal.close(), Err(Error::Poisoned { .. })));
    assert_eq!(disk.storage.take_log(), [""; 0]);

    // The page cache calls the lost bytes clean: reading them back proves nothing.
    let disk = disk.on(disk.storage.kill());
    let (_wal, list) = disk.open();
    assert_eq!(list.words, ["a", "b"]);
    assert_eq!(disk.on(disk.storage.crash(0)).open().1.words, ["a", "b"], "written again, then synced");
}

#[test]
fn a_failed_removal_is_reported_once_and_tried_again() {
    let disk = Disk::with(|config| config.spare_chunks = 0);
    let (mut wal, list) = disk.open();
    for _ in 0..3 {
        wal.close_open_chunk(&list).unwrap();
    }
    wal.wait_idle().unwrap();
    disk.storage.fail(Fault::new(OpKind::Remove, 1, FaultHow::Io).sticky());
    let ids = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(ids.clone()).unwrap();
    for failures in 1..=2 {
        let told = wal.wait_idle();
        assert!(matches!(told, Err(Error::Io { op: "remove", .. })), "{told:?}");
        assert!(wal.flush_metrics().housekeeping_failure_count >= failures);
    }
    let files = disk.storage.files("/log");
    assert!(!files.contains(&ids[0].file_name()), "the one before it is gone");
    assert!(files.contains(&ids[2].file_name()), "none is removed past one that failed");
    wal.append(&action("not poisoned")).unwrap();
    wal.sync().unwrap();

    disk.storage.heal();
    let _told_of_the_last_failure = wal.wait_idle();
    wal.wait_idle().unwrap();
    assert_eq!(wal.flush_metrics().removed_count, 3);
    wal.close().unwrap();
    assert_eq!(disk.storage.files("/log").len(), 2, "LOCK and the open chunk");
}

#[test]
fn a_spare_that_can_not_be_made_ready_is_an_error_of_the_next_wait_idle() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    disk.storage.fail(Fault::new(OpKind::Create, 0, FaultHow::Io));
    wal.append(&action(&"x".repeat(2100))).unwrap();
    let told = wal.wait_idle();
    assert!(matches!(told, Err(Error::Io { op: "create", .. })), "{told:?}");
    assert_eq!(wal.flush_metrics().housekeeping_failure_count, 1);
    wal.wait_idle().unwrap();
    wal.close_open_chunk_with("all".to_string()).unwrap();
    wal.close().unwrap();
}

#[test]
fn a_poisoned_log_still_reads_and_says_why_it_takes_nothing() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    wal.wait_idle().unwrap();
    disk.storage.fail(Fault::new(OpKind::Write, 0, FaultHow::Io));
    let segment = wal.append_and_apply("b".to_string(), &mut list).unwrap();
    let handle = wal.progress_handle();
    assert!(matches!(wal.sync(), Err(Error::Io { op: "write", .. })));
    let ids = wal.drain_closed_chunks_while(|_| false);
    let end = wal.progress().appended;
    let refused = [
        ("append", wal.append(&action("c")).map(drop)),
        ("append_and_apply", wal.append_and_apply("c".to_string(), &mut list).map(drop)),
        ("flush", wal.flush(Flush::Write, None)),
        ("flush_ticket", wal.flush_ticket(Flush::Write).map(drop)),
        ("sync", wal.sync()),
        ("wait_synced", wal.wait_synced(end)),
        ("progress_handle", handle.wait_synced(end)),
        ("wait_idle", wal.wait_idle()),
        ("close_open_chunk", wal.close_open_chunk(&list).map(drop)),
        ("remove_chunks", wal.remove_chunks(ids)),
    ];
    for (method, result) in refused {
        let Err(Error::Poisoned { cause }) = result else { panic!("{method}: {result:?}") };
        assert!(matches!(&*cause, Error::Io { op: "write", .. }), "{method}: {cause}");
    }
    assert_eq!(list.words, ["a", "b"]);
    assert_eq!(wal.read_record(segment).unwrap(), action("b"));
    assert_eq!(wal.records().map(Result::unwrap).count(), 4);
    assert!(matches!(wal.close(), Err(Error::Poisoned { .. })));
    assert!(matches!(handle.wait_synced(end), Err(Error::Poisoned { .. })), "and after it was closed");
}

#[test]
fn a_rotation_that_waits_for_its_file_returns_a_failure_meanwhile() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    let (creates, syncs) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let gates = (creates.clone(), syncs.clone());
    disk.storage.on_operation(move |op| match op.kind {
        OpKind::Create => gates.0.pass(),
        OpKind::Sync => gates.1.pass(),
        _ => {}
    });
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    wal.append(&action("a")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    let rotating = thread::spawn(move || (wal.close_open_chunk_with("a".to_string()), wal));
    creates.wait_for(1);
    syncs.wait_for(1);
    syncs.open();
    // The housekeeper is still at its gate.
    while !rotating.is_finished() {
        thread::yield_now();
    }
    creates.open();
    let (rotated, _wal) = rotating.join().unwrap();
    assert!(matches!(rotated, Err(Error::Poisoned { .. })), "{rotated:?}");
}
