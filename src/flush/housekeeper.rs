//! The housekeeper's thread: removes old chunks, and keeps spare files ready to become new ones.
//!
//! ```text
//! remove ──► removals, oldest first ──► unlink, or rename to a spare ──► sync the directory
//!                                                      │
//! rotate ◄── take ◄── spares, space allocated ◄────────┘ or newly made when wanted
//!                       └─► zeros, a piece ─┘
//! ```
//!
//! - One removal at a time, the directory synced after each, and none past one that failed: a crash
//!   never leaves a gap.
//! - A chunk that a reader has pinned waits, and the removals after it too, in order. Nothing waits for them.
//! - A removed chunk's file becomes a spare only if no reader holds it, and is offered (to be overwritten) only
//!   after its old name is durably gone.
//! - Zeros are written only to a spare that was never a chunk, and is among the spares only between two pieces: no
//!   other thread has the file meanwhile. A rotation waits for one piece at most; everything else comes before pieces.
//! - A failure here doesn't poison the log: it is logged, counted, returned by the next `wait_idle`, and the job is
//!   tried again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::jobs::{Job, Jobs, Spare};
use super::pins::Pin;
use super::{Metrics, Naming, Positions};
use crate::chunk::{ChunkFile, Cut, with_a_descriptor, write_zeros};
use crate::directory::spare_name;
use crate::error::{Error, Result};
use crate::panics::{catch, report};
use crate::position::ChunkId;
use crate::storage::{Access, Storage, StorageFile};

/// How the housekeeper keeps house.
#[derive(Debug)]
pub(crate) struct HousekeeperConfig {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    /// The size that a spare is given.
    pub(crate) file_size: u64,
    /// How many zeros a spare gets at a time; 0 if none.
    pub(crate) zero_piece: u64,
    /// Files of removed chunks to keep.
    pub(crate) spares_max: usize,
    pub(crate) metrics: Arc<Metrics>,
    /// Its tasks that wait for room wait for spares too.
    pub(crate) positions: Arc<Positions>,
}

/// A task's request for a spare: the attempts to make one that were started before it.
#[derive(Debug, Default)]
pub(crate) struct SpareAsked(Option<u64>);

/// The housekeeper as others see it; its thread runs [`run`](Self::run).
pub(crate) struct Housekeeper {
    config: HousekeeperConfig,
    state: Mutex<Jobs>,
    changed: Condvar,
    naming: Naming,
}

impl Housekeeper {
    pub(crate) fn new(config: HousekeeperConfig, leftovers: Vec<PathBuf>) -> Self {
        let state = Jobs { leftovers, ..Jobs::default() };
        let HousekeeperConfig { storage, dir, positions, .. } = &config;
        let naming = Naming::new(storage.clone(), dir.clone(), positions.clone());
        Housekeeper { config, state: Mutex::new(state), changed: Condvar::new(), naming }
    }

    /// Starts the thread. `keep` is held until it ends.
    pub(crate) fn spawn(self: &Arc<Self>, keep: impl Send + 'static) -> std::io::Result<JoinHandle<()>> {
        let this = self.clone();
        std::thread::Builder::new().name("wal-housekeeper".to_string()).spawn(move || {
            this.run();
            drop(keep);
        })
    }

    /// Asks for a spare to be made ready, without waiting for it.
    pub(crate) fn want_spare(&self) {
        let mut state = self.state.lock();
        if state.spares.is_empty() && !state.closed {
            state.spare_wanted = true;
            self.changed.notify_all();
        }
    }

    /// Lets the next spare get a piece of zeros, without waiting for it. Makes the spare if there is none, unless
    /// that has just failed.
    pub(crate) fn zero_spare(&self) {
        let mut state = self.state.lock();
        state.zeros_due = true;
        // While the thread is busy, it may be making one that fails. The next request comes soon.
        state.spare_wanted |= state.spares.is_empty() && !state.busy && state.spare_error.is_none();
        self.changed.notify_all();
    }

    /// The names in the directory, to be changed by one thread at a time.
    pub(crate) fn naming(&self) -> &Naming {
        &self.naming
    }

    /// Takes over the rest of a rotation that no commit waits for: the new chunk's name is to be made durable, and its
    /// predecessor's file to be cut.
    pub(crate) fn finish_rotation(&self, cut: Option<Cut>) {
        let mut state = self.state.lock();
        state.cuts.extend(cut);
        state.name_unsynced = true;
        self.changed.notify_all();
    }

