//! A log and its state for many threads and tasks.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal::storage::{Fault, FaultHow, OpKind};
use chunked_wal::{ChunkId, Commit, Error, Replay, Segment, SharedWal, StateMachine, WalRecord, WalTypes};

use crate::common::*;

type Shared = SharedWal<Words, History>;

fn share(disk: &Disk) -> Shared {
    let (wal, history) = disk.try_open_with::<History>(Replay::All).unwrap();
    SharedWal::new(wal, history)
}

/// The actions that were applied, with their segments.
fn actions(history: &History) -> Vec<(Segment, String)> {
    let action = |(_, segment, record): &(ChunkId, Segment, Record)| match record {
        WalRecord::Action(word) => Some((*segment, word.clone())),
        WalRecord::Checkpoint(_) => None,
    };
    history.records.iter().filter_map(action).collect()
}

fn actions_on(disk: &Disk) -> Vec<(Segment, String)> {
    actions(&disk.try_open_with::<History>(Replay::All).unwrap().1)
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(10), "never: {what}");
        thread::yield_now();
    }
}

// Order and durability -----------------------------------------------------------------------------

#[test]
fn the_order_of_application_is_the_order_in_the_log() {
    let disk = Disk::default();
    let wal = share(&disk);
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let wal = wal.clone();
            thread::spawn(move || {
                let commit = |i| {
                    let commit = wal.commit(format!("{thread}-{i}")).unwrap();
                    let at = commit.segment();
                    assert_eq!(if i % 2 == 0 { commit.wait() } else { block_on(commit) }.unwrap(), at);
                    assert!(wal.progress().synced >= at.offset + at.size);
                    at
                };
                (0..300).map(commit).collect::<Vec<_>>()
            })
        })
        .collect();
    let segments: Vec<Vec<Segment>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let applied = wal.read(actions);
    wal.with_log(|log, _| assert!(log.closed_chunk_stats().len() > 5, "rotated under load")).unwrap();
    assert_eq!(applied.len(), 2400);
    assert!(applied.is_sorted_by_key(|(segment, _)| segment.offset));
    for (thread, segments) in segments.iter().enumerate() {
        let own: Vec<_> =
            applied.iter().filter(|(_, word)| word.starts_with(&format!("{thread}-"))).collect();
        let expected: Vec<_> = (0..300).map(|i| (segments[i], format!("{thread}-{i}"))).collect();
        assert!(own.into_iter().eq(&expected), "each thread's own order");
    }
    wal.close().unwrap();
    assert_eq!(actions_on(&disk), applied);
}

#[test]
fn awaited_commits_survive_any_crash() {
    let disk = Disk::default();
    let wal = share(&disk);
    for step in 0..60 {
        wal.commit(format!("a-{step}")).unwrap().wait().unwrap();
        // Dropped: it becomes durable with the next one, if not before.
        drop(wal.commit(format!("b-{step}")).unwrap());
        let applied = wal.read(actions);
        for seed in [0, 1, 2 + step] {
            let found = actions_on(&disk.on(disk.storage.crash(seed)));
            assert!(found.len() + 1 >= applied.len(), "step {step}, seed {seed}");
            assert_eq!(found, applied[..found.len()]);
        }
    }
    let last = wal.read(|history| actions(history).len());
    wait_until("a dropped commit becomes durable", || {
        actions_on(&disk.on(disk.storage.crash(0))).len() == last
    });
}

#[test]
fn ten_thousand_tasks_await_their_commits() {
    const TASKS: usize = 10_000;
    let disk = Disk::with(|config| config.chunk_max_size = 64 << 10);
    let wal = share(&disk);
    let done = Arc::new(AtomicUsize::new(0));
    let task = |i: usize| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let (wal, done) = (wal.clone(), done.clone());
        Box::pin(async move {
            let commit = wal.commit_async(i.to_string()).await.unwrap();
            let at = commit.await.unwrap();
            assert!(wal.progress().synced >= at.offset + at.size);
            done.fetch_add(1, SeqCst);
        })
    };
    let polls = run_all(2, (0..TASKS).map(task));
    assert_eq!(done.load(SeqCst), TASKS);
    // The first poll, one for its own sync, and few for rotations: no herd.
    assert!(polls < 4 * TASKS, "{polls} polls");
    assert_eq!(wal.read(|history| actions(history).len()), TASKS);
}

