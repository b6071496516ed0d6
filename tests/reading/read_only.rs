//! A log read from its directory, while other processes write it, and after they crashed.
//!
//! Some tests run this same binary again as their child, with `ROLE` saying what it is to do.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, Config, Error, Flush, ReadUpTo, Segment, WalReader, WalRecord};

use crate::common::*;

type Reader = WalReader<Words>;

impl Disk {
    fn reader(&self, read_up_to: ReadUpTo) -> Result<Reader, Error> {
        let options = Reader::read_only_options(&self.config.dir);
        options.up_to(read_up_to).storage(Arc::new(self.storage.clone())).open()
    }

    /// The records that a read-only reader returns.
    fn read(&self, read_up_to: ReadUpTo) -> Vec<(Segment, Record)> {
        all(&self.reader(read_up_to).unwrap())
    }
}

fn all(reader: &Reader) -> Vec<(Segment, Record)> {
    reader.records().map(Result::unwrap).map(|(_, segment, record)| (segment, record)).collect()
}

fn words(records: &[(Segment, Record)]) -> Vec<String> {
    let word = |(_, record): &(Segment, Record)| match record {
        WalRecord::Action(word) => word.clone(),
        WalRecord::Checkpoint(all) => format!("[{all}]"),
    };
    records.iter().map(word).collect()
}

// What is durable ----------------------------------------------------------------------------------

/// Copies of a disk, one before each of its operations.
fn watched(disk: &Disk) -> Arc<Mutex<Vec<MemoryStorage>>> {
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let (storage, taken) = (disk.storage.clone(), cuts.clone());
    disk.storage.on_operation(move |op| {
        if op.kind.is_change() {
            let cut = storage.kill();
            taken.lock().unwrap().push(cut);
        }
    });
    cuts
}

/// Everything that a log does: flushes of both kinds, rotations, removals, reused files.
fn write_a_bit_of_everything(disk: &Disk, salt: u64) {
    let (mut wal, mut list) = disk.open();
    for i in 0..12_u64 {
        let word = format!("{i:width$}", width = ((i * 37 + salt * 11) % 150) as usize);
        wal.append_and_apply(word, &mut list).unwrap();
        match (i + salt) % 4 {
            0 => wal.sync().unwrap(),
            1 => wal.flush(Flush::Write, None).unwrap(),
            2 => wal.append(&checkpoint(&list.words.join(","))).map(drop).unwrap(),
            _ => wal.wait_idle().unwrap(),
        }
        if i % 3 == 2 {
            // Not the checkpoint that a recovery would start the chunk with.
            wal.close_open_chunk_with(format!("{},rotated{i}", list.words.join(","))).unwrap();
            let ids = wal.drain_closed_chunks_while(|_| i > 4);
            wal.remove_chunks(ids).unwrap();
        }
    }
    wal.append(&action("never flushed, but by the close")).unwrap();
    wal.close().unwrap();
}

/// Every record that the reader returns on this disk must survive any crash, unless its removal had started. Returns
/// the number of records.
fn what_is_read_survives(disk: &Disk, seeds: std::ops::Range<u64>) -> usize {
    let read = match disk.reader(ReadUpTo::Durable) {
        Ok(reader) => all(&reader),
        Err(Error::NotFound { .. }) => return 0,
        Err(error) => panic!("{error}"),
    };
    for seed in seeds {
        let (wal, _) = disk.on(disk.storage.crash(seed)).open();
        let left: BTreeMap<u64, (Segment, Record)> =
            wal.records().map(|r| r.unwrap()).map(|(_, s, record)| (s.offset, (s, record))).collect();
        let start = left.keys().next().copied().unwrap_or(u64::MAX);
        for (segment, record) in read.iter().filter(|(segment, _)| segment.offset >= start) {
            let found = left.get(&segment.offset);
            assert_eq!(found, Some(&(*segment, record.clone())), "seed {seed}, read: {:?}", words(&read));
        }
        let last = read.last().map_or(0, |(segment, _)| segment.offset);
        assert!(read.is_empty() || start <= last, "seed {seed}: {:?} was read, all is lost", words(&read));
    }
    read.len()
}

