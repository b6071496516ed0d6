//! S2: group commits whose waiting threads are woken all at once, by one call for each batch, and go on
//! without a lock.
//!
//! ```text
//! gathering batch ─► its leader, or the writer: write ─► sync ─► "durable" ─► one wake for all of the batch
//!                    └ gathers the next batch meanwhile
//! ```

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use anyhow::Result;
use anyhow::bail;
use parking_lot::Condvar;
use parking_lot::Mutex;
use rustix::thread::futex;

use super::file::Ring;
use super::frame;
use crate::peer::SharedLog;

/// Records that are written and synced together.
#[derive(Debug, Default)]
struct Batch(AtomicU32);

/// The states of a batch.
const WAITING: u32 = 0;
const DURABLE: u32 = 1;
const FAILED: u32 = 2;
/// No thread writes the batch yet: a thread that waits for it has to.
const LEADERLESS: u32 = 3;

/// The end of a wait.
#[derive(Debug, PartialEq, Eq)]
enum Woken {
    Durable,
    ToLead,
}

impl Batch {
    fn wait(&self) -> Result<Woken> {
        loop {
            match self.0.load(Ordering::Acquire) {
                DURABLE => return Ok(Woken::Durable),
                FAILED => bail!("the batch was not written"),
                LEADERLESS => {
                    let taken =
                        self.0.compare_exchange(LEADERLESS, WAITING, Ordering::AcqRel, Ordering::Acquire);
                    if taken.is_ok() {
                        return Ok(Woken::ToLead);
                    }
                }
                // An error is a change of state meanwhile, or a signal.
                _ => {
                    let _changed = futex::wait(&self.0, futex::Flags::PRIVATE, WAITING, None);
                }
            }
        }
    }

    fn set(&self, state: u32, threads: u32) -> Result<()> {
        self.0.store(state, Ordering::Release);
        futex::wake(&self.0, futex::Flags::PRIVATE, threads)?;
        Ok(())
    }

    fn finish(&self, written: &Result<()>) -> Result<()> {
        self.set(if written.is_ok() { DURABLE } else { FAILED }, i32::MAX as u32)
    }
}

/// What has gathered.
#[derive(Debug, Default)]
struct Gathered {
    buffer: Vec<u8>,
    batch: Arc<Batch>,
}

impl Gathered {
    /// Takes everything, and leaves an empty buffer for the next batch.
    fn take(&mut self, spare: Vec<u8>) -> Gathered {
        std::mem::replace(self, Gathered { buffer: spare, batch: Arc::default() })
    }
}

fn write(ring: &mut Ring, bytes: &[u8]) -> Result<()> {
    ring.write(bytes)?;
    Ok(ring.file.sync_data()?)
}

/// A committing thread leads: it writes and syncs for all, then names one thread of the next batch.
#[derive(Debug)]
pub(crate) struct Leaders {
    state: Mutex<Leading>,
    /// Locked by the leader alone. With a buffer to gather in next.
    ring: Mutex<(Ring, Vec<u8>)>,
    payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct Leading {
    gathered: Gathered,
    is_led: bool,
}

impl Leaders {
    pub(crate) fn create(dir: &Path, len: u64, payload: &[u8]) -> Result<Self> {
        let ring = Ring::create(&dir.join("file"), len)?;
        Ok(Leaders {
            state: Mutex::default(),
            ring: Mutex::new((ring, Vec::new())),
            payload: payload.to_vec(),
        })
    }

    fn lead(&self) -> Result<()> {
        // The woken threads come with their next records: they are worth a moment.
        std::thread::yield_now();
        let mut guard = self.ring.lock();
        let (ring, spare) = &mut *guard;
        let Gathered { mut buffer, batch } = self.state.lock().gathered.take(std::mem::take(spare));
        let written = write(ring, &buffer);
        buffer.clear();
        *spare = buffer;
        drop(guard);
        batch.finish(&written)?;
        let mut state = self.state.lock();
        state.is_led = !state.gathered.buffer.is_empty();
        if state.is_led {
            let next = state.gathered.batch.clone();
            drop(state);
            next.set(LEADERLESS, 1)?;
        }
        written
    }
}

impl SharedLog for Leaders {
    fn append_durable(&self) -> Result<()> {
        let mut state = self.state.lock();
        frame::push(&mut state.gathered.buffer, &self.payload);
        if !state.is_led {
            state.is_led = true;
            drop(state);
            return self.lead();
        }
        let batch = state.gathered.batch.clone();
        drop(state);
        match batch.wait()? {
            Woken::Durable => Ok(()),
            Woken::ToLead => self.lead(),
        }
    }
}

/// A thread of its own writes and syncs.
#[derive(Debug)]
pub(crate) struct WriterThread {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    gathered: Gathered,
    writer_waits: bool,
    ended: bool,
}

impl WriterThread {
    pub(crate) fn start(dir: &Path, len: u64, payload: &[u8]) -> Result<Self> {
        let mut ring = Ring::create(&dir.join("file"), len)?;
        let shared = Arc::<Shared>::default();
        let writer = std::thread::spawn({
            let shared = shared.clone();
            move || shared.write_all(&mut ring)
        });
        Ok(WriterThread { shared, writer: Some(writer), payload: payload.to_vec() })
    }
}

impl Shared {
    fn write_all(&self, ring: &mut Ring) {
        let mut spare = Vec::new();
        loop {
            let mut state = self.state.lock();
            while state.gathered.buffer.is_empty() {
                if state.ended {
                    return;
                }
                state.writer_waits = true;
                self.filled.wait(&mut state);
            }
            let Gathered { mut buffer, batch } = state.gathered.take(spare);
            drop(state);
            let written = write(ring, &buffer);
            buffer.clear();
            spare = buffer;
            // It fails for no word that exists.
            let _woken = batch.finish(&written);
        }
    }
}

impl SharedLog for WriterThread {
    fn append_durable(&self) -> Result<()> {
        let mut state = self.shared.state.lock();
        frame::push(&mut state.gathered.buffer, &self.payload);
        let batch = state.gathered.batch.clone();
        let must_wake = std::mem::take(&mut state.writer_waits);
        drop(state);
        if must_wake {
            self.shared.filled.notify_one();
        }
        batch.wait()?;
        Ok(())
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.filled.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every commit returns, and its frame is in the file.
    fn commits_from_many_threads(log: &dyn SharedLog, path: &Path) {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100).for_each(|_| log.append_durable().unwrap()));
            }
        });
        let (frames, _) = frame::walk(&std::fs::read(path).unwrap());
        assert_eq!(frames, 800);
    }

    #[test]
    fn no_commit_is_left_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let len = 1 << 20;
        commits_from_many_threads(&Leaders::create(dir.path(), len, &[7; 64]).unwrap(), &path);
        commits_from_many_threads(&WriterThread::start(dir.path(), len, &[7; 64]).unwrap(), &path);
    }
}
