//! A state that only snapshots have whole: the log's checkpoints say nothing.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;

use chunked_wal::snapshot::{Restored, Snapshots};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, ChunkedWal, Config, Error, Segment, StateMachine, WalRecord, WalTypes};

/// Actions are numbers.
#[derive(Debug)]
pub struct Numbers;

impl WalTypes for Numbers {
    type Action = u64;
    type Checkpoint = ();
    type Callback = ();
}

/// All numbers so far, and how many of them were replayed or appended.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct All {
    pub numbers: Vec<u64>,
    pub applied: usize,
}

impl StateMachine<Numbers> for All {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Numbers>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        if let WalRecord::Action(number) = record {
            self.numbers.push(*number);
            self.applied += 1;
        }
        Ok(())
    }

    fn checkpoint(&self) {}
}

impl All {
    pub fn restore(bytes: Option<&[u8]>) -> Result<Self, String> {
        let text = str::from_utf8(bytes.unwrap_or_default()).map_err(|e| e.to_string())?;
        let numbers = text.lines().map(|line| line.parse().map_err(|e| format!("{line}: {e}")));
        Ok(All { numbers: numbers.collect::<Result<_, _>>()?, applied: 0 })
    }

    pub fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        self.numbers.iter().try_for_each(|number| writeln!(file, "{number}"))
    }

    /// One more number.
    pub fn go_on(&mut self, log: &mut ChunkedWal<Numbers>) {
        log.append_and_apply(self.numbers.len() as u64, self).unwrap();
    }
}

/// Opens the log `/db/log` with its snapshots in `/db/snapshots`.
pub fn open_counted(disk: &MemoryStorage) -> Result<Restored<Numbers, All>, Error> {
    let mut config = Config::new("/db/log");
    config.chunk_max_size = 200;
    let options = ChunkedWal::options(config).storage(Arc::new(disk.clone()));
    Snapshots::open("/db/snapshots", options, All::restore)
}
