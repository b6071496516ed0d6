//! Damage is reported, never repaired: bytes that were provably durable are replayed as they were, or the log is
//! refused and left alone. Bytes without a proof may be cut off as torn, but only at the end.
//!
//! Each class of damage counts what it tried and what came of it; `--nocapture` shows the counts.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use chunked_wal::{ChunkId, Error, RecoveryReport, Replay, Segment};

use crate::common::*;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A log that is no longer open, and all that was appended to it.
struct Log {
    disk: Disk,
    history: History,
    /// The newest chunk: where it begins, and its file.
    newest: u64,
    newest_path: PathBuf,
    /// The position after the last record.
    end: u64,
    /// The files as they were after each sync.
    versions: Vec<Files>,
}

/// Whether the newest chunk's file had an earlier life.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Life {
    First,
    Second,
}

/// How the log ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Closed,
    /// By a power loss when all was synced and nothing was written after it.
    PowerLost,
}

/// The last records of a [`log`], synced together after all others.
const LAST_BATCH: usize = 3;

const FRAME_HEADER: usize = 16;

/// Makes a log of a few chunks; the newest holds some batches, and [`LAST_BATCH`] records at the end.
fn log(chunk_max_size: u64, word_len: usize, life: Life, end: End) -> Log {
    let disk = Disk::with(|config| {
        config.chunk_max_size = chunk_max_size;
        config.spare_chunks = if life == Life::First { 0 } else { 2 };
    });
    let (mut wal, mut history) = disk.try_open_with::<History>(Replay::All).unwrap();
    let mut versions = Vec::new();
    let mut count = 0;
    let mut append = |wal: &mut Wal, history: &mut History, n: usize| {
        for _ in 0..n {
            count += 1;
            let word = format!("{count}-{}", "w".repeat(count * 7 % word_len));
            wal.append_and_apply(word, history).unwrap();
        }
        wal.sync().unwrap();
        versions.push(disk.storage.snapshot());
    };
    let wanted = if life == Life::First { 0 } else { 2 };
    let features =
        |wal: &Wal| disk.storage.read_file(disk.config.chunk_path(wal.open_chunk_id())).unwrap()[12];
    while wal.closed_chunk_stats().len() < 3 || features(&wal) != wanted {
        assert!(history.records.len() < 1000, "no chunk with a file of {life:?} life");
        append(&mut wal, &mut history, 1);
        // The files of the oldest chunks serve again, where they are kept.
        if wal.closed_chunk_stats().len() > 3 {
            let mut oldest = true;
            let ids = wal.drain_closed_chunks_while(|_| std::mem::take(&mut oldest));
            wal.remove_chunks(ids).unwrap();
            wal.wait_idle().unwrap();
        }
    }
    for n in [1, 1, LAST_BATCH] {
        append(&mut wal, &mut history, n);
    }
    let newest = wal.open_chunk_id();
    let disk = match end {
        End::Closed => {
            wal.close().unwrap();
            disk
        }
        End::PowerLost => {
            // The newest chunk's name becomes durable after its records.
            let newest = disk.config.chunk_path(newest);
            let left = std::iter::repeat_with(|| disk.on(disk.storage.crash(0)))
                .find(|left| left.storage.read_file(&newest).is_some())
                .unwrap();
            drop(wal);
            left
        }
    };
    let newest_path = disk.config.chunk_path(newest);
    let mut bytes = disk.storage.read_file(&newest_path).unwrap();
    let whole = disk.on(disk.storage.kill());
    let (wal, history) = whole.try_open_with::<History>(Replay::All).unwrap();
    assert_eq!(wal.recovery().chunks, 4);
    let (_, last, _) = &history.records[history.records.len() - 1];
    let end = last.offset + last.size;
    assert_eq!(history.records.iter().filter(|(chunk, ..)| *chunk == newest).count(), 4 + LAST_BATCH);
    // Most of the space allocated ahead makes a test slow and no better.
    bytes.truncate((end - newest.0 + MARK) as usize + 64);
    disk.storage.write_file(&newest_path, &bytes).unwrap();
    Log { disk, history, newest: newest.0, newest_path, end, versions }
}

/// The outcome of opening a damaged log.
#[derive(Debug)]
enum Outcome {
    /// With a typed error, and the directory as it was.
    Refused(Error),
    /// With this number of records.
    Opened(usize, RecoveryReport),
}

/// The outcomes of all damage of one class.
#[derive(Debug, Default)]
struct Count {
    refused: usize,
    /// All records are there.
    harmless: usize,
    /// Records at the end are not.
    lost: usize,
}

