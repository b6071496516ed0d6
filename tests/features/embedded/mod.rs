//! A log in a region of a program's file: the records it returns, the calls it refuses, the bytes it leaves alone.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod crash;
mod host;

use chunked_wal::embedded::{Checkpoint, CheckpointWhen, EmbeddedReader, EmbeddedWal, Error, Region};
use chunked_wal::storage::{Access, Fault, FaultHow, OpKind};

use crate::common::{crc32c, splitmix64};

use self::host::{Host, PATH, REGION, pending};

fn record(sequence: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| (sequence as usize * 31 + i) as u8).collect()
}

#[test]
fn records_come_back_from_the_stored_checkpoint_on() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    assert_eq!(pending(&wal), []);
    assert_eq!(wal.append(b"one").unwrap(), 1);
    assert_eq!(wal.append_batch(&["two", "", "four"]).unwrap(), 2..5);
    assert_eq!(wal.append_batch::<&[u8]>(&[]).unwrap(), 5..5);
    assert_eq!(host.checkpoint(&mut wal).sequence, 4);
    assert_eq!(pending(&wal), []);
    wal.append(b"five").unwrap();
    let five = [(5, b"five".to_vec())];
    assert_eq!(pending(&wal), five);

    let wal = host.open().unwrap();
    assert_eq!(pending(&wal), five);
    assert_eq!(wal.records_after(5).unwrap().count(), 0);
    assert_eq!(wal.records_after(4).unwrap().count(), 1);
    for sequence in [0, 3, 6, u64::MAX] {
        let error = wal.records_after(sequence).unwrap_err();
        assert!(matches!(error, Error::NotInLog { oldest: 4, newest: 5, .. }), "{error}");
    }
    assert_eq!(wal.stats().pending_records, 1);
    assert_eq!(wal.stats().last_sequence, 5);
}

#[test]
fn a_sync_for_each_append_and_one_for_a_batch() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    host.disk.record(true);
    wal.append(b"a").unwrap();
    wal.append_batch(&["b"; 5]).unwrap();
    let syncs = |log: Vec<String>| log.iter().filter(|line| line.starts_with("sync")).count();
    assert_eq!(syncs(host.disk.take_log()), 2);
    wal.checkpoint().unwrap();
    assert_eq!(wal.checkpoint().unwrap(), wal.checkpoint().unwrap());
    assert_eq!(syncs(host.disk.take_log()), 1, "the same checkpoint costs nothing");
    let mut wal = host.open().unwrap();
    host.disk.take_log();
    wal.append(b"c").unwrap();
    assert_eq!(syncs(host.disk.take_log()), 2, "the epoch's, once");
    wal.append(b"d").unwrap();
    assert_eq!(syncs(host.disk.take_log()), 1);
}

#[test]
fn deferred_records_share_one_sync() {
    let host = Host::new(Region { offset: 1000, len: 16 << 10 });
    let mut wal = host.open().unwrap();
    host.disk.record(true);
    let syncs = || host.disk.take_log().iter().filter(|line| line.starts_with("sync")).count();
    assert_eq!(wal.append_deferred(b"one").unwrap(), 1);
    assert_eq!(wal.append_batch_deferred(&["two", "three"]).unwrap(), 2..4);
    for sequence in 4..104 {
        assert_eq!(wal.append_deferred(&record(sequence, 13)).unwrap(), sequence);
    }
    assert_eq!((syncs(), wal.durable_sequence(), wal.stats().last_sequence), (0, 0, 103));
    assert_eq!(pending(&wal).len(), 103, "readable at once");
    wal.flush().unwrap();
    assert_eq!((syncs(), wal.durable_sequence()), (1, 103));
    wal.flush().unwrap();
    assert_eq!(syncs(), 0, "nothing is left to sync");
    // Whatever syncs next takes them along.
    for (sequence, step) in [(104, 0), (106, 1), (107, 2)] {
        wal.append_deferred(b"x").unwrap();
        match step {
            0 => wal.flush().unwrap(),
            1 => drop(wal.append(b"y").unwrap()),
            _ => drop(host.checkpoint(&mut wal)),
        }
        assert_eq!(wal.durable_sequence(), sequence);
    }
    wal.append_deferred(b"z").unwrap();
    drop(wal);
    let wal = host.open().unwrap();
    assert_eq!((wal.durable_sequence(), pending(&wal)), (108, vec![(108, b"z".to_vec())]));
}