// Waiting for room, and for a file -----------------------------------------------------------------

/// A log with a full queue, whose worker is held in a sync.
fn full() -> (Disk, Shared, Arc<Gate>, Vec<Commit>) {
    let disk = Disk::with(|config| config.flush_queue_max_bytes = 200);
    let wal = share(&disk);
    wal.with_log(|log, _| log.wait_idle()).unwrap().unwrap();
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Sync);
    let first = wal.commit("first".to_string()).unwrap();
    gate.wait_for(1);
    // One that passes the bound by itself.
    let second = wal.commit("x".repeat(300)).unwrap();
    (disk, wal, gate, vec![first, second])
}

#[test]
fn a_task_waits_for_room_and_delays_no_other() {
    let (disk, wal, gate, commits) = full();
    let before = wal.progress().appended;
    let (mut given_up, mut waits) =
        (pin!(wal.commit_async("no".into())), pin!(wal.commit_async("yes".into())));
    let (outcome, no_wakes) = poll_once(&mut given_up);
    assert!(outcome.is_pending());
    let (outcome, wakes) = poll_once(&mut waits);
    assert!(outcome.is_pending());
    let blocked = thread::spawn({
        let wal = wal.clone();
        move || wal.commit("blocked".to_string()).unwrap().wait()
    });
    thread::sleep(Duration::from_millis(20));
    assert!(!blocked.is_finished(), "the queue is full");
    assert_eq!((wal.progress().appended, wakes.so_far()), (before, 0));
    assert_eq!(wal.read(|history| actions(history).len()), 2, "a read goes on");
    wal.with_log(|log, _| assert!(!log.is_open_chunk_full())).unwrap();
    // The first in the line gives its turn to the next.
    given_up.set(wal.commit_async("no".into()));
    gate.open();
    wait_until("woken", || wakes.so_far() > 0);
    block_on(waits).unwrap().wait().unwrap();
    blocked.join().unwrap().unwrap();
    for commit in commits {
        commit.wait().unwrap();
    }
    assert_eq!(no_wakes.so_far(), 0, "dropped, its waker with it");
    wal.close().unwrap();
    let words: Vec<_> = actions_on(&disk).into_iter().map(|(_, word)| word).collect();
    assert!(words.contains(&"yes".to_string()) && !words.contains(&"no".to_string()), "{words:?}");
    assert_eq!(words.len(), 4);
}

/// However many tasks wait for room, each is woken for itself.
#[test]
fn many_tasks_wait_for_room_in_turn() {
    const TASKS: usize = 2000;
    let (disk, wal, gate, _commits) = full();
    let waiting = Arc::new(AtomicUsize::new(0));
    let task = |i: usize| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let (wal, waiting) = (wal.clone(), waiting.clone());
        Box::pin(async move {
            if i % 10 == 3 {
                // It gives up in the middle of the line.
                assert!(poll_once(&mut pin!(wal.commit_async("no".into()))).0.is_pending());
                waiting.fetch_add(1, SeqCst);
                return;
            }
            waiting.fetch_add(1, SeqCst);
            wal.commit_async(i.to_string()).await.unwrap().await.unwrap();
        })
    };
    let opener = thread::spawn({
        let waiting = waiting.clone();
        move || {
            wait_until("all wait", || waiting.load(SeqCst) == TASKS);
            gate.open();
        }
    });
    let polls = run_all(2, (0..TASKS).map(task));
    opener.join().unwrap();
    wal.close().unwrap();
    assert_eq!(actions_on(&disk).len(), 2 + TASKS - TASKS / 10);
    // All of them for each release would be thousands for each.
    assert!(polls < 40 * TASKS, "{polls} polls");
}

