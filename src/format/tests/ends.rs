//! How a scan ends: one test for each rule, undamaged and torn files.

use super::*;
use crate::error::{Damage, Proof};

fn clean(data_end: u64, marked: bool) -> ScanEnd {
    ScanEnd::Clean { data_end, mark: marked.then_some(Mark::Idle) }
}

fn torn(data_end: u64, lost: u64) -> ScanEnd {
    ScanEnd::Torn { data_end, lost }
}

fn corrupt(at: u64, damage: Damage, proof: Proof) -> ScanEnd {
    ScanEnd::Corrupt { at, damage, proof }
}

/// A chunk with two actions of 24 bytes; nothing but the checkpoint is proven.
fn two_actions(features: u32) -> Chunk {
    let mut chunk = Chunk::new(header(4096, features));
    chunk.action(b"hello", 4096);
    chunk.action(b"world", 4096);
    chunk
}

#[test]
fn records_come_with_any_buffer() {
    let mut chunk = two_actions(0);
    chunk.action(&[7; 1000], chunk.end());
    chunk.record(Kind::Checkpoint, &[8; 77], chunk.end());
    let end = chunk.mark();
    chunk.zeros(500);
    for buffer in [0, 1, 64, 65, 100, 1016, 1017, 4096] {
        let mut scan = Scan::new(&chunk.bytes[..], &chunk.header, false, buffer);
        let seen = finish(&mut scan).unwrap();
        assert_eq!(seen.records, chunk.records, "buffer {buffer}");
        assert_eq!(seen.end, clean(end, true));
        assert_eq!(seen.proven, end);
        assert_eq!(scan.records(), 5);
        assert_eq!(scan.data_crc().value(), crc32c(&chunk.crcs));
        assert_eq!(ReadAt::len(scan.source()), chunk.bytes.len() as u64);
    }
}

#[test]
fn a_seal_ends_the_scan_regardless_of_the_bytes_after_it() {
    for successor in [false, true] {
        for behind in [&[][..], &[0; 100], &[0xAB; 100]] {
            let mut chunk = two_actions(0);
            let data_end = chunk.seal();
            let file_end = chunk.end();
            chunk.bytes.extend(behind);
            let seen = scan_all(&chunk.bytes[..], &chunk.header, successor, 64);
            assert_eq!(seen.end, ScanEnd::Sealed { data_end, records: 3, file_end });
            assert_eq!((seen.records, seen.proven), (chunk.records, data_end));

            let found = find_seal(&chunk.bytes[..], &chunk.header).unwrap();
            assert_eq!(
                found.map(|s| (s.records, s.data_len)),
                behind.is_empty().then_some((3, data_end - 4096))
            );
        }
    }
}

#[test]
fn a_seal_that_disagrees_is_corrupt() {
    let sealed = |change: fn(&mut Seal)| {
        let mut chunk = two_actions(0);
        let data_crc = crc32c(&chunk.crcs);
        let mut seal = Seal { records: 3, data_len: chunk.bytes.len() as u64, data_crc };
        change(&mut seal);
        let at = chunk.seal_with(seal);
        (chunk.scan().end, find_seal(&chunk.bytes[..], &chunk.header).unwrap(), at)
    };
    assert!(matches!(sealed(|_| ()), (ScanEnd::Sealed { .. }, Some(_), _)));
    let changes: [fn(&mut Seal); 3] =
        [|seal| seal.records += 1, |seal| seal.data_len += 8, |seal| seal.data_crc ^= 1];
    for (i, change) in changes.into_iter().enumerate() {
        let (end, found, at) = sealed(change);
        assert_eq!(end, corrupt(at, Damage::SealMismatch, Proof::Seal { offset: at }));
        assert_eq!(found.is_none(), i == 1, "only the length is known without a scan");
    }
}