#[test]
fn a_failed_flush_is_final_and_deferred_records_are_not_claimed() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    wal.append(b"one").unwrap();
    wal.append_deferred(b"two").unwrap();
    host.disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    assert!(matches!(wal.flush(), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(wal.flush(), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.append_deferred(b"three"), Err(Error::Poisoned { .. })));
    assert_eq!((wal.durable_sequence(), pending(&wal).len()), (1, 2));
    host.disk.fail(Fault::new(OpKind::Write, 0, FaultHow::Io));
    let mut wal = host.open().unwrap_or_else(|_| host.open().unwrap());
    let before = wal.stats().last_sequence;
    wal.append_deferred(b"more").unwrap();
    host.disk.fail(Fault::new(OpKind::Write, 0, FaultHow::Io));
    assert!(matches!(wal.append_deferred(b"lost"), Err(Error::Io { op: "write", .. })));
    assert_eq!(
        wal.pending().last().unwrap().unwrap(),
        (before + 1, b"more".to_vec()),
        "what was written is there"
    );
}

#[test]
fn the_ring_is_read_back_as_far_as_nothing_was_overwritten() {
    for (offset, len) in [(16, 480), (1000, 1029), (100, 4096)] {
        let host = Host::new(Region { offset, len });
        let mut wal = host.open().unwrap();
        assert_eq!(wal.history().unwrap().count(), 0);
        let (mut sequence, mut longest) = (0, 0);
        for round in 0..400 {
            sequence += 1;
            wal.append(&record(sequence, round * 7 % 50)).unwrap();
            if round % 3 == 0 {
                host.checkpoint(&mut wal);
            }
            if round % 5 == 0 {
                wal = host.open().unwrap();
            }
            let history: Vec<_> = wal.history().unwrap().map(|item| item.unwrap()).collect();
            assert!(history.ends_with(&pending(&wal)));
            assert_eq!(host.read().unwrap().history().unwrap().count(), history.len());
            let first = sequence + 1 - history.len() as u64;
            for (n, (found, bytes)) in history.iter().enumerate() {
                assert_eq!(*found, first + n as u64);
                assert_eq!(*bytes, record(*found, (*found as usize - 1) * 7 % 50));
            }
            // With the frames around them they fill the ring, but for the record that is overwritten in part.
            let frames = |range: std::ops::Range<u64>| -> u64 {
                range.map(|n| 28 + (n - 1) * 7 % 50).map(|len| len.next_multiple_of(8)).sum()
            };
            let checkpoints = history.len() as u64 / 3 + history.len() as u64 / 5 + 3;
            let whole = first == 1 || frames(first - 1..sequence + 1) + 40 * checkpoints >= len - 8;
            assert!(whole, "{first} to {sequence}");
            longest = longest.max(history.len());
        }
        assert!(longest as u64 > len / 150, "{longest}");
    }
}

#[test]
fn damage_before_the_checkpoint_only_shortens_the_history() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    for sequence in 1..7 {
        wal.append(&record(sequence, 20)).unwrap();
    }
    let checkpoint = host.checkpoint(&mut wal);
    wal.append(b"seven").unwrap();
    // After the first checkpoint of 40 bytes, each record has 48.
    host.damage(40 + 2 * 48 + 30);
    let wal = host.open().unwrap();
    assert_eq!(wal.history().unwrap().next().unwrap().unwrap(), (4, record(4, 20)));
    assert_eq!(wal.history().unwrap().count(), 4);
    host.damage(checkpoint.position + 40 + 20);
    assert_eq!(host.open().unwrap().history().unwrap().count(), 3, "the torn end is given up as ever");
}