#[test]
fn nothing_is_read_that_a_crash_could_take_back() {
    let (mut cuts_seen, mut read, mut second_cuts) = (0, 0, 0);
    for salt in 0..3 {
        let disk = Disk::with(|c| {
            c.chunk_max_size = 256;
            c.spare_chunks = salt;
        });
        let cuts = watched(&disk);
        write_a_bit_of_everything(&disk, salt);
        disk.storage.on_operation(|_| {});
        let cuts = std::mem::take(&mut *cuts.lock().unwrap());
        for (i, cut) in cuts.iter().enumerate() {
            let disk = disk.on(cut.kill());
            read += what_is_read_survives(&disk, 0..8);
            cuts_seen += 1;
            if i as u64 % 4 != salt {
                continue;
            }
            // The process was killed there, and the next one is watched while it recovers.
            let cuts = watched(&disk);
            drop(disk.open());
            disk.storage.on_operation(|_| {});
            for cut in std::mem::take(&mut *cuts.lock().unwrap()) {
                what_is_read_survives(&disk.on(cut), 0..4);
                second_cuts += 1;
            }
        }
    }
    println!("{cuts_seen} cuts, {second_cuts} while recovering, {read} records read and found");
    assert!(cuts_seen > 150 && second_cuts > 150 && read > 1000, "{cuts_seen} {second_cuts} {read}");
}

#[test]
fn proven_records_are_read_and_written_ones_on_request() {
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    let read = |up_to| words(&disk.read(up_to));
    let idle = |wal: &mut Wal, mode| {
        wal.flush(mode, None).unwrap();
        wal.wait_idle().unwrap();
    };
    idle(&mut wal, Flush::Sync);
    assert_eq!(read(ReadUpTo::Durable), ["[]"]);
    wal.append(&action("a")).unwrap();
    assert_eq!(read(ReadUpTo::Written), ["[]"], "not written yet");
    idle(&mut wal, Flush::Write);
    assert_eq!(
        (read(ReadUpTo::Durable), read(ReadUpTo::Written)),
        (vec!["[]".into()], vec!["[]".into(), "a".into()])
    );
    idle(&mut wal, Flush::Sync);
    assert_eq!(read(ReadUpTo::Durable), ["[]", "a"], "the mark of an idle log");
    wal.append(&action("b")).unwrap();
    idle(&mut wal, Flush::Write);
    assert_eq!(read(ReadUpTo::Durable), ["[]", "a"], "a later frame proves what was synced before it");
    assert_eq!(read(ReadUpTo::Written), ["[]", "a", "b"]);
    wal.close_open_chunk_with("a,b".to_string()).unwrap();
    wal.append(&action("c")).unwrap();
    idle(&mut wal, Flush::Write);
    let durable = read(ReadUpTo::Durable);
    assert_eq!(durable[..3], ["[]", "a", "b"], "a successor proves the chunk before");
    // The first flush in a chunk makes it durable.
    assert_eq!(durable[3..], ["[a,b]", "c"]);
    assert_eq!(read(ReadUpTo::Written), ["[]", "a", "b", "[a,b]", "c"]);
    wal.close().unwrap();
    assert_eq!(read(ReadUpTo::Durable), ["[]", "a", "b", "[a,b]", "c"]);
}

#[test]
fn a_chunk_that_ends_in_the_middle_of_a_write_is_read_up_to_there() {
    let whole = Forge::chunk(0).checkpoint("").action("one").synced().action("two").action("three");
    let read = |forge: &Forge| {
        let disk = Disk::default();
        forge.put(&disk);
        (words(&disk.read(ReadUpTo::Durable)), words(&disk.read(ReadUpTo::Written)))
    };
    let (durable, written): (Vec<&str>, Vec<&str>) = (vec!["[]", "one"], vec!["[]", "one", "two"]);
    // With fewer bytes lost, the zeros after them could make the frame whole again.
    for n in 8..24 {
        let cut = whole.clone().cut(n);
        for forge in [cut.clone(), cut.clone().zeros(100), cut.clone().zeros(3).used_before().raw(&[7; 400])]
        {
            let (d, w) = read(&forge);
            assert_eq!(
                (d, w),
                (
                    durable.iter().map(|s| s.to_string()).collect(),
                    written.iter().map(|s| s.to_string()).collect()
                ),
                "{n}"
            );
        }
    }
    // The reader ends before a damaged frame in the newest chunk; the writer reports the damage.
    assert_eq!(read(&whole.clone().decayed(2)).1, durable);
    assert_eq!(read(&Forge::chunk(0).checkpoint("x").zeros(64)).0, Vec::<String>::new());
    assert_eq!(read(&Forge::chunk(0).checkpoint("x").mark().zeros(64)).0, ["[x]"]);
}

