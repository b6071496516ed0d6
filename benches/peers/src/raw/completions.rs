//! S3: one thread hands records over, a second writes and syncs all that has gathered. A record's
//! completion is its number: it is durable once the number synced has passed it.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Result;
use anyhow::anyhow;
use parking_lot::Condvar;
use parking_lot::Mutex;

use super::file::Ring;
use super::frame;

/// Bytes that may wait; past it the appender waits.
const GATHERED_MAX: usize = 32 << 20;

/// The appender's side.
#[derive(Debug)]
pub(crate) struct Handover {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The writer waits here for records, the appender for room or for the last sync.
    filled: Condvar,
    synced: Condvar,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    gathered: u64,
    synced: u64,
    writer_waits: bool,
    /// The appender or the writer has ended.
    ended: bool,
}

impl Handover {
    pub(crate) fn start(dir: &Path, len: u64) -> Result<Self> {
        let mut ring = Ring::create(&dir.join("file"), len)?;
        let shared = Arc::<Shared>::default();
        let writer = std::thread::spawn({
            let shared = shared.clone();
            move || {
                let written = shared.write_all(&mut ring);
                shared.state.lock().ended = true;
                shared.synced.notify_all();
                written
            }
        });
        Ok(Handover { shared, writer: Some(writer) })
    }

    /// Hands over `count` records, and waits until all are durable.
    pub(crate) fn append(&mut self, payload: &[u8], count: u64) -> Result<()> {
        let Shared { state, filled, synced } = &*self.shared;
        let mut last = 0;
        for _ in 0..count {
            let mut state = state.lock();
            while state.buffer.len() >= GATHERED_MAX && !state.ended {
                synced.wait(&mut state);
            }
            frame::push(&mut state.buffer, payload);
            state.gathered += 1;
            last = state.gathered;
            if state.writer_waits {
                state.writer_waits = false;
                filled.notify_one();
            }
        }
        let mut state = state.lock();
        while state.synced < last {
            if state.ended {
                return Err(anyhow!("the writer has failed"));
            }
            synced.wait(&mut state);
        }
        Ok(())
    }
}

impl Shared {
    fn write_all(&self, ring: &mut Ring) -> Result<()> {
        let mut batch = Vec::with_capacity(GATHERED_MAX + (1 << 20));
        self.state.lock().buffer.reserve(GATHERED_MAX + (1 << 20));
        loop {
            let gathered = {
                let mut state = self.state.lock();
                while state.buffer.is_empty() {
                    if state.ended {
                        return Ok(());
                    }
                    state.writer_waits = true;
                    self.filled.wait(&mut state);
                }
                std::mem::swap(&mut state.buffer, &mut batch);
                state.gathered
            };
            self.synced.notify_one();
            ring.write(&batch)?;
            ring.file.sync_data()?;
            batch.clear();
            self.state.lock().synced = gathered;
            self.synced.notify_one();
        }
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.filled.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}