#[test]
fn a_task_waits_for_the_next_chunks_file() {
    let disk = Disk::default();
    let wal = share(&disk);
    wal.with_log(|log, _| log.wait_idle()).unwrap().unwrap();
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Create);
    let mut last = None;
    while !wal.with_log(|log, _| log.is_open_chunk_full()).unwrap() {
        last = Some(wal.commit("x".repeat(100)).unwrap());
    }
    last.unwrap().wait().unwrap();
    gate.wait_for(1);
    let mut waits = pin!(wal.commit_async("after".into()));
    let (outcome, wakes) = poll_once(&mut waits);
    assert!(outcome.is_pending(), "no file is ready");
    assert!(wal.read(|history| history.records.len() > 30));
    gate.open();
    wait_until("woken", || wakes.so_far() > 0);
    block_on(waits).unwrap().wait().unwrap();
    wal.with_log(|log, _| assert_eq!(log.closed_chunk_stats().len(), 1)).unwrap();
}

#[test]
fn a_full_disk_refuses_a_commit_and_goes_on_with_the_next() {
    let disk = Disk::default();
    let wal = share(&disk);
    let first = wal.commit("first".to_string()).unwrap();
    first.wait().unwrap();
    wal.with_log(|log, _| log.wait_idle()).unwrap().unwrap();
    disk.storage.set_capacity(Some(disk.storage.used()));
    let full = (0..1000).find_map(|_| block_on(wal.commit_async("x".repeat(500))).err()).unwrap();
    assert!(matches!(full, Error::StorageFull { .. }), "{full}");
    let applied = wal.read(actions);
    assert!(matches!(wal.commit("x".repeat(500)), Err(Error::StorageFull { .. })));
    disk.storage.set_capacity(None);
    wal.commit("last".to_string()).unwrap().wait().unwrap();
    wal.close().unwrap();
    let mut words = actions_on(&disk);
    assert_eq!(words.pop().unwrap().1, "last");
    assert_eq!(words, applied);
}

// Failures -----------------------------------------------------------------------------------------

#[test]
fn a_failed_log_says_so_to_every_handle() {
    let (disk, wal, gate, commits) = full();
    let mut waits = pin!(wal.commit_async("late".into()));
    assert!(poll_once(&mut waits).0.is_pending());
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io).sticky());
    gate.open();
    assert!(matches!(block_on(waits), Err(Error::Poisoned { .. })));
    // Whichever sync the fault met.
    let outcomes: Vec<_> = commits.into_iter().map(Commit::wait).collect();
    assert!(matches!(outcomes.last(), Some(Err(Error::Io { op: "sync", .. }))), "{outcomes:?}");
    assert!(matches!(wal.clone().commit("more".into()), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.snapshot_and_drain(|_| (), |()| Ok::<_, Error>(())), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.close(), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.commit("more".into()), Err(Error::Closed)));
}

#[test]
fn a_refusal_or_a_panic_leaves_state_and_log_together() {
    let disk = Disk::default();
    let (log, list) = disk.open();
    let wal = SharedWal::new(log, list);
    wal.commit("before".to_string()).unwrap().wait().unwrap();
    assert!(matches!(wal.commit("refuse".into()), Err(Error::StateMachine { .. })));
    let panicked = thread::spawn({
        let wal = wal.clone();
        move || wal.commit("panic".into()).map(drop)
    });
    assert!(panicked.join().is_err());
    let mut awaited = pin!(wal.commit_async("panic".into()));
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut awaited).0.is_ready())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| wal.read(|_| panic!("asked to")))).is_err());
    wal.commit("after".to_string()).unwrap().wait().unwrap();
    assert_eq!(wal.read(|list| list.words.clone()), ["before", "after"]);
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, ["before", "after"]);
}

