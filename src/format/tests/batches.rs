//! Batches: all of their records or none, at every cut, flip and size of the window.

use super::*;
use crate::error::{Damage, Proof};

/// A chunk with the checkpoint, a single record, and a batch of four; the offset of the batch.
fn with_batch(features: u32) -> (Chunk, u64) {
    let mut chunk = Chunk::new(header(4096, features));
    chunk.action(b"single", 0);
    let begin = chunk.more(b"first", 0);
    chunk.more(&[2; 300], 0);
    chunk.more(b"", 0);
    chunk.action(b"the last", 0);
    (chunk, begin)
}

fn offsets(seen: &Seen) -> Vec<u64> {
    seen.records.iter().map(|record| record.offset).collect()
}

#[test]
fn a_whole_batch_is_records_like_others() {
    for features in [0, FEATURE_EARLIER_LIFE] {
        let (mut chunk, _) = with_batch(features);
        chunk.more(b"two", 0);
        chunk.action(b"batches", 0);
        chunk.mark();
        for buffer in [0, 77, 4096] {
            let seen = scan_all(&chunk.bytes[..], &chunk.header, false, buffer);
            assert_eq!(seen.records, chunk.records);
            assert!(matches!(seen.end, ScanEnd::Clean { .. }), "{:?}", seen.end);
        }
    }
}

#[test]
fn of_a_batch_that_is_cut_anywhere_nothing_is_returned() {
    for features in [0, FEATURE_EARLIER_LIFE] {
        let (whole, begin) = with_batch(features);
        for len in whole.at(begin) + 1..whole.bytes.len() {
            for zeros in [0, 64] {
                let mut chunk = whole.clone();
                chunk.bytes.truncate(len);
                chunk.zeros(zeros);
                let seen = chunk.scan();
                assert_eq!(seen.records, whole.records[..2], "{len}");
                // Less than a header looks like old bytes, where there may be some.
                let seen_lost = features == 0 || len >= whole.at(begin) + 16;
                let torn = matches!(seen.end, ScanEnd::Torn { data_end, lost }
                    if data_end == begin && (lost > 0) == seen_lost);
                assert!(torn, "{len}: {:?}", seen.end);
            }
        }
    }
}

#[test]
fn of_a_batch_with_a_flipped_bit_nothing_is_returned() {
    let (whole, begin) = with_batch(0);
    for at in whole.at(begin)..whole.bytes.len() {
        let mut chunk = whole.clone();
        chunk.flip(4096 + at as u64, at % 8);
        let seen = chunk.scan();
        assert_eq!(seen.records, whole.records[..2], "{at}");
        assert!(matches!(seen.end, ScanEnd::Torn { data_end, .. } if data_end == begin), "{at}");
    }
}

#[test]
fn a_later_frame_proves_damage_in_a_batch_where_it_is() {
    let (mut chunk, _) = with_batch(0);
    let hit = chunk.records[3].offset;
    chunk.action(b"later", chunk.end());
    chunk.flip(hit + 20, 1);
    let later = chunk.records[6].offset;
    let proof = Proof::LaterFrame { offset: later, synced: later };
    let seen = chunk.scan();
    assert_eq!(seen.end, ScanEnd::Corrupt { at: hit, damage: Damage::FrameChecksum, proof });
    assert_eq!(seen.records.len(), 2);
}

#[test]
fn a_seal_or_a_mark_after_part_of_a_batch_is_damage() {
    let mut chunk = Chunk::new(header(4096, 0));
    chunk.more(b"first", 0);
    let mut marked = chunk.clone();
    let offset = marked.mark();
    let (at, damage) = (offset, Damage::BatchCutShort);
    let corrupt = |proof| ScanEnd::Corrupt { at, damage, proof };
    assert_eq!(marked.scan().end, corrupt(Proof::SyncMark { offset }));
    chunk.seal();
    for successor in [false, true] {
        let seen = scan_all(&chunk.bytes[..], &chunk.header, successor, 128);
        assert_eq!((seen.end, seen.records.len()), (corrupt(Proof::Seal { offset }), 1));
    }
}