#[test]
fn records_wrap_at_any_place() {
    for offset in [0, 8, 1000, 4096] {
        let host = Host::new(Region { offset: offset + 16, len: 264 });
        let mut wal = host.open().unwrap();
        let mut sequence = 0;
        // Frames of 32 to 144 bytes, one after another: their borders come to every position.
        for round in 0..500 {
            let len = round * 7 % 117;
            sequence += 1;
            assert_eq!(wal.append(&record(sequence, len)).unwrap(), sequence);
            if round % 3 == 0 {
                wal = host.open().unwrap();
            }
            assert_eq!(pending(&wal), [(sequence, record(sequence, len))], "round {round}");
            host.checkpoint(&mut wal);
        }
        host.assert_rest_untouched();
    }
}

#[test]
fn stale_records_of_earlier_laps_are_no_records() {
    let host = Host::new(Region { offset: 512, len: 320 });
    let mut wal = host.open().unwrap();
    // Equal records at equal places, lap after lap: only their positions differ.
    for _ in 0..40 {
        wal.append(b"the same again").unwrap();
        let checkpoint = host.checkpoint(&mut wal);
        let wal = host.open().unwrap();
        assert_eq!(pending(&wal), []);
        assert_eq!(wal.stats().checkpoint, checkpoint);
    }
    assert!(host.stored().position > 3 * 320, "no lap was made");
}

#[test]
fn a_full_region_loses_nothing_and_has_room_for_a_checkpoint() {
    for len in [152, 160, 200, 1029, 4096] {
        let host = Host::new(Region { offset: 100, len });
        for size in [0, 1, 4, 13, 100] {
            let mut wal = host.open().unwrap();
            let before = wal.stats();
            let mut appended = Vec::new();
            let error = loop {
                let bytes = record(before.last_sequence + 1 + appended.len() as u64, size);
                match wal.append(&bytes) {
                    Ok(sequence) => appended.push((sequence, bytes)),
                    Err(error) => break error,
                }
                assert!(appended.len() < 1000);
            };
            match error {
                Error::RegionFull { needed, free } => assert!(needed > free, "{needed} {free}"),
                Error::RecordTooLarge { needed, max } => {
                    assert!(needed > max && max == wal.stats().batch_max && appended.is_empty());
                    continue;
                }
                other => panic!("{other}"),
            }
            assert_eq!(pending(&wal), appended);
            // Full, and opened again and again: nothing is lost, nothing more is taken.
            for _ in 0..3 {
                wal = host.open().unwrap();
                assert_eq!(pending(&wal), appended);
                assert!(matches!(wal.append(&record(0, size)), Err(Error::RegionFull { .. })));
            }
            let checkpoint = wal.checkpoint().unwrap();
            assert!(matches!(wal.append(b""), Err(Error::RegionFull { .. })), "it is not stored yet");
            assert_eq!(pending(&host.open().unwrap()), appended);
            host.store(checkpoint).unwrap();
            wal.checkpoint_stored(checkpoint).unwrap();
            assert_eq!(pending(&wal), []);
            wal.append(&record(0, size)).unwrap();
            host.checkpoint(&mut wal);
        }
        host.assert_rest_untouched();
    }
}

