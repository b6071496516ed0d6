//! Logs with compressed records, and with records of both kinds: reads return the appended payloads, the files show
//! which are compressed, and a payload that can't be decompressed is an error and nothing worse.
#![cfg(feature = "lz4")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use chunked_wal::raw::{ChunkEnd, ChunkPlace, Listing, RawChunk};
use chunked_wal::testing::{CrashTest, Subject};
use chunked_wal::{
    ChunkId, ChunkedWal, Compression, Config, Damage, Error, Proof, ReadUpTo, Replay, Segment, StateMachine,
    WalReader, WalRecord,
};
use proptest::prelude::*;

use crate::common::*;

const ON: Compression = Compression::Lz4 { min_len: 0 };

/// Of text that compresses, and of no long runs.
fn text(n: usize, len: usize) -> String {
    (0..).map(|i| format!("{n} came at {i}, and so ")).take(len / 15 + 1).collect::<String>()[..len]
        .to_string()
}

/// Text that doesn't compress.
fn noise(n: usize, len: usize) -> String {
    let mut x = n as u32 + 1;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (x >> 24) as u8 % 95)
    };
    (0..len).map(|_| next()).collect()
}

/// What the header of each chunk of a disk says: whether bit 0 is set, oldest chunk first.
fn feature_bits(disk: &Disk) -> Vec<bool> {
    let chunks = disk.storage.snapshot().into_iter();
    let chunks = chunks.filter(|(path, _)| path.extension().is_some_and(|e| e == "wal"));
    chunks.map(|(_, bytes)| bytes[12] & 1 != 0).collect()
}

/// How many frames of each chunk of a directory are compressed.
fn compressed_in(dir: &Path) -> Vec<(bool, usize, usize)> {
    let listing = Listing::of(dir).unwrap();
    let count = |i: usize, id: &ChunkId| {
        let chunk = RawChunk::open(dir, *id).unwrap();
        let mut records = chunk.records(listing.place(i));
        let (mut compressed, mut plain) = (0, 0);
        while let Some(record) = records.next().unwrap() {
            if record.is_compressed {
                assert!(record.stored_len < record.payload.len() as u64);
                compressed += 1;
            } else {
                assert_eq!(record.stored_len, record.payload.len() as u64);
                plain += 1;
            }
        }
        (chunk.may_be_compressed(), compressed, plain)
    };
    listing.chunks.iter().enumerate().map(|(i, id)| count(i, id)).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Text(usize),
    Noise(usize),
    Checkpoint(usize),
    Rotate,
    /// With these settings from then on.
    Reopen(Compression, Replay),
}

fn step() -> impl Strategy<Value = Step> {
    let replay = prop_oneof![Just(Replay::All), Just(Replay::FromLastCheckpoint)];
    let min_len = prop_oneof![Just(0), Just(100), Just(u64::MAX)];
    let on = min_len.prop_map(|min_len| Compression::Lz4 { min_len });
    prop_oneof![
        8 => (0_usize..3000).prop_map(Step::Text),
        4 => (0_usize..600).prop_map(Step::Noise),
        1 => (0_usize..600).prop_map(Step::Checkpoint),
        2 => Just(Step::Rotate),
        3 => (prop_oneof![Just(Compression::None), on], replay).prop_map(|(c, r)| Step::Reopen(c, r)),
    ]
}