#[test]
fn a_batch_is_committed_as_a_whole_or_refused_as_a_whole() {
    let disk = Disk::default();
    let (wal, list) = disk.open();
    let shared = chunked_wal::SharedWal::new(wal, list);
    let batch = |words: &[&str]| words.iter().map(|word| action(word)).collect::<chunked_wal::Batch<Words>>();
    let segment = shared.commit_batch(batch(&["a", "b"])).unwrap().wait().unwrap();
    assert_eq!(shared.reader().read_record(segment).unwrap(), action("b"));
    let refused = shared.commit_batch(batch(&["c", "refuse"]));
    assert!(matches!(refused, Err(Error::StateMachine { .. })));
    assert!(matches!(shared.commit_batch(batch(&[])), Err(Error::EmptyBatch)));
    let commit = block_on(shared.commit_batch_async(batch(&["d", "e", "f"]))).unwrap();
    block_on(commit).unwrap();
    assert_eq!(shared.read(|list| list.words.clone()), ["a", "b", "d", "e", "f"]);
    shared.close().unwrap();
    assert!(matches!(shared.commit_batch(batch(&["g"])), Err(Error::Closed)));
    assert_eq!(disk.open().1.words, ["a", "b", "d", "e", "f"]);
}

/// Commits from inside, where that would wait for itself.
struct Nested {
    wal: Mutex<Option<SharedWal<Words, Nested>>>,
    refused: AtomicUsize,
}

impl Nested {
    fn commits(&self) -> bool {
        let Some(wal) = self.wal.lock().unwrap().clone() else { return false };
        let refused = |error| matches!(error, Error::WouldDeadlock { .. });
        assert!(refused(wal.commit("nested".into()).unwrap_err()));
        assert!(refused(block_on(wal.commit_async("nested".into())).unwrap_err()));
        assert!(refused(wal.with_log(|_, _| ()).unwrap_err()));
        assert!(refused(wal.close().unwrap_err()));
        assert!(refused(block_on(wal.close_async()).unwrap_err()));
        assert!(refused(wal.snapshot_and_drain(|_| (), |()| Ok::<_, Error>(())).unwrap_err()));
        self.refused.fetch_add(1, SeqCst);
        true
    }
}

impl StateMachine<Words> for Nested {
    type Error = String;

    fn apply(&mut self, _: &Record, _: ChunkId, _: Segment) -> Result<(), String> {
        self.commits();
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.commits();
        String::new()
    }
}

#[test]
fn calls_that_would_wait_for_themselves_are_refused() {
    let disk = Disk::default();
    let mut nested = Nested { wal: Mutex::default(), refused: AtomicUsize::default() };
    let log = disk.options().open(&mut nested).unwrap();
    let wal = SharedWal::new(log, nested);
    wal.read(|nested| *nested.wal.lock().unwrap() = Some(wal.clone()));
    let refused = || wal.read(|nested| nested.refused.load(SeqCst));
    wal.commit("apply".into()).unwrap().wait().unwrap();
    assert_eq!(refused(), 1);
    wal.snapshot_and_drain(
        |nested| assert!(nested.commits()),
        |()| {
            let inner = wal.snapshot_and_drain(|_| (), |()| Ok::<_, Error>(()));
            assert!(matches!(inner, Err(Error::WouldDeadlock { .. })));
            Ok::<_, Error>(())
        },
    )
    .unwrap();
    assert_eq!(refused(), 3, "the checkpoint and the copy");
    assert!(wal.with_log(|_, nested| nested.read(Nested::commits)).unwrap());
    assert!(wal.read(|nested| wal.read(|again| std::ptr::eq(nested, again))), "a read in a read");
    // The cycle would keep it open.
    wal.read(|nested| drop(nested.wal.lock().unwrap().take()));
    wal.close().unwrap();
}

#[test]
fn a_callback_is_refused_calls_that_may_wait_for_it() {
    let disk = Disk::default();
    let shared = Arc::new(OnceLock::<Shared>::new());
    let refused = Arc::new(AtomicUsize::new(0));
    let mut history = History::default();
    let log = disk
        .options()
        .on_chunk_persisted({
            let (shared, refused) = (shared.clone(), refused.clone());
            move |_, _| {
                let Some(wal) = shared.get() else { return };
                assert!(wal.read(|history| !history.records.is_empty()));
                if matches!(wal.commit("nested".into()), Err(Error::WouldDeadlock { method: "commit" })) {
                    refused.fetch_add(1, SeqCst);
                }
            }
        })
        .open(&mut history)
        .unwrap();
    let wal = shared.get_or_init(|| SharedWal::new(log, history));
    wal.commit("word".into()).unwrap().wait().unwrap();
    wal.close().unwrap();
    assert!(refused.load(SeqCst) > 0);
    assert_eq!(wal.read(actions).len(), 1);
}

