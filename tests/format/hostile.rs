//! Hostile directories: opening one soon ends in a typed error, or in records of the original in their order.
//!
//! ```text
//! a real log's files ─► damage ─┐
//! random bytes, random names ───┴─► examine: open in both modes, read, append, reopen   (fuzz/src/run.rs)
//!                               └─► the same files on a real disk: dump
//! ```
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use crate::run::{Placed, Verdict};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, ChunkedWal, Config, Error, Flush};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::common::*;

/// No directory here takes a second; this much only a loop would.
const SOON: Duration = Duration::from_secs(60);

type Files = BTreeMap<String, Vec<u8>>;

/// A real log, as it was on the disk at some moment.
#[derive(Debug)]
struct Original {
    files: Files,
    records: Vec<Placed>,
}

static ORIGINALS: LazyLock<Vec<Arc<Original>>> =
    LazyLock::new(|| vec![original(0, false), original(2, false), original(2, true)]);

fn config() -> Config {
    let mut config = Config::new("/log");
    config.chunk_max_size = 2048;
    config
}

/// A log of several chunks, some of them in files used again; closed, or killed with a part of it
/// unsynced.
fn original(spares: u64, killed: bool) -> Arc<Original> {
    let storage = MemoryStorage::default();
    let mut config = config();
    config.spare_chunks = spares;
    let mut history = History::default();
    let options = ChunkedWal::<Words>::options(config.clone());
    let mut wal = options.storage(Arc::new(storage.clone())).open(&mut history).unwrap();
    for i in 0..60_usize {
        let word = format!("{i}-{}", "word".repeat(i * 7 % 60));
        wal.append_and_apply(word, &mut history).unwrap();
        match i % 5 {
            0 => wal.sync().unwrap(),
            2 => wal.flush(Flush::Write, None).unwrap(),
            _ => {}
        }
        if i == 25 {
            let mut asked = 0;
            let ids = wal.drain_closed_chunks_while(|_| {
                asked += 1;
                asked <= 2
            });
            wal.remove_chunks(ids).unwrap();
            wal.wait_idle().unwrap();
        }
    }
    let records = wal.records().map(|record| record.unwrap()).map(|(id, segment, record)| {
        let record = match record {
            Record::Action(word) => crate::run::Record::Action(word),
            Record::Checkpoint(state) => crate::run::Record::Checkpoint(state),
        };
        (id, segment, record)
    });
    let records: Vec<Placed> = records.collect();
    wal.wait_idle().unwrap();
    let disk = if killed { storage.crash(5) } else { storage.clone() };
    wal.close().unwrap();
    let disk = if killed { disk } else { storage };
    let files = disk.files(&config.dir).into_iter().filter(|name| name != "LOCK");
    let files = files.map(|name| (name.clone(), disk.read_file(config.dir.join(name)).unwrap())).collect();
    Arc::new(Original { files, records })
}

fn storage_of(files: &Files) -> MemoryStorage {
    let storage = MemoryStorage::default();
    for (name, bytes) in files {
        storage.write_file(config().dir.join(name), bytes).unwrap();
    }
    storage
}

/// Examines a directory, and fails if that has no end.
fn examine(files: &Files) -> Verdict {
    let (done, end) = mpsc::channel();
    let storage = storage_of(files);
    let examiner = std::thread::spawn(move || done.send(crate::run::examine(&storage, &config())));
    match end.recv_timeout(SOON) {
        Ok(verdict) => verdict,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("no end after {SOON:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(examiner.join().unwrap_err()),
    }
}

/// What a dump of the same files on a real disk shows before its first error, and whether it has one.
fn dump(files: &Files) -> (Vec<String>, usize) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let config = Config::new(dir.path());
    let lock = ChunkedWal::<Words>::acquire_lock(&config).unwrap();
    let (mut shown, mut errors) = (Vec::new(), 0);
    ChunkedWal::<Words>::dump_records(&config, &lock, |_, _, item| {
        match item {
            Ok((segment, record)) if errors == 0 => shown.push(format!("{segment:?} {record:?}")),
            Ok(_) => {}
            Err(_) => errors += 1,
        }
        Ok::<(), Error>(())
    })
    .unwrap();
    (shown, errors)
}