/// Everything that reads a log gives just these records.
#[track_caller]
fn reads_everywhere(disk: &Disk, wal: &ChunkedWal<Words>, expected: &[Record]) {
    let of = |read: Vec<Result<(ChunkId, Segment, Record), Error>>| -> Vec<Record> {
        read.into_iter().map(|read| read.unwrap().2).collect()
    };
    assert_eq!(of(wal.records().collect()), expected);
    let by_segment: Vec<_> = wal.records().map(|read| wal.read_record(read.unwrap().1).unwrap()).collect();
    assert_eq!(by_segment, expected);

    let options = WalReader::<Words>::read_only_options(&disk.config.dir).up_to(ReadUpTo::Written);
    let reader = options.storage(Arc::new(disk.storage.clone())).open().unwrap();
    let records: Vec<_> = reader.records().collect();
    let segment = records.last().unwrap().as_ref().unwrap().1;
    assert_eq!(of(records), expected);
    assert_eq!(&reader.read_record(segment).unwrap(), expected.last().unwrap());
    let mut follow = reader.follow(reader.start());
    let followed = std::iter::from_fn(|| follow.next_timeout(std::time::Duration::ZERO).transpose());
    assert_eq!(of(followed.collect()), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn mixed_logs_are_read_as_they_were_appended(steps in prop::collection::vec(step(), 1..40)) {
        let mut disk = Disk::default();
        let (mut wal, mut history) = disk.try_open_with::<History>(Replay::All).unwrap();
        let mut expected: Vec<Record> = vec![checkpoint("")];
        let mut bits = vec![false];
        for (n, step) in steps.into_iter().enumerate() {
            let appended = match step {
                Step::Text(len) => action(&text(n, len)),
                Step::Noise(len) => action(&noise(n, len)),
                Step::Checkpoint(len) => checkpoint(&text(n, len)),
                Step::Rotate => {
                    expected.push(WalRecord::Checkpoint(wal.close_open_chunk(&history).unwrap()));
                    bits.push(disk.config.compression != Compression::None);
                    continue;
                }
                Step::Reopen(compression, replay) => {
                    wal.sync().unwrap();
                    wal.wait_idle().unwrap();
                    reads_everywhere(&disk, &wal, &expected);
                    wal.close().unwrap();
                    disk.config.compression = compression;
                    (wal, history) = disk.try_open_with(replay).unwrap();
                    let applied: Vec<_> = history.records.iter().map(|(_, _, r)| r.clone()).collect();
                    prop_assert!(expected.ends_with(&applied));
                    prop_assert!(replay != Replay::All || applied.len() == expected.len());
                    continue;
                }
            };
            // As `append_and_apply` does, for checkpoints too.
            let segment = wal.append(&appended).unwrap();
            history.apply(&appended, wal.open_chunk_id(), segment).unwrap();
            prop_assert_eq!(&wal.read_record(segment).unwrap(), &appended);
            expected.push(appended);
        }
        wal.sync().unwrap();
        wal.wait_idle().unwrap();
        reads_everywhere(&disk, &wal, &expected);
        prop_assert_eq!(feature_bits(&disk), bits);
    }
}

#[test]
fn a_chunk_started_without_compression_takes_none_until_the_log_rotates() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    let mut list = List::default();
    let mut wal = Wal::open(config.clone(), &mut list).unwrap();
    wal.append(&action(&text(0, 500))).unwrap();
    wal.close().unwrap();

    config.compression = ON;
    let mut wal = Wal::open(config.clone(), &mut list).unwrap();
    wal.append(&action(&text(1, 500))).unwrap();
    wal.close_open_chunk_with(text(2, 200)).unwrap();
    wal.append(&action(&text(3, 500))).unwrap();
    wal.append(&action(&noise(4, 500))).unwrap();
    wal.close().unwrap();

    // Off again: what is there stays readable, and nothing more is compressed.
    config.compression = Compression::None;
    let mut wal = Wal::open(config.clone(), &mut list).unwrap();
    wal.append(&action(&text(5, 500))).unwrap();
    wal.close_open_chunk_with(String::new()).unwrap();
    let end = wal.progress().appended;
    wal.close().unwrap();
    assert_eq!(compressed_in(dir.path()), [(false, 0, 3), (true, 2, 2), (false, 0, 1)]);
    #[cfg(feature = "monitor")]
    {
        let state = chunked_wal::monitor::WalMonitor::open(dir.path()).unwrap().state();
        assert_eq!((state.end, state.durable), (end, end));
    }
}

