//! Batches through the public API: appended, read, followed, refused, and cut at every byte.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use chunked_wal::storage::{MemoryStorage, Storage};
use chunked_wal::{Batch, Error, Flush, ReadUpTo, WalReader, WalRecord};

use crate::common::*;

fn batch(words: &[&str]) -> Batch<Words> {
    words.iter().map(|word| action(word)).collect()
}

fn words_in(records: impl Iterator<Item = Record>) -> Vec<String> {
    let words = records.filter_map(|record| match record {
        WalRecord::Action(word) => Some(word),
        WalRecord::Checkpoint(_) => None,
    });
    words.collect()
}

#[test]
fn the_records_of_a_batch_are_records_with_segments_of_their_own() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    wal.append(&action("before")).unwrap();
    let begin = wal.progress().appended;
    let segments = wal.append_batch(&batch(&["a", "", "longer than eight bytes"])).unwrap();
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[0].offset, begin);
    assert!(segments.windows(2).all(|pair| pair[0].offset + pair[0].size == pair[1].offset));
    assert_eq!(wal.last_segment(), segments[2]);
    for round in 0..3 {
        for (segment, word) in segments.iter().zip(["a", "", "longer than eight bytes"]) {
            assert_eq!(wal.read_record(*segment).unwrap(), action(word), "{round}");
        }
        wal.flush_ticket(if round == 0 { Flush::Write } else { Flush::Sync }).unwrap().wait().unwrap();
    }
    let words = words_in(wal.records().map(|record| record.unwrap().2));
    assert_eq!(words, ["before", "a", "", "longer than eight bytes"]);
    wal.close().unwrap();
    let (wal, list) = disk.open();
    assert_eq!(list.words, words);
    assert_eq!(wal.recovery().torn_tail, None);
}

#[test]
fn a_batch_may_hold_checkpoints_and_be_empty() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    let before = wal.progress();
    assert_eq!(wal.append_batch(&Batch::new()).unwrap(), []);
    assert_eq!(wal.progress(), before);
    let mut batch = batch(&["x"]);
    batch.push(checkpoint("a,b"));
    batch.action("c".to_string());
    wal.append_batch(&batch).unwrap();
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, ["a", "b", "c"]);
}

#[test]
fn a_batch_is_never_split_by_a_rotation() {
    let disk = Disk::with(|config| config.chunk_max_size = 100);
    let (mut wal, mut list) = disk.open();
    let words: Vec<String> = (0..50).map(|i| format!("word-{i}")).collect();
    let large: Batch<Words> = words.iter().map(|word| action(word)).collect();
    wal.append_batch(&large).unwrap();
    assert!(wal.is_open_chunk_full() && wal.closed_chunk_stats().is_empty());
    list.words.clone_from(&words);
    wal.append_and_apply_batch(&large, &mut list).unwrap();
    assert_eq!(wal.closed_chunk_stats().len(), 1);
    assert_eq!(list.words, [&words[..], &words].concat());
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, list.words);
}

#[test]
fn a_batch_that_is_refused_leaves_log_and_state_as_they_were() {
    let disk = Disk::with(|config| {
        config.max_record_size = 100;
        config.max_batch_size = 200;
    });
    let (mut wal, mut list) = disk.open();
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    let (progress, before) = (wal.progress(), list.clone());

    let refused = wal.append_and_apply_batch(&batch(&["b", "c", "refuse"]), &mut list);
    let offset = progress.appended + 2 * 24;
    assert!(matches!(refused, Err(Error::StateMachine { offset: at, .. }) if at == offset), "{refused:?}");

    let long = "x".repeat(101);
    let refused = wal.append_and_apply_batch(&batch(&["b", &long]), &mut list);
    match &refused {
        Err(error @ Error::InBatch { index: 1, source }) => {
            assert!(matches!(**source, Error::RecordTooLarge { max: 100 }));
            assert!(error.to_string().starts_with("record 1 of the batch"), "{error}");
        }
        other => panic!("{other:?}"),
    }

    let many = batch(&["0123456789012345678901234567"; 5]);
    let refused = wal.append_batch(&many);
    let too_large = Error::BatchTooLarge { index: 4, len: 5, max: 200 }.to_string();
    assert_eq!(refused.unwrap_err().to_string(), too_large);

    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wal.append_and_apply_batch(&batch(&["b", "panic"]), &mut list)
    }));
    assert!(panicked.is_err());
    assert_eq!((wal.progress(), &list), (progress, &before));

    wal.append_and_apply_batch(&batch(&["b", "c"]), &mut list).unwrap();
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, ["a", "b", "c"]);
}

/// The chunk's bytes before and after a batch of three, and its path.
fn log_with_batch(disk: &Disk) -> (usize, Vec<u8>, std::path::PathBuf) {
    let (mut wal, _) = disk.open();
    wal.append(&action("single")).unwrap();
    wal.sync().unwrap();
    let begin = wal.progress().appended as usize;
    wal.append_batch(&batch(&["first", "the second word", "the last one"])).unwrap();
    wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
    let end = wal.progress().appended as usize;
    let path = disk.config.chunk_path(wal.open_chunk_id());
    let mut bytes = disk.storage.read_file(&path).unwrap();
    bytes.truncate(end);
    (begin, bytes, path)
}

