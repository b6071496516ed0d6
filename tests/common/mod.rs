//! What the integration tests share: one set of types, one state machine, a few short words.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod forge;

mod gate;
mod spells;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::Sender;

use chunked_wal::ChunkId;
use chunked_wal::ChunkedWal;
use chunked_wal::Config;
use chunked_wal::Error;
use chunked_wal::OpenOptions;
use chunked_wal::Segment;
use chunked_wal::StateMachine;
use chunked_wal::WalRecord;
use chunked_wal::WalTypes;
use chunked_wal::storage::MemoryStorage;

pub use gate::Gate;
pub use spells::*;

pub use forge::*;

/// Actions are words; a checkpoint is all words so far, joined by commas.
#[derive(Debug)]
pub struct Words;

impl WalTypes for Words {
    type Action = String;
    type Checkpoint = String;
    type Callback = Sender<Result<(), Error>>;
}

pub type Wal = ChunkedWal<Words>;
pub type Record = WalRecord<Words>;

/// Collects the words, and remembers where each record stood.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct List {
    pub words: Vec<String>,
    pub applied: Vec<(ChunkId, Segment)>,
}

impl StateMachine<Words> for List {
    type Error = String;

    fn apply(&mut self, record: &Record, chunk_id: ChunkId, segment: Segment) -> Result<(), String> {
        match record {
            WalRecord::Action(word) if word == "refuse" => return Err("refused".to_string()),
            WalRecord::Action(word) if word == "panic" => panic!("asked to"),
            WalRecord::Action(word) => self.words.push(word.clone()),
            WalRecord::Checkpoint(all) => self.words = split(all),
        }
        self.applied.push((chunk_id, segment));
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.words.join(",")
    }
}

pub fn split(all: &str) -> Vec<String> {
    all.split(',').filter(|word| !word.is_empty()).map(str::to_string).collect()
}

pub fn action(word: &str) -> Record {
    WalRecord::Action(word.to_string())
}

pub fn checkpoint(all: &str) -> Record {
    WalRecord::Checkpoint(all.to_string())
}

/// A small log on a disk in memory.
#[derive(Debug, Clone)]
pub struct Disk {
    pub storage: MemoryStorage,
    pub config: Config,
}

impl Default for Disk {
    fn default() -> Self {
        let mut config = Config::new("/log");
        config.chunk_max_size = 4096;
        Disk { storage: MemoryStorage::default(), config }
    }
}

impl Disk {
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut disk = Disk::default();
        change(&mut disk.config);
        disk
    }

    pub fn on(&self, storage: MemoryStorage) -> Self {
        Disk { storage, config: self.config.clone() }
    }

    pub fn options<W: WalTypes>(&self) -> OpenOptions<W> {
        ChunkedWal::options(self.config.clone()).storage(Arc::new(self.storage.clone()))
    }

    pub fn try_open(&self) -> Result<(Wal, List), Error> {
        let mut list = List::default();
        let wal = self.options().open(&mut list)?;
        Ok((wal, list))
    }

    pub fn open(&self) -> (Wal, List) {
        self.try_open().unwrap()
    }
}

/// What a list of shared values is for: callbacks of a log put something in, the test looks.
pub type Seen<T> = Arc<Mutex<Vec<T>>>;