impl Count {
    fn note(&mut self, log: &Log, outcome: &Outcome) {
        match outcome {
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Opened(found, _) if *found == log.len() => self.harmless += 1,
            Outcome::Opened(..) => self.lost += 1,
        }
    }

    /// Says what was counted.
    fn tell(&self, class: &str) {
        let Count { refused, harmless, lost } = *self;
        let tried = grouped(refused + harmless + lost);
        let (refused, harmless, lost) = (grouped(refused), grouped(harmless), grouped(lost));
        println!("{class}: {tried} tried, {refused} refused, {harmless} harmless, {lost} lost");
    }
}

/// `1234567` as `1,234,567`.
fn grouped(n: usize) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", grouped(n / 1000), n % 1000) }
}

impl Log {
    fn len(&self) -> usize {
        self.history.records.len()
    }

    /// The place of a record, counted from the first.
    fn segment(&self, record: usize) -> Segment {
        self.history.records[record].1
    }

    fn copy(&self) -> Disk {
        self.disk.on(self.disk.storage.kill())
    }

    fn files(&self) -> Files {
        let all = self.disk.storage.snapshot();
        all.into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "wal")).collect()
    }

    /// The position after the seal of a closed chunk's file.
    fn seal_end(&self, path: &Path) -> Option<usize> {
        let id = |path: &Path| ChunkId::parse_file_name(path.file_name()?.to_str()?);
        let ids: Vec<_> = self.files().keys().filter_map(|path| id(path)).collect();
        let next = ids.iter().position(|other| Some(*other) == id(path)).and_then(|i| ids.get(i + 1))?;
        Some((next.0 - id(path)?.0) as usize + SEAL as usize)
    }

    /// The position of a global offset in the newest chunk's file.
    fn position(&self, offset: u64) -> usize {
        (offset - self.newest) as usize
    }

    /// The position of the newest chunk's end, where a mark may be.
    fn data_end(&self) -> usize {
        self.position(self.end)
    }

    /// How many records end at or before this position of the newest chunk.
    fn records_before(&self, position: usize) -> usize {
        let end = self.newest + position as u64;
        self.history.records.iter().filter(|(_, s, _)| s.offset + s.size <= end).count()
    }

    /// Opens a damaged copy. What it replays must be a prefix of what was appended, byte for byte.
    fn open(&self, disk: &Disk, what: &str) -> Outcome {
        let before = (disk.storage.digest(), disk.storage.operations());
        let opened = catch_unwind(AssertUnwindSafe(|| disk.try_open_with::<History>(Replay::All)));
        match opened.unwrap_or_else(|_| panic!("{what}: a panic")) {
            Err(error) => {
                assert_eq!((disk.storage.digest(), disk.storage.operations()), before, "{what}: {error}");
                assert!(is_typed(&error), "{what}: {error:?}");
                Outcome::Refused(error)
            }
            Ok((wal, replayed)) => {
                let records = replayed.records.len();
                assert!(self.history.records.starts_with(&replayed.records), "{what}: {replayed:?}");
                Outcome::Opened(records, wal.recovery().clone())
            }
        }
    }

    /// Opens a copy with one file replaced.
    fn open_with(&self, path: &PathBuf, bytes: &[u8], what: &str) -> (Outcome, Disk) {
        let disk = self.copy();
        disk.storage.write_file(path, bytes).unwrap();
        (self.open(&disk, what), disk)
    }
}

fn is_typed(error: &Error) -> bool {
    use Error::*;
    matches!(error, Corrupt { .. } | NotAChunk { .. } | Unsupported { .. } | Gap { .. } | ForeignChunk { .. })
}

// Cuts ------------------------------------------------------------------------------------------------

/// The bytes after a cut.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Behind {
    Nothing,
    Zeros,
    OldBytes,
}

#[test]
fn a_tail_cut_at_any_byte_leaves_all_whole_records_and_is_reported() {
    for life in [Life::First, Life::Second] {
        let log = log(336, 9, life, End::Closed);
        let whole = log.disk.storage.read_file(&log.newest_path).unwrap();
        for behind in [Behind::Nothing, Behind::Zeros, Behind::OldBytes] {
            if (life, behind) == (Life::First, Behind::OldBytes) {
                continue;
            }
            let mut count = Count::default();
            for cut in 0..=whole.len() {
                check_cut(&log, &whole, life, cut, behind, &mut count);
            }
            count.tell(&format!("newest chunk cut, {life:?} life, {behind:?} behind"));
        }
    }
}

