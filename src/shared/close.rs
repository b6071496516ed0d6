//! Closing a shared log: once, for all handles, with or without a thread that waits.

use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::{Condvar, Mutex};

use super::{Core, SharedWal};
use crate::error::{Error, Result};
use crate::panics::catch;
use crate::record::WalTypes;
use crate::wal::ChunkedWal;

/// How the log was closed, and the threads and tasks that wait for it.
#[derive(Debug, Default)]
pub(super) struct Closing {
    state: Mutex<Closed>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Closed {
    result: Option<Result<()>>,
    /// Few: a program closes its log once, from few places.
    wakers: Vec<Waker>,
}

impl Closing {
    fn finish(&self, result: Result<()>) {
        let wakers = {
            let mut state = self.state.lock();
            state.result = Some(result);
            std::mem::take(&mut state.wakers)
        };
        self.done.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wait(&self) -> Result<()> {
        let mut state = self.state.lock();
        loop {
            if let Some(result) = &state.result {
                return result.clone();
            }
            self.done.wait(&mut state);
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Result<()>> {
        let mut state = self.state.lock();
        if let Some(result) = &state.result {
            return Poll::Ready(result.clone());
        }
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    }
}

/// Closes the log when it is dropped, on whichever thread; waiting threads and tasks get a result in any case.
struct Closer<W: WalTypes> {
    wal: Option<ChunkedWal<W>>,
    closing: Arc<Closing>,
}

impl<W: WalTypes> Drop for Closer<W> {
    fn drop(&mut self) {
        // The values of the user's types that go with the log may panic.
        let closed = catch(|| self.wal.take().map_or(Ok(()), ChunkedWal::close));
        self.closing.finish(closed.unwrap_or(Err(Error::Closed)));
    }
}

impl<W: WalTypes, SM> SharedWal<W, SM> {
    /// Closes the log for all handles: makes all appended records durable, resolves every waiting
    /// [`Commit`](super::Commit), and releases the directory. Later commits return [`Error::Closed`]; the state can
    /// still be [read](Self::read).
    ///
    /// Blocks until the log is closed, including its removals. If another handle closes too, it waits for the same
    /// close and gets the same result.
    ///
    /// # Errors
    ///
    /// As [`ChunkedWal::close`]. [`Error::WouldDeadlock`] [in a callback](Self#in-a-callback): then the log stays open.
    pub fn close(&self) -> Result<()> {
        self.core.refuse_inside("close")?;
        drop(self.core.take_log());
        self.core.closing.wait()
    }

    /// As [`close`](Self::close), without blocking the thread: another thread closes the log. The close starts at the
    /// first poll, and continues if the future is dropped later.
    ///
    /// # Errors
    ///
    /// As `close`.
    pub fn close_async(&self) -> impl Future<Output = Result<()>> + use<W, SM> {
        let core = self.core.clone();
        std::future::poll_fn(move |context| {
            if let Err(error) = core.refuse_inside("close_async") {
                return Poll::Ready(Err(error));
            }
            if let Some(closer) = core.take_log() {
                // Without a thread it is dropped, and so closed, here.
                let thread = std::thread::Builder::new().name("wal-close".to_string());
                let _no_thread = thread.spawn(move || drop(closer));
            }
            core.closing.poll(context.waker())
        })
    }
}

impl<W: WalTypes, SM> Core<W, SM> {
    /// The log, to be closed; none if another handle has taken it.
    fn take_log(&self) -> Option<Closer<W>> {
        let wal = self.log.lock().take()?;
        Some(Closer { wal: Some(wal), closing: self.closing.clone() })
    }
}
