//! Records that were encoded before they are appended.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use chunked_wal::codeq::Encode;
use chunked_wal::{Encoded, Error, WalRecord};

use crate::common::*;

/// Two logs of spells, which take the same records in two ways.
fn two_logs() -> [(Disk, SpellWal); 2] {
    [(); 2].map(|()| {
        let disk = Disk::with(|config| {
            config.max_record_size = 2000;
            #[cfg(feature = "lz4")]
            {
                config.compression = chunked_wal::Compression::Lz4 { min_len: 0 };
            }
        });
        let wal = disk.options::<Spells>().open(&mut Book::default()).unwrap();
        (disk, wal)
    })
}

#[test]
fn an_encoded_record_is_appended_as_any_other() {
    let [(_, mut plain), (disk, mut encoded)] = two_logs();
    let mut expected = Vec::new();
    for (n, len) in [0, 1, 7, 8, 100, 1900].into_iter().enumerate() {
        let word = "ab".repeat(len / 2) + &n.to_string();
        let record = match n % 2 {
            0 => spell(&word),
            _ => WalRecord::Checkpoint(Spell::new(&word)),
        };
        let one = plain.append(&record).unwrap();
        let ahead = Encoded::new(&record).unwrap();
        let mut payload = Vec::new();
        word.encode(&mut payload).unwrap();
        assert_eq!(ahead.payload(), payload);
        let segment = encoded.append_encoded(&ahead.clone()).unwrap();
        assert_eq!(segment, one, "compressed alike");
        expected.push((segment, record));
    }
    encoded.sync().unwrap();
    for reopen in [false, true] {
        if reopen {
            encoded.close().unwrap();
            encoded = disk.options::<Spells>().open(&mut Book::default()).unwrap();
        }
        for (segment, record) in &expected {
            assert_eq!(encoded.read_record(*segment).unwrap(), *record);
        }
    }
}

#[test]
fn limits_are_those_of_an_append_and_nothing_is_appended_then() {
    let [_, (_, mut wal)] = two_logs();
    let before = wal.progress();
    let large = "x".repeat(2001);
    let action = Encoded::<Spells>::new(&spell(&large)).unwrap();
    assert!(matches!(wal.append_encoded(&action), Err(Error::RecordTooLarge { max: 2000 })));
    let checkpoint = Encoded::<Spells>::new(&WalRecord::Checkpoint(Spell::new(&large))).unwrap();
    assert!(matches!(wal.append_encoded(&checkpoint), Err(Error::CheckpointTooLarge { max: 2000 })));
    assert_eq!(wal.progress(), before);
    let fits = Encoded::new(&spell("fits")).unwrap();
    let segment = wal.append_encoded(&fits).unwrap();
    assert_eq!(segment.offset, before.appended);
}

#[test]
fn a_codec_that_fails_or_lies_is_found_where_it_encodes() {
    let encode = |f: fn(&mut dyn io::Write) -> io::Result<usize>| {
        Encoded::<Spells>::new(&WalRecord::Action(Spell::encoded_by(f))).unwrap_err().to_string()
    };
    assert!(encode(|_| Err(io::Error::other("out of ink"))).contains("out of ink"));
    let lie = encode(|w| w.write_all(b"abc").map(|()| 4));
    assert!(lie.contains("returned 4 bytes but wrote 3"), "{lie}");
    if cfg!(debug_assertions) {
        let unread = encode(|w| w.write_all(&[0xFF; 3]).map(|()| 3));
        assert!(unread.contains("can't read back what it wrote"), "{unread}");
    }
}

#[test]
fn other_threads_encode_and_the_appender_does_not() {
    let [_, (_, mut wal)] = two_logs();
    let encodings = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..4)
        .map(|thread: u64| {
            let encodings = encodings.clone();
            thread::spawn(move || {
                let encode = |n: u64| {
                    let counted = encodings.clone();
                    let word = format!("{thread}-{n}");
                    let spell = Spell::encoded_by(move |w| {
                        counted.fetch_add(1, SeqCst);
                        word.encode(w)
                    });
                    Encoded::<Spells>::new(&WalRecord::Action(spell)).unwrap()
                };
                (0..50).map(encode).collect::<Vec<_>>()
            })
        })
        .collect();
    let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let encoded = encodings.load(SeqCst);
    let segments: Vec<_> = all.iter().map(|record| wal.append_encoded(record).unwrap()).collect();
    assert_eq!(encodings.load(SeqCst), encoded, "only copied");
    assert_eq!(wal.read_record(segments[57]).unwrap(), spell("1-7"));
}