#[test]
fn a_closed_chunk_cut_at_any_byte_is_seen() {
    let mut count = Count::default();
    for life in [Life::First, Life::Second] {
        let log = log(336, 9, life, End::Closed);
        for (path, bytes) in log.files() {
            for cut in 0..if path == log.newest_path { 0 } else { bytes.len() } {
                let what = format!("{life:?}, {} cut at {cut}", path.display());
                let (outcome, _) = log.open_with(&path, &bytes[..cut], &what);
                assert!(matches!(outcome, Outcome::Refused(_)), "{what}: {outcome:?}");
                count.note(&log, &outcome);
            }
        }
    }
    count.tell("closed chunk cut");
}

fn check_cut(log: &Log, whole: &[u8], life: Life, cut: usize, behind: Behind, count: &mut Count) {
    let mut bytes = whole[..cut].to_vec();
    match behind {
        Behind::Nothing => {}
        Behind::Zeros => bytes.resize(whole.len() + 100, 0),
        Behind::OldBytes => bytes.resize(whole.len() + 100, 0xA5),
    }
    let what = format!("{life:?}, cut at {cut}, {behind:?} behind");
    let (outcome, disk) = log.open_with(&log.newest_path, &bytes, &what);
    count.note(log, &outcome);
    // A cut that takes zeros from where only zeros follow, as a frame's padding, is none.
    let whole_up_to = if behind == Behind::Zeros { cut + zeros_at(whole, cut) } else { cut };
    let records = log.records_before(whole_up_to);
    let proven = log.records_before(0) + 1;
    let (found, report) = match outcome {
        Outcome::Refused(error) => return assert!(records < proven, "{what}: {error}"),
        Outcome::Opened(found, report) => (found, report),
    };
    assert!(records >= proven, "{what}: the first record is proven by the file's name");
    assert_eq!(found, records, "{what}");

    let last = log.segment(records - 1);
    let data_end = last.offset + last.size;
    let behind_end = &bytes[log.position(data_end)..];
    let marked = data_end == log.end && behind_end.starts_with(&whole[log.data_end()..][..MARK as usize]);
    // In a file used before, a torn frame is seen by its header.
    let nothing = match life {
        Life::First => behind_end.iter().all(|b| *b == 0),
        Life::Second => whole_up_to < log.position(data_end) + FRAME_HEADER,
    };
    assert_eq!(report.torn_tail.is_none(), marked || nothing, "{what}: {report:?}");
    if let Some(torn) = report.torn_tail {
        assert_eq!((torn.chunk_id.0, torn.data_end), (log.newest, data_end), "{what}");
        assert!(torn.lost <= behind_end.len() as u64, "{what}");
    }
    let (wal, again) = disk.try_open_with::<History>(Replay::All).unwrap();
    assert_eq!(again.records[..found], log.history.records[..found], "{what}");
    assert_eq!(wal.recovery().torn_tail, None, "{what}");
}

fn zeros_at(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().take_while(|b| **b == 0).count()
}

// Bits ------------------------------------------------------------------------------------------------

#[test]
fn no_bit_of_a_closed_log_can_change_unseen() {
    for life in [Life::First, Life::Second] {
        let log = log(336, 9, life, End::Closed);
        let mut count = Count::default();
        for (path, bytes) in log.files() {
            let mut disk = log.copy();
            // A closed chunk says nothing of what its file was before: once is enough for each bit.
            let step = if life == Life::Second && path != log.newest_path { 9 } else { 1 };
            for bit in (0..bytes.len() * 8).step_by(step) {
                let what = format!("{life:?}, bit {bit} of {}", path.display());
                disk.storage.flip_bit(&path, bit as u64).unwrap();
                let outcome = log.open(&disk, &what);
                count.note(&log, &outcome);
                match outcome {
                    Outcome::Refused(_) => disk.storage.flip_bit(&path, bit as u64).unwrap(),
                    Outcome::Opened(found, _) => {
                        assert_eq!(found, log.len(), "{what}: a record is lost");
                        // After the last record are the mark, and bytes without meaning.
                        assert!(path == log.newest_path && bit / 8 >= log.data_end(), "{what} is unseen");
                        disk = log.copy();
                    }
                }
            }
        }
        count.tell(&format!("single bits, closed, {life:?} life"));
        assert_eq!(count.harmless, (MARK as usize + 64) * 8, "behind the log's end");
        assert!(count.refused > 3000, "{count:?}");
    }
}

