//! The models: each is one run, repeated under many schedules. What they draw belongs to the schedule.

use std::collections::VecDeque;
use std::error::Error as _;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::chunk::{Disk, failure};
use crate::error::{Error, Result};
use crate::flush::{
    BatchLimit, Entry, Flush, FlushTicket, Positions, Progress, ProgressHandle, Queue, Refused, Wake, run,
};
use crate::log_model::Appender;
use crate::record::Callback;
use crate::sync::{AtomicU64, Ordering};

fn draw(from: u64, to: u64) -> u64 {
    thread_rng().gen_range(from..=to)
}

fn drawn_mode() -> Flush {
    if draw(0, 1) == 0 { Flush::Write } else { Flush::Sync }
}

fn drawn_limit() -> BatchLimit {
    BatchLimit {
        items: [1, 2, u64::MAX][draw(0, 2) as usize],
        bytes: [1, 3, u64::MAX][draw(0, 2) as usize],
        wait: Duration::from_secs(draw(0, 1)),
    }
}

/// What was pushed or joined is taken, once and in order; held bytes stay within their bound; whoever waits for
/// room, or for what was pushed to be done, goes on in the end.
pub(crate) fn queue() {
    const BYTES_MAX: u64 = 3;
    let queue = Arc::new(Queue::new(BYTES_MAX));
    // Counted by the threads themselves, before they call the queue or after it has returned.
    let pushed = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicU64::new(0));
    let held = Arc::new(AtomicU64::new(0));

    let consumer = thread::spawn({
        let (queue, done, held) = (queue.clone(), done.clone(), held.clone());
        move || {
            let limit = drawn_limit();
            let (mut batch, mut taken) = (VecDeque::new(), Vec::new());
            let quiet = (draw(0, 1) == 0).then_some(Duration::from_secs(1));
            loop {
                match queue.wait_for_batch(limit, quiet) {
                    Wake::Batch => queue.take_batch(&mut batch, limit),
                    Wake::Quiet => continue,
                    Wake::Closed => break,
                }
                let items: u64 = batch.iter().map(|entry| entry.items).sum();
                assert!(batch.len() == 1 || (!batch.is_empty() && items <= limit.items));
                let entries = batch.len() as u64;
                let taken_before = taken.len();
                for Entry { item, bytes, .. } in batch.drain(..) {
                    taken.extend(item);
                    held.fetch_sub(bytes, Ordering::SeqCst);
                    queue.release(bytes);
                }
                done.fetch_add((taken.len() - taken_before) as u64, Ordering::SeqCst);
                queue.done(entries);
            }
            taken
        }
    });
    let waiter = thread::spawn({
        let (queue, pushed, done) = (queue.clone(), pushed.clone(), done.clone());
        move || {
            for _ in 0..2 {
                let before = pushed.load(Ordering::SeqCst);
                queue.wait_done();
                assert!(done.load(Ordering::SeqCst) >= before, "it was told too early");
            }
        }
    });
    // The worker closes the queue too, once it has failed.
    let closer = (draw(0, 3) == 0).then(|| {
        let queue = queue.clone();
        thread::spawn(move || queue.close())
    });

    let nudger = (draw(0, 1) == 0).then(|| {
        let queue = queue.clone();
        thread::spawn(move || queue.nudge())
    });

    let mut accepted = Vec::new();
    for item in 0..4 {
        let bytes = draw(0, BYTES_MAX + 1);
        let (asks_first, joins) = (draw(0, 1) == 0, draw(0, 1) == 0);
        let before = loop {
            if asks_first {
                queue.wait_for_room(bytes);
            }
            let before = held.fetch_add(bytes, Ordering::SeqCst);
            let pushed = match asks_first {
                true => queue.push(vec![item], bytes).map_err(|_| Refused::Closed),
                false => queue.add(bytes, |last, _| match last {
                    Some(last) if joins => {
                        last.item.push(item);
                        None
                    }
                    _ => Some(vec![item]),
                }),
            };
            match pushed {
                Ok(()) => break Some(before),
                Err(Refused::Full) => {
                    held.fetch_sub(bytes, Ordering::SeqCst);
                    queue.wait_for_room(bytes);
                }
                Err(Refused::Closed) => {
                    assert!(closer.is_some(), "refused by an open queue");
                    held.fetch_sub(bytes, Ordering::SeqCst);
                    break None;
                }
            }
        };
        if let Some(before) = before {
            // Without asking first, more may have been written since it was counted.
            let bounded = before == 0 || before + bytes <= BYTES_MAX;
            assert!(bounded || !asks_first, "{before} and {bytes} bytes are held");
            accepted.push(item);
            pushed.fetch_add(1, Ordering::SeqCst);
        }
    }
    queue.wait_done();
    assert_eq!(done.load(Ordering::SeqCst), accepted.len() as u64);
    queue.close();
    assert_eq!(consumer.join().unwrap(), accepted);
    waiter.join().unwrap();
    for other in [closer, nudger].into_iter().flatten() {
        other.join().unwrap();
    }
}