#[test]
fn damage_to_durable_bytes_is_an_error_that_says_where() {
    let first = Forge::chunk(0).checkpoint("").action("one").action("two").seal();
    let second = first.next().checkpoint("one,two").mark();
    let reads = |first: &Forge| {
        let disk = Disk::default();
        first.put(&disk);
        second.put(&disk);
        let reader = disk.reader(ReadUpTo::Durable).unwrap();
        let read: Vec<_> = reader.records().collect();
        let last_of_first = Segment::new(first.at[2], first.end - first.at[2]);
        (
            read.iter().filter(|item| item.is_ok()).count(),
            read.into_iter().find_map(Result::err),
            reader.read_record(last_of_first),
        )
    };
    assert!(matches!(reads(&first), (4, None, Ok(_))));
    assert!(
        matches!(reads(&first.clone().decayed(1)), (1, Some(Error::Corrupt { offset, .. }), Ok(_)) if offset == first.at[1])
    );
    assert!(matches!(
        reads(&first.clone().decayed(2)),
        (2, Some(Error::Corrupt { .. }), Err(Error::Corrupt { .. }))
    ));
    assert!(matches!(reads(&first.clone().cut(41)), (_, Some(Error::Corrupt { .. }), _)));
    // A chunk is missing between the two.
    for far in [200, 1 << 20] {
        let behind = Forge::chunk(first.end + far).checkpoint("").mark();
        let error = first_error(&first, &behind);
        let gap = matches!(&error, Some(Error::Gap { expected, found, .. }) if (*expected, *found) == (first.end, behind.id));
        assert!(gap, "{error:?}");
    }
}

fn first_error(first: &Forge, second: &Forge) -> Option<Error> {
    let disk = Disk::default();
    first.put(&disk);
    second.put(&disk);
    disk.reader(ReadUpTo::Durable).unwrap().records().find_map(Result::err)
}

#[test]
fn records_are_found_by_place_and_places_outside_are_named() {
    let disk = Disk::with(|c| c.chunk_max_size = 200);
    let (mut wal, mut list) = disk.open();
    for i in 0..30 {
        wal.append_and_apply(format!("word {i}"), &mut list).unwrap();
    }
    wal.close().unwrap();
    let reader = disk.reader(ReadUpTo::Durable).unwrap();
    let read = all(&reader);
    assert_eq!(read.iter().filter(|(_, r)| matches!(r, WalRecord::Action(_))).count(), 30);
    for (i, (segment, record)) in read.iter().enumerate() {
        assert_eq!(&reader.read_record(*segment).unwrap(), record);
        let from: Vec<_> = reader.records_from(segment.offset).unwrap().map(|r| r.unwrap().1).collect();
        assert_eq!(from, read[i..].iter().map(|(s, _)| *s).collect::<Vec<_>>());
    }
    let (start, end) = (reader.start(), reader.end());
    assert_eq!((start, reader.records_from(end).unwrap().count()), (0, 0));
    assert!(matches!(reader.records_from(end + 8), Err(Error::NotInLog { .. })));
    let (one, two) = (read[1].0, read[2].0);
    for wrong in [Segment::new(end, 24), Segment::new(one.offset, u64::MAX), Segment::new(one.offset, 0)] {
        assert!(matches!(reader.read_record(wrong), Err(Error::NotInLog { .. })), "{wrong:?}");
    }
    for wrong in [
        Segment::new(one.offset + 8, one.size),
        Segment::new(one.offset, one.size - 8),
        Segment::new(one.offset, one.size + two.size),
    ] {
        let error = reader.read_record(wrong).unwrap_err();
        assert!(matches!(error, Error::NoSuchRecord { found, .. } if found == one), "{wrong:?}: {error}");
    }
    assert!(matches!(reader.records_from(one.offset + 8).unwrap().next(), Some(Err(Error::Corrupt { .. }))));
}