#[test]
fn the_limit_of_a_record_counts_the_appended_payload() {
    let disk = Disk::with(|config| {
        config.compression = ON;
        config.max_record_size = 1000;
    });
    let (mut wal, list) = disk.open();
    let fits = wal.append(&action(&text(0, 990))).unwrap();
    assert!(fits.size < 500);
    let end = wal.progress().appended;
    let refused = wal.append(&action(&text(0, 1000)));
    assert!(matches!(refused, Err(Error::RecordTooLarge { max: 1000 })), "{refused:?}");
    assert_eq!(wal.progress().appended, end);
    wal.close_open_chunk(&list).unwrap();
    wal.close().unwrap();

    // A limit lowered since makes nothing unreadable.
    let mut disk = disk;
    disk.config.max_record_size = 100;
    let (wal, list) = disk.open();
    assert_eq!(list.words, [] as [&str; 0]);
    assert_eq!(wal.read_record(fits).unwrap(), action(&text(0, 990)));
}

/// A codec that fails or panics appends nothing, compressed or not.
#[test]
fn a_record_that_is_refused_leaves_no_byte() {
    let disk = Disk::with(|config| config.compression = ON);
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply(text(0, 400), &mut list).unwrap();
    let end = wal.progress().appended;
    assert!(wal.append_and_apply("refuse".to_string(), &mut list).is_err());
    assert_eq!(wal.progress().appended, end);
    wal.append_and_apply(text(1, 400), &mut list).unwrap();
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, [text(0, 400), text(1, 400)]);
}

/// LZ4 of `abc`, twenty times, as the word's codec writes it: a length and the letters.
fn stored(raw_len: u32, block: &[u8]) -> Vec<u8> {
    [&raw_len.to_le_bytes(), block].concat()
}

const BLOCK: &[u8] = b"\x7f\0\0\0\x3cabc\x03\0\x21\x50bcabc";

/// A chunk with a checkpoint, a compressed record and one after it.
fn forged(payload: &[u8]) -> Forge {
    Forge::chunk(0).header(12, &[1]).checkpoint("").flagged(1, 1, payload).action("behind").mark()
}

fn is_corrupt<T>(result: &Result<T, Error>, at: u64) -> bool {
    let (damage, proof) = (Damage::Compressed, Proof::Checksum);
    matches!(result, Err(Error::Corrupt { offset, damage: d, proof: p, .. })
        if (*offset, *d, *p) == (at, damage, proof))
}

#[test]
fn a_payload_that_can_not_be_decompressed_is_corrupt() {
    let open = |forge: &Forge| {
        let disk = Disk::default();
        forge.put(&disk);
        (disk.try_open().map(|(_, list)| list.words), disk)
    };
    assert_eq!(open(&forged(&stored(64, BLOCK))).0.unwrap(), ["abc".repeat(20), "behind".to_string()]);
    for (payload, why) in [
        (stored(63, BLOCK), "more than it claims"),
        (stored(65, BLOCK), "less than it claims"),
        (stored(0, BLOCK), "it claims nothing"),
        (stored(u32::MAX, BLOCK), "the largest claim"),
        (stored(u32::MAX, &[255; 4000]), "the largest claim, with many bytes"),
        (stored(64, &BLOCK[..9]), "cut short"),
        (stored(64, &[0xff; 17]), "a length that goes on"),
        (stored(64, b""), "no block"),
        (b"\x40\0".to_vec(), "no whole raw length"),
        (Vec::new(), "nothing"),
    ] {
        let forge = forged(&payload);
        let (opened, disk) = open(&forge);
        assert!(is_corrupt(&opened, forge.at[1]), "{why}: {opened:?}");
        assert_eq!(disk.storage.snapshot()[&disk.config.chunk_path(ChunkId(0))], forge.bytes);

        let options = WalReader::<Words>::read_only_options(&disk.config.dir);
        let reader = options.storage(Arc::new(disk.storage.clone())).open().unwrap();
        let read: Vec<_> = reader.records().collect();
        assert!(read.len() == 2 && read[0].is_ok() && is_corrupt(&read[1], forge.at[1]), "{why}: {read:?}");
    }
    // A flag where the chunk's header has none.
    let flagged = Forge::chunk(0).checkpoint("").frame(1, 1, &stored(64, BLOCK)).mark();
    let (opened, _) = open(&flagged);
    assert!(
        matches!(opened, Err(Error::Unsupported { what: "frame flags", found: 1, known: 2, .. })),
        "{opened:?}"
    );
}