#[test]
fn find_seal_wants_room_and_the_right_place() {
    let mut chunk = two_actions(0);
    chunk.seal();
    for cut in 0..chunk.bytes.len() {
        assert_eq!(find_seal(&chunk.bytes[..cut], &chunk.header).unwrap(), None, "{cut}");
    }
    // A file of another id, and one at the end of all offsets, whose seal's offset would wrap.
    for chunk_id in [0, u64::MAX - 64, u64::MAX] {
        let other = Header { chunk_id, ..chunk.header };
        assert_eq!(find_seal(&chunk.bytes[..], &other).unwrap(), None);
    }
    // A seal right after the header, where the checkpoint should be.
    let mut bytes = chunk.header.encode().to_vec();
    bytes.extend(Seal { records: 0, data_len: 64, data_crc: 0 }.frame(4096 + 64, 0, &Salt::new(SALT)));
    assert_eq!(find_seal(&bytes[..], &chunk.header).unwrap(), None);
    // A record that ends the file and whose payload reads like the seal.
    let mut chunk = two_actions(0);
    let seal = Seal { records: 3, data_len: 128, data_crc: 0 }.frame(0, 0, &Salt::new(0));
    assert_eq!(chunk.action(&seal[16..], 0), 4096 + 128);
    assert_eq!(find_seal(&chunk.bytes[..], &chunk.header).unwrap(), None);
    assert!(find_seal(&Disk { len: 1000, ..Disk::new(&bytes) }, &chunk.header).is_err());
}

#[test]
fn the_end_of_the_last_record() {
    for (features, zeros, end) in [
        (0, 0, clean(4224, false)),
        (0, 7, clean(4224, false)),
        (0, 1000, clean(4224, false)),
        (FEATURE_EARLIER_LIFE, 0, torn(4224, 0)),
        (FEATURE_EARLIER_LIFE, 1000, torn(4224, 0)),
    ] {
        let mut chunk = two_actions(features);
        chunk.zeros(zeros);
        let seen = chunk.scan();
        assert_eq!((seen.end, seen.records), (end, chunk.records));
        assert_eq!(seen.proven, 4096 + 80, "the checkpoint, by the final name");
    }
}

#[test]
fn a_mark_ends_the_log() {
    for behind in [vec![], vec![0; 100], vec![0xAB; 100], raw_stale()] {
        for features in [0, FEATURE_EARLIER_LIFE] {
            let mut chunk = two_actions(features);
            let at = chunk.mark();
            chunk.bytes.extend(&behind);
            let seen = chunk.scan();
            assert_eq!((seen.end, seen.proven), (clean(at, true), at));
        }
    }
}

/// A frame of another life, at the offset where the mark of `two_actions` ends.
fn raw_stale() -> Vec<u8> {
    raw_frame(Raw { kind: ACTION, flags: 0, unsynced: 0, salt: SALT + 1, offset: 4240 }, b"of another life")
}

#[test]
fn frames_after_a_mark_are_beyond_a_hole() {
    for mut chunk in Chunk::both() {
        let at = chunk.mark();
        chunk.zeros(48);
        let hole = chunk.clone();

        let end = chunk.action(b"abandoned", at) + 32;
        let seen = chunk.scan();
        assert_eq!(
            (seen.end, seen.proven),
            (torn(at, end - at - if chunk.header.earlier_life() { 0 } else { 7 }), at)
        );

        let mut chunk = hole.clone();
        let later = chunk.action(b"durable", at + 8);
        let proof = Proof::LaterFrame { offset: later, synced: at + 8 };
        assert_eq!(chunk.scan().end, corrupt(at, Damage::FrameHeader, proof));

        let mut chunk = hole.clone();
        let offset = chunk.mark();
        assert_eq!(chunk.scan().end, corrupt(at, Damage::FrameHeader, Proof::SyncMark { offset }));

        let mut chunk = hole.clone();
        let offset = chunk.seal();
        assert_eq!(chunk.scan().end, corrupt(at, Damage::FrameHeader, Proof::Seal { offset }));

        // Right after the mark, too.
        let mut chunk = hole;
        chunk.bytes.truncate(chunk.at(at) + 16);
        chunk.action(b"x", 0);
        assert!(matches!(chunk.scan().end, ScanEnd::Torn { data_end, .. } if data_end == at));
    }
}

