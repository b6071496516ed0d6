//! Replay on one thread, on two, and on the number that recovery chooses: for any damage, all three behave alike.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::directory::list;
use crate::format::Kind;
use crate::record::ToPayload;
use crate::storage::{Fault, FaultHow, MemoryStorage, OpKind};
use crate::wal::ChunkedWal;

const READ_SIZE: u64 = 64 << 10;

/// An action that can't be decoded if it begins with [`GARBLED`].
#[derive(Debug, Clone, PartialEq)]
struct Word(Vec<u8>);

const GARBLED: u8 = 0xFF;

thread_local! {
    /// An append of this thread decodes what it has encoded: then all is well.
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

impl codeq::Encode for Word {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        writer.write_all(&self.0)?;
        Ok(self.0.len())
    }
}

impl codeq::Decode for Word {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        if bytes.first() == Some(&GARBLED) && !IS_WRITING.get() {
            Err(io::Error::other("garbled"))
        } else {
            Ok(Word(bytes))
        }
    }
}

#[derive(Debug)]
struct Words;

impl WalTypes for Words {
    type Action = Word;
    type Checkpoint = u64;
    type Callback = ();
}

/// What a state machine does at some record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Never,
    Refuse(usize),
    Panic(usize),
    /// Takes its time with each record before this one.
    SlowBefore(usize),
}

struct Book {
    applied: Vec<(ChunkId, Segment, WalRecord<Words>)>,
    at: At,
}

impl StateMachine<Words> for Book {
    type Error = String;

    fn apply(&mut self, record: &WalRecord<Words>, id: ChunkId, segment: Segment) -> Result<(), String> {
        let index = self.applied.len();
        assert_ne!(self.at, At::Panic(index), "asked to panic");
        if self.at == At::Refuse(index) {
            return Err("refused".to_string());
        }
        if matches!(self.at, At::SlowBefore(end) if index < end) {
            sleep(Duration::from_millis(1));
        }
        self.applied.push((id, segment, record.clone()));
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.applied.len() as u64
    }
}

fn config() -> Config {
    let mut config = Config::new("/log");
    config.chunk_max_size = 3 << 20;
    config.read_buffer_size = READ_SIZE;
    config
}

/// A log of three chunks and 8 MiB, with a few records that are larger than a read; its `garbled`th
/// action can't be decoded.
fn log(garbled: Option<usize>) -> MemoryStorage {
    let disk = MemoryStorage::default();
    let options = ChunkedWal::<Words>::options(config()).storage(Arc::new(disk.clone()));
    let mut book = Book { applied: Vec::new(), at: At::Never };
    let mut wal = options.open(&mut book).unwrap();
    for i in 0..4000_usize {
        let len = if i % 1000 == 500 { 300_000 } else { i * 7 % 3000 };
        let mut bytes = vec![i as u8 & 0x7F; len + 1];
        if garbled == Some(i) {
            bytes[0] = GARBLED;
        }
        IS_WRITING.set(true);
        wal.append(&WalRecord::Action(Word(bytes))).unwrap();
        IS_WRITING.set(false);
        if wal.is_open_chunk_full() {
            wal.close_open_chunk_with(i as u64).unwrap();
        }
    }
    assert_eq!(wal.closed_chunk_stats().len(), 2);
    wal.close().unwrap();
    disk
}

/// All that there is to be seen of a replay.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    applied: Vec<(ChunkId, Segment, WalRecord<Words>)>,
    persisted: Vec<(ChunkPersisted, Option<u64>)>,
    /// The report and the newest chunk, an error, or a panic, in words.
    end: String,
}

/// Replays a log on one thread or on two; also returns how many reads that took, the caller's and those
/// of the second thread.
fn replay(disk: &MemoryStorage, stages: Stages, mode: Replay, at: At) -> (Outcome, [usize; 2]) {
    replay_with_pauses(disk, stages, mode, at, Duration::ZERO)
}

/// The same on a disk that pauses before each read.
fn replay_with_pauses(
    disk: &MemoryStorage,
    stages: Stages,
    replay: Replay,
    at: At,
    pause: Duration,
) -> (Outcome, [usize; 2]) {
    let reads = Arc::new(Mutex::new([0; 2]));
    let noted = reads.clone();
    disk.on_operation(move |op| {
        if op.kind == OpKind::Read {
            let second = std::thread::current().name() == Some("wal-replay");
            noted.lock()[usize::from(second)] += 1;
            sleep(pause);
        }
    });
    let persisted = Arc::new(Mutex::new(Vec::new()));
    let seen = persisted.clone();
    let on_chunk_persisted: OnChunkPersisted<Words> =
        Arc::new(move |chunk, checkpoint| seen.lock().push((chunk, checkpoint.copied())));
    let options = ReplayOptions {
        replay,
        on_chunk_persisted: Some(on_chunk_persisted),
        mending: Mending::Refuse,
        unreadable: Unreadable::Refuse,
        stages,
    };

    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let found = list(&*storage, Path::new("/log")).unwrap();
    let mut book = Book { applied: Vec::new(), at };
    let recovered =
        catch_unwind(AssertUnwindSafe(|| recover(&storage, &config(), found, &options, &mut book)));
    let end = match recovered {
        Ok(Ok(recovered)) => format!("{:?} {:?}", recovered.report, recovered.newest),
        Ok(Err(error)) => format!("{error:?}"),
        Err(_) => "panic".to_string(),
    };
    let reads = *reads.lock();
    assert!(stages != Stages::One || reads[1] == 0, "{reads:?}");
    let persisted = persisted.lock().clone();
    (Outcome { applied: book.applied, persisted, end }, reads)
}

