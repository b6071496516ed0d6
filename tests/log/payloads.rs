//! No payload keeps a log from opening: neither data that looks like headers by chance, nor frames forged by an
//! attacker who knows everything but the salt.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Config, Error, Flush, WalRecord};

use crate::common::*;

const CHUNK: u64 = 256 << 10;

type Bytes = Vec<u8>;

struct Log {
    storage: MemoryStorage,
    config: Config,
}

impl Log {
    fn new() -> Self {
        let mut config = Config::new("/log");
        config.chunk_max_size = CHUNK;
        config.spare_chunks = 1;
        Log { storage: MemoryStorage::default(), config }
    }

    fn open(&self) -> Result<(ChunkedWal<LogOf<Bytes>>, Applied<Bytes>), Error> {
        let mut kept = Applied::default();
        let options = ChunkedWal::options(self.config.clone()).storage(Arc::new(self.storage.clone()));
        Ok((options.open(&mut kept)?, kept))
    }

    /// Fills two chunks with `record`, removes them, and starts a third in a reused file.
    fn fill_and_reuse(&self, record: &[u8]) {
        let (mut wal, mut kept) = self.open().unwrap();
        for _ in 0..2 {
            while !wal.is_open_chunk_full() {
                wal.append(&WalRecord::Action(record.to_vec())).unwrap();
            }
            wal.close_open_chunk(&kept).unwrap();
            let drained = wal.drain_closed_chunks_while(|_| true);
            wal.remove_chunks(drained).unwrap();
            wal.wait_idle().unwrap();
        }
        wal.append_and_apply(b"last".to_vec(), &mut kept).unwrap();
        wal.close().unwrap();
    }
}

/// Waits until everything is written to the operating system.
fn write_all(wal: &mut ChunkedWal<LogOf<Bytes>>) {
    wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
}

/// Payloads of 4 KiB that read as headers of half a chunk at every second word: a repeated word, an edge
/// list with small ids, small integers, text.
fn ordinary() -> Vec<(&'static str, Vec<u8>)> {
    let words = |f: fn(u64) -> u64| (0..512).flat_map(|i| f(i).to_le_bytes()).collect::<Vec<u8>>();
    vec![
        ("a repeated word", words(|_| ((CHUNK / 2) << 32) | 1)),
        ("an edge list", words(|i| ((CHUNK / 4 + i * 97) << 32) | (1 + i % 2))),
        ("small integers", words(|i| i)),
        ("ones", vec![0xFF; 4096]),
        ("text", b"the quick brown fox ".repeat(205)),
    ]
}

#[test]
fn ordinary_data_never_locks_a_user_out() {
    for (name, record) in ordinary() {
        for shift in 0..8 {
            let record = [&vec![0; shift][..], &record].concat();
            let log = Log::new();
            log.fill_and_reuse(&record);
            let (wal, kept) = log.open().unwrap_or_else(|error| panic!("{name} shifted by {shift}: {error}"));
            assert_eq!(kept.actions, [b"last".to_vec()], "{name}");
            assert!(wal.recovery().torn_tail.is_none(), "{name}: {:?}", wal.recovery().torn_tail);
        }
    }
}

#[test]
fn a_large_record_that_lost_its_first_sector_is_torn() {
    for (name, record) in ordinary() {
        let log = Log::new();
        let (mut wal, mut kept) = log.open().unwrap();
        wal.append_and_apply(b"kept".to_vec(), &mut kept).unwrap();
        wal.sync().unwrap();
        let large = record.repeat(50);
        let segment = wal.append(&WalRecord::Action(large)).unwrap();
        write_all(&mut wal);
        let at = segment.offset as usize;
        let path = log.config.chunk_path(wal.open_chunk_id());
        let mut bytes = log.storage.kill().read_file(&path).unwrap();
        bytes[at..at.next_multiple_of(512)].fill(0);
        wal.close().unwrap();
        let after = Log::new();
        after.storage.write_file(&path, &bytes).unwrap();
        let (wal, kept) = after.open().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(kept.actions, [b"kept".to_vec()], "{name}");
        assert!(wal.recovery().torn_tail.is_some());
    }
}

/// Frames for every place that the attacker may hope for, with salts that can be guessed: whole records that claim that
/// all is durable, marks, seals.
fn forged(chunk: u64, start: u64, salt: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < 4096 {
        for kind in [1, 4, 3] {
            let payload: &[u8] = if kind == 1 {
                b"forged"
            } else if kind == 3 {
                &[7; 24]
            } else {
                b""
            };
            let mut forge = Forge::chunk(chunk).header(24, &salt.to_le_bytes());
            let at = start + bytes.len() as u64;
            forge.bytes.resize((at - chunk) as usize, 0);
            forge.synced = at;
            bytes.extend(&forge.frame(kind, 0, payload).bytes[(at - chunk) as usize..]);
        }
    }
    bytes
}

#[test]
fn forged_frames_in_payloads_are_payloads() {
    for torn in [false, true] {
        for shift in [0, 4, 8, 12] {
            let log = Log::new();
            let (mut wal, mut kept) = log.open().unwrap();
            let (mut expected, mut eleventh) = (Vec::new(), 0);
            for i in 0..20 {
                // The next record starts here, and its data 20 bytes later.
                let end = wal.last_segment().offset + wal.last_segment().size;
                let salt = [0, !0, end, 0x0123_4567_89AB_CDEF][i % 4];
                let record = [&vec![0; shift][..], &forged(wal.open_chunk_id().0, end + 24, salt)].concat();
                let segment = wal.append_and_apply(record.clone(), &mut kept).unwrap();
                expected.push(record);
                if i == 10 {
                    eleventh = segment.offset as usize;
                }
                if i == 9 {
                    wal.sync().unwrap();
                }
            }
            write_all(&mut wal);
            let path = log.config.chunk_path(wal.open_chunk_id());
            let mut bytes = log.storage.kill().read_file(&path).unwrap();
            wal.close().unwrap();
            if torn {
                // The first unsynced record is lost, and with it all later ones.
                bytes[eleventh..eleventh + 600].fill(0);
            }
            let after = Log::new();
            after.storage.write_file(&path, &bytes).unwrap();
            let (_, kept) = after.open().unwrap_or_else(|error| panic!("shifted by {shift}: {error}"));
            assert!(kept.actions.len() >= if torn { 10 } else { 20 });
            assert_eq!(kept.actions, expected[..kept.actions.len()]);
        }
    }
}
