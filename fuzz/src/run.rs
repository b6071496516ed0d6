//! One run of the fuzzer: bytes become a log's directory, which is opened, read, and appended to.
//!
//! ```text
//! data: base, settings │ step │ step │ ...     Directory::decode ─► files ─► examine ─► Verdict
//!                        each changes a file
//! ```
//!
//! - The same bytes give the same directory, and any bytes give one.
//! - `tests/format/` of the main package includes this file.

#[path = "../../tests/common/forge.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "it is the main package's")]
mod forge;
#[path = "../../tests/common/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, ChunkedWal, Config, Error, Replay, Segment, StateMachine, WalRecord, WalTypes};

use self::forge::{Forge, begun_frame};

/// The directories to begin with.
pub const BASES: u8 = 9;

/// Steps of one input, and bytes of one file: enough to say everything, and quick.
const STEPS_MAX: usize = 32;
const FILE_MAX: usize = 64 << 10;

/// Bytes of a file that a rule has filled.
const MEGABYTE: usize = 1 << 20;

/// A log in memory, and the settings to open it with.
pub struct Disk {
    pub storage: MemoryStorage,
    pub config: Config,
}

#[derive(Debug)]
pub struct Words;

impl WalTypes for Words {
    type Action = String;
    type Checkpoint = String;
    type Callback = ();
}

pub type Record = WalRecord<Words>;

/// A record and its place.
pub type Placed = (ChunkId, Segment, Record);

/// Everything that was replayed.
#[derive(Default)]
pub struct Seen(Vec<Placed>);

impl StateMachine<Words> for Seen {
    type Error = std::convert::Infallible;

    fn apply(&mut self, record: &Record, chunk_id: ChunkId, segment: Segment) -> Result<(), Self::Error> {
        self.0.push((chunk_id, segment, record.clone()));
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.0.len().to_string()
    }
}

/// What became of a directory.
#[derive(Debug)]
pub struct Verdict {
    /// The kind of end, to tell verdicts apart: `opened`, `Corrupt FrameChecksum LaterFrame`, ...
    pub kind: String,
    /// The kind, how much was replayed, and how much the storage was asked for: what a new input may do anew.
    pub feature: String,
    /// What was replayed, oldest first.
    pub outcome: Result<Vec<Placed>, Error>,
}

/// Runs one input; a panic or a wait without end is a finding.
pub fn run(data: &[u8]) -> Verdict {
    let disk = decode(data);
    examine(&disk.storage, &disk.config)
}

/// Opens a directory in both modes, each on its own copy, and holds the log to what it promises.
pub fn examine(storage: &MemoryStorage, config: &Config) -> Verdict {
    let all = storage.kill();
    let outcome = open_and_use(&all, config, Replay::All);
    let newest = open_and_use(&storage.kill(), config, Replay::FromLastCheckpoint);
    if let Ok(all) = &outcome {
        let newest =
            newest.unwrap_or_else(|error| panic!("it opens, but not from its last checkpoint: {error}"));
        assert!(all.ends_with(&newest), "the newest chunk replays other records alone");
    }
    let kind = kind(&outcome);
    let replayed = outcome.as_ref().map_or(0, |records| records.len().min(9));
    let feature = format!("{kind}, {replayed} records, {} operations", all.operations().min(60));
    Verdict { kind, feature, outcome }
}

fn kind(outcome: &Result<Vec<Placed>, Error>) -> String {
    let first_word = |text: String| {
        let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        text[..end].to_string()
    };
    match outcome {
        Ok(records) if records.is_empty() => "new".to_string(),
        Ok(_) => "opened".to_string(),
        Err(Error::Corrupt { damage, proof, .. }) => {
            format!("Corrupt {damage:?} {}", first_word(format!("{proof:?}")))
        }
        Err(Error::Unsupported { what, .. }) => format!("Unsupported {what}"),
        Err(Error::Io { op, source, .. }) => format!("Io {op} {:?}", source.kind()),
        Err(error) => first_word(format!("{error:?}")),
    }
}