/// Replays in all ways, and compares.
fn both(what: &str, disk: &MemoryStorage, at: At) -> Outcome {
    for mode in [Replay::FromLastCheckpoint, Replay::All] {
        let (one, _) = replay(disk, Stages::One, mode, at);
        for stages in [Stages::Two, Stages::Timed] {
            let (other, _) = replay(disk, stages, mode, at);
            assert_eq!(one.applied.len(), other.applied.len(), "{what}, {mode:?}, {stages:?}");
            assert!(one == other, "{what}, {mode:?}, {stages:?}: {} or {}", one.end, other.end);
        }
        if mode == Replay::All {
            return one;
        }
    }
    unreachable!()
}

#[test]
fn a_sound_log_is_the_same() {
    let all = both("sound", &log(None), At::Never);
    assert_eq!(all.applied.len(), 4000 + 3);
    assert!(all.end.starts_with("RecoveryReport"), "{}", all.end);
}

#[test]
fn a_second_thread_reads_where_records_take_longer_than_reading() {
    let disk = log(None);
    let pause = Duration::from_millis(1);
    // A machine that is busy may take its time in either place, but not each time.
    let some = |at, right: fn([usize; 2]) -> bool| {
        (0..5).any(|_| right(replay_with_pauses(&disk, Stages::Timed, Replay::All, at, pause).1))
    };
    assert!(some(At::Never, |reads| reads[0] > 100 && reads[1] == 0));
    // The first of three chunks, but for its header, its end and two blocks.
    assert!(some(At::SlowBefore(200), |reads| (30..60).contains(&reads[1])));
}

#[test]
fn a_refusal_or_a_panic_ends_replay_at_the_same_record() {
    let disk = log(None);
    for index in [0, 1, 2, 77, 499, 501, 502, 503, 1700, 2600, 3999, 4002] {
        for (at, end) in [(At::Refuse(index), "StateMachine"), (At::Panic(index), "panic")] {
            let outcome = both("refused", &disk, at);
            assert_eq!(outcome.applied.len(), index);
            assert!(outcome.end.contains(end), "{}", outcome.end);
        }
    }
}

#[test]
fn an_undecodable_record_ends_replay_at_the_same_record() {
    for index in [0, 1, 499, 500, 501, 1999, 3999] {
        let outcome = both("garbled", &log(Some(index)), At::Never);
        assert!(outcome.end.contains("Decode"), "{}", outcome.end);
        assert_eq!(outcome.applied.iter().filter(|(_, _, r)| r.kind() == Kind::Action).count(), index);
    }
}

#[test]
fn damage_ends_replay_at_the_same_record_with_the_same_verdict() {
    let disk = log(None);
    let mut ends = BTreeSet::new();
    for name in disk.files("/log").iter().filter(|name| name.starts_with("r-")) {
        let path = Path::new("/log").join(name);
        let whole = disk.read_file(&path).unwrap();
        for i in 0..12 {
            let mut bytes = whole.clone();
            let at = 64 + i * 223_331;
            match i % 3 {
                0 => bytes.truncate(at),
                1 => bytes[at..].fill(0),
                _ => bytes[at] ^= 4,
            }
            disk.write_file(&path, &bytes).unwrap();
            let outcome = both(&format!("{name} at {at}, way {}", i % 3), &disk, At::Never);
            ends.insert(outcome.end.split(['(', ' ']).next().unwrap().to_string());
        }
        disk.write_file(&path, &whole).unwrap();
    }
    assert!(ends.contains("Corrupt") && ends.contains("RecoveryReport"), "{ends:?}");
}

#[test]
fn a_read_error_comes_after_the_bytes_read_before_it() {
    let disk = log(None);
    let (all, reads) = replay(&disk, Stages::Two, Replay::All, At::Never);
    let mut before = 0;
    for nth in (0..reads.iter().sum::<usize>() as u64).step_by(9) {
        disk.fail(Fault::new(OpKind::Read, nth, FaultHow::Io));
        let (outcome, _) = replay(&disk, Stages::Two, Replay::All, At::Never);
        assert!(outcome.end.starts_with("Io") && outcome.end.contains("code: 5"), "{nth}: {}", outcome.end);
        let applied = outcome.applied.len();
        assert!(outcome.applied == all.applied[..applied] && applied >= before, "{nth}: {applied}, {before}");
        before = applied;
    }
    assert!(before > 3000, "{before}");
}

#[test]
fn a_refusal_ends_the_reading() {
    let disk = log(None);
    let (_, all) = replay(&disk, Stages::Two, Replay::All, At::Never);
    for at in [At::Refuse(2), At::Panic(2)] {
        let (_, reads) = replay(&disk, Stages::Two, Replay::All, at);
        assert!(all[1] > 80 && reads[1] < 8, "{reads:?} of {all:?}");
    }
}
