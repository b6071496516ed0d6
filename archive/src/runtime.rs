//! The runtime of one thread that drives the store's futures: no program sees it.

use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::error::{Error, Result};

pub(crate) fn new() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().map_err(Error::io("start a runtime", Path::new("")))
}

/// Runs a future to its end and blocks.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    new()?.block_on(future)
}

/// Runs work that blocks on a thread of its own, side by side with the futures.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down.
            Err(_) => Err(Error::Ended),
        },
    }
}

/// Runs the future until it is done or `stop` is notified; then it is dropped, and the result is `None`.
pub(crate) async fn unless<T>(stop: &Notify, future: impl Future<Output = T>) -> Option<T> {
    let (mut stopped, mut future) = (pin!(stop.notified()), pin!(future));
    poll_fn(|context| {
        if stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}
