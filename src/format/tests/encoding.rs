//! Bytes against the words and the test vector of the format's page.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

const HEADER: &str = concat!(
    "43484e4b57414c0a01004000000000000000000000000000efcdab8967452301",
    "000102030405060708090a0b0c0d0e0f5e4d3c9b9a0100000000000033b66f9e"
);

#[test]
fn test_vector() {
    let salt = Salt::new(SALT);
    let header = header(0, 0);
    assert_eq!(header.encode().to_vec(), hex(HEADER));
    assert_eq!(Header::decode(&hex(HEADER)), Ok(header));

    let mut crcs = DataCrc::default();
    let mut checkpoint = [0; 16];
    crcs.push(finish_frame(&mut checkpoint, 0, Kind::Checkpoint, 0, 64, unsynced(64, 0), &salt));
    assert_eq!(checkpoint.to_vec(), hex("08cdbf760000000002080000359bd952"));

    let mut hello = *b"0123456789abcdefhello\0\0\0";
    crcs.push(finish_frame(&mut hello, 5, Kind::Action, 0, 80, unsynced(80, 0), &salt));
    assert_eq!(hello.to_vec(), hex("25d556ef05000000010a0000726c379068656c6c6f000000"));

    let mut more = *b"0123456789abcdefhello\0\0\0";
    finish_frame(&mut more, 5, Kind::Action, FLAG_MORE, 80, unsynced(80, 0), &salt);
    assert_eq!(more.to_vec(), hex("84d32f7405000000210a000012c02c2268656c6c6f000000"));

    assert_eq!(sync_mark(104, &salt).to_vec(), hex("32d873a40000000004000000aff0a878"));
    assert_eq!(closing_mark(104, &salt).to_vec(), hex("42232c0200000000140000007f9aa3c1"));
    let seal = Seal { records: 2, data_len: 104, data_crc: crcs.value() };
    assert_eq!(
        seal.frame(104, 3, &salt).to_vec(),
        hex("91d8153c1800000003030000ca5d8e8602000000000000006800000000000000bcc0042c00000000")
    );
}

/// The page's compressed frame, by its second encoder and by a third.
#[cfg(feature = "lz4")]
#[test]
fn test_vector_of_a_compressed_frame() {
    let header = header(0, FEATURE_LZ4);
    let expected = concat!(
        "43484e4b57414c0a01004000010000000000000000000000efcdab8967452301",
        "000102030405060708090a0b0c0d0e0f5e4d3c9b9a0100000000000037ab4682"
    );
    assert_eq!(header.encode().to_vec(), hex(expected));
    assert_eq!(Header::decode(&hex(expected)), Ok(header));

    let mut frame = [&[0; 16][..], &b"abc".repeat(20)].concat();
    let len = Compressor::new(0).compress(&mut frame[16..]).unwrap() as u32;
    frame.truncate(16 + len as usize);
    frame.resize(frame.len().next_multiple_of(8), 0);
    finish_frame(&mut frame, len, Kind::Action, FLAG_LZ4, 80, unsynced(80, 0), &Salt::new(SALT));
    let expected = "f6b26a0812000000110a0000a5ee66f03c0000003f61626303002060616263616263000000000000";
    assert_eq!(frame, hex(expected));

    let mut chunk = Chunk::new(header);
    let raw = Raw { flags: FLAG_LZ4, ..chunk.raw(ACTION, 0) };
    chunk.frame(raw, &frame[16..34]);
    assert_eq!(chunk.bytes[80..], hex(expected));
    let mut scan = Scan::new(&chunk.bytes[..], &header, false, 64);
    scan.next().unwrap().unwrap();
    let frame = scan.next().unwrap().unwrap();
    assert_eq!(frame.raw_payload(&mut Vec::new()).unwrap(), b"abc".repeat(20));
    assert!(scan.next().unwrap().is_none());
    assert!(matches!(scan.end(), Some(ScanEnd::Clean { data_end: 120, .. })));
}

#[test]
fn frames_agree_with_the_second_encoder() {
    let salt = Salt::new(SALT);
    for (offset, len, unsynced) in
        [(64, 0, 0), (8, 1, 7), (u64::MAX - 7, 300, UNSYNCED_UNKNOWN), (1 << 40, 16, 9)]
    {
        for (kind, flags) in [(Kind::Action, 1), (Kind::Seal, 0xE), (Kind::SyncMark, 0)] {
            let payload = vec![0xA5; len];
            let raw = raw_frame(Raw { kind: kind as u8, flags, unsynced, salt: SALT, offset }, &payload);
            let mut frame = vec![0; raw.len()];
            frame[16..16 + len].copy_from_slice(&payload);
            let crc = finish_frame(&mut frame, len as u32, kind, flags, offset, unsynced, &salt);
            assert_eq!(frame, raw);
            assert_eq!(crc.to_le_bytes(), frame[..4]);
            assert!(whole_frame(&frame, offset, &salt).is_ok());
            assert!(whole_frame(&frame, offset ^ 8, &salt).is_err(), "a wrong offset");
            assert!(whole_frame(&frame, offset, &Salt::new(SALT + 1)).is_err(), "a wrong salt");
            assert!(whole_frame(&[&frame[..], &[0; 8]].concat(), offset, &salt).is_err(), "a wrong size");
            assert!(whole_frame(&frame[..frame.len() - 1], offset, &salt).is_err());
        }
    }
    assert!(whole_frame(&[], 0, &salt).is_err());
    assert!(whole_frame(&[0; 16], 0, &salt).is_err());
}