#[test]
fn each_bit_of_a_header_or_an_older_seal_is_mended_on_request() {
    const HEADER: usize = 64;
    let log = log(336, 9, Life::Second, End::Closed);
    for (path, bytes) in log.files() {
        let end = if path == log.newest_path { bytes.len() } else { bytes.len() - SEAL as usize };
        for bit in (0..HEADER * 8).chain(end * 8..bytes.len() * 8) {
            let what = format!("bit {bit} of {}", path.display());
            let disk = log.copy();
            disk.storage.flip_bit(&path, bit as u64).unwrap();
            let error = disk.try_open_with::<History>(Replay::All).unwrap_err();
            assert!(
                matches!(error, Error::Corrupt { damage, .. } if damage.can_be_mended()),
                "{what}: {error}"
            );
            let mut history = History::default();
            let wal = disk.options().mend().open(&mut history).unwrap();
            assert_eq!(history.records, log.history.records, "{what}");
            assert_eq!(wal.recovery().mended.len(), 1, "{what}");
            drop(wal);
            let (wal, _) = disk.try_open_with::<History>(Replay::All).unwrap();
            assert!(wal.recovery().mended.is_empty(), "{what}");
        }
    }
}

#[test]
fn a_changed_bit_that_replay_from_the_last_checkpoint_reads_is_seen() {
    let log = log(336, 9, Life::First, End::Closed);
    let mut count = Count::default();
    for (path, bytes) in log.files() {
        for bit in (0..bytes.len() * 8).step_by(7) {
            let disk = log.copy();
            disk.storage.flip_bit(&path, bit as u64).unwrap();
            let before = disk.storage.digest();
            let what = format!("bit {bit} of {}", path.display());
            match disk.try_open_with::<History>(Replay::FromLastCheckpoint) {
                Ok((_, replayed)) => {
                    assert_eq!(replayed.state, log.history.state, "{what}");
                    count.harmless += 1;
                }
                Err(error) => {
                    assert!(is_typed(&error), "{what}: {error:?}");
                    assert_eq!(disk.storage.digest(), before, "{what}");
                    count.refused += 1;
                }
            }
        }
    }
    count.tell("single bits, replay from the last checkpoint");
    assert!(count.refused > 500, "{count:?}");
}

#[test]
fn only_the_last_batch_of_a_log_that_lost_power_is_without_proof() {
    for life in [Life::First, Life::Second] {
        let log = log(336, 9, life, End::PowerLost);
        let unproven = log.position(log.segment(log.len() - LAST_BATCH).offset);
        let mut count = Count::default();
        for (path, bytes) in log.files() {
            for bit in 0..bytes.len() * 8 {
                let at = bit / 8;
                let proven = path != log.newest_path || at < unproven;
                // The power was lost before the file of a closed chunk was cut.
                let is_after_seal = log.seal_end(&path).is_some_and(|end| at >= end);
                if is_after_seal || proven && bit % 7 != 0 {
                    continue;
                }
                let what = format!("{life:?}, bit {bit} of {}", path.display());
                let disk = log.copy();
                disk.storage.flip_bit(&path, bit as u64).unwrap();
                let outcome = log.open(&disk, &what);
                count.note(&log, &outcome);
                match outcome {
                    Outcome::Refused(error) => assert!(proven, "{what}: {error}"),
                    Outcome::Opened(..) if proven => panic!("{what}: unseen"),
                    Outcome::Opened(found, report) if found < log.len() => {
                        // The record with the bit, and the records after it.
                        assert_eq!(found, log.records_before(at), "{what}");
                        // Where old bytes may be, the last frame is seen by its header.
                        let unseen = life == Life::Second && found == log.len() - 1;
                        let torn = log.position(log.segment(found).offset)..;
                        let unseen = unseen && torn.contains(&at) && at < torn.start + FRAME_HEADER;
                        assert!(report.torn_tail.is_some() || unseen, "{what}: {report:?}");
                    }
                    Outcome::Opened(..) => assert!(at >= log.data_end(), "{what}"),
                }
            }
        }
        count.tell(&format!("single bits, power lost, {life:?} life"));
        assert_eq!(count.lost, (log.data_end() - unproven) * 8);
        assert_eq!(count.harmless, (MARK as usize + 64) * 8);
        assert!(count.refused > 800, "{count:?}");
    }
}

// Sectors ---------------------------------------------------------------------------------------------

const SECTOR: usize = 512;

