//! A store in memory, as far away as a cloud's: each request takes a while, and all share one line.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunked_wal_archive::object_store::memory::InMemory;
use chunked_wal_archive::object_store::path::Path;
use chunked_wal_archive::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, once};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

/// Until the first byte of an answer.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);

/// Of the line, for uploads and downloads together.
pub(crate) const BYTES_PER_S: f64 = 250e6;

/// Of a line that is hardly faster than the log.
pub(crate) const NARROW_BYTES_PER_S: f64 = 55e6;

#[derive(Debug)]
pub(crate) struct Distant {
    memory: InMemory,
    bytes_per_s: f64,
    /// Until when the line has work.
    busy: Mutex<Option<Instant>>,
    is_away: bool,
}

impl Distant {
    pub(crate) fn new(bytes_per_s: f64) -> Arc<Self> {
        Arc::new(Distant { memory: InMemory::new(), bytes_per_s, busy: Mutex::default(), is_away: false })
    }

    /// A store that no request reaches.
    pub(crate) fn away() -> Arc<Self> {
        let memory = InMemory::new();
        Arc::new(Distant { memory, bytes_per_s: BYTES_PER_S, busy: Mutex::default(), is_away: true })
    }

    async fn transfer(&self, bytes: u64) -> Result<()> {
        sleep(LATENCY).await;
        if self.is_away {
            return Err(Error::Generic { store: "distant", source: "it is away".into() });
        }
        let until = {
            let mut busy = self.busy.lock();
            let from = busy.unwrap_or_else(Instant::now).max(Instant::now());
            *busy.insert(from + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s))
        };
        sleep_until(until).await;
        Ok(())
    }
}

impl fmt::Display for Distant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a store at a distance")
    }
}

#[async_trait]
impl ObjectStore for Distant {
    async fn put_opts(&self, name: &Path, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.transfer(bytes.content_length() as u64).await?;
        self.memory.put_opts(name, bytes, options).await
    }

    async fn put_multipart_opts(
        &self,
        name: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(name, options).await
    }

    async fn get_opts(&self, name: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.memory.get_opts(name, options).await;
        let bytes = found.as_ref().map_or(0, |found| found.range.end - found.range.start);
        self.transfer(bytes).await?;
        found
    }

    fn delete_stream(&self, names: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(names)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.memory.list(prefix);
        once(async {
            sleep(LATENCY).await;
            listed
        })
        .flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}
