//! The encoding of a chunk's entries: its bytes, what is refused, and how many there are.

use chunked_wal::Segment;

use super::{Block, ChunkIndex};
use crate::places::tests::random::Random;

fn bytes_of(index: &ChunkIndex) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(index.write(&mut bytes).unwrap(), bytes.len());
    bytes
}

#[test]
fn an_encoding_is_read_back_and_its_bytes_are_these() {
    let mut index = ChunkIndex::default();
    assert_eq!((bytes_of(&index), ChunkIndex::read(&[0])), (vec![0], Some(index.clone())));
    // (offset, size, its item)
    let entries: [(u64, u64, &[u8]); 4] = [
        (4096, 344, &[86]),
        (4440, 512, &[0x80, 1]),
        (4960, 16, &[5, 1]),
        (4976 + (1 << 20), 16, &[5, 0x80, 0x80, 8]),
    ];
    let mut expected = vec![4, 0xac, 2, 0x80, 4];
    for (index_of, (offset, size, item)) in (300..).zip(entries) {
        index.push(index_of, Segment::new(offset, size));
        expected.extend(item);
    }
    assert_eq!(bytes_of(&index), expected);
    assert_eq!(ChunkIndex::read(&expected), Some(index));
}

#[test]
fn an_encoding_of_what_can_not_be_is_refused() {
    let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let good: &[u8] = &[1, 7, 8, 86];
    assert!(ChunkIndex::read(good).is_some());
    for bad in [
        &[] as &[u8],
        &[0, 0],
        &good[..3],
        &[good, &[86]].concat(),
        &[2, 7, 8, 86],
        &[1, 7, 8, 0],
        &[1, 7, 8, 87, 1],
        &[2, 7, 8, 86, 87, 0],
        &[1, 7, 8, 0x86, 0],
        &[1, 7, 8, 0x80],
        &[&max, &[7, 8, 86][..]].concat(),
        &[&[2], &max[..], &[8, 86, 86]].concat(),
        &[&[1, 7], &max[..], &[86]].concat(),
        &[&[1, 7, 8], &max[..]].concat(),
        &[&[2, 7, 8, 86, 87], &max[..]].concat(),
        &[&[1, 7, 8], &[0xff; 9][..], &[2]].concat(),
    ] {
        assert_eq!(ChunkIndex::read(bad), None, "{bad:?}");
    }
    let mut dice = Random::new(1);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..dice.below(24)).map(|_| dice.pick(&[0, 1, 2, 7, 86, 0x80, 0xff])).collect();
        if let Some(index) = ChunkIndex::read(&bytes) {
            assert_eq!(bytes_of(&index), bytes);
        }
    }
}

#[test]
fn an_entry_takes_few_bytes_whatever_its_size() {
    for (size, gap, max) in
        [(344, 0, 1.6), (344, 64, 2.6), (16, 0, 1.6), (65_528, 65_528, 5.6), (1 << 29, 8 << 20, 7.6)]
    {
        let mut index = ChunkIndex::default();
        for n in 0..10_000 {
            index.push(n, Segment::new(n * (size + gap), size));
        }
        let index = index.clone();
        let bytes = index.items.capacity() + index.blocks.capacity() * size_of::<Block>();
        let each = bytes as f64 / 10_000.0;
        assert!(each <= max, "{each} bytes for entries of {size} bytes with {gap} before each");
    }
}
