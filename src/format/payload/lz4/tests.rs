#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// `abc`, twenty times.
const RAW: [u8; 60] = {
    let mut raw = [0; 60];
    let mut i = 0;
    while i < raw.len() {
        raw[i] = b'a' + (i % 3) as u8;
        i += 1;
    }
    raw
};

/// The same by the words of LZ4's page: three literals and 51 bytes more from three back; six literals.
const STORED: &[u8] = b"\x3c\0\0\0\x3fabc\x03\0\x20\x60abcabc";

fn compressed(raw: &[u8]) -> Option<Vec<u8>> {
    let mut payload = raw.to_vec();
    let len = Compressor::new(0).compress(&mut payload);
    assert!(len.is_some() || payload == raw, "what is not compressed stays as it was");
    payload.truncate(len?);
    Some(payload)
}

fn decompressed(stored: &[u8]) -> Option<Vec<u8>> {
    decompress(stored, &mut Vec::new()).map(<[u8]>::to_vec)
}

#[track_caller]
fn refused(stored: &[u8]) {
    let mut scratch = Vec::new();
    assert_eq!(decompress(stored, &mut scratch), None);
    let bound = FIRST_STEP.max(stored.len() * LIKELY_EXPANSION);
    assert!(scratch.capacity() <= bound, "{} bytes taken for {}", scratch.capacity(), stored.len());
}

fn claiming(raw_len: u32, block: &[u8]) -> Vec<u8> {
    [&raw_len.to_le_bytes(), block].concat()
}

#[test]
fn golden_bytes() {
    assert_eq!(decompressed(STORED).unwrap(), RAW);
    assert_eq!(compressed(&RAW).as_deref(), Some(STORED));
}

#[test]
fn a_payload_is_stored_compressed_only_if_that_makes_its_frame_smaller() {
    assert_eq!(compressed(b""), None);
    assert_eq!(compressed(&[7; 16]), None);
    let mut x = 1_u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    let random: Vec<u8> = (0..4096).map(|_| next()).collect();
    assert_eq!(compressed(&random), None);
    // 21 bytes stored take as much of a file as 24 do.
    assert!(is_smaller(16, 17) && !is_smaller(17, 24) && !is_smaller(21, 24) && is_smaller(16, 24));

    let mut buffer = RAW.to_vec();
    assert_eq!(Compressor::new(61).compress(&mut buffer), None, "shorter than min_len");
    assert!(Compressor::new(60).compress(&mut buffer).is_some());
}

#[test]
fn one_compressor_serves_payloads_of_all_sizes() {
    let mut compressor = Compressor::new(0);
    for len in [60, 65_534, 65_535, 65_536, 60, 3 << 20, 1000, RAW_LEN_MAX] {
        let raw = RAW.iter().copied().cycle().take(len).collect::<Vec<u8>>();
        let mut buffer = raw.clone();
        let stored = compressor.compress(&mut buffer);
        buffer.truncate(stored.unwrap());
        assert_eq!(Some(&buffer), compressed(&raw).as_ref(), "what came before makes no difference");
        assert!(decompressed(&buffer).unwrap() == raw, "{len}");
        assert!(compressor.scratch.len() <= SCRATCH_KEPT);
    }
    let mut too_large = vec![0; RAW_LEN_MAX + 1];
    assert_eq!(compressor.compress(&mut too_large), None);
}

#[test]
fn a_length_that_lies_is_refused_and_takes_no_memory() {
    let block = &STORED[4..];
    for short in [&b""[..], b"\x3c", b"\x3c\0\0"] {
        refused(short);
    }
    // The block holds 60 bytes, and one of 14 could hold 3570.
    for claimed in [0, 59, 61, 3000, 255 * 14 + 1, u32::MAX] {
        refused(&claiming(claimed, block));
    }
    refused(&claiming(1, b""));
    refused(&claiming(0, b""));
    // As large as the block could be by its length; it holds a few thousand.
    let literals = [&[0xf0][..], &[255; 35], &[60], &[b'a'; 9000]].concat();
    assert_eq!(decompressed(&claiming(9000, &literals)).unwrap(), [b'a'; 9000]);
    refused(&claiming(255 * 9000, &literals));
}

#[test]
fn an_invalid_block_is_refused() {
    for n in 0..14 {
        assert_eq!(decompressed(&STORED[..4 + n]), None, "{n} bytes of 14");
    }
    // A match from 0 back, one from before the beginning, literals that are missing.
    refused(b"\x3c\0\0\0\x3fabc\0\0\x21\x50bcabc");
    refused(b"\x3c\0\0\0\x3fabc\x04\0\x21\x50bcabc");
    refused(b"\x3c\0\0\0\xffabc");
}

#[test]
fn a_payload_that_expands_takes_its_own_size_and_no_more_than_the_limit() {
    // A match of many MiB, in few bytes: each 255 of them takes one.
    let bomb = |matched: usize| {
        let mut block = b"\x1fa\x01\0".to_vec();
        block.extend(std::iter::repeat_n(255, (matched - 19) / 255));
        block.push(((matched - 19) % 255) as u8);
        block.extend_from_slice(b"\x50aaaaa");
        block
    };
    let len = 6 + (5 << 20);
    let mut scratch = Vec::new();
    assert!(decompress(&claiming(len as u32, &bomb(5 << 20)), &mut scratch).unwrap() == vec![b'a'; len]);
    assert!(scratch.capacity() < 2 * len);
    refused(&claiming(RAW_LEN_MAX as u32 + 1, &bomb(RAW_LEN_MAX - 5)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn comes_back_as_it_was(words in prop::collection::vec("[a-d]{0,9}", 0..400)) {
        let raw = words.concat().into_bytes();
        if let Some(stored) = compressed(&raw) {
            prop_assert!(is_smaller(stored.len(), raw.len()));
            prop_assert_eq!(decompressed(&stored).unwrap(), raw);
        }
    }

    #[test]
    fn garbage_is_an_error_or_as_long_as_it_claims(
        raw_len in prop_oneof![0_u32..5000, any::<u32>()],
        block in prop::collection::vec(prop_oneof![any::<u8>(), Just(0_u8), Just(255), 0_u8..32], 0..600),
    ) {
        let mut scratch = Vec::new();
        if let Some(raw) = decompress(&claiming(raw_len, &block), &mut scratch) {
            prop_assert_eq!(raw.len(), raw_len as usize);
        }
        prop_assert!(scratch.capacity() <= 600 * EXPANSION_MAX);
    }

    #[test]
    fn changed_blocks_never_panic(at in 0_usize..2000, to: u8) {
        let mut stored = compressed(&b"some words, some other words, and some more words. ".repeat(60)).unwrap();
        let at = 4 + at % (stored.len() - 4);
        stored[at] = to;
        if let Some(raw) = decompressed(&stored) {
            prop_assert_eq!(raw.len(), 51 * 60);
        }
    }
}