/// All files but the lock file, which every open makes.
fn files(storage: &MemoryStorage) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = storage.snapshot();
    files.retain(|path, _| !path.ends_with("LOCK"));
    files
}

type Wal = ChunkedWal<Words>;

fn open(storage: &MemoryStorage, config: &Config, replay: Replay) -> Result<(Wal, Seen), Error> {
    let mut seen = Seen::default();
    let options = Wal::options(config.clone()).storage(Arc::new(storage.clone())).replay(replay);
    Ok((options.open(&mut seen)?, seen))
}

fn open_and_use(storage: &MemoryStorage, config: &Config, replay: Replay) -> Result<Vec<Placed>, Error> {
    let before = files(storage);
    let (wal, seen) = open(storage, config, replay).inspect_err(|error| {
        // The one error that comes after recovery has had its say.
        if !matches!(error, Error::OffsetsUsedUp { .. }) {
            assert_eq!(before, files(storage), "changed by an open that failed: {error}");
        }
    })?;
    let replayed = seen.0.clone();
    read(&wal, &replayed, replay);
    append(wal, seen, storage, config, replay);
    Ok(replayed)
}

/// What is read is what was replayed; what is no record's place is refused.
fn read(wal: &Wal, replayed: &[Placed], replay: Replay) {
    let read: Result<Vec<Placed>, Error> = wal.records().collect();
    match read {
        // After a chunk that can't continue, a new one starts with a checkpoint.
        Ok(read) => {
            let begun = &read[read.len().saturating_sub(1)..];
            let all = read.ends_with(replayed) || read[..read.len() - begun.len()].ends_with(replayed);
            assert!(all, "read {read:?}, replayed {replayed:?}");
        }
        Err(error) => assert_eq!(replay, Replay::FromLastCheckpoint, "replayed, but not read: {error}"),
    }
    for (_, segment, record) in replayed {
        let again = wal.read_record(*segment);
        assert_eq!(again.as_ref().ok(), Some(record), "{segment:?}: {again:?}");
        let Segment { offset, size, .. } = *segment;
        for (offset, size) in [(offset + 8, size), (offset, size + 8), (offset, size - 8), (offset - 8, size)]
        {
            // Never a record: nothing of this log begins or ends there, or the check would be by chance.
            assert!(wal.read_record(Segment::new(offset, size)).is_err());
        }
    }
    for (offset, size) in [(0, 0), (0, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX), (64, u64::MAX - 64)] {
        assert!(wal.read_record(Segment::new(offset, size)).is_err());
    }
}

/// A log that opened can be written to, and opens again with all of it.
fn append(mut wal: Wal, mut seen: Seen, storage: &MemoryStorage, config: &Config, replay: Replay) {
    let replayed = seen.0.len();
    let appended = match wal.append_and_apply("appended".to_string(), &mut seen) {
        Ok(_) => true,
        Err(Error::OffsetsUsedUp { .. }) => false,
        Err(error) => panic!("it opens, but takes no record: {error}"),
    };
    wal.sync().unwrap_or_else(|error| panic!("it takes a record, but can't sync it: {error}"));
    wal.close().unwrap_or_else(|error| panic!("it can't be closed: {error}"));
    if !appended {
        return;
    }
    let (wal, again) = open(storage, config, replay).unwrap_or_else(|error| panic!("not again: {error}"));
    drop(wal);
    let words = |placed: &[Placed]| placed.iter().map(|(_, _, record)| record.clone()).collect::<Vec<_>>();
    assert_eq!(words(&again.0).last(), words(&seen.0).last());
    if replay == Replay::All {
        assert!(again.0.starts_with(&seen.0[..replayed]), "what was replayed once is so again");
        assert!(again.0.len() <= replayed + 2, "at most a checkpoint and the record are new");
    }
}

