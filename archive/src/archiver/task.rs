//! What the archiver's thread does.
//!
//! ```text
//! upload_all:   look ─► part ─► put ─┐
//!                    ─► part ─► put ─┼─► objects, in the log's order ─► publish_all: manifest after manifest
//!                    ─► part ─► put ─┘
//! ```
//!
//! - Reading, uploading and publishing go on side by side: the next parts are read and put while a manifest is
//!   published.
//! - In memory are as many parts as are put side by side, and one that is read or waits for its turn.
//! - What goes wrong in reading the log takes its place in the order: everything read before is still archived.

use std::sync::Arc;

use futures_util::future::join;
use futures_util::stream::{Stream, StreamExt, unfold};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::holder::Held;
use super::{ArchiverOptions, OnMissing, Shared};
use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::log::{Log, Part};
use crate::manifest::{Manifest, Object};
use crate::runtime::blocking;

/// How many objects may wait for their manifest.
const OBJECTS_MAX: usize = 64;

pub(super) struct Task {
    pub(super) chain: Chain,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) held: Arc<Mutex<Held>>,
    pub(super) options: ArchiverOptions,
    pub(super) shared: Arc<Shared>,
}

/// Ends the waits, even if the thread panics.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.state.lock().ended.get_or_insert(Err(Error::Ended));
        self.0.changed.notify_all();
    }
}

/// What was read of the log, and then what was put of it.
struct Found<T> {
    what: Option<T>,
    /// The look that is at its end with it.
    ends: Option<u64>,
}

/// Where the reading of the log is.
struct Reading {
    last: Option<Object>,
    /// The look under way.
    look: Option<u64>,
    started: Instant,
    has_failed: bool,
}

/// When the archiver last knew that it wasn't fenced.
struct Fence {
    epoch: u64,
    checked: Instant,
}

impl Task {
    pub(super) fn run(self) {
        let shared = self.shared.clone();
        let _ending = Ending(shared.clone());
        let result = match crate::runtime::new() {
            Ok(runtime) => {
                let result = runtime.block_on(crate::runtime::unless(&shared.stop, self.archive()));
                // A put that hangs doesn't keep the program from ending.
                runtime.shutdown_background();
                result
            }
            Err(error) => Some(Err(error)),
        };
        if let Some(Err(error)) = &result {
            log::error!("archiving '{}' has stopped: {error}", self.options.place.dir.display());
        }
        shared.state.lock().ended = Some(result.unwrap_or(Ok(())));
    }

    pub(super) async fn archive(&self) -> Result<()> {
        let mut manifest = self.chain.claim().await?;
        let mut fence = Fence { epoch: manifest.epoch, checked: Instant::now() };
        self.check_log(&mut manifest, &mut fence).await?;
        self.let_go(&manifest).await?;
        self.update(&manifest, 0, 0);
        let (sender, receiver) = channel(OBJECTS_MAX);
        let upload = self.upload_all(&manifest, sender);
        join(upload, self.publish_all(manifest.clone(), fence, receiver)).await.1
    }

    /// Waits for the log, and compares it with the archive.
    async fn check_log(&self, manifest: &mut Manifest, fence: &mut Fence) -> Result<()> {
        let id = loop {
            match self.log.lock().id() {
                Ok(Some(id)) => break id,
                Err(error) if !error.is_no_directory() => return Err(error),
                _ => {}
            }
            sleep(self.options.pause.min(self.options.fence_check)).await;
            self.check_fence(fence).await?;
        };
        let dir = self.options.place.dir.clone();
        if manifest.log_id.is_empty() {
            manifest.log_id = id;
        } else if manifest.log_id != id {
            return Err(Error::OtherLog { archive: manifest.log_id.clone(), log: id, dir });
        }
        match manifest.objects.last() {
            Some(last) if !self.log.lock().agrees(last)? => {
                Err(Error::Diverged { dir, offset: last.chunk + last.from })
            }
            _ => Ok(()),
        }
    }

    /// Looks whether another archiver has taken over, if the last look was long ago.
    async fn check_fence(&self, fence: &mut Fence) -> Result<()> {
        if fence.checked.elapsed() >= self.options.fence_check {
            self.chain.check_claims(fence.epoch).await?;
            fence.checked = Instant::now();
        }
        Ok(())
    }

    /// Puts everything that becomes durable, and sends the objects in the log's order once they are acknowledged.
    async fn upload_all(&self, manifest: &Manifest, objects: Sender<Result<Found<Object>>>) {
        let uploads = self.options.uploads;
        let free = Semaphore::new(uploads);
        let puts = self.parts(manifest.objects.last().cloned());
        let puts = puts.map(async |found| match found {
            Ok(Found { what: Some(part), ends }) => {
                let _free = free.acquire().await.map_err(|_closed| Error::Ended)?;
                Ok(Found { what: Some(self.put(part, manifest).await?), ends })
            }
            Ok(Found { what: None, ends }) => Ok(Found { what: None, ends }),
            Err(error) => Err(error),
        });
        // One more is read while the others are put.
        let mut puts = std::pin::pin!(puts.buffered(uploads + 1));
        while let Some(put) = puts.next().await {
            if objects.send(put).await.is_err() {
                return;
            }
        }
    }

