//! Steady work takes no memory: buffers are reused.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use chunked_wal::{
    Callback, ChunkId, ChunkedWal, Config, Error, Flush, Segment, StateMachine, WalRecord, WalTypes, codeq,
};

use crate::ALLOCATIONS;

/// 64 bytes, so that the codec needs no memory of its own.
#[derive(Debug, Clone)]
struct Bytes([u8; 64]);

impl codeq::Encode for Bytes {
    fn encode<W: io::Write>(&self, mut w: W) -> io::Result<usize> {
        w.write_all(&self.0)?;
        Ok(self.0.len())
    }
}

impl codeq::Decode for Bytes {
    fn decode<R: io::Read>(mut r: R) -> io::Result<Self> {
        let mut bytes = [0; 64];
        r.read_exact(&mut bytes)?;
        Ok(Bytes(bytes))
    }
}

struct Count(Arc<AtomicU64>);

impl Callback for Count {
    fn complete(self, result: Result<(), Error>) {
        result.unwrap();
        self.0.fetch_add(1, SeqCst);
    }
}

struct Log;

impl WalTypes for Log {
    type Action = Bytes;
    type Checkpoint = u64;
    type Callback = Count;
}

struct Nothing;

impl StateMachine<Log> for Nothing {
    type Error = Infallible;

    fn apply(&mut self, _: &WalRecord<Log>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        0
    }
}

const RECORDS: u64 = 10_000;

/// Allocations while `f` runs and until the worker has nothing left to do.
fn allocations_of(wal: &mut ChunkedWal<Log>, f: impl FnOnce(&mut ChunkedWal<Log>)) -> u64 {
    wal.wait_idle().unwrap();
    let before = ALLOCATIONS.load(SeqCst);
    f(wal);
    wal.wait_idle().unwrap();
    ALLOCATIONS.load(SeqCst) - before
}

pub(crate) fn steady_work_allocates_nothing_for_a_record() {
    allocates_nothing("", |_| {});
    #[cfg(feature = "lz4")]
    allocates_nothing("compressed: ", |config| {
        config.compression = chunked_wal::Compression::Lz4 { min_len: 0 };
    });
}

fn allocates_nothing(how: &str, change: impl FnOnce(&mut Config)) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    change(&mut config);
    let mut wal = ChunkedWal::<Log>::open(config, &mut Nothing).unwrap();
    let record = WalRecord::Action(Bytes([7; 64]));
    let completed = Arc::new(AtomicU64::new(0));

    let append = |wal: &mut ChunkedWal<Log>| {
        for _ in 0..RECORDS {
            wal.append(&record).unwrap();
        }
    };
    let append_with_callbacks = |wal: &mut ChunkedWal<Log>| {
        for i in 0..RECORDS {
            wal.append(&record).unwrap();
            let mode = if i % 100 == 99 { Flush::Sync } else { Flush::Write };
            wal.flush(mode, Some(Count(completed.clone()))).unwrap();
        }
    };
    let append_with_tickets = |wal: &mut ChunkedWal<Log>| {
        for i in 0..RECORDS {
            wal.append(&record).unwrap();
            let ticket = wal.flush_ticket(if i % 100 == 99 { Flush::Sync } else { Flush::Write }).unwrap();
            if i % 100 == 99 {
                ticket.wait().unwrap();
            }
        }
    };
    let append_and_sync = |wal: &mut ChunkedWal<Log>| {
        for _ in 0..RECORDS / 100 {
            wal.append(&record).unwrap();
            wal.sync().unwrap();
        }
    };
    type Work<'a> = &'a dyn Fn(&mut ChunkedWal<Log>);
    let works: [(&str, u64, Work<'_>); 4] = [
        ("append", RECORDS, &append),
        ("append and flush", RECORDS, &append_with_callbacks),
        ("append and flush_ticket", RECORDS, &append_with_tickets),
        ("append and sync", RECORDS / 100, &append_and_sync),
    ];
    for (what, records, work) in works {
        // The buffers find their sizes in the first rounds.
        let rounds: Vec<_> = (0..6).map(|_| allocations_of(&mut wal, work)).collect();
        let steady = rounds[3..].iter().min().unwrap();
        println!("{how}{what}: {rounds:?} allocations for {records} records each");
        // A buffer that is still read when it would be used again may be replaced, now and then.
        assert!(*steady <= records / 1000, "{how}{what}: {rounds:?} allocations for {records} records");
    }
    assert_eq!(completed.load(SeqCst), 6 * RECORDS);

    let segments: Vec<_> = (0..RECORDS).map(|_| wal.append(&record).unwrap()).collect();
    wal.close_open_chunk_with(0).unwrap();
    let read = |wal: &mut ChunkedWal<Log>| {
        for segment in &segments {
            wal.read_record(*segment).unwrap();
        }
    };
    allocations_of(&mut wal, read);
    let rounds: Vec<_> = (0..3).map(|_| allocations_of(&mut wal, read)).collect();
    assert!(*rounds.iter().min().unwrap() <= 2, "{rounds:?} allocations for {RECORDS} records read");
}