/// A log of some sectors in each file.
fn log_of_sectors(life: Life) -> Log {
    log(2048, 150, life, End::Closed)
}

/// The ranges of `size` bytes of all files.
fn ranges(files: &Files, size: usize) -> Vec<(PathBuf, Range<usize>)> {
    let of = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        let (path, len) = (path.clone(), bytes.len());
        (0..len).step_by(size).map(move |at| (path.clone(), at..len.min(at + size))).collect::<Vec<_>>()
    };
    files.iter().flat_map(of).collect()
}

impl Log {
    /// Opens the log with other bytes in some places. Where the newest chunk's mark is hit, and with
    /// it the last proof, the records in those places and after them may be lost; otherwise none.
    /// `None` if nothing is other than it was.
    fn check_damage(&self, changed: &[(&PathBuf, Range<usize>, Vec<u8>)], what: &str) -> Option<Outcome> {
        let disk = self.copy();
        let mut sure = self.len();
        let mut same = true;
        for (path, range, bytes) in changed {
            let mut file = disk.storage.read_file(path).unwrap();
            same &= file[range.clone()] == bytes[..];
            file[range.clone()].copy_from_slice(bytes);
            disk.storage.write_file(path, &file).unwrap();
            if **path == self.newest_path && range.end > self.data_end() {
                sure = sure.min(self.records_before(range.start));
            }
        }
        if same {
            return None;
        }
        let outcome = self.open(&disk, what);
        if let Outcome::Opened(found, _) = &outcome {
            assert!(*found >= sure, "{what}: {found} of {sure} records");
        }
        Some(outcome)
    }
}

/// Counts by class.
type Counts = BTreeMap<&'static str, Count>;

fn note(counts: &mut Counts, class: &'static str, log: &Log, outcome: Option<Outcome>) {
    if let Some(outcome) = outcome {
        counts.entry(class).or_default().note(log, &outcome);
    }
}

/// Says what was counted, and that there was not less than that refused.
fn tell(counts: &Counts, refused: usize) {
    counts.iter().for_each(|(class, count)| count.tell(class));
    assert!(counts.values().map(|count| count.refused).sum::<usize>() > refused, "{counts:?}");
}

#[test]
fn lost_and_overwritten_sectors_are_seen() {
    let mut counts = Counts::new();
    for life in [Life::First, Life::Second] {
        let log = log_of_sectors(life);
        let files = log.files();
        for size in [8, 64, SECTOR, 4096] {
            for (path, range) in ranges(&files, size) {
                for fill in [0, 0xFF] {
                    let what = format!("{life:?}, {range:?} of {} is {fill:#x}", path.display());
                    let bytes = vec![fill; range.len()];
                    let class = match (size, fill) {
                        (SECTOR, 0) => "sectors, zeros",
                        (SECTOR, _) => "sectors, ones",
                        (_, 0) => "8, 64 and 4096 bytes, zeros",
                        _ => "8, 64 and 4096 bytes, ones",
                    };
                    let outcome = log.check_damage(&[(&path, range.clone(), bytes)], &what);
                    note(&mut counts, class, &log, outcome);
                }
            }
        }
    }
    tell(&counts, 1000);
}

#[test]
fn misplaced_sectors_are_seen() {
    let mut counts = Counts::new();
    for life in [Life::First, Life::Second] {
        let log = log_of_sectors(life);
        let files = log.files();
        let sectors = ranges(&files, SECTOR);
        let full = sectors.iter().filter(|(_, range)| range.len() == SECTOR).collect::<Vec<_>>();
        assert!(full.len() >= 12);
        for (i, (path, range)) in full.iter().enumerate() {
            for (other_path, other) in full.iter().skip(i + 1) {
                let what = format!("{life:?}, {range:?} of {path:?} and {other:?} of {other_path:?}");
                let (here, there) =
                    (files[path][range.clone()].to_vec(), files[other_path][other.clone()].to_vec());
                let swapped =
                    [(path, range.clone(), there.clone()), (other_path, other.clone(), here.clone())];
                let class = match path == other_path {
                    true => "sectors, two swapped in a file",
                    false => "sectors, two swapped between files",
                };
                let outcome = log.check_damage(&swapped, &format!("swapped: {what}"));
                note(&mut counts, class, &log, outcome);
                for written in [(path, range.clone(), there), (other_path, other.clone(), here)] {
                    let outcome = log.check_damage(&[written], &format!("overwritten: {what}"));
                    note(&mut counts, "sectors, one written over another", &log, outcome);
                }
            }
        }
    }
    tell(&counts, 200);
}