#[test]
fn the_largest_record_always_fits_the_empty_region_and_a_larger_one_never() {
    for len in [152, 160, 1024, 5000] {
        let host = Host::new(Region { offset: 16, len });
        for opens in 0..4 {
            let mut wal = host.open().unwrap();
            let largest = (wal.stats().batch_max - 28) as usize;
            for too_large in [largest + 1, len as usize, 2 * len as usize] {
                let error = wal.append(&record(0, too_large)).unwrap_err();
                assert!(matches!(error, Error::RecordTooLarge { .. }), "{error}");
            }
            let half = largest / 2 + 8;
            let error = wal.append_batch(&[record(0, half), record(0, half)]).unwrap_err();
            assert!(matches!(error, Error::RecordTooLarge { .. }), "{error}");
            let sequence = wal.append(&record(opens, largest)).unwrap();
            assert_eq!(pending(&wal), [(sequence, record(opens, largest))]);
            host.checkpoint(&mut wal);
        }
    }
}

#[test]
fn regions_that_cannot_be_are_refused() {
    let host = Host::new(REGION);
    let open = |offset, len| {
        EmbeddedWal::open(host.file(Access::ReadWrite), Region { offset, len }, Checkpoint::default())
    };
    for (offset, len) in [(1000, 0), (1000, 151), (1000, 5000), (u64::MAX, 200), (200, u64::MAX), (9999, 200)]
    {
        let error = open(offset, len).unwrap_err();
        assert!(matches!(error, Error::InvalidRegion { len_min: 152, .. }), "{error}");
    }
}

#[test]
fn a_checkpoint_that_points_nowhere_is_named() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    let mut known = vec![Checkpoint::default()];
    for sequence in 1..=4 {
        wal.append(&record(sequence, 20)).unwrap();
        known.push(wal.checkpoint().unwrap());
    }
    let open = |checkpoint| EmbeddedWal::open(host.file(Access::ReadWrite), REGION, checkpoint);
    let before = host.disk.read_file(PATH);
    for position in (0..2048).chain([u64::MAX, u64::MAX - 7, 1 << 62, 1 << 63]) {
        for sequence in [0, 1, 2, 3, 4, 5, u64::MAX] {
            let checkpoint = Checkpoint { position, sequence };
            if known.contains(&checkpoint) {
                continue;
            }
            let error = open(checkpoint).unwrap_err();
            let named = matches!(error, Error::NotACheckpoint { position: p, sequence: s, .. }
                if (p, s) == (position, sequence));
            assert!(named && error.to_string().contains(&position.to_string()), "{error}");
        }
    }
    // Too late: what it covers is overwritten, by a lap.
    while wal.stats().last_sequence < 80 {
        host.checkpoint(&mut wal);
        wal.append(&record(1, 20)).unwrap();
    }
    for checkpoint in known {
        assert!(matches!(open(checkpoint), Err(Error::NotACheckpoint { .. })), "{checkpoint:?}");
        let error = wal.checkpoint_stored(checkpoint).unwrap_err();
        assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}");
    }
    assert_ne!(host.disk.read_file(PATH), before);
}

#[test]
fn a_region_that_is_neither_zeros_nor_a_log_is_not_taken() {
    let host = Host::new(Region { offset: 1000, len: 8000 });
    for position in [4096 - 1000, 5000, 7999] {
        host.damage(position);
        let before = host.disk.read_file(PATH);
        let error = host.open().unwrap_err();
        assert!(matches!(error, Error::NotACheckpoint { position: 0, .. }), "{error}");
        assert_eq!(host.disk.read_file(PATH), before);
        host.damage(position);
    }
    // Nothing was acknowledged where a crash has left old bytes of the disk in the file's first block.
    for position in (0..4096 - 1000).step_by(7) {
        host.damage(position);
    }
    drop(host.open().unwrap());
    // A log whose first checkpoint is damaged is no new log.
    host.open().unwrap().append(b"dear").unwrap();
    host.damage(17);
    assert!(matches!(host.open(), Err(Error::NotACheckpoint { .. })));
}

