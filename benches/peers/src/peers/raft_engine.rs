//! `raft-engine`: one raft group, a batch for each write.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use anyhow::Result;
use anyhow::anyhow;
use protobuf::descriptor::UninterpretedOption;
use raft_engine::Config;
use raft_engine::Engine;
use raft_engine::LogBatch;
use raft_engine::MessageExt;
use raft_engine::ReadableSize;

use crate::peer::Fit;
use crate::peer::Found;
use crate::peer::Log;
use crate::peer::Peer;
use crate::peer::RandomReads;
use crate::peer::Setup;
use crate::peer::SharedLog;
use crate::peer::found;
use crate::workload::Workload;

const GROUP: u64 = 1;

/// Bytes that gather in a batch before it is written.
const BATCH_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct RaftEngine;

impl Peer for RaftEngine {
    fn name(&self) -> &'static str {
        "raft-engine"
    }

    fn fit(&self, workload: Workload) -> Fit {
        match workload {
            Workload::S3 => Fit::No("a write blocks: nothing can be handed over and waited for later"),
            _ => Fit::Yes,
        }
    }

    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>> {
        Ok(Box::new(open(dir, setup)?))
    }

    fn replay(&self, dir: &Path, setup: &Setup) -> Result<u64> {
        let engine = Engine::open(config(dir, setup))?;
        let (first, last) =
            engine.first_index(GROUP).zip(engine.last_index(GROUP)).ok_or(anyhow!("empty"))?;
        let mut entries = Vec::new();
        let mut count = 0;
        let mut next = first;
        while next <= last {
            entries.clear();
            engine.fetch_entries_to::<Entries>(GROUP, next, last + 1, Some(1 << 20), &mut entries)?;
            count += entries.len() as u64;
            next += entries.len() as u64;
        }
        Ok(count)
    }

    fn random_reads(&self, dir: &Path, payload: &[u8], count: u64) -> Result<Box<dyn RandomReads>> {
        let setup = Setup::keeping(1 << 30);
        let mut log = open(dir, &setup)?;
        log.set_payload(payload);
        for _ in 0..count {
            // A batch of its own for each: a read takes the whole batch.
            log.gather()?;
            log.write(false)?;
        }
        log.sync()?;
        drop(log);
        Ok(Box::new(Reads(Engine::open(config(dir, &setup))?)))
    }
}

fn open(dir: &Path, setup: &Setup) -> Result<EngineLog> {
    let engine = Arc::new(Engine::open(config(dir, setup))?);
    let next = engine.last_index(GROUP).map_or(1, |last| last + 1);
    Ok(EngineLog {
        engine,
        batch: LogBatch::default(),
        entry: UninterpretedOption::new(),
        next,
        batch_bytes: 0,
        forget_after: setup.forget.then_some(setup.chunk_bytes),
        since_forgotten: 0,
    })
}

fn config(dir: &Path, setup: &Setup) -> Config {
    Config {
        dir: dir.display().to_string(),
        target_file_size: ReadableSize(setup.chunk_bytes),
        purge_threshold: ReadableSize(if setup.forget { 2 * setup.chunk_bytes } else { 1 << 40 }),
        batch_compression_threshold: ReadableSize(0),
        ..Config::default()
    }
}

/// An entry needs an index and bytes. This message of protobuf's own has a field for each, so that none
/// need be generated.
struct Entries;

impl MessageExt for Entries {
    type Entry = UninterpretedOption;

    fn index(entry: &UninterpretedOption) -> u64 {
        entry.get_positive_int_value()
    }
}

struct EngineLog {
    engine: Arc<Engine>,
    batch: LogBatch,
    entry: UninterpretedOption,
    next: u64,
    batch_bytes: u64,
    forget_after: Option<u64>,
    since_forgotten: u64,
}

impl EngineLog {
    fn write(&mut self, sync: bool) -> Result<()> {
        self.batch_bytes = 0;
        self.engine.write(&mut self.batch, sync)?;
        if self.forget_after.is_some_and(|bytes| self.since_forgotten >= bytes) {
            self.since_forgotten = 0;
            // In the background, as TiKV does it.
            let (engine, index) = (self.engine.clone(), self.next - 1);
            std::thread::spawn(move || {
                engine.compact_to(GROUP, index);
                if let Err(error) = engine.purge_expired_files() {
                    eprintln!("  raft-engine cannot purge: {error}");
                }
            });
        }
        Ok(())
    }

    fn gather(&mut self) -> Result<()> {
        self.entry.set_positive_int_value(self.next);
        self.batch.add_entries::<Entries>(GROUP, std::slice::from_ref(&self.entry))?;
        self.next += 1;
        let size = self.entry.get_string_value().len() as u64;
        self.batch_bytes += size;
        self.since_forgotten += size;
        Ok(())
    }
}

impl Log for EngineLog {
    fn set_payload(&mut self, payload: &[u8]) {
        self.entry.set_string_value(payload.to_vec());
    }

    fn append(&mut self) -> Result<()> {
        // Before the record is added, not after: only a batch with contents can be synced, and
        // `Engine::sync` writes an empty one.
        if self.batch_bytes >= BATCH_BYTES {
            self.write(false)?;
        }
        self.gather()
    }

    fn sync(&mut self) -> Result<()> {
        self.write(true)
    }

    fn append_durable(&mut self) -> Result<()> {
        self.gather()?;
        self.write(true)
    }

    fn share(self: Box<Self>) -> Box<dyn SharedLog> {
        Box::new(SharedEngine { engine: self.engine, entry: self.entry, groups: AtomicU64::new(GROUP + 1) })
    }
}

/// Each thread is a raft group of its own, as the entries of one group must come in order.
struct SharedEngine {
    engine: Arc<Engine>,
    entry: UninterpretedOption,
    /// The group of the next thread.
    groups: AtomicU64,
}

/// A thread's engine and batch.
struct Writer {
    group: u64,
    entry: UninterpretedOption,
    batch: LogBatch,
}

thread_local! {
    /// A thread writes to one engine in its life.
    static WRITER: RefCell<Option<Writer>> = const { RefCell::new(None) };
}

impl SharedLog for SharedEngine {
    fn append_durable(&self) -> Result<()> {
        WRITER.with_borrow_mut(|writer| {
            let Writer { group, entry, batch } = writer.get_or_insert_with(|| {
                let group = self.groups.fetch_add(1, Ordering::Relaxed);
                let mut entry = self.entry.clone();
                entry.set_positive_int_value(0);
                Writer { group, entry, batch: LogBatch::default() }
            });
            entry.set_positive_int_value(entry.get_positive_int_value() + 1);
            batch.add_entries::<Entries>(*group, std::slice::from_ref(entry))?;
            self.engine.write(batch, true)?;
            Ok(())
        })
    }
}

struct Reads(Engine);

impl RandomReads for Reads {
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a> {
        found(records.iter().map(|record| record + 1), |index| {
            let entry = self.0.get_entry::<Entries>(GROUP, *index)?.ok_or(anyhow!("no such entry"))?;
            Ok(entry.get_string_value().len())
        })
    }
}