#[test]
fn a_live_reader_has_the_same_face() {
    let disk = Disk::with(|c| c.chunk_max_size = 200);
    let (mut wal, mut list) = disk.open();
    let reader = wal.reader();
    for i in 0..20 {
        let segment = wal.append_and_apply(format!("{i}"), &mut list).unwrap();
        assert_eq!(reader.end(), segment.offset + segment.size);
    }
    let read = all(&reader);
    for (i, (segment, _)) in read.iter().enumerate() {
        assert_eq!(reader.records_from(segment.offset).unwrap().count(), read.len() - i);
    }
    let mut follow = reader.follow(read[5].0.offset);
    let followed: Vec<_> = follow.by_ref().take(read.len() - 5).map(|r| r.unwrap().1).collect();
    assert_eq!(followed, read[5..].iter().map(|(s, _)| *s).collect::<Vec<_>>());
    assert!(follow.next_timeout(Duration::ZERO).unwrap().is_none());
    wal.append(&action("later")).unwrap();
    assert_eq!(follow.next_timeout(Duration::from_secs(5)).unwrap().unwrap().2, action("later"));
    wal.close().unwrap();
    assert!(matches!(follow.next(), Some(Err(Error::Closed))));
    assert!(follow.next().is_none());
    assert!(matches!(reader.refresh(), Err(Error::Closed)));
}

/// With any damage to the files, a reader ends, and returns only records that were written.
#[test]
fn hostile_bytes_are_errors_or_the_end_and_never_other_records() {
    let disk = Disk::with(|c| c.chunk_max_size = 200);
    let (mut wal, mut list) = disk.open();
    for i in 0..12 {
        wal.append_and_apply(format!("word {i}"), &mut list).unwrap();
    }
    wal.close().unwrap();
    let sound = disk.read(ReadUpTo::Durable);
    let chunks: Vec<String> =
        disk.storage.files("/log").into_iter().filter(|name| name.starts_with("r-")).collect();
    let (mut errors, mut ended) = (0, 0);
    for case in 0..120_u64 {
        let mut seed = case.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let broken = disk.on(disk.storage.kill());
        let path = disk.config.dir.join(&chunks[random(chunks.len())]);
        let mut bytes = broken.storage.read_file(&path).unwrap();
        let at = random(bytes.len().min(400));
        match random(5) {
            0 => bytes[at] ^= 1 << random(8),
            1 => bytes.truncate(at),
            2 => bytes.splice(at..at, [7; 8]).for_each(drop),
            3 => bytes[at..].fill(0xFF),
            _ => bytes[at..].fill(0),
        }
        broken.storage.write_file(&path, &bytes).unwrap();
        for up_to in [ReadUpTo::Durable, ReadUpTo::Written] {
            let Ok(reader) = broken.reader(up_to) else {
                errors += 1;
                continue;
            };
            let read: Vec<_> = reader.records().collect();
            let whole = read.iter().filter_map(|item| item.as_ref().ok());
            assert!(
                whole.zip(&sound).all(|(read, sound)| (read.1, &read.2) == (sound.0, &sound.1)),
                "case {case}"
            );
            errors += u64::from(read.iter().any(Result::is_err));
            ended += u64::from(read.len() < sound.len() && read.iter().all(Result::is_ok));
        }
    }
    assert!(errors > 50 && ended > 10, "{errors} {ended}");
}

// Directories --------------------------------------------------------------------------------------

