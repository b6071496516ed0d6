//! Actions that are slices of the log's read buffers: they stay what they were, however the log is read, and share
//! memory where they were read together.
#![cfg(feature = "bytes")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::io;
use std::path::Path;

use bytes::Bytes;
use chunked_wal::raw::void_record_on;
use chunked_wal::{
    Batch, BytesPayload, ChunkId, ChunkedWal, Error, PayloadRef, ReadUpTo, Segment, StateMachine, WalReader,
    WalRecord, WalTypes,
};

use crate::common::{Disk, SharedBytes as Shared};

/// Keeps every action.
#[derive(Default)]
struct Kept(Vec<(Segment, Bytes)>);

impl Kept {
    fn put(&mut self, segment: Segment, record: &WalRecord<Shared>) {
        if let WalRecord::Action(action) = record {
            self.0.push((segment, action.0.clone()));
        }
    }
}

impl StateMachine<Shared> for Kept {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Shared>, _: ChunkId, segment: Segment) -> Result<(), Infallible> {
        self.put(segment, record);
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.0.len() as u64
    }
}

const READ_BUFFER: usize = 512;

/// A disk on which reads are short, with chunks that take many reads.
fn disk() -> Disk {
    Disk::with(|config| {
        config.chunk_max_size = 20_000;
        config.read_buffer_size = READ_BUFFER as u64;
    })
}

/// The payload of the `n`th record: mostly short, empty now and then, some larger than the read buffer.
fn payload(n: usize) -> Vec<u8> {
    let len = if n % 37 == 36 { 1500 + n } else { n * 7 % 90 };
    (0..len).map(|at| (n + at * (at / 3)) as u8).collect()
}

/// Appends `count` records, some in batches.
fn append(wal: &mut ChunkedWal<Shared>, kept: &mut Kept, count: usize) {
    let mut batch = Batch::new();
    for n in 0..count {
        if n % 20 < 15 {
            wal.append_and_apply(payload(n).into(), kept).unwrap();
            continue;
        }
        batch.action(payload(n).into());
        if n % 20 == 19 {
            let segments = wal.append_batch(&batch).unwrap();
            for (segment, record) in segments.into_iter().zip(batch.records()) {
                kept.put(segment, record);
            }
            batch.clear();
        }
    }
}

fn segments(kept: &Kept) -> Vec<Segment> {
    kept.0.iter().map(|(segment, _)| *segment).collect()
}

/// Checks that these are the records with the given numbers, in order.
fn check(kept: &Kept, numbers: impl Iterator<Item = usize>) {
    let expected: Vec<_> = numbers.map(payload).collect();
    let found: Vec<_> = kept.0.iter().map(|(_, bytes)| bytes.to_vec()).collect();
    assert_eq!(found, expected);
}

/// How many of the payloads are as far from the one before in memory as they are in the log.
fn neighbors(kept: &Kept) -> usize {
    let is_next = |pair: &&[(Segment, Bytes)]| {
        let [(first, a), (second, b)] = pair else { return false };
        let in_memory = (b.as_ptr() as usize).wrapping_sub(a.as_ptr() as usize);
        !a.is_empty() && !b.is_empty() && in_memory as u64 == second.offset - first.offset
    };
    kept.0.windows(2).filter(is_next).count()
}

fn read_all(records: impl Iterator<Item = Result<(ChunkId, Segment, WalRecord<Shared>), Error>>) -> Kept {
    let mut kept = Kept::default();
    for record in records {
        let (_, segment, record) = record.unwrap();
        kept.put(segment, &record);
    }
    kept
}

#[test]
fn slices_stay_what_they_were_in_every_way_of_reading() {
    let disk = disk();
    let mut appended = Kept::default();
    let mut wal = disk.options::<Shared>().open(&mut appended).unwrap();
    append(&mut wal, &mut appended, 600);
    wal.sync().unwrap();

    let mut followed = Kept::default();
    let mut follow = wal.reader().follow(wal.reader().start()).up_to(ReadUpTo::Durable);
    while let Some((_, segment, record)) = follow.next_timeout(std::time::Duration::ZERO).unwrap() {
        followed.put(segment, &record);
    }
    let records = read_all(wal.records());
    let mut singly = Kept::default();
    for segment in segments(&appended) {
        singly.put(segment, &wal.read_record(segment).unwrap());
    }
    wal.close().unwrap();
    let mut replayed = Kept::default();
    drop(disk.options::<Shared>().open(&mut replayed).unwrap());
    let storage = std::sync::Arc::new(disk.storage.clone());
    let options = WalReader::<Shared>::read_only_options("/log").storage(storage);
    let in_directory = read_all(options.open().unwrap().records());

    for (how, kept, shares) in [
        ("followed", followed, true),
        ("by `records`", records, true),
        ("singly", singly, false),
        ("replayed", replayed, true),
        ("in the directory", in_directory, true),
    ] {
        check(&kept, 0..600);
        assert_eq!(segments(&kept), segments(&appended), "{how}");
        let neighbors = neighbors(&kept);
        assert_eq!(neighbors > 300, shares, "{how}: {neighbors} share a buffer with the record before");
    }
}

