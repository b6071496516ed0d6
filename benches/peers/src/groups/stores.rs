//! The logs that have groups, and the bare log as a measure.

use std::convert::Infallible;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use anyhow::bail;
use chunked_wal::ChunkId;
use chunked_wal::Segment;
use chunked_wal::SharedWal;
use chunked_wal::StateMachine;
use chunked_wal::WalRecord;
use chunked_wal::WalTypes;
use chunked_wal::codeq::Decode;
use chunked_wal::codeq::Encode;
use chunked_wal_groups::GroupLog;
use chunked_wal_groups::LogEntry;
use protobuf::descriptor::UninterpretedOption;
use raft_engine::Engine;
use raft_engine::LogBatch;
use raft_engine::MessageExt;
use raft_engine::ReadableSize;

/// Bytes of a file, and of an entry's payload.
const FILE: u64 = 16 << 20;
pub(crate) const PAYLOAD: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    Bare,
    Ours,
    RaftEngine,
}

impl Store {
    pub(crate) const ALL: [Store; 3] = [Store::Bare, Store::Ours, Store::RaftEngine];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Store::Bare => "bare",
            Store::Ours => "ours",
            Store::RaftEngine => "raft-engine",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Store::Bare => "records of this log",
            Store::Ours => "chunked-wal-groups",
            Store::RaftEngine => "raft-engine 0.4.2",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|store| store.name() == name) {
            Some(store) => Ok(store),
            None => bail!("no store is called {name}"),
        }
    }

    pub(crate) fn open(self, dir: &Path) -> Result<Box<dyn Groups>> {
        Ok(match self {
            Store::Bare => Box::new(SharedWal::<Plain, _>::open(chunked_wal::Config::new(dir), Nothing)?),
            Store::Ours => Box::new(GroupLog::<Entry>::open(chunked_wal_groups::Config::new(dir))?),
            Store::RaftEngine => Box::new(Engine::open(raft_engine::Config {
                dir: dir.display().to_string(),
                target_file_size: ReadableSize(FILE),
                purge_threshold: ReadableSize(64 << 20),
                batch_compression_threshold: ReadableSize(0),
                ..raft_engine::Config::default()
            })?),
        })
    }
}

/// A log with groups.
pub(crate) trait Groups: Send + Sync {
    /// Appends an entry, and waits until it is durable if `sync` says so.
    fn append(&self, group: u64, index: u64, sync: bool) -> Result<()>;

    /// Gives up the entries up to `upto`.
    fn compact(&self, group: u64, upto: u64) -> Result<()>;

    /// Reclaims space, if that is the application's to ask for; returns how many groups should be compacted.
    fn reclaim(&self) -> Result<usize>;

    /// How many groups there are.
    fn count(&self) -> u64;
}

fn payload() -> Vec<u8> {
    vec![b'x'; PAYLOAD]
}

struct Plain;

impl WalTypes for Plain {
    type Action = Vec<u8>;
    type Checkpoint = u64;
    type Callback = ();
}

struct Nothing;

impl StateMachine<Plain> for Nothing {
    type Error = Infallible;

    fn apply(&mut self, _: &WalRecord<Plain>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        0
    }
}

impl Groups for SharedWal<Plain, Nothing> {
    fn append(&self, _: u64, _: u64, _: bool) -> Result<()> {
        self.commit(payload())?.wait()?;
        Ok(())
    }

    fn compact(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }

    fn reclaim(&self) -> Result<usize> {
        Ok(0)
    }

    fn count(&self) -> u64 {
        0
    }
}

/// An index and bytes.
#[derive(Debug)]
struct Entry(u64, Vec<u8>);

impl LogEntry for Entry {
    type State = u64;

    fn index(&self) -> u64 {
        self.0
    }
}

impl Encode for Entry {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let head = self.0.encode(&mut w)?;
        w.write_all(&self.1)?;
        Ok(head + self.1.len())
    }
}

impl Decode for Entry {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let index = u64::decode(&mut r)?;
        let mut bytes = Vec::new();
        r.read_to_end(&mut bytes)?;
        Ok(Entry(index, bytes))
    }
}

impl Groups for GroupLog<Entry> {
    fn append(&self, group: u64, index: u64, sync: bool) -> Result<()> {
        let mut batch = self.batch();
        batch.append(group, &[Entry(index, payload())])?;
        if sync { Ok(batch.ticket()?.wait()?) } else { Ok(batch.write()?) }
    }

    fn compact(&self, group: u64, upto: u64) -> Result<()> {
        let mut batch = self.batch();
        batch.purge(group, upto)?;
        Ok(batch.write()?)
    }

    fn reclaim(&self) -> Result<usize> {
        Ok(0)
    }

    fn count(&self) -> u64 {
        self.groups().len() as u64
    }
}

/// As in the workloads of one group: protobuf's own message with a number and bytes.
struct Entries;

impl MessageExt for Entries {
    type Entry = UninterpretedOption;

    fn index(entry: &UninterpretedOption) -> u64 {
        entry.get_positive_int_value()
    }
}

impl Groups for Engine {
    fn append(&self, group: u64, index: u64, sync: bool) -> Result<()> {
        let mut entry = UninterpretedOption::new();
        entry.set_positive_int_value(index);
        entry.set_string_value(payload());
        let mut batch = LogBatch::default();
        batch.add_entries::<Entries>(group + 1, std::slice::from_ref(&entry))?;
        self.write(&mut batch, sync)?;
        Ok(())
    }

    fn compact(&self, group: u64, upto: u64) -> Result<()> {
        self.compact_to(group + 1, upto + 1);
        Ok(())
    }

    fn reclaim(&self) -> Result<usize> {
        Ok(self.purge_expired_files()?.len())
    }

    fn count(&self) -> u64 {
        self.raft_groups().len() as u64
    }
}