/// Written over, such a frame could come alive: its missing bytes may be those of its successor.
#[test]
fn incomplete_frames_after_a_mark_are_beyond_a_hole() {
    for (knew, known_in_old_files) in [(0, true), (8, false)] {
        for mut chunk in Chunk::both() {
            let at = chunk.mark();
            chunk.zeros(40);
            let begun = chunk.frame(chunk.raw(ACTION, at - knew), &[7; 100]);
            let cut = chunk.at(begun) + 60;
            chunk.bytes[cut..].fill(0);
            chunk.zeros(30);
            let end = match chunk.header.earlier_life() {
                false => torn(at, 56 + 60),
                true if known_in_old_files => torn(at, 56 + 120),
                true => clean(at, true),
            };
            assert_eq!((chunk.scan().end, chunk.scan().proven), (end, at));
            // Cut off by the end of the file.
            chunk.bytes.truncate(cut);
            let end = match chunk.header.earlier_life() {
                true if !known_in_old_files => clean(at, true),
                _ => torn(at, 56 + 60),
            };
            assert_eq!(chunk.scan().end, end);
        }
    }
}

#[test]
fn lost_reaches_to_the_furthest_frame_not_the_last() {
    let mut chunk = Chunk::new(header(4096, FEATURE_EARLIER_LIFE));
    let at = chunk.mark();
    let begun = chunk.frame(chunk.raw(ACTION, at), &[7; 200]);
    let cut = chunk.at(begun) + 48;
    chunk.bytes.truncate(cut);
    chunk.action(b"sound", at);
    chunk.zeros(1000);
    assert_eq!(chunk.scan().end, torn(at, 16 + 216));
}

#[test]
fn a_half_overwritten_mark_is_torn() {
    for mut chunk in Chunk::both() {
        let at = chunk.end();
        let next = raw_frame(chunk.raw(ACTION, at), &[3; 40]);
        chunk.mark();
        chunk.zeros(64);
        let place = chunk.at(at);
        for half in [0..8, 8..16] {
            let mut torn = chunk.clone();
            torn.bytes[place + half.start..place + half.end].copy_from_slice(&next[half.clone()]);
            let seen = torn.scan();
            assert!(matches!(seen.end, ScanEnd::Torn { data_end, .. } if data_end == at), "{:?}", seen.end);
            assert_eq!(seen.records, chunk.records);
        }
        chunk.bytes[place..place + next.len()].copy_from_slice(&next);
        assert_eq!(chunk.scan().proven, at);
        assert_eq!(chunk.scan().records.len(), 2);
    }
}

#[test]
fn the_first_frame_is_a_checkpoint_by_the_final_name() {
    let header = header(4096, 0);
    let first = |kind, payload: &[u8]| {
        raw_frame(Raw { kind, flags: 0, unsynced: 0, salt: SALT, offset: 4160 }, payload)
    };
    let sound = first(CHECKPOINT, b"state");
    let mut damaged = sound.clone();
    damaged[20] ^= 1;
    for (behind, damage) in [
        (vec![], Damage::FrameHeader),
        (vec![0; 100], Damage::FrameHeader),
        (sound[..15].to_vec(), Damage::FrameHeader),
        (sound[..16].to_vec(), Damage::FrameCutShort),
        (damaged, Damage::FrameChecksum),
        (vec![0xFF; 100], Damage::FrameHeader),
        (first(ACTION, b"state"), Damage::FirstFrameKind),
        (first(MARK, b""), Damage::FirstFrameKind),
        (
            Seal { records: 0, data_len: 64, data_crc: 0 }.frame(4160, 0, &Salt::new(SALT)).into(),
            Damage::FirstFrameKind,
        ),
    ] {
        for successor in [false, true] {
            let bytes = [&header.encode()[..], &behind].concat();
            let seen = scan_all(&bytes[..], &header, successor, 64);
            assert_eq!(seen.end, corrupt(4160, damage, Proof::FinalName), "{behind:02x?}");
            assert_eq!((seen.records.len(), seen.proven), (0, 4160));
        }
    }
    // A file shorter than its header: the caller has read the header from it, but it may shrink.
    assert_eq!(
        scan_all(&[0; 3][..], &header, false, 64).end,
        corrupt(4160, Damage::FrameHeader, Proof::FinalName)
    );
}

