//! A full queue makes the appender wait, or gives everything back.

use super::*;

/// A log whose queue takes few bytes, and whose worker is held at a gate with the first word in hand.
fn held_up(queue_bytes_max: u64) -> (Disk, SpellWal, Arc<Gate>) {
    let disk = Disk::with(|config| config.flush_queue_max_bytes = queue_bytes_max);
    let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    wal.wait_idle().unwrap();
    let gate = sync_gate(&disk);
    wal.append(&spell("first")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    gate.wait_for(1);
    (disk, wal, gate)
}

#[test]
fn a_full_queue_gives_everything_back_to_try_flush() {
    let (disk, mut wal, gate) = held_up(100);
    let before = wal.progress();
    let (told, done) = channel();
    let mut queued = 0;
    let refused = loop {
        let segment = wal.append(&spell("more")).unwrap();
        let told = told.clone();
        match wal.try_flush(Flush::Sync, callback(move |result| told.send(result).unwrap())) {
            Ok(()) => queued += segment.size,
            Err(TryFlushError::Full(callback)) => break (segment, callback),
            Err(TryFlushError::Failed(error)) => panic!("{error}"),
        }
        assert!(queued <= 100, "the bound is passed");
    };
    assert_eq!(queued, 48, "two records of 24 bytes beside the 32 that are being written");
    assert_eq!(wal.read_record(refused.0).unwrap(), spell("more"), "the record stays where it was");
    assert_eq!(wal.progress().written, before.written);
    gate.open();
    wal.wait_idle().unwrap();
    let callback = refused.1.unwrap();
    wal.flush(Flush::Sync, Some(callback)).unwrap();
    wal.wait_idle().unwrap();
    drop(told);
    assert_eq!(done.iter().filter(Result::is_ok).count(), 3, "the callback that came back was as good");
    wal.close().unwrap();
    let mut book = Book::default();
    let _wal: SpellWal = disk.options().open(&mut book).unwrap();
    assert_eq!(book.0, ["first", "more", "more", "more"]);
}

#[test]
fn try_flush_on_a_failed_log_completes_the_callback() {
    let (disk, mut wal, gate) = held_up(100);
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    gate.open();
    assert!(matches!(wal.wait_idle(), Err(Error::Poisoned { .. })));
    let (told, done) = channel();
    let tried = wal.try_flush(Flush::Write, callback(move |result| told.send(result).unwrap()));
    assert!(matches!(tried, Err(TryFlushError::Failed(Error::Poisoned { .. }))), "{tried:?}");
    assert!(matches!(done.recv().unwrap(), Err(Error::Poisoned { .. })));
}

#[test]
fn a_full_queue_blocks_the_appender_until_there_is_room() {
    type Blocked = fn(&mut SpellWal) -> Result<(), Error>;
    let ways: [(&str, Blocked); 5] = [
        ("flush", |wal| wal.flush(Flush::Write, None)),
        ("flush_ticket", |wal| wal.flush_ticket(Flush::Write).map(drop)),
        ("append past open_buffer_max_bytes", |wal| {
            wal.append(&spell(&"x".repeat(1000))).map(drop)?;
            wal.append(&spell(&"x".repeat(1000))).map(drop)
        }),
        ("close_open_chunk_with", |wal| wal.close_open_chunk_with(Spell::new("all"))),
        ("remove_chunks", |wal| {
            let ids = wal.drain_closed_chunks_while(|_| true);
            wal.remove_chunks(ids)
        }),
    ];
    for (way, blocked) in ways {
        let disk = Disk::with(|config| {
            config.flush_queue_max_bytes = 200;
            config.open_buffer_max_bytes = 900;
        });
        let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
        wal.close_open_chunk_with(Spell::new("all")).unwrap();
        wal.wait_idle().unwrap();
        let gate = sync_gate(&disk);
        wal.append(&spell("first")).unwrap();
        wal.flush(Flush::Sync, None).unwrap();
        gate.wait_for(1);
        wal.append(&spell(&"x".repeat(200))).unwrap();
        let opened = Arc::new(AtomicBool::new(false));
        let appender = thread::spawn({
            let opened = opened.clone();
            move || {
                blocked(&mut wal).unwrap();
                assert!(opened.load(SeqCst), "{way} did not wait");
                wal.close().unwrap();
            }
        });
        // Long enough for one that does not block to be seen, most of the time.
        thread::sleep(Duration::from_millis(20));
        opened.store(true, SeqCst);
        gate.open();
        appender.join().unwrap();
    }
}

#[test]
fn a_single_item_larger_than_the_queue_is_admitted() {
    let disk = Disk::with(|config| config.flush_queue_max_bytes = 64);
    let (mut wal, mut list) = disk.open();
    for size in [1000, 2000, 3000] {
        wal.append_and_apply("x".repeat(size), &mut list).unwrap();
        wal.flush(Flush::Write, None).unwrap();
    }
    wal.close_open_chunk_with("x".repeat(500)).unwrap();
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, ["x".repeat(500)]);
}

