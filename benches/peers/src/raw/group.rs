//! S2: the simplest group commit. A thread that finds no sync under way takes all gathered records,
//! writes and syncs them, and wakes the other threads, which then take turns with the lock.

use std::path::Path;

use anyhow::Result;
use parking_lot::Condvar;
use parking_lot::Mutex;
use parking_lot::MutexGuard;

use super::file::Ring;
use super::frame;
use crate::peer::SharedLog;

/// A file that threads append to together.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    state: Mutex<State>,
    /// Held by the leader alone.
    ring: Mutex<Ring>,
    synced: Condvar,
    payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    /// Gathered and not yet written.
    buffer: Vec<u8>,
    /// An empty one to swap it with.
    spare: Vec<u8>,
    /// Records gathered so far, and of these durable.
    gathered: u64,
    synced: u64,
    leading: bool,
}

impl GroupCommit {
    pub(crate) fn create(dir: &Path, len: u64, payload: &[u8]) -> Result<Self> {
        let ring = Mutex::new(Ring::create(&dir.join("file"), len)?);
        Ok(GroupCommit { state: Mutex::default(), ring, synced: Condvar::new(), payload: payload.to_vec() })
    }

    fn write(&self, batch: &[u8]) -> Result<()> {
        let mut ring = self.ring.lock();
        ring.write(batch)?;
        ring.file.sync_data()?;
        Ok(())
    }
}

impl SharedLog for GroupCommit {
    fn append_durable(&self) -> Result<()> {
        let mut state = self.state.lock();
        frame::push(&mut state.buffer, &self.payload);
        state.gathered += 1;
        let mine = state.gathered;
        while state.synced < mine {
            if state.leading {
                self.synced.wait(&mut state);
                continue;
            }
            state.leading = true;
            // The woken threads come with their next records: they are worth a moment.
            MutexGuard::unlocked(&mut state, std::thread::yield_now);
            let spare = std::mem::take(&mut state.spare);
            let mut batch = std::mem::replace(&mut state.buffer, spare);
            let all = state.gathered;
            drop(state);
            let written = self.write(&batch);
            batch.clear();
            state = self.state.lock();
            state.spare = batch;
            state.leading = false;
            written?;
            state.synced = all;
            self.synced.notify_all();
        }
        Ok(())
    }
}