    /// Takes a spare: one that is ready, or else one that is made now.
    ///
    /// # Errors
    ///
    /// Why no spare can be made: [`Error::StorageFull`] or the operating system's error.
    pub(crate) fn take_spare(&self) -> Result<Spare> {
        let mut state = self.state.lock();
        let (mut asked, mut before) = (false, 0);
        loop {
            if let Some(spare) = state.spares.pop_front() {
                // Asked for while this one was made, another would be too many.
                if asked {
                    (state.spare_wanted, state.spare_awaited) = (false, false);
                }
                return Ok(spare);
            }
            if state.closed {
                return Err(Error::Closed);
            }
            if !asked {
                asked = true;
                before = state.attempts;
                state.spare_error = None;
                state.spare_wanted = true;
                state.spare_awaited = true;
                state.retry();
                self.changed.notify_all();
            } else if let Some((attempt, error)) = state.spare_error.take() {
                // One that was under way before may have met a disk that was still full.
                if attempt > before {
                    return Err(error);
                }
            }
            self.changed.wait(&mut state);
            state.spare_awaited |= state.zeroing;
        }
    }

    /// Whether [`take_spare`](Self::take_spare) would not wait for an attempt that has already failed or succeeded. If it
    /// would, asks for a spare; the tasks that wait for room are woken when there is one, or none can be made.
    pub(crate) fn has_spare(&self, asked: &mut SpareAsked) -> bool {
        let mut state = self.state.lock();
        let is_first = asked.0.is_none();
        let before = *asked.0.get_or_insert(state.attempts);
        let failed = state.spare_error.as_ref().is_some_and(|(attempt, _)| *attempt > before);
        if !state.spares.is_empty() || failed || state.closed {
            if !is_first {
                // Asked for while this one was made, another would be too many.
                (state.spare_wanted, state.spare_awaited) = (false, false);
            }
            return true;
        }
        if is_first {
            state.retry();
        }
        // Each time: another task may have taken the spare that was asked for before.
        (state.spare_wanted, state.spare_awaited) = (true, true);
        self.changed.notify_all();
        false
    }

    /// Takes a spare back that was not used.
    pub(crate) fn return_spare(&self, spare: Spare) {
        self.state.lock().spares.push_front(spare);
        // A task that asked for a spare meanwhile is woken by no other.
        self.config.positions.wake_room_tasks();
    }

    /// Removes a spare, so that others get its space; `false` if there is none.
    pub(crate) fn give_up_spare(&self) -> bool {
        let mut state = self.state.lock();
        while state.zeroing {
            self.changed.wait(&mut state);
        }
        let Some(spare) = state.spares.pop_back() else { return false };
        drop(state);
        if let Err(error) = self.config.storage.remove(&spare.path) {
            log::warn!("a spare file can't be removed: '{}': {error}", spare.path.display());
        }
        true
    }

    /// Removes chunks, oldest first; the log no longer reads them.
    pub(crate) fn remove(&self, chunks: Vec<Arc<ChunkFile>>) {
        let mut state = self.state.lock();
        state.removals.extend(chunks);
        self.count_pins(&state);
        state.retry();
        self.changed.notify_all();
    }

    /// Puts off the removal of a chunk and of all after it until the pin is dropped. None of them may be drained.
    pub(crate) fn pin(self: &Arc<Self>, from: ChunkId) -> Pin {
        let mut state = self.state.lock();
        state.pins.add(from);
        self.count_pins(&state);
        Pin { from, housekeeper: Arc::downgrade(self) }
    }

    pub(super) fn unpin(&self, from: ChunkId) {
        let mut state = self.state.lock();
        state.pins.remove(from);
        self.count_pins(&state);
        self.changed.notify_all();
    }

    /// Puts off nothing more: the log is closed, and its readers with it.
    pub(crate) fn end_pins(&self) {
        self.state.lock().pins.end();
        self.changed.notify_all();
    }

    /// The oldest chunk that is still to be removed, and how many there are.
    pub(crate) fn removals(&self) -> (Option<ChunkId>, usize) {
        let state = self.state.lock();
        (state.removals.front().map(|chunk| chunk.id()), state.removals.len())
    }

    /// Where pinned readers start: the chunk, how many, and since when the first of them does.
    pub(crate) fn reader_pins(&self) -> Vec<(ChunkId, u64, Instant)> {
        self.state.lock().pins.starts()
    }

