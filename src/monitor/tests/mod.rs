//! Tests from inside: which bytes a look reads, and when the thread looks.

mod watching;

use std::cell::RefCell;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::format::{Frontier, HEADER_LEN, Header, Kind, ReadAt, Salt, finish_frame, sync_mark};
use crate::position::{ChunkId, Segment};
use crate::raw::{Payload, Raw};
use crate::record::{StateMachine, WalRecord};
use crate::storage::{Fault, FaultHow, MemoryStorage, OpKind, StorageFile};
use crate::wal::ChunkedWal;

const HEADER: Header = Header {
    chunk_id: 0,
    features: 0,
    salt: 0x0123_4567_89ab_cdef,
    log_id: [7; 16],
    created_ms: 0,
    previous_crc: 0,
};

/// Appends a record to a chunk's bytes.
fn append(bytes: &mut Vec<u8>, kind: Kind, payload: &[u8], unsynced: u32) {
    let offset = bytes.len() as u64;
    let mut frame = vec![0; 16];
    frame.extend_from_slice(payload);
    frame.resize(16 + payload.len().next_multiple_of(8), 0);
    finish_frame(&mut frame, payload.len() as u32, kind, 0, offset, unsynced, &Salt::new(HEADER.salt));
    bytes.extend_from_slice(&frame);
}

/// A chunk with a checkpoint and some records.
fn chunk(records: usize) -> Vec<u8> {
    let mut bytes = HEADER.encode().to_vec();
    append(&mut bytes, Kind::Checkpoint, b"state", 0xFF_FFFF);
    for n in 0..records {
        append(&mut bytes, Kind::Action, &vec![n as u8; 100 + n], 100);
    }
    bytes
}

/// Bytes that remember which of them were read.
struct Watched<'a> {
    bytes: &'a [u8],
    read: RefCell<Vec<Range<u64>>>,
}

impl ReadAt for Watched<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let n = ReadAt::read_at(self.bytes, buf, position)?;
        self.read.borrow_mut().push(position..position + n as u64);
        Ok(n)
    }
}

#[test]
fn a_look_at_a_log_reads_what_was_added() {
    let mut bytes = chunk(100);
    let mut frontier = Frontier::new(&HEADER);
    frontier.advance(&bytes[..], Frontier::READ_ON).unwrap();
    assert_eq!((frontier.records, frontier.end), (101, bytes.len() as u64));
    let (last, end) = (bytes.len() as u64 - 16 - 200, bytes.len() as u64);

    append(&mut bytes, Kind::Action, b"new", 0);
    bytes.extend_from_slice(&sync_mark(bytes.len() as u64, &Salt::new(HEADER.salt)));
    bytes.resize(8 << 20, 0);
    let watched = Watched { bytes: &bytes, read: RefCell::default() };
    assert!(frontier.holds(&watched).unwrap());
    frontier.advance(&watched, Frontier::READ_ON).unwrap();
    assert_eq!((frontier.records, frontier.durable()), (102, frontier.end));
    let read = watched.read.take();
    assert_eq!(read[0], last..last + 16, "the last record's header");
    assert!(read[1..].iter().all(|range| range.start >= end), "{read:?}");
    let total: u64 = read.iter().map(|range| range.end - range.start).sum();
    assert!(total <= 20 << 10, "not the space ahead: {total} bytes");
}

struct Nothing;

impl StateMachine<Raw> for Nothing {
    type Error = std::convert::Infallible;

    fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload::default()
    }
}

/// Writes four chunks with nine records and four checkpoints, and looks twice after each step.
fn changes_seen_of_four_chunks(strange: Fault) -> WalEvent<LogState> {
    let disk = MemoryStorage::default();
    let options = ChunkedWal::<Raw>::options(Config::new("/log")).storage(Arc::new(disk.clone()));
    let mut wal = options.open(&mut Nothing).unwrap();
    let mut tail = LogTail::new(Arc::new(disk.clone()), PathBuf::from("/log"));
    disk.fail(strange);
    let mut look = || [tail.look(), tail.look()].map(Result::unwrap);
    for _ in 0..3 {
        for byte in 0..3 {
            wal.append(&WalRecord::Action(Payload(vec![byte; 20]))).unwrap();
        }
        wal.sync().unwrap();
        look();
        wal.close_open_chunk_with(Payload::default()).unwrap();
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
        look();
    }
    tail.seen().clone()
}