/// The bytes that are left of an input; zeros after them.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    fn long(&mut self) -> u64 {
        (0..8).fold(0, |long, i| long | u64::from(self.byte()) << (8 * i))
    }

    fn bytes(&mut self) -> &'a [u8] {
        let n = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(n);
        self.0 = rest;
        bytes
    }
}

/// The directory that an input describes.
pub fn decode(data: &[u8]) -> Disk {
    let mut input = Input(data);
    let mut files = base(input.byte());
    let settings = input.byte();
    for _ in 0..STEPS_MAX {
        if input.0.is_empty() {
            break;
        }
        step(&mut files, &mut input);
    }
    let mut config = Config::new("/log");
    config.chunk_max_size = 4096;
    config.truncate_torn_tail = settings & 1 == 0;
    config.spare_chunks = u64::from(settings >> 1 & 3);
    config.read_buffer_size = [4096, 64, 100, 1][usize::from(settings >> 3 & 3)];
    let storage = MemoryStorage::default();
    for (name, mut bytes) in files {
        bytes.truncate(MEGABYTE);
        // A name that no disk would have is no directory entry.
        let _no_such_name = storage.write_file(config.dir.join(name), &bytes);
    }
    Disk { storage, config }
}

type Files = BTreeMap<String, Vec<u8>>;

/// A sound log to begin with, the same every time.
fn base(which: u8) -> Files {
    let first = Forge::chunk(0).checkpoint("").action("a").synced().action("bc").action("a longer word");
    let second = first.next().checkpoint("a,bc,a longer word").action("d").synced();
    let third = second.next().checkpoint("e").action("f");
    let sealed = first.clone().seal();
    let mut files = Files::new();
    let mut put = |forge: &Forge| drop(files.insert(ChunkId(forge.id).file_name(), forge.bytes.clone()));
    match which % BASES {
        0 => {}
        1 => put(&first.synced().mark().zeros(600)),
        2 => [sealed, second.action("g").mark()].iter().for_each(put),
        3 => [sealed, second.clone().seal(), third.zeros(64)].iter().for_each(put),
        4 => [sealed, second.action("torn").cut(5)].iter().for_each(put),
        5 => put(&sealed),
        6 => {
            let old = Forge::chunk(7).checkpoint("old").action("stale").mark().bytes;
            put(&first.used_before().mark().raw(&old));
            files.insert(forge::spare_name(7), old);
        }
        7 => put(&Forge::chunk(u64::MAX - 511).checkpoint("near the end").action("x").mark()),
        _ => {
            // The word's codec writes a length and the letters: `abc`, twenty times.
            let block = b"\x7f\0\0\0\x3cabc\x03\0\x21\x50bcabc";
            let stored = [&64_u32.to_le_bytes()[..], block].concat();
            put(&Forge::chunk(0).header(12, &[1]).checkpoint("").flagged(1, 1, &stored).action("b").mark());
        }
    }
    files
}

/// One change to the directory.
fn step(files: &mut Files, input: &mut Input<'_>) {
    let what = input.byte() % 13;
    if what == 0 {
        let name = String::from_utf8_lossy(input.bytes()).replace('/', "_");
        let contents = input.bytes().to_vec();
        files.insert(name, contents);
        return;
    }
    let Some(name) = files.keys().nth(usize::from(input.byte()) % files.len().max(1)).cloned() else {
        return;
    };
    let other = match what {
        5 | 6 => files.values().nth(usize::from(input.byte()) % files.len()).cloned().unwrap_or_default(),
        _ => Vec::new(),
    };
    let Some(file) = files.get_mut(&name) else { return };
    let at = |input: &mut Input<'_>, file: &[u8]| input.word() % (file.len() + 1);
    match what {
        1 => {
            let at = at(input, file);
            let bit = input.byte();
            file.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
        }
        2 => file.truncate(at(input, file)),
        3 => file.resize((file.len() + input.word()).min(FILE_MAX), 0),
        4 => {
            let at = at(input, file);
            overwrite(file, at, input.bytes());
        }
        5 => {
            let (to, from) = (at(input, file), at(input, &other));
            let n = input.word().min(other.len() - from);
            overwrite(file, to, &other[from..from + n]);
        }
        6 => {
            file.extend_from_slice(&other);
            file.truncate(MEGABYTE);
        }
        7 => drop(files.remove(&name)),
        8 => {
            let id = input.long();
            let bytes = files.remove(&name).unwrap_or_default();
            files.insert(ChunkId(id).file_name(), bytes);
        }
        9 => header(file, input),
        10 => frame(file, input),
        11 => hostile_length(file, input),
        _ => fill(file, input),
    }
}