    fn count_pins(&self, state: &Jobs) {
        let metrics = &self.config.metrics;
        report(|| metrics.pinned_reader_count.set(state.pins.count()));
        report(|| metrics.pinned_removal_count.set(state.pinned_removals() as u64));
    }

    /// Waits until nothing is left to do but removals that are put off.
    ///
    /// # Errors
    ///
    /// The first removal that failed since the last call; it is tried again after this. Otherwise the reason why
    /// the last spare could not be made, if no call has returned it.
    pub(crate) fn wait_idle(&self) -> Result<()> {
        let mut state = self.state.lock();
        while !state.is_idle() {
            self.changed.wait(&mut state);
        }
        match state.removal_error.take() {
            None => state.spare_error.take().map_or(Ok(()), |(_, error)| Err(error)),
            Some(error) => {
                state.retry();
                self.changed.notify_all();
                Err(error)
            }
        }
    }

    /// Waits until the [rest](Self::finish_rotation) of the last rotation is done.
    pub(crate) fn wait_rotation(&self) {
        let mut state = self.state.lock();
        while state.busy || !state.cuts.is_empty() || state.name_unsynced {
            self.changed.wait(&mut state);
        }
    }

    /// Tries a removal again that has failed, without waiting for it.
    pub(crate) fn retry_removals(&self) {
        self.state.lock().retry();
        self.changed.notify_all();
    }

    /// Waits until no removal is left that could give space back.
    pub(crate) fn wait_removals(&self) {
        let mut state = self.state.lock();
        while state.busy || !state.cuts.is_empty() || state.next_removal().is_some() {
            self.changed.wait(&mut state);
        }
    }