// Closing ------------------------------------------------------------------------------------------

#[test]
fn a_close_completes_what_is_under_way_and_refuses_the_rest() {
    for awaited in [false, true] {
        let disk = Disk::with(|config| config.flush_queue_max_bytes = 2000);
        let wal = share(&disk);
        let committers: Vec<_> = (0..6)
            .map(|thread| {
                let wal = wal.clone();
                thread::spawn(move || {
                    let mut acknowledged = Vec::new();
                    for i in 0.. {
                        let word = format!("{thread}-{i}");
                        let commit = match thread % 2 {
                            0 => wal.commit(word.clone()),
                            _ => block_on(wal.commit_async(word.clone())),
                        };
                        match commit {
                            Ok(commit) => acknowledged.push((commit.wait().unwrap(), word)),
                            Err(Error::Closed) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        wait_until("under way", || wal.read(|history| history.records.len() > 200));
        let other = thread::spawn({
            let wal = wal.clone();
            move || if awaited { block_on(wal.close_async()) } else { wal.close() }
        });
        if awaited { block_on(wal.close_async()) } else { wal.close() }.unwrap();
        other.join().unwrap().unwrap();
        let mut acknowledged: Vec<_> =
            committers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        acknowledged.sort_by_key(|(segment, _)| segment.offset);
        assert_eq!(wal.read(actions), acknowledged, "the state can still be read");
        wal.close().unwrap();
        assert!(matches!(wal.with_log(|_, _| ()), Err(Error::Closed)));
        assert_eq!(actions_on(&disk), acknowledged, "released, although handles are left");
    }
}

#[test]
fn an_awaited_close_does_not_block_and_goes_on_alone() {
    let disk = Disk::default();
    let wal = share(&disk);
    wal.with_log(|log, _| log.wait_idle()).unwrap().unwrap();
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Sync);
    let commit = wal.commit("last".to_string()).unwrap();
    {
        let mut close = pin!(wal.close_async());
        assert!(poll_once(&mut close).0.is_pending());
    }
    assert!(matches!(wal.commit("late".into()), Err(Error::Closed)));
    assert!(commit.wait_timeout(Duration::from_millis(1)).is_none());
    gate.open();
    commit.wait().unwrap();
    block_on(wal.close_async()).unwrap();
    assert_eq!(actions_on(&disk).len(), 1);
}

#[test]
fn the_last_handle_closes_and_commits_are_none() {
    let disk = Disk::default();
    let wal = share(&disk);
    let commit = wal.clone().commit("word".to_string()).unwrap();
    let (reader, progress) = (wal.reader(), wal.progress_handle());
    drop(wal);
    let at = commit.wait().unwrap();
    assert_eq!(progress.progress().synced, at.offset + at.size);
    assert!(matches!(reader.read_record(at), Err(Error::Closed)));
    assert_eq!(actions_on(&disk).len(), 1);
}

// Snapshots ----------------------------------------------------------------------------------------

#[test]
fn a_snapshot_delays_no_commit_and_drains_covered_chunks() {
    let disk = Disk::default();
    let wal = share(&disk);
    for i in 0..500 {
        drop(wal.commit(format!("word-{i}")).unwrap());
    }
    let chunks = |wal: &Shared| wal.with_log(|log, _| log.closed_chunk_stats().len()).unwrap();
    let before = chunks(&wal);
    assert!(before > 2);
    let failed = wal.snapshot_and_drain(|_| (), |()| Err(Error::Closed));
    assert!(matches!(failed, Err(Error::Closed)));
    assert_eq!(chunks(&wal), before + 1, "rotated, and nothing drained");

    let mut taken = Vec::new();
    let removed = wal
        .snapshot_and_drain(actions, |snapshot| {
            // Durable in the log before it is written.
            assert_eq!(actions_on(&disk.on(disk.storage.crash(0))), snapshot);
            taken = snapshot;
            for i in 0..200 {
                wal.commit(format!("meanwhile-{i}")).unwrap().wait().unwrap();
            }
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!((taken.len(), removed.len()), (500, before + 1));
    wal.with_log(|log, _| log.wait_idle()).unwrap().unwrap();
    assert!(wal.reader().start() > taken.last().unwrap().0.offset);
    wal.close().unwrap();
    let kept = actions_on(&disk);
    assert_eq!(kept.len(), 200, "what came meanwhile, and nothing else");
    assert!(kept.iter().all(|(_, word)| word.starts_with("meanwhile-")));
}

#[test]
fn a_snapshot_is_never_ahead_of_its_log() {
    let disk = Disk::default();
    let wal = share(&disk);
    disk.storage.pause_syncs(true);
    drop(wal.commit("word".into()).unwrap());
    let snapshot = thread::spawn({
        let (wal, disk) = (wal.clone(), disk.clone());
        move || {
            wal.snapshot_and_drain(actions, |snapshot| {
                assert_eq!(actions_on(&disk.on(disk.storage.crash(0))), snapshot);
                Ok::<_, Error>(())
            })
        }
    });
    thread::sleep(Duration::from_millis(20));
    disk.storage.pause_syncs(false);
    assert_eq!(snapshot.join().unwrap().unwrap().len(), 1);
}

#[test]
fn snapshots_take_turns_and_an_idle_log_gets_no_chunks() {
    let disk = Disk::default();
    let wal = share(&disk);
    let snapshots = Arc::new(Mutex::new(Vec::new()));
    let (under_way, goes_on) = channel();
    let first = thread::spawn({
        let (wal, snapshots) = (wal.clone(), snapshots.clone());
        wal.commit("one".into()).unwrap().wait().unwrap();
        move || {
            wal.snapshot_and_drain(
                |history| actions(history).len(),
                |count| {
                    under_way.send(()).unwrap();
                    thread::sleep(Duration::from_millis(30));
                    snapshots.lock().unwrap().push(count);
                    Ok::<_, Error>(())
                },
            )
        }
    });
    goes_on.recv().unwrap();
    wal.commit("two".into()).unwrap().wait().unwrap();
    let second = || {
        let push = |count| {
            snapshots.lock().unwrap().push(count);
            Ok::<_, Error>(())
        };
        wal.snapshot_and_drain(|history| actions(history).len(), push).unwrap()
    };
    assert_eq!(second().len(), 1);
    assert_eq!(first.join().unwrap().unwrap().len(), 1);
    assert_eq!(*snapshots.lock().unwrap(), [1, 2], "no older one after a newer one");
    let open = || wal.with_log(|log, _| log.open_chunk_id()).unwrap();
    let before = open();
    assert!(second().is_empty());
    assert_eq!(open(), before);
}

#[test]
fn a_snapshot_that_panics_drains_nothing() {
    let disk = Disk::default();
    let wal = share(&disk);
    wal.commit("word".into()).unwrap().wait().unwrap();
    let panics = AtomicBool::new(true);
    for at in ["take", "write"] {
        let take = |_: &History| assert!(at != "take");
        let write = |()| -> Result<(), Error> { panic!("asked to") };
        let panicked = catch_unwind(AssertUnwindSafe(|| wal.snapshot_and_drain(take, write)));
        panics.fetch_and(panicked.is_err(), SeqCst);
    }
    assert!(panics.into_inner());
    assert_eq!(wal.snapshot_and_drain(|_| (), |()| Ok::<_, Error>(())).unwrap().len(), 1);
    wal.commit("more".into()).unwrap().wait().unwrap();
}

/// Any log, and any state that threads may share.
fn is_shared<W: WalTypes, SM: StateMachine<W> + Send + Sync + 'static>() {
    fn is<T: Clone + Send + Sync + Unpin + 'static>() {}
    is::<SharedWal<W, SM>>();
    fn moves<T: Send + Sync + Unpin + 'static>() {}
    moves::<Commit>();
}

#[test]
fn handles_and_commits_go_to_any_thread() {
    is_shared::<Words, List>();
    fn goes<T: Send + 'static>(_: &T) {}
    let wal = share(&Disk::default());
    goes(&wal.commit_async("word".into()));
    goes(&wal.close_async());
}
