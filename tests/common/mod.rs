//! What the integration tests share: one set of types, one state machine, a few short words.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod actions;
mod child;
mod counted;
mod forge;
mod gate;
pub mod on_disk;
mod random;
mod spells;
mod tasks;
mod texts;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{
    ChunkId, ChunkedWal, Config, Error, OpenOptions, Replay, Segment, StateMachine, WalRecord, WalTypes,
};

pub use actions::*;
pub use child::again;
pub use counted::*;
pub use gate::Gate;
pub use random::*;
pub use spells::*;
pub use tasks::*;
pub use texts::*;

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

/// Collects the words, and remembers each record's segment.
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

/// Remembers every record with its place; its checkpoints are short, however many there were.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct History {
    pub records: Vec<(ChunkId, Segment, Record)>,
    /// A hash of all records applied.
    pub state: String,
}

impl History {
    /// The state after one more record.
    pub fn next_state(state: &str, record: &Record) -> String {
        let word = match record {
            WalRecord::Action(word) => word,
            WalRecord::Checkpoint(state) => return state.clone(),
        };
        let hash = u64::from_str_radix(state, 16).unwrap_or_default();
        let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let mixed = word.bytes().fold(hash ^ word.len() as u64, mix);
        format!("{:08x}", (mixed ^ mixed >> 32) as u32)
    }
}

impl StateMachine<Words> for History {
    type Error = String;

    fn apply(&mut self, record: &Record, chunk_id: ChunkId, segment: Segment) -> Result<(), String> {
        self.state = History::next_state(&self.state, record);
        self.records.push((chunk_id, segment, record.clone()));
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.state.clone()
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

    /// With any state machine.
    pub fn try_open_with<SM: StateMachine<Words> + Default>(
        &self,
        replay: Replay,
    ) -> Result<(Wal, SM), Error> {
        let mut state_machine = SM::default();
        let wal = self.options().replay(replay).open(&mut state_machine)?;
        Ok((wal, state_machine))
    }

    pub fn try_open(&self) -> Result<(Wal, List), Error> {
        self.try_open_with(Replay::All)
    }

    pub fn open(&self) -> (Wal, List) {
        self.try_open().unwrap()
    }
}

/// What a list of shared values is for: callbacks of a log put something in, the test looks.
pub type Seen<T> = Arc<Mutex<Vec<T>>>;
