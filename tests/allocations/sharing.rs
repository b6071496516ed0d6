//! Payloads that share the log's read buffer: one buffer where none is kept, as many as are kept in use otherwise.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::sync::atomic::Ordering::SeqCst;

use chunked_wal::{BytesPayload, ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord};

use crate::common::SharedBytes as Shared;
use crate::{ALLOCATIONS, HELD, PEAK};

/// Keeps every `every`th action, for at most `kept_max` of them.
struct Keeps {
    every: u64,
    kept_max: usize,
    seen: u64,
    kept: Vec<BytesPayload>,
}

impl Keeps {
    fn new(every: u64, kept_max: usize) -> Self {
        Keeps { every, kept_max, seen: 0, kept: Vec::new() }
    }
}

impl StateMachine<Shared> for Keeps {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Shared>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        if let WalRecord::Action(action) = record {
            self.seen += 1;
            if self.seen.is_multiple_of(self.every) {
                self.kept.truncate(self.kept_max.saturating_sub(1));
                self.kept.insert(0, action.clone());
                self.kept.truncate(self.kept_max);
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.seen
    }
}

const RECORDS: u64 = 20_000;
const BUFFER: usize = 64 << 10;

/// Allocations, and the most bytes held at once, while a log of about 50 read buffers is opened.
fn cost_of_opening(config: &Config, keeps: &mut Keeps) -> (u64, usize) {
    let (allocations, held) = (ALLOCATIONS.load(SeqCst), HELD.load(SeqCst));
    PEAK.store(held, SeqCst);
    let wal = ChunkedWal::<Shared>::open(config.clone(), keeps).unwrap();
    let cost = (ALLOCATIONS.load(SeqCst) - allocations, PEAK.load(SeqCst) - held);
    wal.close().unwrap();
    assert_eq!(keeps.seen, RECORDS);
    cost
}

pub(crate) fn sharing_takes_a_buffer_only_where_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.read_buffer_size = BUFFER as u64;
    let mut wal = ChunkedWal::<Shared>::open(config.clone(), &mut Keeps::new(1, 0)).unwrap();
    let record = WalRecord::Action(BytesPayload::from(vec![7; 150]));
    let mut written = 0;
    for _ in 0..RECORDS {
        written += wal.append(&record).unwrap().size as usize;
    }
    wal.close().unwrap();
    let buffers = written / BUFFER;

    let (allocations, peak_of_none) = cost_of_opening(&config, &mut Keeps::new(1, 0));
    println!("{allocations} allocations, {peak_of_none} bytes at most for {RECORDS} shared payloads");
    // A few words for each buffer, and no memory for a record.
    assert!(allocations < 4 * buffers as u64 + 200, "{allocations} allocations for {buffers} buffers");

    // The last action of all: beside the buffer in use, its own.
    let (allocations, peak) = cost_of_opening(&config, &mut Keeps::new(1, 1));
    assert!(allocations < 6 * buffers as u64 + 200, "{allocations} allocations for {buffers} buffers");
    assert!(peak < peak_of_none + 3 * BUFFER, "{peak} bytes, {peak_of_none} where nothing is kept");

    // One in each buffer keeps them all, as the documentation says.
    let per_buffer = RECORDS / buffers as u64;
    let mut keeps = Keeps::new(per_buffer, usize::MAX);
    let (_, peak) = cost_of_opening(&config, &mut keeps);
    assert!(peak > written / 2, "{peak} bytes of {written}");
    let held = HELD.load(SeqCst);
    for kept in &mut keeps.kept {
        *kept = kept.to_own_memory();
    }
    assert!(HELD.load(SeqCst) + written / 2 < held, "a copy lets go of the buffer");
    assert!(keeps.kept.iter().all(|kept| kept[..] == [7; 150]));
}
