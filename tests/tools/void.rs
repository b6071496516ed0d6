//! A record that its codec can't decode is taken out of the log, and nothing else is.

use std::convert::Infallible;

use chunked_wal::codeq::Encode;
use chunked_wal::raw::{Payload, Raw};
use chunked_wal::{ChunkedWal, Error, Segment, StateMachine, WalReader, WalRecord};

use super::*;

/// Bytes of a seal.
const SEAL_LEN: u64 = 40;

struct Nothing;

impl StateMachine<Raw> for Nothing {
    type Error = Infallible;

    fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        word("")
    }
}

fn word(word: &str) -> Payload {
    let mut bytes = Vec::new();
    word.to_string().encode(&mut bytes).unwrap();
    Payload(bytes)
}

/// `?` is a word whose length says more bytes than there are.
fn payload(of: &str) -> Payload {
    if of == "?" { Payload(vec![0, 0, 0, 99, 1]) } else { word(of) }
}

/// A log of a chunk for each line, as a kill has left it, and where its bad record is.
fn log_of(chunks: &[&[&str]]) -> (TempDir, Segment) {
    let at_work = tempfile::tempdir().unwrap();
    let mut wal = ChunkedWal::<Raw>::open(config(at_work.path()), &mut Nothing).unwrap();
    let (mut so_far, mut bad) = (Vec::new(), None);
    for (i, words) in chunks.iter().enumerate() {
        for of in *words {
            let segment = wal.append(&WalRecord::Action(payload(of))).unwrap();
            if *of == "?" {
                bad = Some(segment);
            } else {
                so_far.push(of.to_string());
            }
        }
        if i + 1 < chunks.len() {
            wal.close_open_chunk_with(word(&so_far.join(","))).unwrap();
        }
    }
    // Not closed; but a chunk has its name once its first flush is synced.
    wal.flush_ticket(Flush::Sync).unwrap().wait().unwrap();
    // The files of closed chunks are cut after their seals in the background.
    for chunk in wal.closed_chunk_stats() {
        let path = at_work.path().join(chunk.chunk_id.file_name());
        while fs::metadata(&path).unwrap().len() > chunk.size + SEAL_LEN {
            std::thread::yield_now();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in snapshot(at_work.path()) {
        if path.extension().is_some_and(|extension| extension == "wal") {
            fs::write(dir.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
    (dir, bad.unwrap())
}

#[test]
fn one_record_is_taken_out_and_all_others_stay_where_they_are() {
    for chunks in [
        &[&["a", "?", "b"][..], &["c"]][..],
        &[&["a", "b", "?"], &["c"]],
        &[&["a"], &["b", "?", "c"]],
        &[&["a"], &["b", "c", "?"]],
        &[&["a", "b", "c", "?"]],
    ] {
        let (dir, bad) = log_of(chunks);
        let offset = bad.offset.to_string();
        let before = snapshot(dir.path());
        let error = Wal::open(config(dir.path()), &mut List::default()).unwrap_err();
        assert!(matches!(&error, Error::Decode { offset, .. } if *offset == bad.offset), "{error}");
        assert!(error.to_string().contains(&format!("repair DIR --void {offset}")), "{error}");

        let ran = run(&["repair", ".", "--void", &offset], dir.path());
        assert!(ran.code == 0 && ran.out.contains("would take out the action at offset"), "{ran:?}");
        assert_eq!(snapshot(dir.path()).len(), before.len() + 1, "the lock of the open");
        let ran = run(&["repair", ".", "--apply", "--void", &offset], dir.path());
        assert!(ran.code == 0 && ran.out.contains(".wal.broken"), "{ran:?}");
        let after = snapshot(dir.path());
        let (broken, bytes) =
            after.iter().find(|(path, _)| path.extension().unwrap_or_default() == "broken").unwrap();
        assert!(before.contains(&(broken.with_extension(""), bytes.clone())), "the old bytes are kept");

        assert_ne!(run(&["verify", "."], dir.path()).code, 2);
        let dumped = run(&["dump", "."], dir.path());
        assert!(!dumped.out.contains("0000006301") && dumped.err.is_empty(), "{dumped:?}");
        // A reader of the directory, then the log itself, twice.
        let reader = WalReader::<Words>::open_read_only(dir.path()).unwrap();
        assert!(reader.records().all(|record| record.is_ok()));
        for _ in 0..2 {
            let mut list = List::default();
            let wal = Wal::open(config(dir.path()), &mut list).unwrap();
            assert_eq!(list.words, ["a", "b", "c"], "{chunks:?}");
            assert!(wal.recovery().torn_tail.is_none());
            assert!(wal.records().all(|record| record.is_ok()));
            for (_, segment, record) in wal.records().map(|record| record.unwrap()) {
                assert_eq!(wal.read_record(segment).unwrap(), record);
            }
            let error = wal.read_record(bad).unwrap_err();
            assert!(matches!(error, Error::Voided { offset, .. } if offset == bad.offset), "{error}");
            wal.close().unwrap();
        }
        assert_eq!(run(&["verify", "."], dir.path()).code, 0);
        let reader = WalReader::<Words>::open_read_only(dir.path()).unwrap();
        assert!(reader.records().all(|record| record.is_ok()));
        let error = reader.read_record(bad).unwrap_err();
        assert!(matches!(error, Error::Voided { offset, .. } if offset == bad.offset), "{error}");
        let mut list = List::default();
        let mut wal = Wal::open(config(dir.path()), &mut list).unwrap();
        wal.append_and_apply("d".to_string(), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.close().unwrap();
        assert_eq!(words_in(dir.path()), ["a", "b", "c", "d"]);
    }
}

#[test]
fn files_of_an_interrupted_repair_are_written_again() {
    let (dir, bad) = log_of(&[&["a", "?"], &["b"]]);
    let name = ChunkId(0).file_name();
    for left in [".voided", ".voided.part", ".broken.part"] {
        fs::write(dir.path().join(format!("{name}{left}")), "half").unwrap();
    }
    let offset = bad.offset.to_string();
    assert_eq!(run(&["repair", ".", "--apply", "--void", &offset], dir.path()).code, 0);
    assert_eq!(words_in(dir.path()), ["a", "b"]);
    assert_eq!(
        fs::read(dir.path().join(format!("{name}.broken"))).unwrap().len() as u64,
        bad.offset + bad.size + SEAL_LEN
    );
}

#[test]
fn a_place_without_a_record_and_a_record_that_can_not_go_stay() {
    let (dir, bad) = log_of(&[&["a", "?"], &["b"]]);
    let before = snapshot(dir.path());
    let offset = (bad.offset + 8).to_string();
    for (offset, code, why) in [
        (offset.as_str(), 64, "no record starts at offset"),
        ("64", 3, "the checkpoint with which its chunk begins"),
        ("99999", 64, "no record starts at offset"),
    ] {
        let ran = run(&["repair", ".", "--apply", "--void", offset], dir.path());
        assert!(ran.code == code && ran.err.contains(why), "{ran:?}");
        let chunks =
            snapshot(dir.path()).into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "wal"));
        assert_eq!(chunks.collect::<Vec<_>>(), before);
    }
    let wal = Wal::acquire_lock(&config(dir.path())).unwrap();
    let ran = run(&["repair", ".", "--apply", "--void", &bad.offset.to_string()], dir.path());
    assert_eq!(ran.code, 9, "{ran:?}");
    drop(wal);
}
