//! [`Reclaimer`]: the thread that gives the space of the oldest chunks back.
//!
//! ```text
//! too much space for what is alive ─► read the oldest chunk ─► append what is alive in it anew ─► remove the chunk
//!                                                                    in small steps          after a sync of all
//! ```
//!
//! The oldest chunk goes first, always: a record that voids others comes after them in the log, so it is there as long
//! as they are.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use chunked_wal::{Batch, ChunkId, Error as WalError, Flush, Segment, WalRecord};
use parking_lot::{MappedMutexGuard, Mutex};

use crate::error::Result;
use crate::index::Index;
use crate::record::{GroupWal, Record};
use crate::shared::Shared;

/// The bytes that are appended anew under one lock: callers wait that long at most.
const STEP_BYTES: u64 = 32 << 10;

/// The bytes that are appended anew before a sync, so that a caller's sync has little of them to write.
const UNSYNCED_MAX: u64 = 1 << 20;

/// How long the thread waits after a failure before it tries again without being woken.
const RETRY: Duration = Duration::from_secs(1);

/// How long it waits for space, of which the removed chunks give some a little later, and other programs may.
const RETRY_FULL: Duration = Duration::from_millis(50);

/// The thread. Dropping it stops it and waits for its end.
#[derive(Debug)]
pub(crate) struct Reclaimer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reclaimer {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self> {
        // What an earlier process left.
        shared.wake.wake();
        let of_thread = shared.clone();
        let builder = std::thread::Builder::new().name("wal-reclaim".to_string());
        let thread = builder.spawn(move || run(&of_thread)).map_err(|source| WalError::Io {
            op: "start a thread",
            path: shared.config.wal.dir.clone(),
            source: Arc::new(source),
        })?;
        Ok(Reclaimer { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn stop(&self) {
        self.shared.wake.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A panic was printed.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        self.stop();
        // The last clone is gone.
        drop(self.shared.wal.lock().take());
    }
}

fn run(shared: &Shared) {
    let mut pause = None;
    while shared.wake.wait(pause) {
        let reclaimed = shared.reclaim();
        shared.is_stuck.store(!matches!(reclaimed, Ok(Reclaimed::All)), Relaxed);
        shared.note_lag();
        pause = match reclaimed {
            Ok(Reclaimed::All) if shared.reserve.take() => None,
            Ok(Reclaimed::All) => Some(RETRY_FULL),
            Ok(Reclaimed::UpToPin) => {
                // Other programs may have given space back.
                let _again = shared.reserve.take();
                Some(RETRY)
            }
            Err(error) => {
                log::warn!("the space of the oldest chunk can't be reclaimed, tried again later: {error}");
                Some(RETRY)
            }
        };
    }
}

/// How far the oldest chunks were reclaimed.
enum Reclaimed {
    /// As far as they are to be, or as far as a log that is being closed gets.
    All,
    /// Up to a chunk that a pin or a subscriber needs.
    UpToPin,
}

impl Shared {
    /// Reclaims the oldest chunks, until there is no more space than there may be.
    fn reclaim(&self) -> Result<Reclaimed> {
        while !self.wake.is_stopped() {
            let Some((chunk, end)) = self.oldest_to_reclaim() else { break };
            if self.index.read().alive_in(chunk) > 0 {
                self.move_alive(chunk, end)?;
            }
            if self.index.read().alive_in(chunk) > 0 {
                // Stopped in the middle.
                break;
            }
            if !self.remove(chunk)? {
                return Ok(Reclaimed::UpToPin);
            }
            self.note_lag();
        }
        Ok(Reclaimed::All)
    }

    /// The oldest chunk and its end, if it is closed and to be reclaimed.
    fn oldest_to_reclaim(&self) -> Option<(ChunkId, u64)> {
        let oldest = self.wal.lock().as_ref()?.closed_chunk_stats().into_iter().next()?;
        let index = self.index.read();
        let allowed = if self.reserve.full().is_some() || self.is_over_budget.load(Relaxed) {
            self.config.allowed_when_full(index.alive())
        } else {
            self.config.allowed(index.alive())
        };
        let too_much = self.on_disk_size() > allowed;
        (too_much || index.alive_in(oldest.chunk_id) == 0).then_some((oldest.chunk_id, oldest.global_end))
    }

    /// Appends what is alive in the chunk anew.
    fn move_alive(&self, chunk: ChunkId, end: u64) -> Result<()> {
        let mut step = Step::default();
        let mut unsynced = 0;
        for read in self.reader.records_from(chunk.offset())? {
            let (_, at, record) = read?;
            if at.offset >= end || self.wake.is_stopped() {
                break;
            }
            let WalRecord::Action(record) = record else { continue };
            if !self.index.read().is_alive(&record, at) {
                continue;
            }
            step.bytes += at.size;
            step.records.push((record, at));
            if step.bytes >= STEP_BYTES {
                unsynced += step.bytes;
                let sync = unsynced >= UNSYNCED_MAX;
                if sync {
                    unsynced = 0;
                }
                self.take(std::mem::take(&mut step), sync)?;
            }
            if self.index.read().alive_in(chunk) <= step.bytes {
                break;
            }
        }
        self.take(step, false)
    }

    /// Appends what is still alive of these records anew, and waits for a sync if asked.
    fn take(&self, step: Step, sync: bool) -> Result<()> {
        let mut wal = self.log()?;
        let batch: Batch<GroupWal> = {
            let index = self.index.read();
            let alive = step.records.into_iter().filter(|(record, at)| index.is_alive(record, *at));
            alive.map(|(record, _)| WalRecord::Action(again(record, &index))).collect()
        };
        let before = wal.progress().appended;
        self.append(&mut wal, &batch, true)?;
        self.moved.fetch_add(wal.progress().appended - before, Relaxed);
        let ticket = sync.then(|| wal.flush_ticket(Flush::Sync)).transpose()?;
        // To a caller that waits, instead of to the next step.
        MappedMutexGuard::unlock_fair(wal);
        Ok(ticket.map_or(Ok(()), |ticket| ticket.wait())?)
    }

    /// Removes the oldest chunk, in which nothing is alive. The log makes everything durable first, so that what was
    /// appended anew is on the disk before the chunk goes. `false` if the log keeps the chunk for somebody.
    fn remove(&self, chunk: ChunkId) -> Result<bool> {
        let mut wal = self.log()?;
        let mut drained = false;
        let ids = wal.drain_closed_chunks_while(|_| !std::mem::replace(&mut drained, true));
        if ids.is_empty() {
            return Ok(false);
        }
        debug_assert_eq!(ids, [chunk]);
        self.index.write().forget(chunk);
        wal.remove_chunks(ids)?;
        Ok(true)
    }
}

/// Records to be appended anew.
#[derive(Default)]
struct Step {
    records: Vec<(Record, Segment)>,
    bytes: u64,
}

/// The record that says the same from its new place on.
fn again(record: Record, index: &Index) -> Record {
    match record {
        Record::Entry { group, index, payload } => Record::Moved { group, index, payload },
        // Truncations and entries since have changed the next index.
        Record::Bounds { group, first, next } => {
            let now = index.group(group).and_then(|group| group.bounds()).unwrap_or(first..next);
            Record::Bounds { group, first: now.start, next: now.end }
        }
        other => other,
    }
}