/// A log opened from its newest chunk has not looked at the frames before it: a read by place does.
#[test]
fn a_read_by_segment_says_why_the_record_can_not_be_read() {
    let read = |old: &Forge| {
        let disk = Disk::default();
        old.put(&disk);
        old.next().checkpoint("").mark().put(&disk);
        let (wal, _) = disk.try_open_with::<List>(Replay::FromLastCheckpoint).unwrap();
        wal.read_record(Segment::new(old.at[1], old.at[2] - old.at[1]))
    };
    let sealed = |bit: u8, flags: u8, payload: &[u8]| {
        Forge::chunk(0).header(12, &[bit]).checkpoint("").flagged(1, flags, payload).action("behind").seal()
    };
    assert_eq!(read(&sealed(1, 1, &stored(64, BLOCK))).unwrap(), action(&"abc".repeat(20)));
    let broken = sealed(1, 1, &stored(65, BLOCK));
    assert!(is_corrupt(&read(&broken), broken.at[1]));
    for (bit, flags, known) in [(0, 1, 2), (1, 4, 3), (1, 8, 3)] {
        let read = read(&sealed(bit, flags, &stored(64, BLOCK)));
        assert!(
            matches!(read, Err(Error::Unsupported { what: "frame flags", found, known: k, .. })
                if (found, k) == (flags.into(), known)),
            "{read:?}"
        );
    }
}

/// The raw records end before the damaged one, where a repair would cut.
#[test]
fn raw_records_end_where_one_can_not_be_decompressed() {
    let dir = tempfile::tempdir().unwrap();
    let forge = forged(b"no block");
    std::fs::write(dir.path().join(ChunkId(0).file_name()), &forge.bytes).unwrap();
    let chunk = RawChunk::open(dir.path(), ChunkId(0)).unwrap();
    let mut records = chunk.records(ChunkPlace::Newest);
    assert!(records.next().unwrap().is_some() && records.end().is_none());
    assert!(records.next().unwrap().is_none() && records.next().unwrap().is_none());
    let Some(ChunkEnd::Damaged(error)) = records.end() else { panic!("{records:?}") };
    assert!(is_corrupt::<()>(&Err(error), forge.at[1]));
    assert_eq!((records.count(), records.sound_end()), (1, forge.at[1]));
}

/// Texts, of which most compress, and so do the checkpoints.
struct AnyText;

impl Subject for AnyText {
    type Types = Texts;
    type StateMachine = Hash;

    fn state_machine(&self) -> Hash {
        Hash::filled_with(" and what was before")
    }

    fn action(&self, n: u64) -> String {
        let n = n as usize;
        match n % 8 {
            0 => String::new(),
            1 | 2 => noise(n, n * 7 % 400),
            3 => text(n, n * 131 % 6000),
            _ => text(n, 40 + n % 400),
        }
    }
}

#[test]
fn every_crash_leaves_a_log_that_opens_with_all_it_promised() {
    let states = std::env::var("CRASH_STATES").map_or(20_000, |n| n.parse().expect("CRASH_STATES"));
    let test = CrashTest::new(AnyText).states(states).config(|config| config.compression = ON);
    let report = test.run().unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report}");
    // For 100 cuts there are about 10 torn tails, for any seed: a third of that shows that torn frames are tested.
    assert!(report.states >= states && report.torn_tails > report.cuts / 30, "{report}");
}
