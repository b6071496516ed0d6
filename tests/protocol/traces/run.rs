//! Runs of the real log, drawn from a seed.

use std::sync::Arc;

use chunked_wal::raw::Payload;
use chunked_wal::storage::{Fault, FaultHow, MemoryStorage, OpKind};
use chunked_wal::{
    Batch, Callback, ChunkId, ChunkedWal, Config, Error, Flush, Segment, StateMachine, WalRecord, WalTypes,
};

use crate::frame::{CHECKPOINT, PAYLOAD};
use crate::storage::Recorded;
use crate::tape::{At, Cut, DIR, Ended, Event, Tape, new_disk};

/// A chunk of these runs has no more entries than this, so that its file has a place for each.
const CHUNK_ENTRIES: usize = 9;

/// The last place of a file.
pub(crate) const LAST: usize = 12;

/// The types of the log.
#[derive(Debug)]
pub(crate) struct Traced;

impl WalTypes for Traced {
    type Action = Payload;
    type Checkpoint = Payload;
    type Callback = Told;
}

/// A callback that puts an answer on the tape.
#[derive(Debug)]
pub(crate) struct Told {
    tape: Arc<Tape>,
    end: u64,
}

impl Callback for Told {
    fn complete(self, result: Result<(), Error>) {
        if result.is_ok() {
            self.tape.push(Event::Acknowledged(self.end));
        }
    }
}

/// The ids of the records.
#[derive(Debug, Default)]
struct Ids(Vec<u64>);

impl StateMachine<Traced> for Ids {
    type Error = std::convert::Infallible;

    fn apply(&mut self, record: &WalRecord<Traced>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        if let WalRecord::Action(Payload(bytes)) = record {
            self.0.extend(bytes.first_chunk().map(|id| u64::from_le_bytes(*id)));
        }
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload(vec![7; CHECKPOINT])
    }
}

fn payload(id: u64) -> Payload {
    let mut bytes = vec![0xA5; PAYLOAD];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    Payload(bytes)
}

/// Random numbers: splitmix64.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A run: a few processes, one after the other, on one disk.
struct Run {
    dice: Dice,
    tape: Arc<Tape>,
    disk: MemoryStorage,
    ids: u64,
    /// Whether chunks are begun and removed, and little else happens.
    is_of_removals: bool,
}

/// A process that has the log open.
struct Process {
    wal: ChunkedWal<Traced>,
    entries: usize,
    /// Chunks that were asked to be removed.
    removed: u64,
}

/// Does a run, and returns what has happened.
pub(crate) fn run(seed: u64) -> Vec<Event> {
    let disk = new_disk().unwrap_or_default();
    let mut run = Run { dice: Dice(seed), tape: Arc::default(), disk, ids: 0, is_of_removals: seed % 8 == 7 };
    for _ in 0..2 + run.dice.below(4) {
        run.live();
    }
    run.tape.take()
}

impl Run {
    /// One process, from its open to its end.
    fn live(&mut self) {
        let seed = if self.dice.below(3) == 0 { self.dice.below(2) } else { self.dice.next() };
        let cut = (self.dice.below(4) > 0).then(|| Cut {
            at: match self.dice.below(8) {
                0 => At::SyncOfRemoval,
                1..5 if self.is_of_removals => At::SyncOfRemoval,
                _ => At::Operation(self.dice.below(60)),
            },
            how: if (self.dice.below(3) == 0) != self.is_of_removals {
                Ended::Killed
            } else {
                Ended::PowerLost
            },
            seed,
        });
        self.tape.start(&self.disk, cut);
        if self.dice.below(4) == 0 {
            let kind = if self.dice.below(2) == 0 { OpKind::Sync } else { OpKind::SyncDir };
            self.disk.fail(Fault::new(kind, self.dice.below(12), FaultHow::SyncLies));
        } else if self.is_of_removals && self.dice.below(2) == 0 {
            // The first is that of the open.
            self.disk.fail(Fault::new(OpKind::SyncDir, 0, FaultHow::SyncLies));
        }
        let spare_chunks = self.dice.below(3);
        if let Some(mut process) = self.open(spare_chunks) {
            for _ in 0..self.dice.below(30) {
                if self.tape.left().is_some() || self.step(&mut process).is_err() {
                    break;
                }
            }
            self.close(process);
        }
        self.disk = match self.tape.left() {
            Some(left) => left,
            None => self.tape.end(Ended::PowerLost, self.dice.next()),
        };
    }