#[test]
fn sectors_of_an_earlier_version_are_seen() {
    let mut counts = Counts::new();
    for life in [Life::First, Life::Second] {
        let log = log_of_sectors(life);
        let files = log.files();
        for (path, range) in ranges(&files, SECTOR) {
            for (i, version) in log.versions.iter().enumerate() {
                let stale = version.get(&path).and_then(|bytes| bytes.get(range.clone()));
                let Some(stale) = stale else { continue };
                let what = format!("{life:?}, {range:?} of {} as of version {i}", path.display());
                let outcome = log.check_damage(&[(&path, range.clone(), stale.to_vec())], &what);
                note(&mut counts, "sectors, of an earlier version", &log, outcome);
            }
        }
    }
    tell(&counts, 40);
}

#[test]
fn whole_files_of_an_earlier_version_are_seen_unless_newest() {
    let mut counts = Counts::new();
    let log = log_of_sectors(Life::First);
    for (path, bytes) in log.files() {
        for (i, version) in log.versions.iter().enumerate() {
            // Sealed, and not cut yet: the same chunk.
            let is_same =
                |stale: &Vec<u8>| *stale == bytes || path != log.newest_path && stale.starts_with(&bytes);
            let Some(stale) = version.get(&path).filter(|stale| !is_same(stale)) else { continue };
            let what = format!("{} as of version {i}", path.display());
            let (outcome, _) = log.open_with(&path, stale, &what);
            let opens = matches!(outcome, Outcome::Opened(..));
            assert!(!opens || path == log.newest_path, "{what}: {outcome:?}");
            let class = match path == log.newest_path {
                true => "whole file of an earlier version, newest",
                false => "whole file of an earlier version, closed",
            };
            note(&mut counts, class, &log, Some(outcome));
        }
    }
    tell(&counts, 5);
}

#[test]
fn files_in_the_wrong_place_are_seen_and_missing_ones_unless_at_an_end() {
    let mut counts = Counts::new();
    for life in [Life::First, Life::Second] {
        let (log, other) = (log_of_sectors(life), log_of_sectors(life));
        let files = log.files();
        let chunk_path = |id| log.disk.config.chunk_path(ChunkId(id));
        // Names of chunks that there are, and of some that there are not.
        let mut names: Vec<_> = files.keys().cloned().collect();
        names.extend([chunk_path(log.newest - 8), chunk_path(log.end), chunk_path(log.end + 8)]);
        for (i, (path, bytes)) in files.iter().enumerate() {
            let foreign = &other.files()[path];
            for (class, bytes) in [("foreign chunk", foreign), ("empty chunk", &Vec::new())] {
                let (outcome, _) = log.open_with(path, bytes, &format!("{class} {i}"));
                assert!(matches!(outcome, Outcome::Refused(_)), "{class} {i}: {outcome:?}");
                note(&mut counts, class, &log, Some(outcome));
            }
            for name in names.iter().filter(|name| *name != path) {
                for class in ["duplicated chunk", "renamed chunk"] {
                    let disk = log.copy();
                    disk.storage.write_file(name, bytes).unwrap();
                    if class == "renamed chunk" {
                        disk.storage.remove_file(path).unwrap();
                    }
                    let outcome = log.open(&disk, &format!("{class} {i} as {}", name.display()));
                    assert!(matches!(outcome, Outcome::Refused(_)), "{class} {i}: {outcome:?}");
                    note(&mut counts, class, &log, Some(outcome));
                }
            }
            let disk = log.copy();
            disk.storage.remove_file(path).unwrap();
            if i == 0 {
                // As if it had been removed: everything after it is there.
                let (_, left) = disk.try_open_with::<History>(Replay::All).unwrap();
                assert!(log.history.records.ends_with(&left.records));
                assert_eq!(left.state, log.history.state);
                counts.entry("missing chunk, oldest").or_default().lost += 1;
                continue;
            }
            let outcome = log.open(&disk, &format!("{} is missing", path.display()));
            let newest = *path == log.newest_path;
            match &outcome {
                Outcome::Refused(error) => assert!(!newest && matches!(error, Error::Gap { .. }), "{error}"),
                Outcome::Opened(found, _) => assert!(newest && *found == log.records_before(0)),
            }
            let class = if newest { "missing chunk, newest" } else { "missing chunk, in between" };
            note(&mut counts, class, &log, Some(outcome));
        }
    }
    tell(&counts, 60);
}
