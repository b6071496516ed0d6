//! Files that a crash or bit rot has changed, each compared with the written records.

use super::*;
use crate::error::{Damage, Proof};

/// One thing written to a chunk, and below which offset it proves all durable.
#[derive(Debug, Clone, Copy)]
struct Piece {
    offset: u64,
    end: u64,
    proves: u64,
    record: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Tail {
    Nothing,
    Mark,
    Seal,
}

/// A small chunk with everything in it; the pieces in order, the tail last if it has one.
fn sample(features: u32, tail: Tail) -> (Chunk, Vec<Piece>) {
    let mut chunk = Chunk::new(header(4096, features));
    let first = chunk.end();
    let mut pieces = vec![Piece { offset: 4160, end: first, proves: 4096, record: true }];
    let mut piece = |chunk: &Chunk, offset, proves, record| {
        pieces.push(Piece { offset, end: chunk.end(), proves, record });
    };
    for (payload, synced) in
        [(&b"one"[..], first), (b"", first), (b"three is longer", first + 24), (&[0; 9], first + 40)]
    {
        let offset = chunk.action(payload, synced);
        piece(&chunk, offset, synced, true);
    }
    if tail != Tail::Nothing {
        let offset = if tail == Tail::Mark { chunk.mark() } else { chunk.seal() };
        piece(&chunk, offset, offset, false);
    }
    if features & FEATURE_EARLIER_LIFE == 0 {
        chunk.zeros(64);
    } else {
        let raw = Raw { salt: SALT ^ 1, ..chunk.raw(ACTION, 0) };
        chunk.frame(raw, b"what the file held before");
    }
    (chunk, pieces)
}

fn samples() -> impl Iterator<Item = (Chunk, Vec<Piece>, Tail)> {
    let tails = [Tail::Nothing, Tail::Mark, Tail::Seal];
    tails.into_iter().flat_map(|tail| {
        [0, FEATURE_EARLIER_LIFE].map(|features| {
            let (chunk, pieces) = sample(features, tail);
            (chunk, pieces, tail)
        })
    })
}

/// The verdict must follow from what the remaining pieces prove about the damaged one.
fn check_hole(seen: &Seen, chunk: &Chunk, pieces: &[Piece], hole: usize, what: &str) {
    let at = pieces[hole].offset;
    let records = pieces[..hole].iter().filter(|p| p.record).count();
    assert_eq!(seen.records, chunk.records[..records], "{what}");
    let durable = pieces.iter().map(|p| p.proves).max().unwrap_or(0).max(pieces[0].end);
    assert!(seen.proven <= durable, "{what}: {seen:?}");

    let proof = pieces[hole + 1..].iter().find(|p| p.proves > at || !p.record);
    match (&seen.end, proof) {
        (ScanEnd::Corrupt { at: found, proof: Proof::FinalName, .. }, _) if hole == 0 => {
            assert_eq!(*found, at)
        }
        (ScanEnd::Corrupt { at: found, proof, .. }, Some(piece)) => {
            assert_eq!(*found, at, "{what}");
            let offset = match *proof {
                Proof::LaterFrame { offset, synced } => {
                    assert_eq!(synced, piece.proves, "{what}");
                    offset
                }
                Proof::SyncMark { offset } | Proof::Seal { offset } => offset,
                _ => panic!("{what}: {proof:?}"),
            };
            assert_eq!(offset, piece.offset, "{what}");
        }
        (ScanEnd::Torn { data_end, .. }, None) => {
            assert_eq!(*data_end, at, "{what}");
            assert!(seen.proven <= at, "{what}");
        }
        (end, proof) => panic!("{what}: {end:?} with {proof:?}"),
    }
}

#[test]
fn every_bit_flipped() {
    for (chunk, pieces, tail) in samples() {
        let whole = chunk.scan();
        for bit in 64 * 8..chunk.bytes.len() * 8 {
            let mut flipped = chunk.clone();
            flipped.bytes[bit / 8] ^= 1 << (bit % 8);
            let offset = 4096 + bit as u64 / 8;
            let what = format!("{tail:?}, bit {bit}");
            let seen = flipped.scan();
            match pieces.iter().position(|p| (p.offset..p.end).contains(&offset)) {
                Some(hole) => check_hole(&seen, &chunk, &pieces, hole, &what),
                // After the end; only in a file that had no earlier life does that say something.
                None if tail == Tail::Nothing && !chunk.header.earlier_life() => {
                    let (data_end, lost) = (pieces[4].end, offset + 1 - pieces[4].end);
                    assert_eq!(seen.end, ScanEnd::Torn { data_end, lost }, "{what}");
                    assert_eq!(seen.records, whole.records, "{what}");
                }
                None => assert_eq!(seen, whole, "{what}"),
            }
            // With a successor there is no torn end at all.
            let end = scan_all(&flipped.bytes[..], &chunk.header, true, 64).end;
            let sealed = tail == Tail::Seal && offset >= pieces[5].end;
            match end {
                ScanEnd::Sealed { .. } => assert!(sealed, "{what}"),
                ScanEnd::Corrupt { .. } => assert!(!sealed, "{what}"),
                end => panic!("{what}: {end:?}"),
            }
        }
    }
}

#[test]
fn every_piece_zeroed_or_of_another_life() {
    for (chunk, pieces, tail) in samples() {
        for hole in 0..pieces.len() {
            let range = chunk.at(pieces[hole].offset)..chunk.at(pieces[hole].end);
            let mut zeroed = chunk.clone();
            zeroed.bytes[range.clone()].fill(0);
            let mut stale = chunk.clone();
            let raw = Raw { kind: ACTION, flags: 0, unsynced: 0, salt: !SALT, offset: pieces[hole].offset };
            stale.bytes[range.clone()].copy_from_slice(&raw_frame(raw, &vec![1; range.len() - 16]));
            let mut moved = chunk.clone();
            let raw = Raw { salt: SALT, offset: pieces[hole].offset + 8, ..raw };
            moved.bytes[range.clone()].copy_from_slice(&raw_frame(raw, &vec![1; range.len() - 16]));
            for (how, changed) in [("zeroed", zeroed), ("stale", stale), ("moved", moved)] {
                let what = format!("{tail:?}, piece {hole} {how}");
                // Zeros at the very end of a new file look like the end, and nothing is lost by it.
                let clean = how == "zeroed" && hole + 1 == pieces.len() && !chunk.header.earlier_life();
                let seen = changed.scan();
                if clean {
                    let data_end = pieces[hole].offset;
                    assert_eq!(seen.end, ScanEnd::Clean { data_end, mark: None }, "{what}");
                } else {
                    check_hole(&seen, &chunk, &pieces, hole, &what);
                }
            }
        }
    }
}

/// Cut at every byte, as by a size that was not yet durable, or filled up with zeros.
#[test]
fn every_cut() {
    for (chunk, pieces, tail) in samples() {
        let earlier = chunk.header.earlier_life();
        for (cut, filled) in (64..chunk.bytes.len()).flat_map(|cut| [(cut, false), (cut, true)]) {
            let mut short = chunk.clone();
            short.bytes.truncate(cut);
            if filled {
                short.zeros(chunk.bytes.len() - cut);
            }
            let what = format!("{tail:?}, cut at {cut}, filled {filled}, earlier life {earlier}");
            let seen = short.scan();
            let cut = cut as u64 + 4096;
            // Zeros cut off and filled in again are back.
            let whole = |p: &&Piece| {
                p.end <= cut || filled && chunk.bytes[short.at(cut)..short.at(p.end)].iter().all(|b| *b == 0)
            };
            let left = pieces.iter().take_while(whole).count();
            if left == pieces.len() && tail != Tail::Nothing {
                assert_eq!(seen.end, chunk.scan().end, "{what}");
                continue;
            }
            if left == 0 {
                assert!(
                    matches!(seen.end, ScanEnd::Corrupt { at: 4160, proof: Proof::FinalName, .. }),
                    "{what}"
                );
                continue;
            }
            assert_eq!(seen.records, chunk.records[..left], "{what}");
            let data_end = pieces[left - 1].end;
            let written = &short.bytes[short.at(data_end)..];
            let nonzero = written.iter().rposition(|b| *b != 0).map_or(0, |i| i as u64 + 1);
            match seen.end {
                ScanEnd::Clean { data_end: end, mark: None } => {
                    assert!(!earlier && nonzero == 0 && end == data_end, "{what}");
                }
                ScanEnd::Torn { data_end: end, lost } => {
                    assert_eq!(end, data_end, "{what}");
                    // Frames of this life are recognized if their header is whole.
                    let size = pieces.get(left).map_or(0, |p| p.end - p.offset);
                    let header = size > 0
                        && written.len() >= 16
                        && written[..16] == chunk.bytes[chunk.at(data_end)..][..16];
                    let reach = if header { size.min(written.len() as u64) } else { 0 };
                    assert_eq!(lost, if earlier { reach } else { nonzero }, "{what}");
                }
                end => panic!("{what}: {end:?}"),
            }
        }
    }
}

#[test]
fn two_holes() {
    // (what the frame between the holes proves, what the one after both proves) -> proof found
    for (between, behind, proof) in [(0, 0, None), (0, 1, Some(2)), (1, 0, Some(1)), (1, 1, Some(1))] {
        for mut chunk in Chunk::both() {
            let a = chunk.action(b"first hole", 0);
            let after = chunk.end();
            let b = chunk.action(b"between", if between == 1 { after } else { a });
            let c = chunk.action(b"second hole", a);
            let d = chunk.action(b"behind", if behind == 1 { after } else { a });
            chunk.flip(a, 150);
            chunk.flip(c, 70);
            chunk.zeros(100);
            let expected = match proof {
                None if chunk.header.earlier_life() => ScanEnd::Torn { data_end: a, lost: d + 24 - a },
                None => ScanEnd::Torn { data_end: a, lost: d + 22 - a },
                Some(n) => {
                    let proof = Proof::LaterFrame { offset: if n == 1 { b } else { d }, synced: after };
                    ScanEnd::Corrupt { at: a, damage: Damage::FrameChecksum, proof }
                }
            };
            assert_eq!(chunk.scan().end, expected);
        }
    }
}

#[test]
fn a_frame_of_another_life_or_place_ends_the_log() {
    for mut chunk in Chunk::both() {
        let at = chunk.end();
        let stale = raw_frame(Raw { salt: SALT ^ 1, ..chunk.raw(ACTION, at) }, b"stale");
        let moved = raw_frame(Raw { offset: at + 8, ..chunk.raw(ACTION, at) }, b"moved");
        for (bytes, lost) in [(stale, 21), (moved, 21)] {
            let mut chunk = chunk.clone();
            chunk.bytes.extend(bytes);
            let lost = if chunk.header.earlier_life() { 0 } else { lost };
            assert_eq!(chunk.scan().end, ScanEnd::Torn { data_end: at, lost });
        }
        // A stale frame overwritten in part: the new one is torn, the old one is not found.
        chunk.bytes.extend(raw_frame(Raw { salt: 5, ..chunk.raw(ACTION, at) }, &[1; 200]));
        let torn = raw_frame(Raw { offset: at, ..chunk.raw(ACTION, at) }, &[2; 200]);
        let place = chunk.at(at);
        chunk.bytes[place..place + 100].copy_from_slice(&torn[..100]);
        assert_eq!(chunk.scan().end, ScanEnd::Torn { data_end: at, lost: 216 });
    }
}

#[test]
fn payloads_that_look_like_frames_are_payloads() {
    for mut chunk in Chunk::both() {
        let at = chunk.end();
        // Whole frames, right to the byte: known salt, the very offset, proof of everything.
        let inner = Raw { kind: ACTION, flags: 0, unsynced: 0, salt: SALT, offset: at + 16 };
        let mark = Raw { kind: MARK, offset: at + 40, ..inner };
        let payload = [raw_frame(inner, b"hello"), raw_frame(mark, b"")].concat();
        chunk.action(&payload, at);
        let end = chunk.mark();
        let seen = chunk.scan();
        assert_eq!(
            (seen.records, seen.end),
            (chunk.records.clone(), ScanEnd::Clean { data_end: end, mark: Some(Mark::Idle) })
        );

        // In a sound frame after a hole they prove nothing: its bytes are its own.
        let mut chunk = Chunk::new(chunk.header);
        let hole = chunk.end();
        chunk.zeros(32);
        let at = chunk.end();
        let mark = Raw { kind: MARK, offset: at + 16, ..inner };
        chunk.action(&raw_frame(mark, b""), hole);
        assert_eq!(chunk.scan().end, ScanEnd::Torn { data_end: hole, lost: 64 });
        // Frames of elsewhere in the log, copied into a payload and torn, are no proof either.
        let mut chunk = Chunk::new(chunk.header);
        let at = chunk.end();
        let copied = Raw { kind: MARK, offset: 4160, ..inner };
        chunk.action(&raw_frame(copied, b"").repeat(10), at);
        chunk.flip(at, 300);
        assert!(matches!(chunk.scan().end, ScanEnd::Torn { data_end, .. } if data_end == at));
    }
}

#[test]
fn a_hostile_length_costs_nothing() {
    for mut chunk in Chunk::both() {
        let at = chunk.end();
        let zeros = 1000;
        for (len, damage) in
            [(u32::MAX, "cut"), (u32::MAX - 15, "cut"), (2000, "cut"), (800, "crc"), (984, "crc")]
        {
            let mut hostile = chunk.clone();
            hostile.bytes.extend(raw_header(chunk.raw(ACTION, at), len, 7));
            hostile.zeros(zeros - 16);
            let disk = Disk::new(&hostile.bytes);
            let seen = scan_all(&disk, &chunk.header, false, 64);
            let rest = zeros as u64;
            let nonzero = hostile.bytes.iter().rposition(|b| *b != 0).unwrap() + 1 - chunk.bytes.len();
            let lost = match chunk.header.earlier_life() {
                true if damage == "crc" => u64::from(len) + 16,
                true => rest,
                false => nonzero as u64,
            };
            assert_eq!(seen.end, ScanEnd::Torn { data_end: at, lost }, "{len}");
            assert!(disk.largest.get() <= 64, "{len}: {}", disk.largest.get());
        }
        // In a search, not even a frame that fits makes the buffer grow.
        chunk.zeros(8);
        let raw = Raw { unsynced: UNSYNCED_UNKNOWN, ..chunk.raw(ACTION, 0) };
        chunk.frame(raw, &[1; 900]);
        let disk = Disk::new(&chunk.bytes);
        assert!(matches!(scan_all(&disk, &chunk.header, false, 64).end, ScanEnd::Torn { .. }));
        assert!(disk.largest.get() <= 64, "{}", disk.largest.get());
    }
}

/// After a close, only the first bytes after the mark are read, for any size of the file.
#[test]
fn little_is_read_after_a_closing_mark() {
    for chunk in Chunk::both() {
        let mut closed = chunk.clone();
        let at = closed.frame(Raw { flags: FLAG_CLOSED, ..closed.raw(MARK, closed.end()) }, b"");
        let marked = closed.clone();
        closed.bytes.resize(20 << 20, 0x5A);
        let disk = Disk::new(&closed.bytes);
        let end = scan_all(&disk, &closed.header, false, 4096).end;
        assert_eq!(end, ScanEnd::Clean { data_end: at, mark: Some(Mark::Closed) });
        assert!(disk.reads.get() <= 260, "{} reads of 4 KiB", disk.reads.get());

        // What was written after it by a log that had opened again shows that a write was lost.
        let mut lost = marked;
        let offset = lost.action(b"written later", at + 16);
        let proof = Proof::LaterFrame { offset, synced: at + 16 };
        let end = lost.scan().end;
        assert_eq!(end, ScanEnd::Corrupt { at, damage: Damage::FrameHeader, proof });
    }
}

/// Headers in payloads, by an attacker who knows the format but not the salt: no length in them is believed,
/// so each byte is read about twice, once by the scan and once by the search.
#[test]
fn forged_headers_cost_nothing() {
    let behind_mark = [false, true];
    for (mut chunk, marked) in Chunk::both().into_iter().flat_map(|c| behind_mark.map(|m| (c.clone(), m))) {
        let at = chunk.end();
        if marked {
            chunk.mark();
        } else {
            chunk.bytes.extend([0xFF; 8]);
        }
        let size = 100_000;
        while chunk.bytes.len() + 16 <= size {
            let len = (size - chunk.bytes.len() - 16) as u32;
            let raw = Raw { salt: !SALT, ..chunk.raw(ACTION, 0) };
            chunk.bytes.extend(raw_header(raw, len, 0xDEAD_BEEF));
        }
        let disk = Disk::new(&chunk.bytes);
        let end = scan_all(&disk, &chunk.header, false, 4096).end;
        match (marked, chunk.header.earlier_life()) {
            (true, _) => assert_eq!(end, ScanEnd::Clean { data_end: at, mark: Some(Mark::Idle) }),
            (false, _) => assert!(matches!(end, ScanEnd::Torn { data_end, .. } if data_end == at), "{end:?}"),
        }
        assert!(disk.reads.get() * 4096 <= 3 * size, "{} reads", disk.reads.get());
        // A proof after them is found.
        let offset = chunk.mark();
        let proof = Proof::SyncMark { offset };
        let end = scan_all(&chunk.bytes[..], &chunk.header, false, 4096).end;
        assert_eq!(end, ScanEnd::Corrupt { at, damage: Damage::FrameHeader, proof });
    }
}

#[test]
fn no_position_is_left_out() {
    for chunk in Chunk::both() {
        let at = chunk.end();
        // A hole of 8 bytes, the least that can be.
        let mut narrow = chunk.clone();
        narrow.bytes.extend([0xFF; 8]);
        let offset = narrow.mark();
        let proof = Proof::SyncMark { offset };
        assert_eq!(narrow.scan().end, ScanEnd::Corrupt { at, damage: Damage::FrameHeader, proof });

        // The proof is in the bytes that a torn frame's header claims as its payload.
        for len in [1000, 1 << 20, u32::MAX] {
            let mut chunk = chunk.clone();
            chunk.bytes.extend(raw_header(chunk.raw(ACTION, at), len, 7));
            let offset = chunk.mark();
            chunk.zeros(1 << 20);
            let damage = if len == u32::MAX { Damage::FrameCutShort } else { Damage::FrameChecksum };
            let proof = Proof::SyncMark { offset };
            assert_eq!(chunk.scan().end, ScanEnd::Corrupt { at, damage, proof });
        }
    }
}

#[test]
fn a_frame_may_begin_with_zeros() {
    // Found so that this frame's CRC is 0.
    const ZERO_CRC_SALT: u64 = 0x281E_6694;
    const ZERO_CRC_UNSYNCED: u32 = 5;
    let header = Header { salt: ZERO_CRC_SALT, ..header(0, FEATURE_EARLIER_LIFE) };
    let raw = |kind, offset, unsynced| Raw { kind, flags: 0, unsynced, salt: header.salt, offset };
    let frame = raw_frame(raw(ACTION, 1024, ZERO_CRC_UNSYNCED), b"");
    assert_eq!(frame[..8], [0; 8]);
    let mut bytes = header.encode().to_vec();
    bytes.extend(raw_frame(raw(CHECKPOINT, 64, 0), b""));
    bytes.resize(1024, 0);
    bytes.extend(frame);
    bytes.resize(2048, 0);
    let proof = Proof::LaterFrame { offset: 1024, synced: 1024 - 8 * u64::from(ZERO_CRC_UNSYNCED) };
    let end = ScanEnd::Corrupt { at: 80, damage: Damage::FrameHeader, proof };
    for buffer in [64, 4096] {
        assert_eq!(scan_all(&bytes[..], &header, false, buffer).end, end);
    }
}

#[test]
fn a_read_error_is_an_error_and_can_be_tried_again() {
    for (mut chunk, _, _) in samples() {
        chunk.zeros(300);
        let expected = chunk.scan();
        for fail in 0.. {
            let disk = Disk { fail: Some(fail), ..Disk::new(&chunk.bytes) };
            let mut scan = Scan::new(&disk, &chunk.header, false, 64);
            let mut records = Vec::new();
            let mut errors = 0;
            loop {
                match scan.next() {
                    Ok(Some(f)) => records.push((f.offset, f.payload.to_vec())),
                    Ok(None) => break,
                    Err(e) => {
                        assert_eq!(e.to_string(), "a bad sector");
                        assert!(scan.end().is_none());
                        errors += 1;
                    }
                }
            }
            let right: Vec<_> = expected.records.iter().map(|r| (r.offset, r.payload.clone())).collect();
            assert_eq!(records, right);
            assert_eq!(scan.end(), Some(&expected.end));
            if errors == 0 {
                assert!(fail > 2);
                break;
            }
        }
    }
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    for (chunk, _, _) in samples() {
        for len in 0..chunk.bytes.len() {
            let disk = Disk { bytes: &chunk.bytes[..len], len: chunk.bytes.len() as u64, ..Disk::new(&[]) };
            let mut scan = Scan::new(&disk, &chunk.header, false, 64);
            // A seal may end the scan before the missing part is read.
            match finish(&mut scan) {
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof),
                Ok(seen) => assert!(matches!(seen.end, ScanEnd::Sealed { .. }), "{len}: {seen:?}"),
            }
        }
    }
}

