//! The smallest executors: a future on this thread, many on a few threads, and a single poll.

use std::pin::{Pin, pin};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Runs a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
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

/// Counts how often a task was woken.
#[derive(Debug, Default)]
pub struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Wakes {
    pub fn so_far(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// Polls once; returns the result, and the waker's count.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> (Poll<F::Output>, Arc<Wakes>) {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    (Pin::new(future).poll(&mut Context::from_waker(&waker)), wakes)
}

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    future: Mutex<Option<Boxed>>,
    queue: Sender<Arc<Task>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let queue = self.queue.clone();
        let _ended = queue.send(self);
    }
}

/// Runs all futures on `threads` threads until each has ended; returns the number of all polls.
pub fn run_all(threads: usize, futures: impl IntoIterator<Item = Boxed>) -> usize {
    let (queue, ready) = channel::<Arc<Task>>();
    let mut count = 0;
    for future in futures {
        count += 1;
        let task = Task { future: Mutex::new(Some(future)), queue: queue.clone() };
        queue.send(Arc::new(task)).unwrap();
    }
    drop(queue);
    let (ready, left, polls) = (Mutex::new(ready), AtomicUsize::new(count), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&ready, &left, &polls));
        }
    });
    assert_eq!(left.into_inner(), 0, "a task was never woken");
    polls.into_inner()
}

fn work(ready: &Mutex<Receiver<Arc<Task>>>, left: &AtomicUsize, polls: &AtomicUsize) {
    loop {
        // A task that has ended drops its sender; when the last has, the queue is closed.
        let Ok(task) = ready.lock().unwrap().recv() else { return };
        let waker = Waker::from(task.clone());
        let mut future = task.future.lock().unwrap();
        let Some(running) = future.as_mut() else { continue };
        polls.fetch_add(1, SeqCst);
        if running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            *future = None;
            left.fetch_sub(1, SeqCst);
        }
    }
}