    /// Lets the thread end once the removals are done or have failed once more. One that is put off is done once its
    /// readers are dropped or the log is [closed](Self::end_pins).
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if !state.closed {
            state.closed = true;
            state.retry();
            self.changed.notify_all();
        }
    }

    /// Takes the error of a removal that no call has returned.
    pub(crate) fn untold_error(&self) -> Option<Error> {
        self.state.lock().removal_error.take()
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            match state.next_job() {
                Some(job) => {
                    state.busy = true;
                    // A failing logger and the user's types that are dropped there included.
                    if MutexGuard::unlocked(&mut state, || catch(|| self.work(job))).is_none() {
                        state.fail(self.panicked(&self.config.dir));
                    }
                    // Before the job counts as done, so that after `wait_idle` no task is woken for it.
                    MutexGuard::unlocked(&mut state, || self.config.positions.wake_room_tasks());
                    (state.busy, state.zeroing) = (false, false);
                    self.changed.notify_all();
                }
                None if state.closed && state.pinned_removals() == 0 => return,
                None => {
                    self.changed.notify_all();
                    self.changed.wait(&mut state);
                }
            }
        }
    }

    fn work(&self, job: Job) {
        match job {
            Job::Cut(cut) => {
                // Only space depends on it, and the next open cuts too.
                if let Err(error) = self.guard(&self.config.dir, || cut.apply()) {
                    self.note_failure(|| log::warn!("a sealed chunk's file could not be cut: {error}"));
                }
            }
            Job::SyncNames => {
                let _failure_has_poisoned = self.naming.sync();
            }
            Job::Prepare(path) => {
                // A leftover that can't be used is no loss.
                if let Err(error) = self.guard(&path, || self.prepare(&path)) {
                    self.note_failure(|| log::warn!("a spare file can't be used again: {error}"));
                }
            }
            Job::Make => {
                let path = self.spare_path();
                if let Err(error) = self.guard(&path, || self.make(&path)) {
                    self.note_failure(|| log::warn!("no spare file could be made: {error}"));
                    let mut state = self.state.lock();
                    state.spare_error = Some((state.attempts, error));
                }
            }
            Job::Zero(spare) => self.zero(spare),
            Job::Remove(chunk) => {
                let path = self.config.dir.join(chunk.id().file_name());
                let removed = self.guard(&path, || self.remove_one(&chunk, &path));
                let mut state = self.state.lock();
                match removed {
                    Ok(()) => {
                        report(|| self.config.metrics.removed_count.fetch_add(1, Relaxed));
                        state.removals.pop_front();
                        self.count_pins(&state);
                    }
                    Err(error) => {
                        self.note_failure(|| log::warn!("{} could not be removed: {error}", chunk.id()));
                        state.stalled = true;
                        state.removal_error.get_or_insert(error);
                    }
                }
            }
        }
    }

    /// A storage that panics must not end the thread: others wait for it.
    fn guard<T>(&self, path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
        catch(work).unwrap_or_else(|| Err(self.panicked(path)))
    }

    fn panicked(&self, path: &Path) -> Error {
        Error::io("housekeeping", path, std::io::Error::other("the storage panicked"))
    }

    /// Counts a failure and logs it; a logger that panics must not end the thread either.
    fn note_failure(&self, line: impl FnOnce()) {
        report(line);
        report(|| self.config.metrics.housekeeping_failure_count.fetch_add(1, Relaxed));
    }

    fn spare_path(&self) -> PathBuf {
        self.config.dir.join(spare_name())
    }

    fn make(&self, path: &Path) -> Result<()> {
        let names = self.naming.lock()?;
        let created = with_a_descriptor(|| self.config.storage.create(path));
        let handle = created.map_err(|e| Error::no_space("create", path, self.config.file_size, e))?;
        // Records are acknowledged in the file while no later name is durable.
        self.naming.sync_dir().inspect_err(|_| drop(self.config.storage.remove(path)))?;
        drop(names);
        self.offer(path, handle, Life::First)
    }

    fn prepare(&self, path: &Path) -> Result<()> {
        let opened = with_a_descriptor(|| self.config.storage.open(path, Access::ReadWrite));
        let handle = opened.map_err(|e| Error::io("open", path, e))?;
        if handle.has_other_names().map_err(|e| Error::io("measure", path, e))? {
            // The chunk is kept by a link, and its bytes must stay.
            return self.config.storage.remove(path).map_err(|e| Error::io("remove", path, e));
        }
        self.offer(path, handle, Life::Earlier)
    }

    /// Gives a file its space and puts it among the spares; removes it if there is no space.
    fn offer(&self, path: &Path, handle: Arc<dyn StorageFile>, life: Life) -> Result<()> {
        let size = self.config.file_size;
        let sized = handle.len().and_then(|len| if len > size { handle.set_len(size) } else { Ok(()) });
        if let Err(error) = sized.and_then(|()| handle.allocate(size)) {
            // What is left half-made would only take space; the next open clears it away otherwise.
            let _also_failed = self.config.storage.remove(path);
            return Err(Error::no_space("allocate", path, size, error));
        }
        let earlier_life = matches!(life, Life::Earlier);
        let spare = Spare { path: path.to_owned(), handle, allocated: size, zeroed: 0, earlier_life };
        self.state.lock().spares.push_back(spare);
        self.changed.notify_all();
        Ok(())
    }

    /// Writes a piece of zeros to a spare and puts it back among the spares. A failure costs the file at most.
    fn zero(&self, mut spare: Spare) {
        match self.guard(&spare.path, || self.zero_piece(&spare)) {
            Ok(zeroed) => spare.zeroed = zeroed,
            Err(Error::StorageFull { source, .. }) => {
                let path = spare.path.display();
                report(|| log::warn!("no more zeros are written to '{path}': {source}"));
                self.state.lock().zeros_refused = true;
            }
            Err(error) => {
                self.note_failure(|| log::warn!("a spare file can't be used: {error}"));
                // The zeros that failed may be reported to no later sync.
                let _also_failed = self.config.storage.remove(&spare.path);
                return;
            }
        }
        self.state.lock().spares.push_front(spare);
    }

    /// Returns up to where the spare has zeros then.
    fn zero_piece(&self, spare: &Spare) -> Result<u64> {
        let Spare { path, handle, zeroed: from, .. } = spare;
        let end = spare.zeros_end();
        let to = from.saturating_add(self.config.zero_piece).min(end);
        write_zeros(&**handle, *from, to).map_err(|e| Error::no_space("write", path, to, e))?;
        // At once, so that no later sync finds many of them to write.
        handle.finish_write_back(*from, to - from).map_err(|e| Error::io("write back", path, e))?;
        if to == end {
            handle.sync().map_err(|e| Error::io("sync", path, e))?;
        }
        Ok(to)
    }

    /// Takes a chunk's name away, durably, and keeps its file as a spare or removes it.
    fn remove_one(&self, chunk: &ChunkFile, path: &Path) -> Result<()> {
        let storage = &self.config.storage;
        let reuse = chunk.retire() && self.state.lock().spares.len() < self.config.spares_max;
        let names = self.naming.lock()?;
        let spare = self.rename_to_spare(path)?;
        // Before the next removal, so that no crash brings this one back without its successor; and
        // before the file is overwritten, so that no crash leaves other bytes under the old name.
        self.naming.sync_dir()?;
        drop(names);
        if let Some(spare) = spare.as_ref().filter(|_| !reuse) {
            storage.remove(spare).map_err(|e| Error::io("remove", spare, e))?;
        }
        self.state.lock().moving = None;
        let spare = spare.filter(|_| reuse);
        let kept = if spare.is_some() { ", its file is kept as a spare" } else { "" };
        report(|| log::info!("removed {}{kept}", chunk.id()));
        if let Some(spare) = spare {
            self.work(Job::Prepare(spare));
        }
        Ok(())
    }

    /// Renames the file of the first chunk in the queue of removals to a spare, and returns the new name; `None` if
    /// the file is gone. After a failed attempt the file is renamed once more, from either name, because a failed
    /// directory sync may have dropped the change, and a second sync would not report that.
    fn rename_to_spare(&self, path: &Path) -> Result<Option<PathBuf>> {
        let storage = &self.config.storage;
        let before = self.state.lock().moving.clone();
        let [one, other] = before.clone().unwrap_or_else(|| [self.spare_path(), self.spare_path()]);
        self.state.lock().moving = Some([one.clone(), other.clone()]);
        let again = [(&*one, &other), (&other, &one)];
        for (from, to) in again.into_iter().filter(|_| before.is_some()).chain([(path, &one)]) {
            match storage.rename_new(from, to).map_err(|e| (e.kind(), e)) {
                Ok(()) => return Ok(Some(to.clone())),
                Err((ErrorKind::NotFound, _)) => {}
                // No space for another name: the file goes at once.
                Err((ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _)) => match storage.remove(from) {
                    Ok(()) => return Ok(None),
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(Error::io("remove", from, e)),
                },
                Err((_, e)) => return Err(Error::io("rename", from, e)),
            }
        }
        Ok(None)
    }
}