#[test]
fn a_codec_that_copies_shares_nothing_and_reads_the_same() {
    #[derive(Debug)]
    struct Copied;
    impl WalTypes for Copied {
        type Action = BytesPayload;
        type Checkpoint = u64;
        type Callback = ();
    }
    let disk = disk();
    let mut appended = Kept::default();
    let mut wal = disk.options::<Shared>().open(&mut appended).unwrap();
    append(&mut wal, &mut appended, 100);
    wal.close().unwrap();

    struct Copies(Vec<Bytes>);
    impl StateMachine<Copied> for Copies {
        type Error = Infallible;
        fn apply(&mut self, record: &WalRecord<Copied>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
            if let WalRecord::Action(action) = record {
                self.0.push(action.0.clone());
            }
            Ok(())
        }
        fn checkpoint(&self) -> u64 {
            0
        }
    }
    let mut copies = Copies(Vec::new());
    drop(disk.options::<Copied>().open(&mut copies).unwrap());
    assert!(copies.0.iter().eq((0..100).map(payload).collect::<Vec<_>>().iter()));
}

#[test]
fn a_large_record_that_is_read_alone_is_not_copied() {
    let disk = Disk::with(|config| config.chunk_max_size = 1 << 20);
    let mut wal = disk.options::<Shared>().open(&mut Kept::default()).unwrap();
    let large: Vec<u8> = (0..200_000_u32).map(|i| (i ^ i >> 7) as u8).collect();
    let segment = wal.append(&WalRecord::Action(large.clone().into())).unwrap();
    wal.append(&WalRecord::Action(vec![9; 100_000].into())).unwrap();
    let WalRecord::Action(read) = wal.read_record(segment).unwrap() else { panic!("an action") };
    assert_eq!(read, large.into());
}

#[test]
fn a_void_in_between_is_passed_over() {
    let disk = disk();
    let mut appended = Kept::default();
    let mut wal = disk.options::<Shared>().open(&mut appended).unwrap();
    for n in 1..40 {
        wal.append_and_apply(payload(n).into(), &mut appended).unwrap();
    }
    wal.close().unwrap();
    let (voided, _) = appended.0[9];
    void_record_on(&disk.storage, &Path::new("/log").join(ChunkId(0).file_name()), voided.offset).unwrap();
    let mut replayed = Kept::default();
    drop(disk.options::<Shared>().open(&mut replayed).unwrap());
    check(&replayed, (1..40).filter(|n| *n != 10));
}

#[cfg(feature = "lz4")]
#[test]
fn a_compressed_payload_has_memory_of_its_own() {
    let mut disk = disk();
    disk.config.compression = chunked_wal::Compression::Lz4 { min_len: 0 };
    let mut appended = Kept::default();
    let mut wal = disk.options::<Shared>().open(&mut appended).unwrap();
    let payloads: Vec<_> = (0..60_u8).map(|n| vec![n; 100 + usize::from(n) * 5]).collect();
    for payload in &payloads {
        wal.append_and_apply(payload.clone().into(), &mut appended).unwrap();
    }
    wal.close().unwrap();
    let mut replayed = Kept::default();
    let wal = disk.options::<Shared>().open(&mut replayed).unwrap();
    for kept in [&replayed, &read_all(wal.records())] {
        assert!(kept.0.iter().map(|(_, bytes)| bytes).eq(payloads.iter()));
        assert_eq!(neighbors(kept), 0);
    }
}

#[test]
fn a_payload_is_divided_and_decoded_in_parts() {
    let bytes = [0, 0, 0, 0, 0, 0, 0, 5, b'a', b'b'];
    let payload = PayloadRef::from(&bytes[..]);
    assert!(payload.split_at_checked(11).is_none());
    let (head, rest) = payload.split_at_checked(8).unwrap();
    assert_eq!(head.decode::<u64>().unwrap(), 5);
    assert_eq!(rest.share(), "ab");
    assert_eq!(payload.split_at_checked(10).unwrap().1.share(), "");
    assert_eq!(payload.decode::<u64>().unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(rest.decode::<u64>().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

/// What a large record or batch needed is not what a later slice keeps alive.
#[test]
fn a_slice_keeps_no_memory_that_an_earlier_large_record_needed() {
    const SMALL: [u8; 100] = [2; 100];
    const LAST: [u8; 11] = [3; 11];
    struct Last(Option<Bytes>);
    impl StateMachine<Shared> for Last {
        type Error = Infallible;

        fn apply(&mut self, record: &WalRecord<Shared>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
            if let WalRecord::Action(action) = record
                && action.0[..] == LAST
            {
                self.0 = Some(action.0.clone());
            }
            Ok(())
        }

        fn checkpoint(&self) -> u64 {
            0
        }
    }
    for is_batch in [false, true] {
        let disk = Disk::with(|config| config.read_buffer_size = 4096);
        let mut wal = disk.options::<Shared>().open(&mut Last(None)).unwrap();
        let append_small = |wal: &mut ChunkedWal<Shared>| {
            for _ in 0..1000 {
                wal.append(&WalRecord::Action(SMALL.to_vec().into())).unwrap();
            }
        };
        append_small(&mut wal);
        if is_batch {
            wal.append_batch(&Batch::of((0..500).map(|_| vec![1; 2000].into()))).unwrap();
        } else {
            wal.append(&WalRecord::Action(vec![1; 1 << 20].into())).unwrap();
        }
        append_small(&mut wal);
        wal.append(&WalRecord::Action(LAST.to_vec().into())).unwrap();
        wal.close().unwrap();
        let mut last = Last(None);
        drop(disk.options::<Shared>().open(&mut last).unwrap());
        let memory = last.0.unwrap().try_into_mut().unwrap();
        assert!(memory.capacity() <= 2 * 4096, "{} bytes of memory are kept", memory.capacity());
    }
}
