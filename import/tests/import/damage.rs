//! Torn and damaged old logs: cut at each byte, with each bit flipped, with lost files.

use std::fs;
use std::path::{Path, PathBuf};

use chunked_wal::raw::Raw;
use chunked_wal::{ChunkId, WalReader, WalRecord};
use chunked_wal_import::{AsIs, Convert, Error, Import, LogWal, Report, ToOpenraft};

use crate::bytes::{OldTexts, TEXTS, write_texts};
use crate::common::{Place, chunks, untouched};
use crate::old_raft::{OldLog, write_all_kinds};

/// The records of a new log, as bytes.
fn records(dir: &Path) -> Vec<(ChunkId, WalRecord<Raw>)> {
    let reader = WalReader::<Raw>::open_read_only(dir).unwrap();
    reader.records().map(|record| record.unwrap()).map(|(chunk, _, record)| (chunk, record)).collect()
}

fn import<C: Convert>(place: &Place, convert: fn() -> C) -> Result<Report, Error> {
    untouched(&place.old(), || Import::new(place.old(), place.new_log()).run(convert))
}

/// Imports and returns the records, without leaving the new log.
fn imported<C: Convert>(place: &Place, convert: fn() -> C) -> (Report, Vec<(ChunkId, WalRecord<Raw>)>) {
    let report = import(place, convert).unwrap();
    let found = records(&place.new_log());
    fs::remove_dir_all(place.new_log()).unwrap();
    (report, found)
}

/// Writes the file anew in its whole length, or less.
fn rewrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

/// Cuts the newest chunk at each byte of its last `records` records' bytes, and checks what is imported.
fn cut_at_each_byte<C: Convert>(place: &Place, convert: fn() -> C) {
    let (whole, all) = imported(place, convert);
    assert_eq!(whole.torn, None);
    let newest = chunks(&place.old()).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let mut ends = vec![(bytes.len(), all.len())];
    for len in (0..bytes.len()).rev() {
        rewrite(&newest, &bytes[..len]);
        if len == 0 && chunks(&place.old()).len() == 1 {
            assert!(matches!(import(place, convert), Err(Error::Empty { .. })));
            continue;
        }
        let (report, found) = imported(place, convert);
        assert_eq!(found[..], all[..found.len()], "cut to {len}");
        assert!(found.len() <= ends.last().unwrap().1, "cut to {len}");
        match report.torn {
            // A record ends here.
            None => ends.push((len, found.len())),
            Some(torn) => {
                assert_eq!(torn.path, newest);
                assert!(
                    torn.bytes < bytes.len() as u64
                        && torn.bytes + (torn.offset - start(&newest)) == len as u64
                );
            }
        }
    }
    assert!(ends.len() > 2, "{ends:?}");
    rewrite(&newest, &bytes);
}

/// The global offset at which a chunk starts.
fn start(path: &Path) -> u64 {
    ChunkId::parse_file_name(path.file_name().unwrap().to_str().unwrap()).unwrap().0
}

#[test]
fn a_torn_tail_is_left_out_and_reported() {
    let place = Place::new();
    let mut log = OldLog::open(&place.old(), 7);
    log.vote(1);
    log.append_texts(1, 0..6);
    log.save_user_data(Some(300));
    log.commit(1, 3);
    drop(log);
    cut_at_each_byte(&place, ToOpenraft::<LogWal>::new);
    let place = Place::new();
    write_texts(&place.old(), &TEXTS);
    cut_at_each_byte(&place, AsIs::<OldTexts>::new);
}

#[test]
fn zeros_after_the_last_record_are_a_torn_tail() {
    let place = Place::new();
    write_all_kinds(&place.old());
    let newest = chunks(&place.old()).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let (_, all) = imported(&place, ToOpenraft::<LogWal>::new);
    bytes.extend([0; 1_000]);
    rewrite(&newest, &bytes);
    let (report, found) = imported(&place, ToOpenraft::<LogWal>::new);
    assert_eq!(report.torn.map(|torn| torn.bytes), Some(1_000));
    assert_eq!(found, all);
}

