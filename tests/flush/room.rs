//! Room in the queue as something to await.

use std::pin::{Pin, pin};
use std::task::{Context, Wake, Waker};

use super::*;

/// Polls once; whether it is ready, and who was told to be woken.
fn poll(mut future: impl Future<Output = ()> + Unpin) -> (bool, Arc<Wakes>) {
    let (outcome, wakes) = poll_once(&mut future);
    (outcome.is_ready(), wakes)
}

fn wait_for(wakes: &Wakes) {
    let start = Instant::now();
    while wakes.so_far() == 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "nobody woke the task");
        thread::yield_now();
    }
}

/// A log with a full queue, whose worker is held in a sync.
fn full() -> (Disk, Wal, Arc<Gate>) {
    let disk = Disk::with(|config| config.flush_queue_max_bytes = 100);
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    let gate = sync_gate(&disk);
    wal.append(&action("first")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    gate.wait_for(1);
    wal.append(&action(&"x".repeat(60))).unwrap();
    while wal.try_flush(Flush::Sync, None).is_ok() {
        wal.append(&action("more")).unwrap();
    }
    (disk, wal, gate)
}

#[test]
fn a_task_is_woken_when_there_is_room() {
    let (_disk, mut wal, gate) = full();
    let mut room = pin!(wal.room());
    let (ready, wakes) = poll(room.as_mut());
    assert!(!ready);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(wakes.so_far(), 0, "nothing has happened");
    gate.open();
    wait_for(&wakes);
    wal.wait_idle().unwrap();
    assert!(poll(room.as_mut()).0);
    wal.try_flush(Flush::Sync, None).unwrap();
    assert!(poll(pin!(wal.room())).0, "there is room at once");
}

#[test]
fn a_failed_log_wakes_it_too() {
    let (disk, wal, gate) = full();
    let mut room = pin!(wal.room());
    let (ready, wakes) = poll(room.as_mut());
    assert!(!ready);
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    gate.open();
    wait_for(&wakes);
    let _failed = wal.wait_idle();
    assert!(poll(room.as_mut()).0);
}

#[test]
fn a_full_chunk_waits_for_the_next_ones_file() {
    let disk = Disk::default();
    let (mut wal, list) = disk.open();
    wal.wait_idle().unwrap();
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Create);
    assert!(poll(pin!(wal.room())).0);
    while !wal.is_open_chunk_full() {
        wal.append(&action(&"x".repeat(500))).unwrap();
    }
    wal.sync().unwrap();
    gate.wait_for(1);
    let mut room = pin!(wal.room());
    let (ready, wakes) = poll(room.as_mut());
    assert!(!ready);
    gate.open();
    wait_for(&wakes);
    assert!(poll(room.as_mut()).0);
    wal.close_open_chunk(&list).unwrap();
}

#[test]
fn an_append_leaves_a_full_queue_to_the_next_one() {
    let disk = Disk::with(|config| {
        config.flush_queue_max_bytes = 100;
        config.open_buffer_max_bytes = 1000;
    });
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    let gate = sync_gate(&disk);
    wal.append(&action("first")).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    gate.wait_for(1);
    let (done, returned) = channel();
    let appender = thread::spawn(move || {
        for _ in 0..2 {
            wal.append(&action(&"x".repeat(2000))).unwrap();
            done.send(()).unwrap();
        }
        wal
    });
    returned.recv_timeout(Duration::from_secs(5)).expect("the first doesn't wait for the disk");
    let second = returned.recv_timeout(Duration::from_millis(50));
    gate.open();
    assert!(second.is_err(), "the memory that waits is bounded");
    appender.join().unwrap().close().unwrap();
}

/// Polls its future when it is woken, on the thread that wakes it.
struct Task {
    future: Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ready: Mutex<std::sync::mpsc::Sender<()>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let ready = self.future.lock().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if ready {
            let _nobody_waits = self.ready.lock().unwrap().send(());
        }
    }
}

/// Woken by the sync, it finds the queue still full: the room itself must wake it, too.
#[test]
fn a_task_that_looks_too_early_is_woken_again() {
    let disk = Disk::with(|config| config.flush_queue_max_bytes = 100);
    let (mut wal, _) = disk.open();
    wal.wait_idle().unwrap();
    let gate = sync_gate(&disk);
    wal.append(&action(&"x".repeat(200))).unwrap();
    wal.flush(Flush::Sync, None).unwrap();
    gate.wait_for(1);
    let (ready, told) = channel();
    let task = Arc::new(Task { future: Mutex::new(Box::pin(wal.room())), ready: Mutex::new(ready) });
    task.wake();
    assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "the queue is full");
    gate.open();
    told.recv_timeout(Duration::from_secs(5)).expect("there is room, and nobody says so");
}
