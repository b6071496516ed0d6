//! Tickets resolve by waiting and by `.await`, once.

use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

use chunked_wal::{Callback, FlushTicket};

use super::*;

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

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