/// Written bytes alone make room, before what they are of is done; and so does the close, with nobody
/// there to take anything.
pub(crate) fn room() {
    let queue = Arc::new(Queue::new(1));
    let other = thread::spawn({
        let queue = queue.clone();
        move || {
            let (mut batch, limit) = (VecDeque::new(), drawn_limit());
            for _ in 0..2 {
                assert_eq!(queue.wait_for_batch(limit, None), Wake::Batch);
                queue.take_batch(&mut batch, limit);
                queue.release(1);
            }
            queue.done(2);
            queue
        }
    });
    for item in 0..2 {
        queue.wait_for_room(1);
        queue.push(item, 1).unwrap();
    }
    queue.wait_done();
    let queue = other.join().unwrap();

    queue.push(2, 1).unwrap();
    let closer = thread::spawn({
        let queue = queue.clone();
        move || queue.close()
    });
    queue.wait_for_room(1);
    assert_eq!(queue.push(3, 1), Err(3));
    closer.join().unwrap();
}

/// Waits in one of the ways that there are.
fn wait_somehow(positions: &Arc<Positions>, mode: Flush, offset: u64) -> Result<()> {
    let mut ticket = FlushTicket::for_offset(positions.clone(), mode, offset);
    match draw(0, 4) {
        0 => ticket.wait(),
        1 => block_on(ticket),
        2 => loop {
            if let Some(outcome) = ticket.wait_timeout(Duration::from_millis(1)) {
                return outcome;
            }
        },
        3 => {
            // Another task, which gives up; and this one is first polled with another waker.
            poll_once(&mut FlushTicket::for_offset(positions.clone(), mode, draw(1, offset)));
            poll_once(&mut ticket);
            block_on(ticket)
        }
        _ => positions.wait(mode, offset, "wait"),
    }
}

fn poll_once(ticket: &mut FlushTicket) {
    let _outcome = pin!(ticket).poll(&mut Context::from_waker(Waker::noop()));
}

/// Every wait for an offset ends, by the offset, the poison or the close, and with the right word.
pub(crate) fn positions() {
    let positions = Arc::new(Positions::new(0));
    positions.publish_appended(3);
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let positions = positions.clone();
            let (mode, offset) = (drawn_mode(), draw(1, 3));
            thread::spawn(move || (mode, offset, wait_somehow(&positions, mode, offset)))
        })
        .collect();
    let watcher = thread::spawn({
        let handle = ProgressHandle::new(positions.clone());
        move || watch(&handle, 3)
    });

    let (written, synced) = (draw(0, 3), draw(0, 3));
    for offset in 1..=written {
        positions.publish_written(offset);
        if offset <= synced {
            positions.publish_sync(positions.begin_sync(offset));
        }
    }
    let poisoned = draw(0, 1) == 1;
    if poisoned {
        positions.poison(failure(1));
    }
    positions.close();

    for waiter in waiters {
        let (mode, offset, outcome) = waiter.join().unwrap();
        let reached = match mode {
            Flush::Write => written,
            Flush::Sync => synced.min(written),
        };
        judge(&outcome, offset <= reached, poisoned.then(|| failure(1)).as_ref());
    }
    assert!(!positions.has_tasks(), "a task has left its entry");
    watcher.join().unwrap();
}

/// `appended ≥ written ≥ synced`, and none goes back.
fn watch(handle: &ProgressHandle, times: usize) {
    let mut last = Progress { appended: 0, written: 0, synced: 0 };
    for _ in 0..times {
        let now = handle.progress();
        assert!(now.appended >= now.written && now.written >= now.synced, "{now:?}");
        assert!(
            now.appended >= last.appended && now.written >= last.written && now.synced >= last.synced,
            "{last:?}, then {now:?}"
        );
        last = now;
    }
}

/// The one outcome that is right where nothing moves any more: `Ok` if it was reached, else the first
/// cause, else `Closed`.
fn judge(outcome: &Result<()>, reached: bool, cause: Option<&Error>) {
    match (outcome, reached, cause) {
        (Ok(()), true, _) | (Err(Error::Closed), false, None) => {}
        (Err(error), false, Some(cause)) => assert_eq!(error.to_string(), cause.to_string()),
        _ => panic!("{outcome:?}, reached: {reached}, cause: {cause:?}"),
    }
}

/// Of two failures one is the first, for everybody and for ever.
pub(crate) fn first_cause() {
    let positions = Arc::new(Positions::new(0));
    positions.publish_appended(1);
    let looker = thread::spawn({
        let positions = positions.clone();
        move || {
            let first = wait_somehow(&positions, Flush::Sync, 1).unwrap_err().to_string();
            assert!(
                matches!(positions.check(), Err(Error::Poisoned { cause }) if cause.to_string() == first)
            );
            first
        }
    });
    let handle = ProgressHandle::new(positions.clone());
    let synced = thread::spawn(move || match handle.wait_synced(1) {
        Err(Error::Poisoned { cause }) => cause.to_string(),
        other => panic!("{other:?}"),
    });
    let causes: Vec<_> = (1..=2)
        .map(|number| {
            let positions = positions.clone();
            thread::spawn(move || {
                positions.poison(failure(number));
                positions.cause().unwrap().to_string()
            })
        })
        .collect();
    let first = looker.join().unwrap();
    assert_eq!(synced.join().unwrap(), first);
    for cause in causes {
        assert_eq!(cause.join().unwrap(), first);
    }
}