/// Makes the file up to a megabyte longer, by a rule: runs of a byte, small integers, what looks like the
/// lengths in frame headers, frames of this chunk over and over.
fn fill(file: &mut Vec<u8>, input: &mut Input<'_>) {
    let (rule, byte) = (input.byte(), input.byte());
    let size = (file.len() + (usize::from(input.byte()) << 12)).min(MEGABYTE);
    let from = file.len().next_multiple_of(8);
    let mut piece = vec![0; 1 << 10];
    file.resize(from, 0);
    while file.len() < size {
        let at = file.len();
        match rule % 4 {
            0 => piece.fill(byte),
            1 => piece
                .chunks_exact_mut(8)
                .zip(at as u64..)
                .for_each(|(word, i)| word.copy_from_slice(&i.to_le_bytes())),
            2 => {
                let word = ((size / 2) as u64) << 32 | u64::from(byte % 6);
                piece.chunks_exact_mut(8).for_each(|piece| piece.copy_from_slice(&word.to_le_bytes()));
            }
            _ => {
                let (id, salt) = (header_field(file, 16), header_field(file, 24));
                let len = u32::from(byte) << 8;
                piece[..16].copy_from_slice(&begun_frame(salt, id.wrapping_add(at as u64), len));
            }
        }
        file.extend_from_slice(&piece);
    }
}

fn overwrite(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(FILE_MAX);
    file.resize(file.len().max(end), 0);
    file[at..end].copy_from_slice(&bytes[..end - at]);
}

/// What a header says at a position; 0 if it isn't there.
fn header_field(file: &[u8], at: usize) -> u64 {
    file.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Puts other bytes into the header, and makes its checksum right again.
fn header(file: &mut Vec<u8>, input: &mut Input<'_>) {
    let at = usize::from(input.byte()) % 60;
    let bytes = input.bytes();
    let Some(old) = file.get(..64) else { return };
    let mut forge = Forge::chunk(0);
    forge.bytes = old.to_vec();
    let n = bytes.len().min(60 - at);
    overwrite(file, 0, &forge.header(at, &bytes[..n]).bytes);
}

/// Writes a frame that is right in all its checks, of any kind, whatever it says of what is synced.
fn frame(file: &mut Vec<u8>, input: &mut Input<'_>) {
    let at = input.word() % (file.len() + 1) / 8 * 8;
    let (kind, flags, unsynced) = (input.byte() % 6, input.byte() % 6, input.long());
    // Its salt is the file's where that is a forged one. After the last offset there are no frames.
    let mut forge = Forge::chunk(header_field(file, 16).min(u64::MAX - 2 * FILE_MAX as u64));
    forge.bytes.resize(at, 0);
    forge.synced = (forge.id + at as u64).saturating_sub(unsynced);
    let frame = forge.frame(kind, flags, input.bytes());
    overwrite(file, at, &frame.bytes[at..]);
}

/// Writes a frame header whose `check` is right for a length that the file doesn't hold.
fn hostile_length(file: &mut Vec<u8>, input: &mut Input<'_>) {
    let at = input.word() % (file.len() + 1) / 8 * 8;
    let len = input.long() as u32;
    let (id, salt) = (header_field(file, 16), header_field(file, 24));
    overwrite(file, at, &begun_frame(salt, id.wrapping_add(at as u64), len));
}
