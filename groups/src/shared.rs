//! [`Shared`]: the log and the index, for callers and for the thread that reclaims space.
//!
//! - The index is changed under the log's lock only, so the order of the changes is the order in the log.
//! - No thread waits for the worker while it holds the lock, except in a rotation whose file isn't ready.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use chunked_wal::{
    Batch, ChunkedWal, Error as WalError, Flush, Progress, ProgressHandle, Segment, TryFlushError, WalReader,
    WalRecord,
};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard, RwLock};

use crate::callback;
use crate::changes::{Change, Plan, free_space};
use crate::config::Config;
use crate::entry::{LogEntry, decode};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::record::{GroupWal, NoState, Record};
use crate::reserve::Reserve;
use crate::wake::Wake;

/// Appended and not yet written: with more than this, a caller first waits for room in the queue.
const UNWRITTEN_MAX: u64 = 4 << 20;

/// How long each commit waits while space is reclaimed too slowly.
const COMMIT_WAIT: Duration = Duration::from_millis(1);

/// What the clones and the reclaimer share.
pub(crate) struct Shared {
    /// `None` once it is closed. Locked before `index`.
    pub(crate) wal: Mutex<Option<ChunkedWal<GroupWal>>>,
    pub(crate) index: RwLock<Index>,
    pub(crate) reader: WalReader<GroupWal>,
    pub(crate) progress: ProgressHandle,
    pub(crate) config: Config,
    /// Where the log ended when it was opened.
    pub(crate) opened_at: u64,
    /// Bytes that were appended anew since then.
    pub(crate) moved: AtomicU64,
    pub(crate) reserve: Reserve,
    /// Whether callers append faster than space is reclaimed.
    pub(crate) lags: AtomicBool,
    /// Whether the last attempt to reclaim ended at a pin or a failure: it would not help if callers waited.
    pub(crate) is_stuck: AtomicBool,
    /// Whether the last entries were refused because of the hard budget.
    pub(crate) is_over_budget: AtomicBool,
    pub(crate) wake: Wake,
}

impl Shared {
    /// Makes the changes and does what comes after them, under one lock.
    pub(crate) fn apply<T>(
        &self,
        changes: Vec<Change>,
        then: impl FnOnce(&mut ChunkedWal<GroupWal>) -> Result<T, WalError>,
    ) -> Result<T> {
        self.slow_down();
        let frees_space = free_space(&changes);
        if let Some(full) = self.reserve.full().filter(|_| !frees_space) {
            return Err(full.into());
        }
        let mut wal = self.log()?;
        let batch = Plan::of(changes, &self.index.read())?;
        self.append(&mut wal, &batch, frees_space)?;
        Ok(then(&mut wal)?)
    }

