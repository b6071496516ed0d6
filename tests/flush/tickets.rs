//! Tickets resolve by waiting and by `.await`, once.

use chunked_wal::{Callback, FlushTicket};

use super::*;

/// A sync flush whose completion is awaited in one way or another.
fn flush_and(wal: &mut SpellWal, way: &str) -> FlushTicket {
    wal.append(&spell("word")).unwrap();
    if way.starts_with("pair") {
        let (sender, ticket) = FlushTicket::pair();
        wal.flush(Flush::Sync, callback(move |result| sender.complete(result))).unwrap();
        ticket
    } else {
        wal.flush_ticket(Flush::Sync).unwrap()
    }
}

#[test]
fn tickets_resolve_by_waiting_and_by_await_and_not_before_the_sync() {
    for fails in [false, true] {
        for way in ["wait", "await", "pair, wait", "pair, await"] {
            let disk = Disk::default();
            let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
            let gate = sync_gate(&disk);
            if fails {
                disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
            }
            let ticket = flush_and(&mut wal, way);
            gate.wait_for(1);
            assert!(ticket.wait_timeout(Duration::from_millis(1)).is_none(), "{way}");
            let opener = thread::spawn({
                let gate = gate.clone();
                move || gate.open()
            });
            let result = if way.ends_with("await") { block_on(ticket) } else { ticket.wait() };
            opener.join().unwrap();
            match result {
                Ok(()) => assert!(!fails, "{way}"),
                Err(error) => {
                    assert!(fails && matches!(error, Error::Io { op: "sync", .. }), "{way}: {error}")
                }
            }
        }
    }
}

#[test]
fn a_ticket_can_be_waited_for_with_a_limit_and_again() {
    let disk = Disk::default();
    let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    for way in ["offset", "pair"] {
        let ticket = flush_and(&mut wal, way);
        assert!(ticket.wait_timeout(Duration::MAX).unwrap().is_ok());
        assert!(ticket.wait_timeout(Duration::ZERO).unwrap().is_ok(), "it stays resolved");
        ticket.wait().unwrap();
    }
}

#[test]
fn tickets_outlive_the_log_and_return_how_it_ended() {
    let disk = Disk::default();
    let mut wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    let (sender, never_sent) = FlushTicket::pair();
    let ticket = flush_and(&mut wal, "offset");
    wal.flush(
        Flush::Sync,
        callback(move |_| {
            let _dropped_by_the_panic = sender;
            panic!("asked to");
        }),
    )
    .unwrap();
    wal.close().unwrap();
    ticket.wait().unwrap();
    assert!(matches!(never_sent.wait(), Err(Error::Closed)), "a dropped sender resolves its ticket");
}

/// A ticket that was polled once, and how often its task was woken.
fn polled(mut ticket: FlushTicket) -> (FlushTicket, Arc<Wakes>) {
    let (outcome, wakes) = poll_once(&mut ticket);
    assert!(outcome.is_pending());
    (ticket, wakes)
}

/// A log whose n-th sync waits at the n-th gate; later ones don't wait.
fn gated(gates: usize) -> (Disk, SpellWal, Vec<Arc<Gate>>) {
    let disk = Disk::with(|config| {
        config.chunk_max_size = 64 << 20;
        config.flush_queue_max_bytes = 64 << 20;
        config.flush_batch_max_items = 1 << 20;
    });
    let wal: SpellWal = disk.options().open(&mut Book::default()).unwrap();
    wal.wait_idle().unwrap();
    let gates: Vec<_> = (0..gates).map(|_| Arc::new(Gate::default())).collect();
    let (hooked, syncs) = (gates.clone(), AtomicU64::new(0));
    disk.storage.on_operation(move |op| {
        if op.kind == OpKind::Sync
            && let Some(gate) = hooked.get(syncs.fetch_add(1, SeqCst) as usize)
        {
            gate.pass();
        }
    });
    (disk, wal, gates)
}

fn one_more(wal: &mut SpellWal) -> (FlushTicket, Arc<Wakes>) {
    wal.append(&spell("word")).unwrap();
    polled(wal.flush_ticket(Flush::Sync).unwrap())
}

#[test]
fn a_sync_wakes_the_tasks_that_it_serves_and_no_others() {
    let (_disk, mut wal, gates) = gated(2);
    let first = one_more(&mut wal);
    gates[0].wait_for(1);
    let rest: Vec<_> = (1..10_000).map(|_| one_more(&mut wal)).collect();
    let woken = || rest.iter().map(|(_, wakes)| wakes.so_far()).sum::<usize>();
    gates[0].open();
    gates[1].wait_for(1);
    assert_eq!((first.1.so_far(), woken()), (1, 0));
    let (given_up, kept): (Vec<_>, Vec<_>) = rest.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
    let given_up: Vec<_> = given_up.into_iter().map(|(_, (_, wakes))| wakes).collect();
    assert!(given_up.iter().all(|wakes| Arc::strong_count(wakes) == 1), "a dropped ticket leaves its waker");
    gates[1].open();
    for (_, (ticket, wakes)) in kept {
        // Before the ticket goes, which takes its waker along.
        while wakes.so_far() == 0 {
            thread::yield_now();
        }
        ticket.wait().unwrap();
        // The thread that woke it lets go of the waker a moment later.
        let started = Instant::now();
        while Arc::strong_count(&wakes) > 1 && started.elapsed() < Duration::from_secs(5) {
            thread::yield_now();
        }
        assert_eq!((wakes.so_far(), Arc::strong_count(&wakes)), (1, 1));
    }
    assert!(given_up.iter().all(|wakes| wakes.so_far() == 0));
}

#[test]
fn a_failure_wakes_every_task() {
    let (disk, mut wal, gates) = gated(1);
    let first = one_more(&mut wal);
    gates[0].wait_for(1);
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    let mut all: Vec<_> = (1..1000).map(|_| one_more(&mut wal)).collect();
    all.push(first);
    gates[0].open();
    for (ticket, wakes) in all {
        // Before another poll, whose waker would take the place of this one.
        while wakes.so_far() == 0 {
            thread::yield_now();
        }
        assert!(matches!(block_on(ticket), Err(Error::Io { op: "sync", .. })));
    }
}
