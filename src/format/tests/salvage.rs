//! Continuing after damage, and the cost of that.

use super::*;

/// A sealed chunk of many records, of which nothing says how far they were durable.
fn many(n: u32) -> Chunk {
    let mut chunk = Chunk::new(header(4096, 0));
    for i in 0..n {
        chunk.action(&i.to_le_bytes(), 0);
    }
    chunk.seal();
    chunk
}

/// All records that can be read, and the bytes skipped.
fn salvage<R: ReadAt>(scan: &mut Scan<R>) -> (Vec<u64>, Vec<std::ops::Range<u64>>) {
    let (mut offsets, mut skipped) = (Vec::new(), Vec::new());
    loop {
        while let Some(frame) = scan.next().unwrap() {
            offsets.push(frame.offset);
        }
        match scan.skip_damage().unwrap() {
            Some(range) => skipped.push(range),
            None => return (offsets, skipped),
        }
    }
}

#[test]
fn every_undamaged_record_is_returned_for_any_damage() {
    let sound = many(6);
    let offsets: Vec<u64> = sound.records.iter().map(|record| record.offset).collect();
    for at in 64..sound.bytes.len() as u64 - SEAL_LEN {
        for successor in [false, true] {
            let mut chunk = sound.clone();
            chunk.flip(4096 + at, 3);
            let mut scan = Scan::new(&chunk.bytes[..], &chunk.header, successor, 128);
            let (found, skipped) = salvage(&mut scan);
            let hit = *offsets.iter().rfind(|offset| **offset <= 4096 + at).unwrap();
            let rest: Vec<u64> = offsets.iter().copied().filter(|offset| *offset != hit).collect();
            assert_eq!(found, rest, "{at}");
            assert_eq!((skipped.len(), skipped[0].start), (1, hit), "{at}");
            assert!(matches!(scan.end(), Some(ScanEnd::Sealed { .. })), "{at}: {:?}", scan.end());
        }
    }
}

#[test]
fn many_damaged_places_cost_no_more_than_one_look_at_each_byte() {
    let mut chunk = many(4000);
    let hits: Vec<u64> = chunk.records.iter().skip(1).step_by(2).map(|record| record.offset).collect();
    for hit in &hits {
        chunk.flip(*hit + 2, 0);
    }
    let disk = Disk::new(&chunk.bytes);
    let mut scan = Scan::new(&disk, &chunk.header, false, 4096);
    let (found, skipped) = salvage(&mut scan);
    assert_eq!((found.len(), skipped.len()), (4001 - hits.len(), hits.len()));
    let once = chunk.bytes.len() / 4096;
    assert!(disk.reads.get() <= 4 * once, "{} reads for {once} windows", disk.reads.get());
}

#[test]
fn a_sound_end_is_not_passed() {
    let mut chunk = many(3);
    let mut scan = Scan::new(&chunk.bytes[..], &chunk.header, false, 128);
    finish(&mut scan).unwrap();
    assert_eq!(scan.skip_damage().unwrap(), None);
    chunk = Chunk::new(header(4096, 0));
    chunk.mark();
    let mut scan = Scan::new(&chunk.bytes[..], &chunk.header, false, 128);
    finish(&mut scan).unwrap();
    assert_eq!(scan.skip_damage().unwrap(), None);
}