#[test]
fn kind_0_is_never_a_header_and_unknown_kinds_have_no_name() {
    let raw = Raw { kind: 0, flags: 0, unsynced: 0, salt: SALT, offset: 64 };
    let bytes = raw_header(raw, 0, 0);
    assert!(!FrameHeader::parse(&array_at(&bytes, 0)).check_ok(&Salt::new(SALT), 64));
    let known: Vec<_> = (0..=u8::MAX).filter_map(Kind::from_u8).map(|k| k as u8).collect();
    assert_eq!(known, [1, 2, 3, 4, 5]);
}

#[test]
fn unsynced_saturates_and_then_proves_nothing() {
    let max = u64::from(UNSYNCED_UNKNOWN) * 8;
    for (offset, synced, field, back) in [
        (104, 104, 0, Some(104)),
        (104, 64, 5, Some(64)),
        (104, 208, 0, Some(104)),
        (104, 97, 1, Some(96)),
        (max - 8, 0, UNSYNCED_UNKNOWN - 1, Some(0)),
        (max, 0, UNSYNCED_UNKNOWN, None),
        (u64::MAX, 1, UNSYNCED_UNKNOWN, None),
    ] {
        assert_eq!(unsynced(offset, synced), field, "{offset} {synced}");
        let header = FrameHeader { crc: 0, len: 0, kind: 1, flags: 0, check: 0, unsynced: field };
        assert_eq!(header.synced(offset), back, "{offset} {synced}");
    }
    let header = FrameHeader { crc: 0, len: u32::MAX, kind: 1, flags: 0, check: 0, unsynced: 9 };
    assert_eq!(header.synced(8), None, "more than the offset");
    assert_eq!(header.frame_size(), 16 + (1 << 32));
}

#[test]
fn headers_are_refused_in_the_order_of_the_page() {
    let good = header(1 << 50, FEATURE_EARLIER_LIFE);
    assert!(good.earlier_life() && !header(0, 0).earlier_life());
    assert_eq!(Header::decode(&good.encode()), Ok(good));
    assert_eq!(Header::decode(&[&good.encode()[..], b"more"].concat()), Ok(good));

    let not_a_chunk = |found: &[u8]| HeaderError::NotAChunk { found: found.to_vec() };
    let unsupported = |what, found, known| HeaderError::Unsupported { what, found, known };
    let bytes = good.encode();
    let changed = |at: usize, to: &[u8], fix_crc: bool| {
        let mut bytes = bytes;
        bytes[at..at + to.len()].copy_from_slice(to);
        if fix_crc {
            let crc = crc32c(&bytes[..60]);
            bytes[60..].copy_from_slice(&crc.to_le_bytes());
        }
        bytes.to_vec()
    };
    for (bytes, error) in [
        (vec![], not_a_chunk(b"")),
        (bytes[..7].to_vec(), not_a_chunk(b"CHNKWAL")),
        (changed(7, b"\r", false), not_a_chunk(b"CHNKWAL\r")),
        (vec![0; 64], not_a_chunk(&[0; 8])),
        (bytes[..8].to_vec(), HeaderError::Corrupt),
        (bytes[..63].to_vec(), HeaderError::Corrupt),
        (changed(8, &[2, 0], false), unsupported("format version", 2, 1)),
        (changed(8, &[2, 0, 0, 0, 255], true), unsupported("format version", 2, 1)),
        (changed(12, &[4], true), unsupported("features", 4, KNOWN_FEATURES.into())),
        (changed(12, &[0x83], false), unsupported("features", 0x83, KNOWN_FEATURES.into())),
        (changed(10, &[72], false), HeaderError::Corrupt),
        (changed(10, &[72], true), unsupported("header length", 72, 64)),
        (changed(63, &[!bytes[63]], false), HeaderError::Corrupt),
    ] {
        assert_eq!(Header::decode(&bytes), Err(error), "{bytes:02x?}");
    }
    for bit in 0..64 * 8 {
        let mut bytes = bytes;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::decode(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn a_slice_reads_to_its_end() {
    let bytes: &[u8] = b"abcdef";
    let mut buf = [0; 4];
    assert_eq!(ReadAt::len(&bytes), 6);
    assert_eq!(bytes.read_at(&mut buf, 1).unwrap(), 4);
    assert_eq!(&buf, b"bcde");
    assert_eq!(bytes.read_at(&mut buf, 4).unwrap(), 2);
    for behind in [6, 7, u64::MAX] {
        assert_eq!(bytes.read_at(&mut buf, behind).unwrap(), 0);
    }
}