/// A way to harm a directory. Positions are taken modulo what there is.
#[derive(Debug, Clone)]
enum Damage {
    Flip {
        file: Index,
        at: Index,
        bit: u8,
    },
    Random {
        file: Index,
        at: Index,
        bytes: Vec<u8>,
    },
    Zeros {
        file: Index,
        at: Index,
        len: usize,
    },
    Cut {
        file: Index,
        at: Index,
    },
    Longer {
        file: Index,
        len: usize,
    },
    /// Puts a piece in a second time, and moves the rest.
    Double {
        file: Index,
        from: Index,
        len: usize,
        to: Index,
    },
    SwapSectors {
        file: Index,
        a: Index,
        b: Index,
    },
    /// From the same place of another file.
    Misplaced {
        file: Index,
        other: Index,
        at: Index,
        len: usize,
    },
    /// A frame header that checks out, of any length.
    Length {
        file: Index,
        at: Index,
        len: u32,
    },
    /// Other bytes in the header, its checksum made right again.
    Header {
        file: Index,
        at: usize,
        bytes: Vec<u8>,
    },
    Renamed {
        file: Index,
        to: u64,
    },
    Copied {
        file: Index,
        to: u64,
    },
    Removed {
        file: Index,
    },
    Spare {
        number: u64,
        bytes: Vec<u8>,
    },
}

fn index() -> impl Strategy<Value = Index> {
    any::<Index>()
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || vec(any::<u8>(), 1..40);
    let id = prop_oneof![any::<u64>(), 0..20_000_u64, Just(u64::MAX)];
    let len = prop_oneof![any::<u32>(), Just(u32::MAX), Just(u32::MAX - 15), 0..5000_u32];
    prop_oneof![
        3 => (index(), index(), 0..8_u8).prop_map(|(file, at, bit)| Damage::Flip { file, at, bit }),
        2 => (index(), index(), bytes()).prop_map(|(file, at, bytes)| Damage::Random { file, at, bytes }),
        2 => (index(), index(), 1..1200_usize).prop_map(|(file, at, len)| Damage::Zeros { file, at, len }),
        2 => (index(), index()).prop_map(|(file, at)| Damage::Cut { file, at }),
        1 => (index(), 1..5000_usize).prop_map(|(file, len)| Damage::Longer { file, len }),
        2 => (index(), index(), 1..1200_usize, index())
            .prop_map(|(file, from, len, to)| Damage::Double { file, from, len, to }),
        2 => (index(), index(), index()).prop_map(|(file, a, b)| Damage::SwapSectors { file, a, b }),
        2 => (index(), index(), index(), 1..1200_usize)
            .prop_map(|(file, other, at, len)| Damage::Misplaced { file, other, at, len }),
        2 => (index(), index(), len).prop_map(|(file, at, len)| Damage::Length { file, at, len }),
        2 => (index(), 0..60_usize, bytes()).prop_map(|(file, at, bytes)| Damage::Header { file, at, bytes }),
        1 => (index(), id.clone()).prop_map(|(file, to)| Damage::Renamed { file, to }),
        1 => (index(), id).prop_map(|(file, to)| Damage::Copied { file, to }),
        1 => index().prop_map(|file| Damage::Removed { file }),
        1 => (any::<u64>(), vec(any::<u8>(), 0..200)).prop_map(|(number, bytes)| Damage::Spare { number, bytes }),
    ]
}

