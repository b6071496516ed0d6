//! [`Store`]: an object store whose operations are tried again, with growing pauses.
//!
//! - An object's bytes follow from its name, except those of claims and manifests. So it does no harm if a put that
//!   was reported as failed is done after all, or twice, or late.
//! - Claims and manifests are made by create-if-absent. If the object exists, its bytes decide whether it is this put
//!   that made it: they have random bytes of the writer in them.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::time::{Instant, sleep, timeout};

use crate::error::{Error, Result};

/// How operations on the store are tried again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Retry {
    /// The first pause; each later one is twice as long. Default: 50 ms.
    pub pause_min: Duration,
    /// The longest pause. Default: 10 s.
    pub pause_max: Duration,
    /// An attempt that takes longer has failed. Default: 60 s.
    pub attempt_timeout: Duration,
    /// A request that has failed for this long returns its error; with `None`, it is tried for ever. An
    /// [`Archiver`](crate::Archiver) ignores this, and tries for ever. Default: 30 s.
    pub give_up_after: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            pause_min: Duration::from_millis(50),
            pause_max: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(60),
            give_up_after: Some(Duration::from_secs(30)),
        }
    }
}

/// Called after each failed attempt.
pub(crate) type OnFailure = Arc<dyn Fn(&Error) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Store {
    store: Arc<dyn ObjectStore>,
    retry: Retry,
    on_failure: Option<OnFailure>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.store)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl Store {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, retry: Retry) -> Self {
        Store { store, retry, on_failure: None }
    }

    /// Never gives up; each failure is reported.
    pub(crate) fn patient(mut self, on_failure: OnFailure) -> Self {
        self.retry.give_up_after = None;
        self.on_failure = Some(on_failure);
        self
    }

    /// Puts an object whose bytes follow from its name.
    pub(crate) async fn put(&self, name: &str, bytes: &PutPayload) -> Result<()> {
        let path = Path::from(name);
        let put = || async { self.store.put(&path, bytes.clone()).await.map(drop) };
        self.again("put", name, put).await
    }

    /// Creates an object; `false` if there is another of this name.
    pub(crate) async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let path = Path::from(name);
        let create = || async {
            let payload = PutPayload::from(bytes.to_vec());
            match self.store.put_opts(&path, payload, PutMode::Create.into()).await {
                Ok(_) => Ok(true),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        if self.again("put", name, create).await? {
            return Ok(true);
        }
        Ok(self.get(name).await?.is_some_and(|found| found == bytes))
    }

    /// Returns an object's bytes; `None` if there is no such object.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let path = Path::from(name);
        let get = || async {
            match self.store.get(&path).await {
                Ok(found) => Ok(Some(found.bytes().await?)),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.again("get", name, get).await
    }

    pub(crate) async fn exists(&self, name: &str) -> Result<bool> {
        let path = Path::from(name);
        let head = || async {
            match self.store.head(&path).await {
                Ok(_) => Ok(true),
                Err(StoreError::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.again("get", name, head).await
    }

    /// Returns the names of all objects below a prefix, sorted.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let path = Path::from(prefix);
        let list = || async {
            let found = self.store.list(Some(&path)).map_ok(|found| found.location.to_string());
            let mut names: Vec<_> = found.try_collect().await?;
            names.sort_unstable();
            Ok(names)
        };
        self.again("list", prefix, list).await
    }

    /// Deletes an object; one that doesn't exist is no error.
    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        let path = Path::from(name);
        let delete = || async {
            match self.store.delete(&path).await {
                Err(StoreError::NotFound { .. }) => Ok(()),
                done => done,
            }
        };
        self.again("delete", name, delete).await
    }

    async fn again<T, F>(&self, op: &'static str, name: &str, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let started = Instant::now();
        let mut pause = self.retry.pause_min;
        loop {
            let limit = self.retry.attempt_timeout;
            let result = match timeout(limit, attempt()).await {
                Ok(result) => result,
                Err(_) => Err(timed_out(limit)),
            };
            let source = match result {
                Ok(done) => return Ok(done),
                Err(source) => source,
            };
            let is_final = is_final(&source);
            let error = Error::Store { op, name: name.to_string(), source: Arc::new(source) };
            let gives_up = self.retry.give_up_after.is_some_and(|limit| started.elapsed() + pause > limit);
            if is_final || gives_up {
                return Err(error);
            }
            log::debug!("{error}; tried again in {pause:?}");
            if let Some(on_failure) = &self.on_failure {
                on_failure(&error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(self.retry.pause_max);
        }
    }
}

/// Whether no later attempt can succeed. Missing permissions may be granted meanwhile.
fn is_final(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } | StoreError::InvalidPath { .. }
    )
}

fn timed_out(timeout: Duration) -> StoreError {
    let source = format!("no answer within {timeout:?}").into();
    StoreError::Generic { store: "store", source }
}