#[test]
fn a_path_without_a_log_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Reader::open_read_only(path).map(drop);
    assert!(matches!(open(&dir.path().join("nowhere")), Err(Error::NotFound { .. })));
    assert!(matches!(open(dir.path()), Err(Error::NotFound { .. })));
    let file = dir.path().join("r-00_000_000_000_000_000_000.wal");
    std::fs::write(&file, "something else, longer than a header is: it goes on and on and on and on")
        .unwrap();
    assert!(matches!(open(dir.path()), Err(Error::NotAChunk { .. })));
    assert!(matches!(open(&file), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was written");
}

#[test]
fn another_log_in_the_same_place_is_not_mixed_in() {
    let dir = tempfile::tempdir().unwrap();
    let write = |word: &str| {
        let mut wal = Wal::open(Config::new(dir.path()), &mut List::default()).unwrap();
        wal.append(&action(word)).unwrap();
        wal.close().unwrap();
    };
    write("first");
    let reader = Reader::open_read_only(dir.path()).unwrap();
    assert_eq!(words(&all(&reader)), ["[]", "first"]);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(matches!(reader.refresh(), Err(Error::NotFound { .. })));
    write("second");
    assert!(matches!(reader.refresh(), Err(Error::ForeignChunk { .. })));
    assert!(matches!(reader.records().next(), Some(Err(Error::ForeignChunk { .. }))));
}

#[test]
fn a_reader_needs_only_read_permission_and_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut wal = Wal::open(Config::new(&log), &mut List::default()).unwrap();
    wal.append(&action("x")).unwrap();
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let state = || {
        let entries = std::fs::read_dir(&log).unwrap().map(|e| e.unwrap().path());
        let mut state: Vec<_> = entries.map(|p| (std::fs::read(&p).unwrap(), p)).collect();
        state.sort();
        state
    };
    let before = state();
    std::fs::set_permissions(&log, PermissionsExt::from_mode(0o555)).unwrap();
    let read = words(&all(&Reader::open_read_only(&log).unwrap()));
    std::fs::set_permissions(&log, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(read, ["[]", "x"]);
    assert_eq!(state(), before);
}

// While others write -------------------------------------------------------------------------------

const ROLE: &str = "CHUNKED_WAL_TEST_ROLE";
const DIR: &str = "CHUNKED_WAL_TEST_DIR";
const RECORDS: u64 = 4000;

fn busy_config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.chunk_max_size = 2048;
    config.spare_chunks = 2;
    config
}

/// The word with this number; of different lengths, so that frames and chunks end anywhere.
fn word(i: u64) -> String {
    format!("{i:0width$}", width = 8 + (i * 37 % 300) as usize)
}