#[test]
fn a_listing_that_misses_a_name_or_has_one_twice_loses_nothing() {
    for n in 0..6 {
        for how in [FaultHow::MissesName(n), FaultHow::NameTwice(n)] {
            for nth in 0..20 {
                let WalEvent { changes, state } =
                    changes_seen_of_four_chunks(Fault::new(OpKind::List, nth, how));
                let seen = (changes.records, changes.rotated_chunks, state.records, state.chunks);
                assert_eq!(seen, (13, 3, 13, 4), "{how:?} in listing {nth}");
                assert_eq!((changes.shrunk, changes.gone, changes.reset), (0, 0, 0), "{how:?} in {nth}");
            }
        }
    }
}

#[test]
fn a_frame_of_any_length_is_read_in_little_memory() {
    let mut bytes = chunk(0);
    append(&mut bytes, Kind::Action, &vec![1; 3 << 20], 0);
    let watched = Watched { bytes: &bytes, read: RefCell::default() };
    let mut frontier = Frontier::new(&HEADER);
    frontier.advance(&watched, Frontier::READ_ON).unwrap();
    assert_eq!(frontier.records, 2);
    assert!(watched.read.take().iter().all(|range| range.end - range.start <= 16 << 10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a chunk's bytes are, and however they change, a look ends and counts the sound records.
    #[test]
    fn no_bytes_upset_a_log(
        versions in prop::collection::vec(
            (prop::collection::vec((0..3000usize, any::<u8>()), 0..6), 0..3000usize, 0..4u64),
            1..6,
        )
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = LogTail::new(Arc::new(DiskStorage), dir.path().to_owned());
        for (changes, len, id) in versions {
            let mut bytes = chunk(10);
            bytes.resize(len, 0xa5);
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            let id = ChunkId([0, 0, 1, u64::MAX][id as usize]);
            fs::write(dir.path().join(id.file_name()), &bytes).unwrap();
            // Most versions have an invalid chunk, which is reported.
            let _outcome = tail.look();
            let state = tail.seen().state;
            prop_assert!(state.durable <= state.end && state.start <= state.end || state == LogState::default());
        }
    }

    /// A chunk that is written piece by piece gives the same result, followed or read at once.
    #[test]
    fn a_frontier_may_stop_anywhere(ends in prop::collection::vec(64..1600usize, 1..20)) {
        let bytes = chunk(10);
        let mut ends = ends;
        ends.sort_unstable();
        let mut followed = Frontier::new(&HEADER);
        for end in ends {
            let bytes = &bytes[..end.min(bytes.len())];
            prop_assert!(followed.holds(bytes).unwrap());
            followed.advance(bytes, Frontier::READ_ON).unwrap();
            let mut anew = Frontier::new(&HEADER);
            anew.advance(bytes, Frontier::READ_ON).unwrap();
            prop_assert_eq!(
                (followed.records, followed.end, followed.durable()),
                (anew.records, anew.end, anew.durable())
            );
            prop_assert!(anew.end <= end as u64 && anew.end >= HEADER_LEN);
        }
    }
}

/// A file in memory that remembers which bytes were read.
#[derive(Debug)]
struct MemoryFile {
    bytes: Vec<u8>,
    read: Mutex<Vec<Range<u64>>>,
}

impl StorageFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let n = ReadAt::read_at(&self.bytes[..], buf, position)?;
        self.read.lock().unwrap().push(position..position + n as u64);
        Ok(n)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// An SQLite WAL of `frames` transactions of one page each, as <https://sqlite.org/fileformat2.html#walformat> says.
fn sqlite_wal(frames: u32) -> Vec<u8> {
    let mut sums = (0_u32, 0_u32);
    let mut sum = |bytes: &[u8]| {
        for pair in bytes.chunks_exact(8) {
            let word = |at: usize| u32::from_le_bytes(pair[at..at + 4].try_into().unwrap());
            sums.0 = sums.0.wrapping_add(word(0)).wrapping_add(sums.1);
            sums.1 = sums.1.wrapping_add(word(4)).wrapping_add(sums.0);
        }
        [sums.0.to_be_bytes(), sums.1.to_be_bytes()].concat()
    };
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let salts = [7, 8];
    let mut wal = words(&[0x377f_0682, 3_007_000, 4096, 0, salts[0], salts[1]]);
    let checksum = sum(&wal);
    wal.extend(checksum);
    for frame in 1..=frames {
        let (page, head) = ([frame as u8; 4096], words(&[frame, frame]));
        sum(&head);
        let checksum = sum(&page);
        wal.extend([head, words(&salts), checksum, page.to_vec()].concat());
    }
    wal
}

#[test]
fn a_look_at_an_sqlite_wal_reads_what_was_added() {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("a.db-wal");
    fs::write(&wal, sqlite_wal(2)).unwrap();
    let mut tail = SqliteTail::new(wal, false);
    tail.look().unwrap();
    let before = tail.seen().state;
    assert_eq!(before.frames, 2);

    let bytes = sqlite_wal(3);
    let file = MemoryFile { bytes, read: Mutex::default() };
    assert!(tail.read_on(&file).unwrap());
    assert_eq!(tail.seen().state.frames, before.frames + 1);
    let end = 32 + before.frames * (24 + 4096);
    let read = file.read.into_inner().unwrap();
    let headers = [0..32, end - 24 - 4096..end - 4096, 0..32];
    let added = read.iter().filter(|range| !headers.contains(range)).collect::<Vec<_>>();
    assert!(!added.is_empty() && added.iter().all(|range| range.start >= end), "{read:?}");
}

/// A tail with a scripted result.
struct Scripted(Arc<Mutex<Result<WalEvent<u64>>>>, WalEvent<u64>);

impl Tail<u64> for Scripted {
    fn look(&mut self) -> Result<()> {
        self.1 = self.0.lock().unwrap().clone()?;
        Ok(())
    }

    fn seen(&self) -> &WalEvent<u64> {
        &self.1
    }
}

#[test]
fn the_slot_holds_one_event_and_one_error() {
    let script = Arc::new(Mutex::new(Ok(WalEvent::default())));
    let shared = Shared::new(Box::new(Scripted(script.clone(), WalEvent::default()))).unwrap();
    let say = |said: Result<(u64, u64)>| {
        *script.lock().unwrap() = said
            .map(|(records, state)| WalEvent { changes: Changes { records, ..Changes::default() }, state });
        shared.look();
    };
    let take = || shared.take().map(|taken| taken.map(|event| (event.changes.records, event.state)).ok());
    assert_eq!(take(), None);
    say(Ok((1, 10)));
    say(Ok((5, 50)));
    assert_eq!(take(), Some(Some((5, 50))));
    assert_eq!(take(), None);
    say(Ok((5, 51)));
    assert_eq!(take(), Some(Some((0, 51))), "no changes, but another state");
    say(Err(Error::Closed));
    say(Err(Error::Closed));
    assert_eq!(take(), Some(None));
    say(Err(Error::Closed));
    assert_eq!(take(), None, "it still fails: no news");
    say(Ok((6, 52)));
    assert_eq!(take(), Some(Some((1, 52))));
    say(Err(Error::Closed));
    assert_eq!(take(), Some(None), "it fails again: news");
}

#[test]
fn an_index_counts_for_its_own_wal_and_at_rest() {
    let wal: [u8; 32] = std::array::from_fn(|i| i as u8);
    let index = || {
        let mut index = [0; sqlite::INDEX_LEN];
        for copy in [0, 48] {
            index[copy..copy + 4].copy_from_slice(&3_007_000u32.to_ne_bytes());
            index[copy + 12] = 1;
            index[copy + 32..copy + 40].copy_from_slice(&wal[16..24]);
        }
        index[96..100].copy_from_slice(&7u32.to_ne_bytes());
        index
    };
    assert_eq!(sqlite::backfilled(&index(), &wal), Some(7));
    let mut half_written = index();
    half_written[16] ^= 1;
    assert_eq!(sqlite::backfilled(&half_written, &wal), None);
    // Another version, not initialized, other salts: in both copies, or in one alone.
    for at in [0, 12, 32, 39] {
        let mut changed = index();
        changed[at] ^= 1;
        assert_eq!(sqlite::backfilled(&changed, &wal), None, "byte {at}");
        changed[at + 48] ^= 1;
        assert_eq!(sqlite::backfilled(&changed, &wal), None, "byte {at} of both");
    }
}

#[test]
fn changes_are_described_in_one_line() {
    let changes = Changes { records: 1, bytes: 24, rotated_chunks: 2, ..Changes::default() };
    assert_eq!(changes.to_string(), "2 chunks started; grown by 1 record, 24 bytes");
    assert_eq!(Changes::default().to_string(), "further");
    let changes =
        Changes { gone: 2, reset: 1, shrunk: 1, removed_chunks: 1, checkpointed_frames: 9, ..changes };
    let said = "gone; replaced; shrunk; 1 chunk removed; 9 frames checkpointed; 2 chunks started; grown by 1 record, 24 bytes";
    assert_eq!(changes.to_string(), said);
}