#[test]
fn newest_chunks_without_their_first_record_are_left_out() {
    let place = Place::new();
    write_texts(&place.old(), &TEXTS);
    let (_, all) = imported(&place, AsIs::<OldTexts>::new);
    for (offset, bytes) in [(1_000, &b""[..]), (2_000, &[0; 30]), (3_000, b"\0\0\0\x05\0\0\0\x20abc")] {
        let name = ChunkId(offset).file_name();
        fs::write(place.old().join(name), bytes).unwrap();
        let (report, found) = imported(&place, AsIs::<OldTexts>::new);
        assert_eq!(found, all);
        assert!(report.torn.is_some());
    }
}

/// Flips bits all over the old log, one at a time: the import must stop there, or leave out a torn tail. The unit tests of
/// the source flip each bit.
fn flip_each_bit<C: Convert>(place: &Place, convert: fn() -> C, undetected: fn(&[u8], &[u8]) -> bool) -> u64 {
    let (_, all) = imported(place, convert);
    let chunks = chunks(&place.old());
    let mut torn = 0;
    for path in &chunks {
        let bytes = fs::read(path).unwrap();
        for bit in (0..bytes.len()).step_by(5).map(|byte| byte * 8 + byte % 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            rewrite(path, &flipped);
            match import(place, convert) {
                Ok(report) => {
                    let found = records(&place.new_log());
                    fs::remove_dir_all(place.new_log()).unwrap();
                    let is_newest = Some(path) == chunks.last();
                    let is_torn = is_newest && report.torn.is_some() && all.starts_with(&found);
                    assert!(is_torn || undetected(&bytes, &flipped), "bit {bit} of {path:?}: {report}");
                    torn += u64::from(is_torn);
                }
                Err(Error::Damaged { path: named, offset, position, .. }) => {
                    assert_eq!((&named, start(path) + position), (path, offset));
                    let is_before = position <= bit as u64 / 8;
                    assert!(is_before || undetected(&bytes, &flipped), "bit {bit} of {path:?}: {position}");
                    place.assert_nothing_new();
                }
                Err(error) => panic!("bit {bit} of {path:?}: {error}"),
            }
        }
        rewrite(path, &bytes);
    }
    torn
}

#[test]
fn a_flipped_bit_stops_the_import_at_its_place() {
    let place = Place::new();
    let mut log = OldLog::open(&place.old(), 5);
    log.vote(1);
    log.append_texts(1, 0..4);
    log.commit(1, 3);
    log.sync();
    drop(log);
    let torn = flip_each_bit(&place, ToOpenraft::<LogWal>::new, |_, _| false);
    // Only a length of the last record that points beyond the file looks like a torn write.
    assert!(torn < 20, "{torn}");
}

#[test]
fn a_flipped_bit_where_actions_have_no_checksum_is_never_a_panic() {
    let place = Place::new();
    write_texts(&place.old(), &["one", "two", "three", "four"]);
    // The codec of these texts can't notice a change of a text: the old log couldn't, either.
    flip_each_bit(&place, AsIs::<OldTexts>::new, |_, _| true);
}

#[test]
fn damage_with_sound_records_behind_it_is_not_a_torn_tail() {
    let place = Place::new();
    OldLog::open(&place.old(), 100).append_texts(1, 0..5);
    let newest = chunks(&place.old()).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    // The length of the first entry's text, in one byte: now it reaches beyond the file.
    let at = bytes.windows(4).position(|window| window == b"entr").unwrap();
    assert_eq!(bytes[at - 1], 0xb1);
    bytes.splice(at - 1..at, [0xdb, 0, 0, 0xff, 0xff]);
    rewrite(&newest, &bytes);
    let error = import(&place, ToOpenraft::<LogWal>::new).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("byte 18 of the file"), "{error}");
}

#[test]
fn a_chunk_that_is_not_the_newest_must_be_whole() {
    let place = Place::new();
    write_all_kinds(&place.old());
    let chunks: Vec<PathBuf> = chunks(&place.old());
    let bytes = fs::read(&chunks[1]).unwrap();
    rewrite(&chunks[1], &bytes[..bytes.len() - 1]);
    let error = import(&place, ToOpenraft::<LogWal>::new).unwrap_err();
    assert!(matches!(&error, Error::Damaged { path, .. } if *path == chunks[1]), "{error}");
    place.assert_nothing_new();
    rewrite(&chunks[1], b"");
    let error = import(&place, ToOpenraft::<LogWal>::new).unwrap_err();
    assert!(matches!(error, Error::Gap { .. } | Error::Damaged { .. }), "{error}");
}
