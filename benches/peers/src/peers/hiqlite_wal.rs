//! `hiqlite-wal`: a raft log whose writer thread is reached through a channel, which syncs a mapped file after each
//! append.

use std::io;
use std::io::Cursor;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::channel;
use std::time::Instant;

use anyhow::Result;
use anyhow::anyhow;
use hiqlite_wal::Action;
use hiqlite_wal::LogStore;
use hiqlite_wal::LogSync;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::peer::Fit;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::workload::Workload;

#[derive(Debug, Clone, Copy)]
pub(crate) struct HiqliteWal;

impl Peer for HiqliteWal {
    fn name(&self) -> &'static str {
        "hiqlite-wal"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S3 => Fit::No("each append is synced on its own: as S1"),
            Workload::S5 | Workload::S7 => Fit::No("read through openraft's traits alone, entry by entry"),
            Workload::S6 => Fit::No("keeps segments of at most 4 GiB mapped and reads none to open"),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let path = dir.display().to_string();
        let start = LogStore::start(path, LogSync::Immediate, setup.chunk_bytes as u32);
        let store = Some(runtime.block_on(start)?);
        let forget_after = setup.forget.then_some(2 * setup.chunk_bytes);
        Ok(Box::new(HiqliteLog { runtime, store, payload: Vec::new(), next: 1, forget_after, appended: 0 }))
    }
}

openraft::declare_raft_types!(Types);

struct HiqliteLog {
    runtime: Runtime,
    /// Taken by the drop.
    store: Option<LogStore<Types>>,
    payload: Vec<u8>,
    next: u64,
    forget_after: Option<u64>,
    appended: u64,
}

/// An append under way.
struct Waiting {
    accepted: oneshot::Receiver<Result<(), hiqlite_wal::error::Error>>,
    durable: Receiver<io::Result<()>>,
}

impl HiqliteLog {
    fn send(&self, action: Action) -> Result<()> {
        let store = self.store.as_ref().ok_or_else(|| anyhow!("closed"))?;
        store.writer.send(action).map_err(|_| anyhow!("the writer is gone"))
    }

    fn begin(&mut self, count: u64) -> Result<Waiting> {
        let (entries, rx) = flume::bounded(64);
        let (ack, accepted) = oneshot::channel();
        let (done, durable) = channel();
        let callback = Box::new(move |result| {
            let _receiver_gone = done.send(result);
        });
        self.send(Action::Append { rx, callback, ack })?;
        for _ in 0..count {
            entries.send(Some((self.next, self.payload.clone())))?;
            self.next += 1;
        }
        entries.send(None)?;
        self.appended += count * self.payload.len() as u64;
        Ok(Waiting { accepted, durable })
    }

    fn forget(&mut self) -> Result<()> {
        if self.forget_after.is_some_and(|bytes| self.appended >= bytes) {
            self.appended = 0;
            let (ack, done) = oneshot::channel();
            let until = self.next.saturating_sub(2);
            self.send(Action::Remove { from: 0, until, last_log: Some(Vec::new()), ack })?;
            done.blocking_recv()??;
        }
        Ok(())
    }
}

impl Log for HiqliteLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.payload = payload.to_vec();
    }

    fn append(&mut self) -> Result<()> {
        let waiting = self.begin(1)?;
        waiting.durable.recv()??;
        self.forget()
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn append_then_sync(&mut self, count: u64) -> Result<Instant> {
        let waiting = self.begin(count)?;
        waiting.accepted.blocking_recv()??;
        let appended = Instant::now();
        waiting.durable.recv()??;
        self.forget()?;
        Ok(appended)
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        Box::new(SharedHiqlite(Mutex::new(*self)))
    }
}

struct SharedHiqlite(Mutex<HiqliteLog>);

impl SharedLog for SharedHiqlite {
    fn append_durable(&self) -> Result<()> {
        // Indexes must reach the writer in order.
        let waiting = self.0.lock().begin(1)?;
        Ok(waiting.durable.recv()??)
    }
}

impl Drop for HiqliteLog {
    fn drop(&mut self) {
        if let Some(store) = self.store.take()
            && let Err(error) = self.runtime.block_on(store.stop())
        {
            eprintln!("  hiqlite-wal cannot stop: {error}");
        }
    }
}