#[test]
fn with_a_successor_only_a_seal_will_do() {
    let next = raw_frame(Raw { kind: ACTION, flags: 0, unsynced: 0, salt: SALT, offset: 4224 }, &[1; 20]);
    let flipped: Vec<u8> = next.iter().enumerate().map(|(i, b)| b ^ u8::from(i == 30)).collect();
    let mark = sync_mark(4224, &Salt::new(SALT)).to_vec();
    for (behind, damage) in [
        (vec![], Damage::NotSealed),
        (vec![0; 7], Damage::NotSealed),
        (vec![0; 99], Damage::NotSealed),
        (mark, Damage::NotSealed),
        (vec![9; 7], Damage::FrameHeader),
        (vec![9; 99], Damage::FrameHeader),
        (next[..32].to_vec(), Damage::FrameCutShort),
        (flipped, Damage::FrameChecksum),
    ] {
        for features in [0, FEATURE_EARLIER_LIFE] {
            let mut chunk = two_actions(features);
            chunk.bytes.extend(&behind);
            let end = scan_all(&chunk.bytes[..], &chunk.header, true, 64).end;
            assert_eq!(end, corrupt(4224, damage, Proof::Successor), "{behind:02x?}");
        }
    }
}

#[test]
fn sound_frames_of_a_later_version_are_unsupported() {
    let base = Raw { kind: ACTION, flags: 0, unsynced: 0, salt: SALT, offset: 4224 };
    for (raw, payload, what, found, known) in [
        (Raw { kind: 6, ..base }, &b"new"[..], "frame kind", 6, 5),
        (Raw { kind: 5, ..base }, b"short", "void frame length", 5, 8),
        (Raw { kind: 5, flags: 1, ..base }, &[0; 8], "frame flags", 1, 2),
        (Raw { kind: 15, flags: 1, ..base }, b"", "frame kind", 15, 5),
        (Raw { flags: 1, ..base }, b"\0\0\0\0", "frame flags", 1, 2),
        (Raw { flags: 8, ..base }, b"", "frame flags", 8, 2),
        (Raw { kind: MARK, flags: 2, ..base }, b"", "frame flags", 2, 1),
        (Raw { kind: MARK, ..base }, b"note", "sync mark length", 4, 0),
        (Raw { kind: MARK, unsynced: 9, ..base }, b"", "sync mark", 9, 0),
        (Raw { kind: 3, ..base }, &[0; 23], "seal length", 23, 24),
        (Raw { kind: 3, ..base }, &[0; 32], "seal length", 32, 24),
    ] {
        for successor in [false, true] {
            let mut chunk = two_actions(0);
            chunk.frame(raw, payload);
            let end = scan_all(&chunk.bytes[..], &chunk.header, successor, 64).end;
            assert_eq!(end, ScanEnd::Unsupported { at: 4224, what, found, known });
        }
    }
    // Also as the first frame: sound bytes of a later version are no damage.
    let header = header(4096, 0);
    let first = raw_frame(Raw { kind: 9, offset: 4160, ..base }, b"");
    let end = scan_all(&[&header.encode()[..], &first].concat()[..], &header, false, 64).end;
    assert_eq!(end, ScanEnd::Unsupported { at: 4160, what: "frame kind", found: 9, known: 5 });
}

#[cfg(feature = "lz4")]
#[test]
fn only_records_are_compressed_and_only_where_the_header_says_so() {
    let base = Raw { kind: ACTION, flags: FLAG_LZ4, unsynced: 0, salt: SALT, offset: 4224 };
    let end_with = |features, raw, payload: &[u8]| {
        let mut chunk = two_actions(features);
        chunk.frame(raw, payload);
        let (bytes, header) = (&chunk.bytes[..], &chunk.header);
        let end = scan_all(bytes, header, false, 64).end;
        // A frontier takes the frame for a record where a scan does.
        let behind = if matches!(end, ScanEnd::Clean { .. }) { 4248 } else { 4224 };
        let mut frontier = Frontier::new(header);
        frontier.advance(bytes, 64).unwrap();
        assert_eq!(frontier.end, behind);
        end
    };
    let flags = |found, known| ScanEnd::Unsupported { at: 4224, what: "frame flags", found, known };
    assert_eq!(end_with(0, base, b"any"), flags(1, 2));
    // What can't be decompressed is no matter of the frame.
    assert!(matches!(end_with(FEATURE_LZ4, base, b"any"), ScanEnd::Clean { data_end: 4248, .. }));
    assert_eq!(end_with(FEATURE_LZ4, Raw { flags: 4, ..base }, b"any"), flags(4, 3));
    assert_eq!(end_with(FEATURE_LZ4, Raw { kind: MARK, flags: 2, ..base }, b""), flags(2, 1));
    assert_eq!(end_with(FEATURE_LZ4, Raw { kind: 3, ..base }, &[0; 24]), flags(1, 0));

    // A compressed frame after a hole is proof as any other is.
    let mut chunk = two_actions(FEATURE_LZ4);
    chunk.frame(Raw { salt: !SALT, ..base }, b"decayed");
    let offset = chunk.end();
    chunk.frame(Raw { offset, ..base }, b"any");
    let end = scan_all(&chunk.bytes[..], &chunk.header, false, 64).end;
    let proof = Proof::LaterFrame { offset, synced: offset };
    assert!(matches!(end, ScanEnd::Corrupt { at: 4224, proof: found, .. } if found == proof), "{end:?}");
}