#[test]
fn damage_to_proven_bytes_is_reported_and_nothing_is_changed() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    for sequence in 1..=30 {
        wal.append(&record(sequence, 33)).unwrap();
        if sequence % 10 == 0 && sequence < 30 {
            host.checkpoint(&mut wal);
        }
    }
    let start = host.stored().position;
    let end = start + wal.stats().used;
    let last = end - 64;
    for position in start..end {
        host.damage(position);
        let before = host.disk.read_file(PATH);
        let opened = host.open();
        match opened {
            Err(Error::NotACheckpoint { position: at, .. }) => assert!(at == start && position < start + 40),
            Err(Error::Corrupt { position: at, file_offset, .. }) => {
                assert!(at <= position && position < at + 64 && position < last, "{at} {position}");
                assert_eq!(file_offset, 1000 + at % 1024);
            }
            // No later frame proves the last one.
            Ok(wal) => assert!(position >= last && wal.stats().last_sequence == 29, "{position}"),
            Err(other) => panic!("{other}"),
        }
        if position < last {
            assert_eq!(host.disk.read_file(PATH), before);
            assert!(host.read().is_err());
            let error = wal.pending().find_map(Result::err);
            let damaged = matches!(error, Some(Error::Corrupt { .. }));
            assert_eq!(damaged, position >= start + 40 || error.is_some(), "{position}");
        }
        host.damage(position);
    }
    assert_eq!(pending(&host.open().unwrap()).len(), 10);
}

#[test]
fn a_checkpoint_proves_all_before_it() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    wal.append(&record(1, 50)).unwrap();
    wal.checkpoint().unwrap();
    host.damage(70);
    assert!(matches!(host.open(), Err(Error::Corrupt { position: 40, .. })));
}

#[test]
fn the_first_failure_is_final() {
    for kind in [OpKind::Write, OpKind::Sync] {
        for how in [FaultHow::Io, FaultHow::NoSpace, FaultHow::DoneButIo, FaultHow::SyncLies] {
            if (kind, how) == (OpKind::Write, FaultHow::SyncLies) {
                continue;
            }
            let host = Host::new(REGION);
            let mut wal = host.open().unwrap();
            wal.append(b"kept").unwrap();
            host.disk.fail(Fault::new(kind, 0, how));
            assert!(matches!(wal.append(b"perhaps"), Err(Error::Io { .. })));
            assert!(matches!(wal.append(b"no more"), Err(Error::Poisoned { .. })));
            assert!(matches!(wal.checkpoint(), Err(Error::Poisoned { .. })));
            assert_eq!(pending(&wal), [(1, b"kept".to_vec())]);
            let mut wal = host.open().unwrap();
            let found = pending(&wal);
            assert_eq!(found[0], (1, b"kept".to_vec()));
            assert!(found.len() == 1 || found[1..] == [(2, b"perhaps".to_vec())]);
            // Records that were returned are kept, even if the page cache had called them clean.
            let keeps = |expected: &[(u64, Vec<u8>)]| {
                for seed in 0..24 {
                    assert_eq!(pending(&host.on(host.disk.crash(seed)).open().unwrap()), expected);
                }
            };
            keeps(&found);
            wal.append(b"more").unwrap();
            keeps(&pending(&wal));
        }
    }
}

#[test]
fn short_and_interrupted_writes_are_no_failures() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    for nth in 0..20 {
        host.disk.fail(Fault::new(OpKind::Write, nth % 3, FaultHow::Short(nth as usize % 7 + 1)));
        host.disk.fail(Fault::new(OpKind::Write, 0, FaultHow::Interrupted));
        wal.append(&record(nth, 40)).unwrap();
        assert_eq!(pending(&host.open().unwrap()).last().unwrap().1, record(nth, 40));
        host.checkpoint(&mut wal);
    }
}

#[test]
fn a_reader_writes_nothing() {
    let host = Host::new(REGION);
    assert_eq!(host.read().unwrap().stats().last_sequence, 0);
    host.open().unwrap().append_batch(&["a", "b"]).unwrap();
    let operations = host.disk.operations();
    let reader = host.read().unwrap();
    assert_eq!(reader.pending().count(), 2);
    assert_eq!(reader.records_after(1).unwrap().count(), 1);
    assert_eq!(reader.stats().pending_records, 2);
    assert_eq!(host.disk.operations(), operations);
}