/// Appends numbers, rotates, removes all but the newest chunks, which makes it use their files again.
fn write_numbers(dir: &Path, pause: bool) {
    let mut history = History::default();
    let mut wal = Wal::open(busy_config(dir), &mut history).unwrap();
    for i in 0..RECORDS {
        wal.append_and_apply(word(i), &mut history).unwrap();
        history.records.clear();
        match i % 5 {
            0 => wal.flush(Flush::Write, None).unwrap(),
            1 => wal.flush(Flush::Sync, None).unwrap(),
            _ => {}
        }
        let closed = wal.closed_chunk_stats().len();
        if closed > 8 {
            let mut left = closed - 6;
            let ids = wal.drain_closed_chunks_while(|_| {
                left = left.saturating_sub(1);
                left > 0
            });
            wal.remove_chunks(ids).unwrap();
        }
        if pause && i.is_multiple_of(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    wal.append(&action("end")).unwrap();
    wal.close().unwrap();
}

/// The records that a follower saw, and how often its next record was removed.
#[derive(Debug, Default)]
struct Seen {
    records: u64,
    skips: u64,
}

/// Follows until the last word; continues at the new start where records were removed.
fn follow_numbers(dir: &Path) -> Seen {
    let reader = loop {
        match Reader::open_read_only(dir) {
            Ok(reader) => break reader,
            Err(Error::NotFound { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    };
    let mut seen = Seen::default();
    let mut next = None;
    let mut follow = reader.follow(reader.start());
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        match follow.next_timeout(Duration::from_secs(20)) {
            Ok(Some((_, segment, WalRecord::Action(text)))) => {
                if text == "end" {
                    return seen;
                }
                let number: u64 = text.trim_start_matches('0').parse().unwrap_or(0);
                assert_eq!(text, word(number));
                assert!(next.is_none_or(|next| next == number), "{number} after {next:?}");
                next = Some(number + 1);
                seen.records += 1;
                // Sometimes by place, too.
                if number.is_multiple_of(50) {
                    match reader.read_record(segment) {
                        Ok(record) => assert_eq!(record, action(&text)),
                        Err(Error::NotInLog { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => panic!("nothing more behind {next:?}"),
            Err(Error::NotInLog { .. }) => {
                follow = reader.follow(reader.start());
                next = None;
                seen.skips += 1;
            }
            Err(error) => panic!("at {}: {error}", follow.offset()),
        }
    }
    panic!("not done in time: {seen:?}");
}

#[test]
fn followers_here_and_in_another_process_keep_up_with_a_busy_writer() {
    if std::env::var(ROLE).is_ok() {
        println!("\n! {:?}", follow_numbers(Path::new(&std::env::var_os(DIR).unwrap())));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let other = again("read_only::followers_here_and_in_another_process_keep_up_with_a_busy_writer")
        .env(ROLE, "follower")
        .env(DIR, &log)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let seen = std::thread::scope(|scope| {
        let here = scope.spawn(|| follow_numbers(&log));
        write_numbers(&log, true);
        here.join().unwrap()
    });
    let output = other.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    println!("here: {seen:?}\nthere: {}", text.lines().find(|line| line.starts_with('!')).unwrap_or("?"));
    assert!(seen.records > 100, "{seen:?}");
}

/// Readers that go through all records again and again meet removals and files used again everywhere.
#[test]
fn records_that_go_while_they_are_read_are_not_in_the_log_and_never_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    drop(Wal::open(busy_config(&log), &mut History::default()).unwrap());
    let done = AtomicBool::new(false);
    let (rounds, gone) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut rounds, mut gone) = (0, 0);
            while !done.load(SeqCst) || rounds == 0 {
                let reader = Reader::open_read_only(&log).unwrap();
                let old: Vec<Segment> = reader.records().map_while(Result::ok).map(|r| r.1).take(5).collect();
                for item in reader.records() {
                    match item {
                        Ok((id, segment, _)) => assert!(segment.offset > id.0),
                        Err(Error::NotInLog { .. }) => gone += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                for segment in old {
                    match reader.read_record(segment) {
                        Ok(_) => {}
                        Err(Error::NotInLog { .. }) => gone += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                rounds += 1;
            }
            (rounds, gone)
        });
        write_numbers(&log, false);
        done.store(true, SeqCst);
        reading.join().unwrap()
    });
    println!("{rounds} rounds, {gone} times gone");
    assert!(rounds > 1, "{rounds}");
}

#[test]
fn a_chunk_removed_and_its_file_used_again_under_a_reader_is_gone() {
    let disk = Disk::with(|c| c.spare_chunks = 2);
    let (mut wal, mut list) = disk.open();
    for chunk in 0..4 {
        for i in 0..5 {
            // Of the first chunk more than the reader reads ahead.
            let len = if chunk == 0 { 500_000 } else { 80 };
            wal.append(&action(&format!("{chunk}.{i} {}", "x".repeat(len)))).unwrap();
        }
        list.words = vec![chunk.to_string()];
        wal.close_open_chunk(&list).unwrap();
    }
    wal.sync().unwrap();
    wal.wait_idle().unwrap();
    let reader = disk.reader(ReadUpTo::Durable).unwrap();
    let old = all(&reader);
    let mut under_way = reader.records();
    assert_eq!(under_way.next().unwrap().unwrap().1, old[0].0);
    let from_oldest = reader.records();

    let mut first = true;
    let ids = wal.drain_closed_chunks_while(|_| std::mem::replace(&mut first, false));
    assert_eq!(ids, [ChunkId(0)]);
    let old_salt = disk.storage.read_file(disk.config.chunk_path(ids[0])).unwrap()[24..32].to_vec();
    wal.remove_chunks(ids).unwrap();
    wal.wait_idle().unwrap();
    for _ in 0..2 {
        wal.close_open_chunk(&list).unwrap();
        wal.append(&action(&"y".repeat(3000))).unwrap();
        wal.sync().unwrap();
    }
    wal.wait_idle().unwrap();
    // Records that were read ahead still come, then none.
    let rest: Vec<_> = under_way.by_ref().collect();
    let came = rest.iter().filter(|item| item.is_ok()).count();
    for (item, expected) in rest.iter().zip(&old[1..]).take(came) {
        assert_eq!(item.as_ref().unwrap().1, expected.0);
    }
    assert!(came < 5 && matches!(rest.last(), Some(Err(Error::NotInLog { .. }))), "{came}");
    assert!(reader.start() > 0, "the failed read has looked again");
    assert!(matches!(reader.read_record(old[1].0), Err(Error::NotInLog { .. })));
    // From the oldest record kept by now.
    let again: Vec<_> = from_oldest.map(|item| item.unwrap().1).collect();
    assert_eq!(again, old[6..].iter().map(|(segment, _)| *segment).collect::<Vec<_>>());
    let reused = disk.storage.files(&disk.config.dir).into_iter().filter_map(|name| {
        let bytes = disk.storage.read_file(disk.config.dir.join(name))?;
        (bytes.get(12) == Some(&2)).then(|| bytes[24..32].to_vec())
    });
    assert!(reused.into_iter().any(|salt| salt != old_salt), "a file was used again");
}
