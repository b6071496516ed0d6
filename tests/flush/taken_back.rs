//! A record that fails half-way leaves no trace.

use super::*;

#[test]
fn a_codec_that_fails_or_lies_appends_nothing() {
    let too_large = |error: &Error| {
        matches!(error, Error::RecordTooLarge { max: 100 } | Error::CheckpointTooLarge { max: 100 })
    };
    let refused = |error: &Error| matches!(error, Error::Encode { .. });
    type Is = fn(&Error) -> bool;
    let cases: [(&str, Spell, Is); 6] = [
        (
            "fails half-way",
            Spell::encoded_by(|w| w.write_all(b"half").and(Err(std::io::Error::other("asked to")))),
            refused,
        ),
        ("claims more", Spell::encoded_by(|w| w.write(b"abc").map(|n| n + 1)), refused),
        ("claims less", Spell::encoded_by(|w| w.write(b"abc").map(|n| n - 1)), refused),
        ("too large at once", Spell::encoded_by(|w| w.write(&[7; 101])), too_large),
        ("too large by and by", Spell::encoded_by(|w| (0..101).map(|_| w.write(&[7])).sum()), too_large),
        (
            "too large, and hides it",
            Spell::encoded_by(|w| {
                let _hidden = w.write_all(&[7; 60]).and_then(|()| w.write_all(&[7; 60]));
                Ok(60)
            }),
            too_large,
        ),
    ];
    let panics = Spell::encoded_by(|w| {
        w.write_all(b"half").unwrap();
        panic!("asked to");
    });
    let disk = Disk::with(|config| config.max_record_size = 100);
    let mut book = Book::default();
    let mut wal: SpellWal = disk.options().open(&mut book).unwrap();
    let mut end = wal.progress().appended;
    let mut go_on = |wal: &mut SpellWal, case: &str| {
        assert_eq!(wal.progress().appended, end, "{case}");
        assert_eq!(
            wal.records().count(),
            wal.open_chunk_stat(Spell::new("")).records_count as usize,
            "{case}"
        );
        let segment = wal.append(&spell("good")).unwrap();
        assert_eq!(segment.offset, end, "{case}: no hole");
        assert_eq!(wal.last_segment(), segment, "{case}");
        assert_eq!(wal.read_record(segment).unwrap(), spell("good"), "{case}");
        end += segment.size;
    };
    for (case, bad, is) in &cases {
        let chunk_id = wal.open_chunk_id();
        let last = wal.last_segment();
        let error = wal.append(&WalRecord::Action(bad.clone())).unwrap_err();
        assert!(is(&error), "{case}: {error}");
        let error = wal.append_and_apply(bad.clone(), &mut book).unwrap_err();
        assert!(is(&error) && book.0.is_empty(), "{case}: {error}");
        let error = wal.close_open_chunk_with(bad.clone()).unwrap_err();
        assert!(is(&error), "{case}: {error}");
        assert_eq!((wal.open_chunk_id(), wal.last_segment()), (chunk_id, last), "{case}");
        go_on(&mut wal, case);
    }
    let mut unwinds = |f: &mut dyn FnMut(&mut SpellWal)| {
        let panicked = catch_unwind(AssertUnwindSafe(|| f(&mut wal)));
        assert!(panicked.is_err(), "it goes through to the caller");
        go_on(&mut wal, "panics");
    };
    unwinds(&mut |wal| drop(wal.append(&WalRecord::Action(panics.clone()))));
    unwinds(&mut |wal| drop(wal.close_open_chunk_with(panics.clone())));
    wal.close().unwrap();
    let mut again = Book::default();
    let _wal: SpellWal = disk.options().open(&mut again).unwrap();
    assert_eq!(again.0, vec!["good"; cases.len() + 2]);
}

#[test]
fn a_state_machine_that_refuses_or_panics_has_its_frame_taken_back() {
    let disk = Disk::default();
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    let (progress, last) = (wal.progress(), wal.last_segment());

    let error = wal.append_and_apply("refuse".to_string(), &mut list).unwrap_err();
    assert!(matches!(error, Error::StateMachine { offset, .. } if offset == progress.appended), "{error}");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _never = wal.append_and_apply("panic".to_string(), &mut list);
    }));
    assert!(panicked.is_err());

    assert_eq!((wal.progress(), wal.last_segment()), (progress, last));
    let segment = wal.append_and_apply("b".to_string(), &mut list).unwrap();
    assert_eq!(segment.offset, progress.appended);
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, ["a", "b"]);
}

#[test]
fn a_rotation_that_fails_in_append_and_apply_concerns_no_record() {
    let disk = Disk::with(|config| config.chunk_max_records = 2);
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    wal.wait_idle().unwrap();
    // The spare that was made ready for the next chunk may be used; the one after can't be made.
    disk.storage.set_capacity(Some(disk.storage.used()));
    let mut applied = 1;
    let error = loop {
        match wal.append_and_apply("b".to_string(), &mut list) {
            Ok(_) => applied += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert_eq!(list.words.len(), applied, "the record was not applied");
    disk.storage.set_capacity(None);
    wal.append_and_apply("c".to_string(), &mut list).unwrap();
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, list.words);
}