/// Rotates as often, or until the queue takes no more, while the worker is held up; then lets it go on.
fn rotations_taken(queue_bytes_max: u64, rotations: u64) -> u64 {
    let (disk, mut wal, gate) = held_up(queue_bytes_max);
    let taken = Arc::new(AtomicU64::new(0));
    let appender = thread::spawn({
        let taken = taken.clone();
        move || {
            for _ in 0..rotations {
                wal.close_open_chunk_with(Spell::new("")).unwrap();
                taken.fetch_add(1, SeqCst);
            }
            wal.close().unwrap();
        }
    });
    let mut seen = u64::MAX;
    while seen != taken.load(SeqCst) {
        seen = taken.load(SeqCst);
        thread::sleep(Duration::from_millis(300));
    }
    gate.open();
    appender.join().unwrap();
    let wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    assert_eq!(wal.closed_chunk_stats().len() as u64, rotations);
    seen
}

#[test]
fn few_rotations_wait_however_small_they_are() {
    assert_eq!(rotations_taken(1 << 20, 200), 63, "and what the worker has in hand");
    assert_eq!(rotations_taken(u64::MAX, 200), 63, "a queue of 1 GiB, which is the most");
}

#[test]
fn append_hands_over_a_full_open_buffer() {
    let disk = Disk::with(|config| config.open_buffer_max_bytes = 100);
    let (mut wal, _) = disk.open();
    for _ in 0..50 {
        wal.append(&action("0123456789")).unwrap();
        wal.wait_idle().unwrap();
        let progress = wal.progress();
        assert!(progress.appended - progress.written < 100, "{progress:?}");
        assert_eq!(progress.synced, 88, "a write, no sync");
    }
    assert_eq!(wal.flush_metrics().flush_count, 0, "no flush of the user's");
}

const PATIENCE: Duration = Duration::from_secs(1);

/// A log that waits long for flushes to share a batch with.
fn patient(disk: &Disk) -> SpellWal {
    let mut disk = disk.clone();
    disk.config.flush_batch_wait = PATIENCE;
    disk.config.flush_batch_max_items = 60_000;
    disk.options().open(&mut Book::default()).unwrap()
}

#[test]
fn the_worker_waits_for_no_more_flushes_while_the_appender_waits_for_room() {
    let disk = Disk::with(|config| config.flush_queue_max_bytes = 100);
    let mut wal = patient(&disk);
    let started = Instant::now();
    for _ in 0..20 {
        wal.append(&spell("word")).unwrap();
        wal.flush(Flush::Write, None).unwrap();
    }
    wal.close().unwrap();
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn the_worker_waits_for_no_more_flushes_after_a_rotation() {
    let mut wal = patient(&Disk::default());
    let handle = wal.progress_handle();
    let started = Instant::now();
    wal.append(&spell("word")).unwrap();
    let end = wal.progress().appended;
    wal.close_open_chunk_with(Spell::new("all")).unwrap();
    handle.wait_synced(end).unwrap();
    assert!(started.elapsed() < PATIENCE);
}