    fn open(&mut self, spare_chunks: u64) -> Option<Process> {
        let mut config = Config::new(DIR);
        config.chunk_max_size = 4096;
        config.spare_chunks = spare_chunks;
        config.zero_ahead_bytes = 0;
        let storage = Arc::new(Recorded::new(self.disk.clone(), self.tape.clone()));
        let mut ids = Ids::default();
        self.tape.push(Event::Opening);
        match ChunkedWal::options(config).storage(storage).open(&mut ids) {
            Ok(wal) => {
                self.tape.push(Event::Opened(ids.0));
                let entries = wal.open_chunk_stat(Payload::default()).records_count as usize;
                Some(Process { wal, entries, removed: 0 })
            }
            Err(error) => {
                self.tape.push(Event::Refused(error.to_string()));
                None
            }
        }
    }

    /// Ends the process: by a close, half of the time, or else wherever it is.
    fn close(&mut self, process: Process) {
        if self.dice.below(2) == 0 {
            let how = if self.dice.below(2) == 0 { Ended::Killed } else { Ended::PowerLost };
            self.tape.end(how, self.dice.next());
        }
        if process.wal.close().is_ok() {
            self.tape.push(Event::Exit);
        }
    }

    fn step(&mut self, process: &mut Process) -> Result<(), Error> {
        let Process { wal, entries, .. } = process;
        let choice = if self.is_of_removals { 12 + self.dice.below(8) } else { self.dice.below(20) };
        match choice {
            0..=5 if *entries < CHUNK_ENTRIES => {
                let id = self.id();
                self.tape.push(Event::Append(vec![id]));
                wal.append(&WalRecord::Action(payload(id)))?;
                *entries += 1;
            }
            6 if *entries + 1 < CHUNK_ENTRIES => self.append_batch(process)?,
            7..=8 => self.flush(process, Flush::Write)?,
            9..=11 => self.flush(process, Flush::Sync)?,
            12..=13 => {
                let end = end(wal);
                wal.sync()?;
                self.tape.push(Event::Acknowledged(end));
            }
            14..=16 => {
                self.tape.push(Event::Rotate);
                match wal.close_open_chunk(&Ids::default()) {
                    Ok(_) => *entries = 1,
                    // No spare could be made.
                    Err(_) => self.tape.push(Event::Withdrawn),
                }
            }
            17..=18 => self.remove(process)?,
            _ if self.dice.below(3) == 0 => wal.wait_idle()?,
            _ => std::thread::yield_now(),
        }
        Ok(())
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn append_batch(&mut self, process: &mut Process) -> Result<(), Error> {
        let ids = vec![self.id(), self.id()];
        let mut batch = Batch::new();
        for id in &ids {
            batch.push(WalRecord::Action(payload(*id)));
        }
        self.tape.push(Event::Append(ids));
        process.wal.append_batch(&batch)?;
        process.entries += 2;
        Ok(())
    }

    fn flush(&mut self, process: &mut Process, mode: Flush) -> Result<(), Error> {
        let told = Told { tape: self.tape.clone(), end: end(&process.wal) };
        process.wal.flush(mode, (mode == Flush::Sync).then_some(told))
    }

    /// Asks for the removal of the oldest chunk, one at a time.
    fn remove(&mut self, process: &mut Process) -> Result<(), Error> {
        let wal = &mut process.wal;
        if wal.flush_metrics().removed_count < process.removed {
            return Ok(());
        }
        let mut is_first = true;
        let ids = wal.drain_closed_chunks_while(|_| std::mem::replace(&mut is_first, false));
        if !ids.is_empty() {
            process.removed += 1;
            self.tape.push(Event::RemoveOldest(end(wal)));
            wal.remove_chunks(ids)?;
        }
        Ok(())
    }
}

fn end(wal: &ChunkedWal<Traced>) -> u64 {
    wal.progress().appended
}