#[test]
fn it_is_time_for_a_checkpoint_by_occupancy_or_count() {
    let host = Host::new(REGION);
    let mut wal = host.open().unwrap();
    assert!(!wal.should_checkpoint());
    wal.append(&record(1, 400)).unwrap();
    assert!(!wal.should_checkpoint());
    wal.append(&record(2, 100)).unwrap();
    assert!(wal.should_checkpoint(), "half full");
    let checkpoint = wal.checkpoint().unwrap();
    assert!(wal.should_checkpoint(), "not stored yet");
    assert_eq!(wal.stats().checkpoints_not_stored, 1);
    wal.checkpoint_stored(checkpoint).unwrap();
    assert!(!wal.should_checkpoint());
    assert_eq!(wal.stats().used, 40);

    wal.set_checkpoint_when(CheckpointWhen { used_percent: 100, pending_records: 3 });
    wal.append_batch(&["a", "b"]).unwrap();
    assert!(!wal.should_checkpoint());
    wal.append(b"c").unwrap();
    assert!(wal.should_checkpoint());
}

/// On a real file, through a [`std::fs::File`].
#[test]
fn a_real_file_will_do() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(100_000).unwrap();
    let region = Region { offset: 777, len: 60_001 };
    let mut wal = EmbeddedWal::open(file.try_clone().unwrap(), region, Checkpoint::default()).unwrap();
    let mut checkpoint = Checkpoint::default();
    for sequence in 1..200 {
        wal.append(&record(sequence, 3000)).unwrap();
        if wal.should_checkpoint() {
            checkpoint = wal.checkpoint().unwrap();
            wal.checkpoint_stored(checkpoint).unwrap();
        }
    }
    let reader = EmbeddedReader::open(file, region, checkpoint).unwrap();
    assert_eq!(reader.stats(), wal.stats());
    assert!(reader.pending().all(|item| item.is_ok_and(|(n, bytes)| bytes == record(n, 3000))));
}

/// The field `check` of a sync mark, by the format's page.
fn check_of_mark(salt: u64, position: u64) -> u32 {
    let [fields_factor, offset_factor, addend] = [1, 2, 3].map(|n| splitmix64(salt, n));
    let fields = (4u64 << 32).wrapping_mul(fields_factor | 1);
    let sum = fields.wrapping_add(position.wrapping_mul(offset_factor | 1)).wrapping_add(addend);
    (sum >> 32) as u32
}

/// A sync mark for a position of a ring with this salt, by the format's page.
fn mark(position: u64, salt: u64) -> [u8; 16] {
    let mut frame = [0; 16];
    frame[8] = 4;
    frame[12..].copy_from_slice(&check_of_mark(salt, position).to_le_bytes());
    let crc = crc32c(&[&(salt ^ position).to_le_bytes(), &frame]);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
    frame
}

#[test]
fn a_record_that_spells_a_mark_for_the_next_lap_proves_nothing() {
    let region = Region { offset: 512, len: 4096 };
    let host = Host::new(region);
    let mut wal = host.open().unwrap();
    let guess = splitmix64(u64::from_le_bytes(*b"CHNKRING"), region.len);
    for _ in 0..3 * 4096 / 48 {
        // The record's frame is at the end, its bytes 28 after that.
        let at = wal.stats().checkpoint.position + wal.stats().used;
        let record = [&[0; 4][..], &mark(at + 32 + region.len, guess)].concat();
        wal.append(&record).unwrap();
        host.checkpoint(&mut wal);
        let wal = host.open().unwrap_or_else(|error| panic!("at {at}: {error}"));
        assert_eq!(pending(&wal), []);
    }
}