/// Harms a directory; nothing happens where there is nothing to harm.
fn harm(files: &mut Files, damage: &Damage) {
    // Half of the time the newest chunk, of which there is most to say.
    let pick = |files: &Files, file: &Index| {
        let newest = files.keys().rfind(|name| name.starts_with("r-")).or(files.keys().next())?;
        let all = files.keys().chain(std::iter::repeat_n(newest, files.len()));
        all.into_iter().nth(file.index(2 * files.len())).cloned()
    };
    let at_in = |bytes: &[u8], at: &Index| at.index(bytes.len() + 1);
    if let Damage::Spare { number, bytes } = damage {
        files.insert(spare_name(*number), bytes.clone());
        return;
    }
    let (Damage::Flip { file, .. }
    | Damage::Random { file, .. }
    | Damage::Zeros { file, .. }
    | Damage::Cut { file, .. }
    | Damage::Longer { file, .. }
    | Damage::Double { file, .. }
    | Damage::SwapSectors { file, .. }
    | Damage::Misplaced { file, .. }
    | Damage::Length { file, .. }
    | Damage::Header { file, .. }
    | Damage::Renamed { file, .. }
    | Damage::Copied { file, .. }
    | Damage::Removed { file }) = damage
    else {
        return;
    };
    let Some(name) = pick(files, file) else { return };
    let other = match damage {
        Damage::Misplaced { other, .. } => files[&pick(files, other).unwrap()].clone(),
        _ => Vec::new(),
    };
    let bytes = files.get_mut(&name).unwrap();
    match damage {
        Damage::Flip { at, bit, .. } => {
            let at = at_in(bytes, at);
            bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << bit);
        }
        Damage::Random { at, bytes: random, .. } => overwrite(bytes, at_in(bytes, at), random),
        Damage::Zeros { at, len, .. } => overwrite(bytes, at_in(bytes, at), &vec![0; *len]),
        Damage::Cut { at, .. } => bytes.truncate(at_in(bytes, at)),
        Damage::Longer { len, .. } => bytes.resize(bytes.len() + len, 0),
        Damage::Double { from, len, to, .. } => {
            let (from, to) = (at_in(bytes, from), at_in(bytes, to));
            let piece = bytes[from..(from + len).min(bytes.len())].to_vec();
            bytes.splice(to..to, piece);
        }
        Damage::SwapSectors { a, b, .. } => {
            let sectors = bytes.len() / 512;
            if sectors > 0 {
                let (a, b) = (a.index(sectors) * 512, b.index(sectors) * 512);
                (0..512).for_each(|i| bytes.swap(a + i, b + i));
            }
        }
        Damage::Misplaced { at, len, .. } => {
            let at = at_in(&other, at);
            overwrite(bytes, at, &other[at..(at + len).min(other.len())]);
        }
        Damage::Length { at, len, .. } if bytes.len() >= HEADER as usize => {
            let at = at_in(bytes, at) / 8 * 8;
            let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            let begun = begun_frame(field(24), field(16).wrapping_add(at as u64), *len);
            overwrite(bytes, at, &begun);
        }
        Damage::Header { at, bytes: other, .. } if bytes.len() >= HEADER as usize => {
            let mut forge = Forge::chunk(0);
            forge.bytes = bytes.clone();
            *bytes = forge.header(*at, &other[..other.len().min(60 - at)]).bytes;
        }
        Damage::Renamed { to, .. } => {
            let bytes = files.remove(&name).unwrap();
            files.insert(ChunkId(*to).file_name(), bytes);
        }
        Damage::Copied { to, .. } => {
            let bytes = bytes.clone();
            files.insert(ChunkId(*to).file_name(), bytes);
        }
        Damage::Removed { .. } => drop(files.remove(&name)),
        Damage::Length { .. } | Damage::Header { .. } | Damage::Spare { .. } => {}
    }
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, with: &[u8]) {
    bytes.resize(bytes.len().max(at + with.len()), 0);
    bytes[at..at + with.len()].copy_from_slice(with);
}

/// A file's name, or something like one.
fn name() -> impl Strategy<Value = String> {
    let like = ("r-[0-9]{2}(_[0-9]{3}){6}\\.wal", any::<Index>(), any::<char>()).prop_map(|(name, at, c)| {
        let at = at.index(name.len());
        format!("{}{c}{}", &name[..at], &name[at + 1..])
    });
    prop_oneof![
        3 => "r-[0-9]{2}(_[0-9]{3}){6}\\.wal",
        1 => any::<u64>().prop_map(|id| ChunkId(id).file_name()),
        3 => like,
        2 => "spare-[0-9a-fA-F]{14,18}\\.tmp",
        2 => "[ -~]{1,30}",
        1 => "\\PC{1,20}",
    ]
    .prop_filter("no name of a file", |name| {
        !name.contains(['/', '\0']) && !matches!(name.as_str(), "." | ".." | "LOCK")
    })
}