#[test]
fn no_chunk_starts_with_a_batch() {
    let header = header(4096, 0);
    let mut bytes = header.encode().to_vec();
    let raw = Raw { kind: CHECKPOINT, flags: FLAG_MORE, unsynced: 0, salt: SALT, offset: 4096 + 64 };
    bytes.extend(raw_frame(raw, b""));
    let seen = scan_all(&bytes[..], &header, false, 128);
    let (at, damage, proof) = (4096 + 64, Damage::FirstFrameKind, Proof::FinalName);
    assert_eq!(seen.end, ScanEnd::Corrupt { at, damage, proof });
}

#[test]
fn a_voided_record_keeps_its_place_in_the_batch() {
    for voided in 2..6 {
        let (mut chunk, begin) = with_batch(0);
        let Record { offset, size, .. } = chunk.records[voided];
        let at = chunk.at(offset);
        let frame = chunk.bytes[at..at + size as usize].to_vec();
        let Some(void) = void_frame(&frame, offset, &Salt::new(SALT)) else {
            assert_eq!(size, 16, "the record without payload");
            continue;
        };
        chunk.bytes[at..at + size as usize].copy_from_slice(&void);
        let expected: Vec<u64> = chunk.records.iter().map(|r| r.offset).filter(|o| *o != offset).collect();
        assert_eq!(offsets(&chunk.scan()), expected);
        chunk.bytes.truncate(chunk.bytes.len() - 8);
        let seen = chunk.scan();
        // A void as the first frame of the batch says no more than that it is passed over.
        let end = if voided == 2 { begin + size } else { begin };
        assert!(matches!(seen.end, ScanEnd::Torn { data_end, .. } if data_end == end), "{voided} {seen:?}");
    }
}

#[test]
fn a_large_batch_is_read_twice_at_most_and_a_small_one_once() {
    for (records, reads_max) in [(20, 1), (400, 2)] {
        let mut chunk = Chunk::new(header(4096, 0));
        for _ in 0..4 {
            for _ in 0..records {
                chunk.more(&[7; 84], 0);
            }
            chunk.action(b"last", 0);
        }
        chunk.seal();
        let disk = Disk::new(&chunk.bytes);
        let seen = scan_all(&disk, &chunk.header, false, 4096);
        assert_eq!(seen.records, chunk.records);
        let once = chunk.bytes.len().div_ceil(4096);
        assert!(disk.reads.get() <= reads_max * once + 8, "{} reads for {once} windows", disk.reads.get());
    }
}

#[test]
fn salvage_returns_the_sound_records_of_a_broken_batch() {
    let (whole, _) = with_batch(0);
    for hit in 2..6 {
        for successor in [false, true] {
            let mut chunk = whole.clone();
            chunk.action(b"after", 0);
            let all: Vec<u64> = chunk.records.iter().map(|record| record.offset).collect();
            chunk.flip(all[hit] + 1, 0);
            let mut scan = Scan::new(&chunk.bytes[..], &chunk.header, successor, 128);
            let mut found = Vec::new();
            let mut skipped = Vec::new();
            loop {
                while let Some(frame) = scan.next().unwrap() {
                    found.push(frame.offset);
                }
                let Some(range) = scan.skip_damage().unwrap() else { break };
                skipped.push(range);
            }
            let sound: Vec<u64> = all.iter().copied().filter(|offset| *offset != all[hit]).collect();
            assert_eq!(found, sound, "{hit}");
            skipped.retain(|range| !range.is_empty());
            assert_eq!((skipped.len(), skipped.pop()), (1, Some(all[hit]..all[hit + 1])), "{hit}");
        }
    }
}

#[test]
fn a_frontier_is_never_inside_a_batch() {
    let (chunk, begin) = with_batch(0);
    let mut frontier = Frontier::new(&chunk.header);
    for len in chunk.at(begin)..chunk.bytes.len() {
        frontier.advance(&chunk.bytes[..len], 4096).unwrap();
        assert_eq!((frontier.end, frontier.records), (begin, 2), "{len}");
    }
    frontier.advance(&chunk.bytes[..], 4096).unwrap();
    assert_eq!((frontier.end, frontier.records), (chunk.end(), 6));
}