/// A completion that was asked for, as its waiter saw it.
struct Asked {
    mode: Flush,
    offset: u64,
    /// Whether the flush was accepted; else it was completed by the refusal.
    outcome: Result<()>,
}

/// The whole way: every completion comes exactly once, `Ok` if and only if what it waits for was
/// reached, else with the first cause, at any failing operation; no thread waits forever.
pub(crate) fn log() {
    let disk = Disk::new(if draw(0, 2) == 0 { u64::MAX } else { draw(0, 8) });
    let (mut appender, worker) = Appender::new(draw(1, 3), drawn_limit(), disk.clone());
    let shared = appender.shared.clone();
    let positions = shared.positions.clone();
    let worker = thread::spawn(move || run(&worker));
    let watcher = thread::spawn({
        let handle = ProgressHandle::new(positions.clone());
        move || watch(&handle, 3)
    });

    let mut waiters = Vec::new();
    for _ in 0..3 {
        if !appender.append(draw(1, 2)) {
            break;
        }
        let (mode, offset) = (drawn_mode(), appender.end);
        let asked = {
            let disk = disk.clone();
            move |mode, outcome: Result<()>| {
                assert!(outcome.is_err() || disk.reached(mode) >= offset, "reported too early");
                Asked { mode, offset, outcome }
            }
        };
        match draw(0, 5) {
            0 => {
                // The sender is the callback: a second completion can't be, a lost one is `Closed`.
                let (sender, ticket) = FlushTicket::pair();
                let _refused = appender.flush(mode, Some(sender));
                let waits = draw(0, 1);
                waiters.push(thread::spawn(move || {
                    asked(mode, if waits == 0 { ticket.wait() } else { block_on(ticket) })
                }));
            }
            1 if appender.flush(mode, None).is_ok() => {
                let positions = positions.clone();
                waiters.push(thread::spawn(move || asked(mode, wait_somehow(&positions, mode, offset))));
            }
            2 => {
                let outcome = appender.sync();
                waiters.push(thread::spawn(move || asked(Flush::Sync, outcome)));
            }
            3 => drop(appender.rotate()),
            4 => {
                let ticket = appender.ticket_now(mode);
                waiters.push(thread::spawn(move || asked(mode, block_on(ticket))));
            }
            _ => {}
        }
    }
    shared.queue.wait_done();
    let Progress { written, synced, .. } = positions.progress();
    if positions.cause().is_none() && written == synced {
        disk.wait_marked(synced);
    }
    shared.queue.close();
    worker.join().unwrap();
    watcher.join().unwrap();

    let (cause, progress) = (positions.cause(), positions.progress());
    if let Some(Error::Io { source, .. }) = &cause {
        // An assertion of the disk's is a panic of the worker's.
        assert_eq!(source.to_string(), failure(0).source().unwrap().to_string());
    }
    for waiter in waiters {
        let Asked { mode, offset, outcome } = waiter.join().unwrap();
        let reached = match mode {
            Flush::Write => progress.written,
            Flush::Sync => progress.synced,
        };
        // What was refused says so in the words for those who come later.
        let outcome = outcome.map_err(|error| match error {
            Error::Poisoned { cause } => (*cause).clone(),
            error => error,
        });
        judge(&outcome, offset <= reached, cause.as_ref());
    }
    assert_eq!(cause.is_none(), positions.check().is_err_and(|error| matches!(error, Error::Closed)));
}

/// A pair resolves, completed or dropped, however its ticket waits.
pub(crate) fn pair<const COMPLETES: bool, const AWAITS: bool>() {
    let (sender, ticket) = FlushTicket::pair();
    let sends = thread::spawn(move || {
        if COMPLETES {
            sender.complete(Ok(()))
        }
    });
    let outcome = if AWAITS { block_on(ticket) } else { ticket.wait() };
    assert_eq!(outcome.is_ok(), COMPLETES);
    sends.join().unwrap();
}

/// The offset alone wakes those who wait for it, threads and tasks; being woken for another's, each
/// waits once more.
pub(crate) fn offsets() {
    let positions = Arc::new(Positions::new(0));
    positions.publish_appended(1);
    let waiters: Vec<_> = [Flush::Write, Flush::Sync]
        .into_iter()
        .map(|mode| {
            let positions = positions.clone();
            thread::spawn(move || wait_somehow(&positions, mode, 1))
        })
        .collect();
    positions.publish_written(1);
    positions.publish_sync(positions.begin_sync(1));
    for waiter in waiters {
        assert!(waiter.join().unwrap().is_ok());
    }
    assert!(!positions.has_tasks(), "a task has left its entry");
}