/// A file that says it is huge, and is a hole but for its beginning and its last bytes.
struct Sparse<'a> {
    beginning: &'a [u8],
    end: &'a [u8],
    len: u64,
    read: Cell<u64>,
}

impl ReadAt for Sparse<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.read.set(self.read.get() + buf.len() as u64);
        buf.fill(0);
        self.beginning.read_at(buf, position)?;
        let end_at = self.len - self.end.len() as u64;
        for (i, byte) in buf.iter_mut().enumerate() {
            if let Some(at) = (position + i as u64).checked_sub(end_at) {
                *byte = self.end[at as usize];
            }
        }
        Ok(buf.len())
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        let block = (self.len - self.end.len() as u64) / 4096 * 4096;
        let beginning_end = (self.beginning.len() as u64).next_multiple_of(4096);
        Ok(Some(if position < beginning_end { position } else { position.max(block) }))
    }
}

#[test]
fn a_hole_costs_nothing() {
    for mut chunk in Chunk::both() {
        chunk.action(&[7; 100], 0);
        let at = chunk.end();
        chunk.bytes.extend([0xFF; 16]);
        // The log writes at most 8 GiB after its durable end, so no proof is searched for beyond that.
        for (len, in_reach) in [(1 << 33, true), (1 << 34, false), (1 << 62, false)] {
            let offset = chunk.header.chunk_id + len - 16;
            let raw = Raw { kind: MARK, flags: 0, unsynced: 0, salt: SALT, offset };
            let mark = raw_frame(raw, b"");
            for (end, is_proof) in [(&mark[..], in_reach), (&[1][..], false)] {
                let file = Sparse { beginning: &chunk.bytes, end, len, read: Cell::new(0) };
                match scan_all(&file, &chunk.header, false, 1 << 16).end {
                    ScanEnd::Corrupt { at: found, proof, .. } => {
                        assert!(is_proof && found == at && proof == Proof::SyncMark { offset }, "{len}");
                    }
                    ScanEnd::Torn { data_end, .. } => assert!(!is_proof && data_end == at, "{len}"),
                    other => panic!("{other:?}"),
                }
                assert!(file.read.get() < 1 << 20, "{} bytes read of {len}", file.read.get());
            }
        }
    }
}