/// Whether a spare may hold bytes of an earlier chunk.
enum Life {
    First,
    Earlier,
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::flush::RoomWait;
    use crate::flush::wakes::Wakes;
    use crate::storage::MemoryStorage;

    fn housekeeper(storage: MemoryStorage) -> (Housekeeper, Arc<Positions>) {
        let positions = Arc::new(Positions::new(0));
        let config = HousekeeperConfig {
            storage: Arc::new(storage),
            dir: "/log".into(),
            file_size: 1024,
            zero_piece: 0,
            spares_max: 1,
            metrics: Arc::default(),
            positions: positions.clone(),
        };
        (Housekeeper::new(config, Vec::new()), positions)
    }

    #[test]
    fn a_panic_while_another_job_syncs_a_new_chunks_name_stops_the_log() {
        let storage = MemoryStorage::default();
        storage.create_dir("/log".as_ref()).unwrap();
        let (housekeeper, positions) = housekeeper(storage.clone());
        housekeeper.naming().set_pending(housekeeper.naming().lock().unwrap());
        storage.on_operation(|op| assert!(op.kind != crate::storage::OpKind::SyncDir, "expected"));
        housekeeper.work(Job::Make);
        storage.on_operation(|_| {});
        housekeeper.naming().lock().unwrap_err();
        positions.wait(crate::flush::Flush::Sync, 1, "test").unwrap_err();
    }

    #[test]
    fn a_spare_that_is_returned_wakes_a_task_that_waits_for_one() {
        let storage = MemoryStorage::default();
        storage.create_dir("/log".as_ref()).unwrap();
        let (housekeeper, positions) = housekeeper(storage);
        housekeeper.make(&housekeeper.spare_path()).unwrap();
        let spare = housekeeper.take_spare().unwrap();
        let count = Arc::new(Wakes::default());
        let (mut asked, mut wait) = (SpareAsked::default(), RoomWait::new(positions));
        let mut poll = || {
            let look = || housekeeper.has_spare(&mut asked).then_some(());
            wait.poll(&Waker::from(count.clone()), look).is_ready()
        };
        assert!(!poll());
        housekeeper.return_spare(spare);
        assert_eq!(count.so_far(), 1);
        assert!(poll());
    }
}