/// A disk on which only the first `len` bytes of the chunk arrived.
fn disk_with(disk: &Disk, path: &Path, bytes: &[u8], len: usize) -> Disk {
    let storage = MemoryStorage::default();
    storage.create_dir(Path::new("/log")).unwrap();
    storage.write_file(path, &[&bytes[..len], &[0; 100][..]].concat()).unwrap();
    disk.on(storage)
}

#[test]
fn a_batch_that_a_crash_has_cut_is_not_there_at_all() {
    let disk = Disk::default();
    let (begin, bytes, path) = log_with_batch(&disk);
    for len in begin..bytes.len() {
        let cut = disk_with(&disk, &path, &bytes, len);
        // A reader of another process, before recovery and after.
        let options = || WalReader::<Words>::read_only_options("/log").storage(Arc::new(cut.storage.clone()));
        let reader = options().up_to(ReadUpTo::Written).open().unwrap();
        assert_eq!(reader.end(), begin as u64, "{len}");
        assert_eq!(words_in(reader.records().map(|record| record.unwrap().2)), ["single"]);

        let (wal, list) = cut.open();
        assert_eq!(list.words, ["single"], "{len}");
        assert_eq!(wal.recovery().torn_tail.map(|torn| torn.data_end), (len > begin).then_some(begin as u64));
        wal.close().unwrap();
        assert_eq!(cut.open().1.words, ["single"]);
    }
    let whole = disk_with(&disk, &path, &bytes, bytes.len());
    assert_eq!(whole.open().1.words.len(), 4);
}

#[test]
fn a_reader_of_another_process_reads_each_record_of_a_batch() {
    let disk = Disk::default();
    let (mut wal, list) = disk.open();
    let mut segments = wal.append_batch(&batch(&["a", "b", "c"])).unwrap();
    wal.close_open_chunk(&list).unwrap();
    segments.extend(wal.append_batch(&batch(&["d", "e"])).unwrap());
    wal.sync().unwrap();
    let options = WalReader::<Words>::read_only_options("/log").storage(Arc::new(disk.storage.clone()));
    let reader = options.up_to(ReadUpTo::Written).open().unwrap();
    for (segment, word) in segments.iter().zip(["a", "b", "c", "d", "e"]) {
        assert_eq!(reader.read_record(*segment).unwrap(), action(word));
    }
    let from = |segment: usize| {
        words_in(reader.records_from(segments[segment].offset).unwrap().map(|r| r.unwrap().2))
    };
    assert_eq!(from(1), ["b", "c", "d", "e"]);
    assert_eq!(from(4), ["e"]);
}

#[test]
fn a_follower_gets_a_batch_once_it_is_whole() {
    let disk = Disk::default();
    let (begin, bytes, path) = log_with_batch(&disk);
    let cut = disk_with(&disk, &path, &bytes, begin + 40);
    let options = WalReader::<Words>::read_only_options("/log").storage(Arc::new(cut.storage.clone()));
    let reader = options.up_to(ReadUpTo::Written).open().unwrap();
    let mut follow = reader.follow(begin as u64);
    assert!(follow.next_timeout(std::time::Duration::ZERO).unwrap().is_none());
    cut.storage.write_file(&path, &bytes).unwrap();
    for word in ["first", "the second word", "the last one"] {
        let (_, _, record) = follow.next_timeout(std::time::Duration::ZERO).unwrap().unwrap();
        assert_eq!(record, action(word));
    }
}

#[cfg(feature = "lz4")]
#[test]
fn batches_are_compressed_record_by_record() {
    let disk = Disk::with(|config| config.compression = chunked_wal::Compression::Lz4 { min_len: 64 });
    let (mut wal, _) = disk.open();
    let (long, short) = ("ab".repeat(500), "short");
    let segments = wal.append_batch(&batch(&[&long, short, &long])).unwrap();
    assert!(segments[0].size < 100, "{segments:?}");
    assert_eq!(wal.read_record(segments[2]).unwrap(), action(&long));
    wal.close().unwrap();
    assert_eq!(disk.open().1.words, [long.as_str(), short, &long]);
}

#[test]
fn no_chunk_is_cut_inside_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = on_disk::open(dir.path());
    wal.append(&action("before")).unwrap();
    let segments = wal.append_batch(&batch(&["a", "b"])).unwrap();
    wal.append(&action("after")).unwrap();
    let id = wal.open_chunk_id();
    wal.close().unwrap();
    let path = on_disk::config(dir.path()).chunk_path(id);
    let ends: Vec<u64> = segments.iter().map(|segment| segment.offset + segment.size).collect();

    let chunk = chunked_wal::raw::RawChunk::open(dir.path(), id).unwrap();
    let mut records = chunk.records(chunked_wal::raw::ChunkPlace::Newest);
    let mut goes_on = Vec::new();
    while let Some(record) = records.next().unwrap() {
        goes_on.push(record.batch_goes_on);
    }
    assert_eq!(goes_on, [false, false, true, false, false]);

    let lock = Wal::acquire_lock(&on_disk::config(dir.path())).unwrap();
    let cut = |end| chunked_wal::raw::cut_chunk(&lock, id, end);
    assert!(matches!(cut(ends[0]), Err(Error::NotInLog { .. })));
    assert_eq!(std::fs::read(&path).unwrap().len() as u64 % 8, 0);
    cut(ends[1]).unwrap();
    drop(lock);
    assert_eq!(on_disk::open(dir.path()).1.words, ["before", "a", "b"]);
}