fn is_spare(name: &str) -> bool {
    let hex = name.strip_prefix("spare-").and_then(|rest| rest.strip_suffix(".tmp"));
    hex.is_some_and(|hex| {
        hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 300, ..Default::default() }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn a_harmed_log_keeps_its_order_or_is_refused(
        which in any::<Index>(),
        harms in vec(damage(), 1..4),
    ) {
        let original = ORIGINALS[which.index(ORIGINALS.len())].clone();
        let mut files = original.files.clone();
        harms.iter().for_each(|damage| harm(&mut files, damage));
        let verdict = examine(&files);
        let (shown, errors) = dump(&files);
        let Ok(records) = verdict.outcome else { return Ok(()) };
        // A prefix; from a later chunk on, if the oldest file is gone or no longer called a chunk.
        let first = records.first().map(|(_, segment, _)| segment.offset);
        let start = first.map(|first| original.records.iter().position(|(_, s, _)| s.offset == first).unwrap());
        prop_assert!(original.records[start.unwrap_or(0)..].starts_with(&records));
        let oldest = original.files.keys().next().unwrap();
        prop_assert!(start.is_none_or(|start| start == 0) || !files.contains_key(oldest));
        // A dump shows the same, and where it is torn.
        let records: Vec<_> = records.iter().map(|(_, s, record)| format!("{s:?} {record:?}")).collect();
        prop_assert_eq!(shown, records);
        prop_assert!(errors <= 1);
    }

    #[test]
    fn random_bytes_behind_a_sound_beginning_are_no_records(
        which in any::<Index>(),
        keep in 64..400_usize,
        random in vec(any::<u8>(), 0..6000),
    ) {
        let original = &ORIGINALS[which.index(ORIGINALS.len())];
        let (name, bytes) = original.files.first_key_value().unwrap();
        let harmed = [&bytes[..keep.min(bytes.len())], &random].concat();
        // A random byte may by chance be the original one: a frame's last zero, say.
        let kept = harmed.iter().zip(bytes).take_while(|(random, original)| random == original).count();
        let verdict = examine(&Files::from([(name.clone(), harmed)]));
        if let Ok(records) = verdict.outcome {
            prop_assert!(original.records.starts_with(&records));
            let (_, last, _) = records.last().unwrap();
            let end = ChunkId::parse_file_name(name).unwrap().0 + kept as u64;
            prop_assert!(last.offset + last.size <= end, "{last:?} was kept to {end} only");
        }
    }

    #[test]
    fn random_bytes_are_no_chunk(
        id in prop_oneof![Just(0), any::<u64>()],
        bytes in vec(any::<u8>(), 0..3000),
        with_magic in any::<bool>(),
    ) {
        let bytes = if with_magic { [b"CHNKWAL\n", &*bytes].concat() } else { bytes };
        let files = Files::from([(ChunkId(id).file_name(), bytes)]);
        let verdict = examine(&files);
        prop_assert!(
            matches!(
                verdict.outcome,
                Err(Error::NotAChunk { .. } | Error::Unsupported { .. } | Error::Corrupt { .. })
            ),
            "{}", verdict.kind
        );
        prop_assert_eq!(dump(&files), (Vec::new(), 1));
    }

    #[test]
    fn other_names_are_left_alone_and_reported(names in vec((name(), vec(any::<u8>(), 0..100)), 1..5)) {
        let original = &ORIGINALS[0];
        let mut files = original.files.clone();
        let others: Vec<_> = names.into_iter().filter(|(name, _)| !original.files.contains_key(name)).collect();
        files.extend(others.iter().cloned());
        let verdict = examine(&files);
        if others.iter().any(|(name, _)| ChunkId::parse_file_name(name).is_some()) {
            prop_assert!(verdict.outcome.is_err(), "random bytes with a chunk's name are no chunk");
            return Ok(());
        }
        prop_assert_eq!(verdict.outcome.unwrap(), original.records.clone());
        let storage = storage_of(&files);
        let options = ChunkedWal::<Words>::options(config()).storage(Arc::new(storage.clone()));
        let wal = options.open(&mut History::default()).unwrap();
        let foreign = others.iter().map(|(name, _)| name).filter(|name| !is_spare(name));
        let foreign: std::collections::BTreeSet<_> = foreign.map(|name| config().dir.join(name)).collect();
        let reported: std::collections::BTreeSet<_> = wal.recovery().foreign_names.iter().cloned().collect();
        prop_assert_eq!(&reported, &foreign);
        wal.close().unwrap();
        for path in foreign {
            let name = path.file_name().unwrap().to_str().unwrap();
            prop_assert_eq!(&storage.read_file(&path).unwrap(), &files[name]);
        }
    }
}