    /// Locks the log once the queue has room, so that no append waits for it.
    pub(crate) fn log(&self) -> Result<MappedMutexGuard<'_, ChunkedWal<GroupWal>>> {
        loop {
            let guard = self.wal.lock();
            let mut wal = MutexGuard::try_map(guard, Option::as_mut).map_err(|_closed| WalError::Closed)?;
            let Progress { appended, written, .. } = wal.progress();
            if appended - written < UNWRITTEN_MAX {
                return Ok(wal);
            }
            // Hands over what is appended: without that, nothing would make room.
            match wal.try_flush(Flush::Write, None) {
                Ok(()) => return Ok(wal),
                Err(TryFlushError::Failed(error)) => return Err(error.into()),
                Err(TryFlushError::Full(_)) => {}
            }
            if callback::is_running() {
                // The log's thread would wait for itself.
                return Err(WalError::WouldDeadlock { method: "commit" }.into());
            }
            let room = wal.room();
            drop(wal);
            pollster::block_on(room);
        }
    }

    /// Appends the records, all or none, and applies them to the index. Records that help to free space have the reserve
    /// if the disk is full.
    pub(crate) fn append(
        &self,
        wal: &mut ChunkedWal<GroupWal>,
        batch: &Batch<GroupWal>,
        frees_space: bool,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut appended = self.try_append(wal, batch);
        if let Err(error @ WalError::StorageFull { .. }) = &appended {
            self.reserve.give_up(error.clone());
            self.wake.wake();
            if frees_space {
                appended = self.try_append(wal, batch);
            }
        }
        self.apply_to_index(wal, batch, &appended?)
    }

    fn try_append(
        &self,
        wal: &mut ChunkedWal<GroupWal>,
        batch: &Batch<GroupWal>,
    ) -> Result<Vec<Segment>, WalError> {
        if wal.is_open_chunk_full() {
            wal.close_open_chunk_with(NoState)?;
            self.note_lag();
            self.wake.wake();
        }
        // Only entries are refused: raft can't go on without the other records.
        let is_entry =
            |record: &WalRecord<GroupWal>| matches!(record, WalRecord::Action(Record::Entry { .. }));
        let has_entries = batch.records().iter().any(is_entry);
        wal.ignore_budget(!has_entries);
        let appended = match batch.records() {
            [record] => wal.append(record).map(|segment| vec![segment]),
            _ => wal.append_batch(batch),
        };
        if has_entries {
            self.note_budget(&appended);
        }
        appended
    }

    /// Has more space reclaimed while entries are refused because of the hard budget.
    fn note_budget(&self, appended: &Result<Vec<Segment>, WalError>) {
        let is_over = matches!(appended, Err(WalError::OverBudget { .. }));
        self.is_over_budget.store(is_over, Relaxed);
        if is_over {
            self.wake.wake();
        }
    }

    fn apply_to_index(
        &self,
        wal: &ChunkedWal<GroupWal>,
        batch: &Batch<GroupWal>,
        segments: &[Segment],
    ) -> Result<()> {
        let chunk = wal.open_chunk_id();
        let mut index = self.index.write();
        for (record, at) in batch.records().iter().zip(segments) {
            if let WalRecord::Action(record) = record {
                index.record(record, chunk, *at)?;
            }
        }
        let alive = index.alive();
        drop(index);
        if self.on_disk_size() > self.config.allowed(alive) {
            self.wake.wake();
        }
        Ok(())
    }

    /// Returns where these entries are now.
    pub(crate) fn places(
        &self,
        group: u64,
        indexes: Range<u64>,
        max_bytes: u64,
    ) -> Result<Vec<(u64, Segment)>> {
        let index = self.index.read();
        let Some((found, bounds)) = index.group(group).and_then(|found| Some((found, found.bounds()?)))
        else {
            return Ok(Vec::new());
        };
        if indexes.start < bounds.start {
            return Err(Error::Purged { group, index: indexes.start, first: bounds.start });
        }
        let mut bytes = 0_u64;
        let entries = found.entries(indexes.start).take_while(|(index, _)| *index < indexes.end);
        let within = entries.take_while(|(_, at)| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(at.size);
            is_first || bytes <= max_bytes
        });
        Ok(within.collect())
    }

    /// Reads what `find` finds. If its chunk is reclaimed in between, it is elsewhere by then, and is found again.
    pub(crate) fn read_found<P: PartialEq, T>(
        &self,
        find: impl Fn() -> Result<P>,
        read: impl Fn(&P) -> Result<T>,
    ) -> Result<T> {
        let mut found = find()?;
        loop {
            match read(&found) {
                Err(error @ Error::Wal(WalError::NotInLog { .. })) => {
                    let before = std::mem::replace(&mut found, find()?);
                    if found == before {
                        return Err(error);
                    }
                }
                read => return read,
            }
        }
    }

    pub(crate) fn read_entries<E: LogEntry>(&self, group: u64, places: &[(u64, Segment)]) -> Result<Vec<E>> {
        let read = |(index, at): &(u64, Segment)| match self.reader.read_record(*at)? {
            WalRecord::Action(
                Record::Entry { group: of, index: nth, payload }
                | Record::Moved { group: of, index: nth, payload },
            ) if (of, nth) == (group, *index) => decode(group, *at, &payload),
            _ => Err(misplaced(*at)),
        };
        places.iter().map(read).collect()
    }

    /// Reads a group's state, if it has one.
    pub(crate) fn read_state<E: LogEntry>(
        &self,
        group: u64,
        place: Option<Segment>,
    ) -> Result<Option<E::State>> {
        let Some(at) = place else { return Ok(None) };
        match self.reader.read_record(at)? {
            WalRecord::Action(Record::State { group: of, payload }) if of == group => {
                decode(group, at, &payload).map(Some)
            }
            _ => Err(misplaced(at)),
        }
    }

    /// The bytes that were appended since the log was opened, those anew among them, and only those.
    pub(crate) fn appended_and_moved(&self) -> (u64, u64) {
        (self.progress.progress().appended - self.opened_at, self.moved.load(Relaxed))
    }

    /// The bytes from the oldest chunk to the end.
    pub(crate) fn on_disk_size(&self) -> u64 {
        self.progress.progress().appended.saturating_sub(self.reader.start())
    }

    /// Notes whether callers append faster than space is reclaimed.
    pub(crate) fn note_lag(&self) {
        let limit = self.config.limit(self.index.read().alive());
        self.lags.store(self.on_disk_size() > limit && !self.is_stuck.load(Relaxed), Relaxed);
    }

    /// Waits a moment if callers append faster than space is reclaimed.
    pub(crate) fn slow_down(&self) {
        if self.lags.load(Relaxed) && !callback::is_running() {
            std::thread::sleep(COMMIT_WAIT);
        }
    }
}

/// The index says that another record is there: a bug of this crate.
fn misplaced(at: Segment) -> Error {
    WalError::NotInLog { offset: at.offset, size: at.size, start: 0, end: 0 }.into()
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