#[test]
fn proven_follows_the_frames() {
    let mut chunk = two_actions(0);
    assert_eq!(chunk.scan().proven, 4096 + 80);
    chunk.action(b"a", 4176 + 24);
    assert_eq!(chunk.scan().proven, 4176 + 24);
    chunk.action(b"b", 4096);
    assert_eq!(chunk.scan().proven, 4176 + 24, "it never goes back");
    let saturated = Raw { unsynced: UNSYNCED_UNKNOWN, ..chunk.raw(ACTION, 0) };
    chunk.frame(saturated, b"");
    assert_eq!(chunk.scan().proven, 4176 + 24);

    // After a hole, too: the later frame proves only bytes before the hole.
    let hole = chunk.end();
    chunk.zeros(24);
    chunk.action(b"c", hole);
    let seen = chunk.scan();
    assert_eq!((seen.end, seen.proven), (torn(hole, 24 + 17), hole));
    chunk.action(b"d", 4096);
    assert_eq!(chunk.scan().proven, hole, "nor does it go back there");
}

#[test]
fn the_last_offsets_end_the_scan_without_wrapping() {
    for chunk_id in [u64::MAX, u64::MAX - 3, u64::MAX - 63, u64::MAX - 64, u64::MAX - 100, u64::MAX - 1000] {
        for features in [0, FEATURE_EARLIER_LIFE] {
            let header = header(chunk_id, features);
            let mut bytes = header.encode().to_vec();
            for at in (64..2000).step_by(40) {
                let offset = chunk_id.wrapping_add(at);
                let kind = if at == 64 { CHECKPOINT } else { ACTION };
                bytes.extend(raw_frame(Raw { kind, flags: 0, unsynced: 9, salt: SALT, offset }, &[1; 24]));
            }
            let seen = scan_all(&bytes[..], &header, false, 64);
            let fit = (u64::MAX - chunk_id).saturating_sub(64) / 40;
            assert_eq!(seen.records.len() as u64, fit, "{chunk_id}");
            assert_eq!(find_seal(&bytes[..], &header).unwrap(), None);
        }
    }
}

#[test]
fn blocks_hold_what_a_scan_yields_and_end_as_it_does() {
    for mut chunk in Chunk::both() {
        for i in 0..200_usize {
            chunk.action(&vec![i as u8; i * 37 % 600], chunk.header.chunk_id);
        }
        chunk.mark();
        for buffer in [64, 100, 1000, 1 << 20] {
            let expected = scan_all(&chunk.bytes[..], &chunk.header, false, buffer);
            // A read error loses nothing: asked again, the scan goes on where it was.
            let mut disk = Disk::new(&chunk.bytes);
            for fail in 0..40 {
                disk.fail = Some(fail);
                disk.reads.set(0);
                let mut scan = Scan::new(&disk, &chunk.header, false, buffer);
                let mut block = Block::default();
                let mut records = Vec::new();
                let mut kept = Kept::default();
                loop {
                    block.clear(buffer);
                    if scan.next_block(&mut block).is_err() {
                        assert!(block.is_empty());
                        continue;
                    }
                    if block.is_empty() {
                        break;
                    }
                    let frames = block.frames().map(|frame| {
                        let Frame { offset, size, kind, payload, .. } = frame;
                        // Of some blocks nothing is kept.
                        if fail % 2 == 0 {
                            kept.keep(&frame);
                        }
                        Record { offset, size, kind, payload: payload.to_vec() }
                    });
                    records.extend(frames);
                }
                assert_eq!(records, expected.records);
                kept.check(if fail % 2 == 0 { &records } else { &[] });
                assert_eq!(scan.end(), Some(&expected.end));
                assert_eq!(scan.proven(), expected.proven);
            }
        }
    }
}