    async fn put(&self, Part { mut object, bytes }: Part, manifest: &Manifest) -> Result<Object> {
        object.epoch = manifest.epoch;
        self.chain.store.put(&object.name(&manifest.log_id), &bytes.into()).await?;
        Ok(object)
    }

    /// The durable bytes after an object, as they become durable. Ends after an error.
    fn parts(&self, last: Option<Object>) -> impl Stream<Item = Result<Found<Part>>> {
        let reading = Reading { last, look: None, started: Instant::now(), has_failed: false };
        unfold(reading, async |mut reading| {
            if reading.has_failed {
                return None;
            }
            let found = self.read(&mut reading).await;
            reading.has_failed = found.is_err();
            Some((found, reading))
        })
    }

    /// Reads the next part, after a pause if the last look found all that was durable.
    async fn read(&self, reading: &mut Reading) -> Result<Found<Part>> {
        let look = match reading.look {
            Some(look) => look,
            None => self.start_look(reading).await,
        };
        let (log, last, part_bytes) = (self.log.clone(), reading.last.clone(), self.options.part_bytes);
        let skips = self.options.on_missing == OnMissing::Skip;
        let part = blocking(move || log.lock().next(last.as_ref(), part_bytes, skips)).await?;
        // What comes after a part that isn't full became durable since.
        let goes_on =
            part.as_ref().is_some_and(|Part { object, .. }| object.sealed || object.bytes() == part_bytes);
        reading.look = goes_on.then_some(look);
        if let Some(part) = &part {
            reading.last = Some(part.object.clone());
        }
        Ok(Found { what: part, ends: (!goes_on).then_some(look) })
    }

    async fn start_look(&self, reading: &mut Reading) -> u64 {
        let is_first = self.shared.state.lock().looks_started == 0;
        if !is_first {
            let next = reading.started + self.options.pause;
            let _asked_or_not = timeout_at(next, self.shared.look.notified()).await;
        }
        reading.started = Instant::now();
        let mut state = self.shared.state.lock();
        state.looks_started += 1;
        state.looks_started
    }

    /// Publishes the objects as they come, all that have come at once.
    async fn publish_all(
        &self,
        mut manifest: Manifest,
        mut fence: Fence,
        mut objects: Receiver<Result<Found<Object>>>,
    ) -> Result<()> {
        let mut deleted_at = 0;
        loop {
            let mut found = Vec::new();
            let next = objects.recv_many(&mut found, OBJECTS_MAX);
            if let Ok(0) = timeout(self.options.fence_check, next).await {
                return Err(Error::Ended);
            }
            let (mut new, mut look, mut failed) = (Vec::new(), None, None);
            for found in found {
                match found {
                    Ok(Found { what, ends }) => {
                        new.extend(what);
                        look = ends.or(look);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if !new.is_empty() {
                self.publish(&mut manifest, &new).await?;
                self.chain.delete_old(&manifest, &mut deleted_at).await?;
                fence.checked = Instant::now();
            }
            if let Some(look) = look {
                self.shared.state.lock().look_archived = look;
                self.shared.changed.notify_all();
            }
            if let Some(error) = failed {
                return Err(error);
            }
            self.check_fence(&mut fence).await?;
        }
    }

    async fn publish(&self, manifest: &mut Manifest, new: &[Object]) -> Result<()> {
        let log_bytes = new.iter().map(Object::bytes).sum();
        let mut uploaded = log_bytes;
        *manifest = self.chain.publish(manifest.clone(), new, &mut uploaded).await?;
        self.update(manifest, log_bytes, uploaded);
        if let Err(error) = self.let_go(manifest).await {
            // The log is kept longer than it need be, and the next manifest is another occasion.
            let mut state = self.shared.state.lock();
            state.status.failures += 1;
            state.status.last_error = Some(error.to_string());
        }
        Ok(())
    }

    /// Keeps the log from what is not archived on.
    async fn let_go(&self, manifest: &Manifest) -> Result<()> {
        let (held, offset) = (self.held.clone(), manifest.sealed_upto());
        blocking(move || held.lock().let_go_before(offset)).await
    }

    fn update(&self, manifest: &Manifest, log_bytes: u64, uploaded: u64) {
        let mut state = self.shared.state.lock();
        let status = &mut state.status;
        status.epoch = manifest.epoch;
        (status.end, status.sealed_upto) = (manifest.end(), manifest.sealed_upto());
        status.log_bytes += log_bytes;
        status.uploaded_bytes += uploaded;
        if log_bytes > 0 {
            status.last_error = None;
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}
