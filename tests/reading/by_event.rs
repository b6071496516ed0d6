//! Followers that are woken: by the positions of a log that is open here, by a pause in a directory.
#![allow(clippy::unwrap_used, reason = "tests")]

#[cfg(feature = "stream")]
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal::storage::{Fault, FaultHow, OpKind};
use chunked_wal::{Error, Flush, Follow, ReadUpTo, WalReader, WalRecord};

use crate::common::*;

/// Polls a follower's next record once.
fn poll_next(follow: &mut Follow<Words>) -> (Poll<Result<Record, Error>>, Arc<Wakes>) {
    let (outcome, wakes) = poll_once(&mut pin!(follow.next_async()));
    (outcome.map_ok(|(_, _, record)| record), wakes)
}

fn woken(wakes: &Wakes) {
    let started = Instant::now();
    while wakes.so_far() == 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "nobody woke the task");
        thread::yield_now();
    }
}

#[test]
fn a_task_that_follows_an_open_log_is_woken_by_its_offset_alone() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.wait_idle().unwrap();
    let reader = wal.reader();
    let mut all = reader.follow(reader.end());
    let mut written = reader.follow(reader.end()).up_to(ReadUpTo::Written);
    let mut durable = reader.follow(reader.end()).up_to(ReadUpTo::Durable);
    for word in ["a", "b"] {
        let before = [&mut all, &mut written, &mut durable].map(poll_next);
        assert!(before.iter().all(|(outcome, _)| outcome.is_pending()));
        disk.storage.pause_syncs(true);
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
        assert!(matches!(poll_next(&mut all), (Poll::Ready(Ok(record)), _) if record == action(word)));
        let ticket = wal.flush_ticket(Flush::Sync).unwrap();
        woken(&before[1].1);
        assert!(matches!(poll_next(&mut written), (Poll::Ready(Ok(record)), _) if record == action(word)));
        thread::sleep(Duration::from_millis(5));
        assert_eq!(before[2].1.so_far(), 0, "not before the sync");
        disk.storage.pause_syncs(false);
        woken(&before[2].1);
        assert!(matches!(poll_next(&mut durable), (Poll::Ready(Ok(record)), _) if record == action(word)));
        ticket.wait().unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.sync().unwrap();
        // The next chunk's checkpoint.
        for follow in [&mut all, &mut written, &mut durable] {
            assert!(matches!(poll_next(follow), (Poll::Ready(Ok(WalRecord::Checkpoint(_))), _)));
        }
    }
    let (_, wakes) = poll_next(&mut durable);
    drop(durable);
    assert_eq!(Arc::strong_count(&wakes), 1, "it leaves no waker");
}

#[test]
fn threads_and_tasks_follow_an_open_log_to_its_end() {
    const RECORDS: usize = 500;
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let reader = wal.reader();
    // A pause that would be noticed.
    let follow =
        || reader.follow(reader.start()).up_to(ReadUpTo::Durable).pause_max(Duration::from_secs(600));
    let is_word = |record: &Record| matches!(record, WalRecord::Action(_));
    let iterator = follow();
    let by_thread = thread::spawn(move || {
        let mut count = 0;
        for item in iterator {
            match item {
                Ok((_, _, record)) => count += usize::from(is_word(&record)),
                Err(error) => return (count, error),
            }
        }
        unreachable!("it ends with an error");
    });
    let mut awaited = follow();
    let by_task = thread::spawn(move || {
        block_on(async move {
            let mut count = 0;
            loop {
                match awaited.next_async().await {
                    Ok((_, _, record)) => count += usize::from(is_word(&record)),
                    Err(error) => return (count, error),
                }
            }
        })
    });
    for i in 0..RECORDS {
        wal.append_and_apply(i.to_string(), &mut list).unwrap();
        if i % 7 == 0 {
            wal.sync().unwrap();
        }
    }
    wal.sync().unwrap();
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    wal.append(&action("lost")).unwrap();
    wal.sync().unwrap_err();
    for follower in [by_thread, by_task] {
        let (count, error) = follower.join().unwrap();
        assert!(count == RECORDS && matches!(error, Error::Poisoned { .. }), "{count}: {error}");
    }
    let mut late = follow();
    let next = |follow: &mut Follow<Words>| block_on(follow.next_async());
    assert!((0..RECORDS).all(|_| next(&mut late).is_ok()), "what is durable can still be read");
    wal.close().unwrap_err();
    while let Ok((_, _, record)) = next(&mut late) {
        assert!(!is_word(&record));
    }
    assert!(matches!(next(&mut late), Err(Error::Closed)));
}

#[test]
fn a_directory_is_followed_by_a_task_too() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let reader =
        WalReader::<Words>::read_only_options("/log").storage(Arc::new(disk.storage.clone())).open().unwrap();
    let mut follow = reader.follow(reader.end());
    let (outcome, wakes) = poll_next(&mut follow);
    assert!(outcome.is_pending());
    woken(&wakes);
    let writer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        wal.append(&action("a")).unwrap();
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
        wal
    });
    assert_eq!(block_on(follow.next_async()).unwrap().2, action("a"));
    drop(writer.join().unwrap());
}

#[cfg(feature = "stream")]
#[test]
fn a_follower_is_a_stream() {
    use futures_core::Stream;
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    let reader = wal.reader();
    let mut follow = reader.follow(reader.end()).up_to(ReadUpTo::Durable);
    let mut next = || block_on(std::future::poll_fn(|context| Pin::new(&mut follow).poll_next(context)));
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    wal.sync().unwrap();
    assert!(matches!(next(), Some(Ok((_, _, record))) if record == action("a")));
    wal.close().unwrap();
    assert!(matches!(next(), Some(Err(Error::Closed))));
    assert!(next().is_none() && next().is_none(), "an error ends it");
}
