//! Log shipping: one process appends, another keeps a copy of the log elsewhere, byte for byte.
//!
//! ```text
//! cargo run --release --example ship -- write LOG           appends numbers until it is killed
//! cargo run --release --example ship -- follow LOG COPY     ships what is durable, until it is killed
//! cargo run --release --example ship -- check LOG COPY      says how far the copy is, and opens it
//! ```
//!
//! Kill either of them at any time and start it again. The copy is a log at any moment: open it with
//! the types that wrote the original, once nothing is shipped to it any more.
//!
//! ```text
//! LOG   | sealed chunk + seal | sealed chunk + seal | open chunk, durable up to here | not yet |
//! COPY  | the same bytes      | the same bytes      | the same bytes                 |
//! ```
//!
//! - Only durable bytes are shipped: a crash of the writer can't take back bytes that the copy has.
//! - A chunk starts under another name and gets its own once its first record is durable. The next
//!   chunk starts when this one is sealed and durable. The log itself does both, too.
//! - After a restart, the shipper trusts only records of the copy's newest chunk that check out.
//! - Chunks that the writer removes are removed here, too. If the writer removed a chunk that was not
//!   shipped yet, the copy starts again at the oldest chunk there is, because a chunk starts with a
//!   checkpoint of everything before.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use chunked_wal::raw::{ChunkPlace, Listing, Payload, Raw, RawChunk};
use chunked_wal::{
    ChunkId, ChunkedWal, Config, Error as WalError, Segment, StateMachine, WalReader, WalRecord,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "ship write LOG | ship follow LOG COPY | ship check LOG COPY";

/// The size of a chunk's header: 64 bytes, which differ each time a file is reused.
const HEADER: usize = 64;

/// How many bytes are copied at a time.
const PIECE: u64 = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["write", log] => write(Path::new(log)),
        ["follow", log, copy] => follow(Path::new(log), Path::new(copy)),
        ["check", log, copy] => check(Path::new(log), Path::new(copy)).map(|next| {
            println!("the copy is the same as far as it goes, and opens: the next number is {next}")
        }),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

// Appending ----------------------------------------------------------------------------------------

/// Numbers, each one more than the last.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The next number.
    pub next: u64,
}

impl StateMachine<Raw> for Numbers {
    type Error = String;

    fn apply(&mut self, record: &WalRecord<Raw>, _: ChunkId, _: Segment) -> std::result::Result<(), String> {
        let (WalRecord::Action(payload) | WalRecord::Checkpoint(payload)) = record;
        let number = payload.0.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or("no number")?;
        match record {
            WalRecord::Checkpoint(_) => self.next = number,
            WalRecord::Action(_) if number == self.next => self.next += 1,
            WalRecord::Action(_) => return Err(format!("{number} where {} should be", self.next)),
        }
        Ok(())
    }

    fn checkpoint(&self) -> Payload {
        Payload(self.next.to_le_bytes().to_vec())
    }
}

/// The settings of a small log, so that there is much to rotate and to remove.
pub fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.chunk_max_size = 64 << 10;
    config
}

/// Appends numbers until the process is killed; keeps a dozen chunks.
pub fn write(log: &Path) -> Result<()> {
    let mut numbers = Numbers::default();
    let mut wal = ChunkedWal::<Raw>::open(config(log), &mut numbers)?;
    loop {
        for _ in 0..1 + numbers.next % 10 {
            let mut payload = numbers.next.to_le_bytes().to_vec();
            payload.resize(8 + (numbers.next * 37 % 1000) as usize, b'x');
            wal.append_and_apply(Payload(payload), &mut numbers)?;
        }
        wal.sync()?;
        let closed = wal.closed_chunk_stats();
        if closed.len() > 12 {
            let mut surplus = (closed.len() - 12) as i64;
            let old = wal.drain_closed_chunks_while(|_| {
                surplus -= 1;
                surplus >= 0
            });
            wal.remove_chunks(old)?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

// Shipping -----------------------------------------------------------------------------------------

/// Ships until the process is killed.
pub fn follow(log: &Path, copy: &Path) -> Result<()> {
    let mut shipper = Shipper::new(log, copy)?;
    let mut pause = Duration::from_millis(1);
    let mut out = io::stdout();
    loop {
        let before = shipper.shipped;
        shipper.catch_up()?;
        pause = if shipper.shipped == before {
            (pause * 2).min(Duration::from_millis(100))
        } else {
            Duration::from_millis(1)
        };
        if shipper.shipped != before {
            writeln!(out, "shipped up to {}", shipper.shipped)?;
        }
        std::thread::sleep(pause);
    }
}

/// Keeps the copy of a log.
#[derive(Debug)]
pub struct Shipper {
    reader: WalReader<Raw>,
    log: PathBuf,
    copy: PathBuf,
    /// The copy's newest chunk, open to be continued.
    newest: Option<Copied>,
    /// The global offset up to which the copy is durable.
    pub shipped: u64,
}

/// A chunk of the copy.
#[derive(Debug)]
struct Copied {
    id: ChunkId,
    header: [u8; HEADER],
    file: File,
    /// The number of bytes that are right and durable.
    len: u64,
    /// Whether the chunk has its seal, so that another chunk may follow.
    is_complete: bool,
}

impl Shipper {
    /// Waits until there is a log, and continues where the copy ends.
    pub fn new(log: &Path, copy: &Path) -> Result<Self> {
        // The log may be about to be made.
        let reader = loop {
            match WalReader::<Raw>::open_read_only(log) {
                Err(WalError::NotFound { .. }) => std::thread::sleep(Duration::from_millis(10)),
                other => break other?,
            }
        };
        fs::create_dir_all(copy)?;
        let mut shipper = Shipper { reader, log: log.into(), copy: copy.into(), newest: None, shipped: 0 };
        shipper.resume()?;
        Ok(shipper)
    }

    /// Examines the copy, and continues its newest chunk after the last record that checks out.
    fn resume(&mut self) -> Result<()> {
        let Some(id) = Listing::of(&self.copy)?.chunks.last().copied() else { return Ok(()) };
        let path = self.copy.join(id.file_name());
        let chunk = RawChunk::open(&self.copy, id)?;
        let mut records = chunk.records(ChunkPlace::Newest);
        while records.next()?.is_some() {}
        let len = records.sound_end() - id.0;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        // A seal is shipped again.
        file.set_len(len)?;
        file.sync_all()?;
        self.shipped = id.0 + len;
        let header = header_of(&path)?.ok_or("the copy has gone")?;
        self.newest = Some(Copied { id, header, file, len, is_complete: false });
        Ok(())
    }

    /// Ships all bytes that are durable by now.
    pub fn catch_up(&mut self) -> Result<()> {
        let end = self.reader.refresh()?;
        let chunks = Listing::of(&self.log)?.chunks;
        for (i, id) in chunks.iter().enumerate() {
            let is_sealed = i + 1 < chunks.len();
            let newest = self.newest.as_ref().map(|newest| newest.id);
            if newest.is_some_and(|newest| *id < newest) || (!is_sealed && end <= id.0) {
                continue;
            }
            if !self.ship_chunk(*id, is_sealed, end)? {
                // The chunk was removed while it was read: start over.
                return Ok(());
            }
        }
        self.remove_old(chunks.first().copied())
    }

    /// Ships the missing bytes of one chunk; `false` if the chunk is gone.
    fn ship_chunk(&mut self, id: ChunkId, is_sealed: bool, end: u64) -> Result<bool> {
        let source_path = self.log.join(id.file_name());
        let (Some(header), Ok(source)) = (header_of(&source_path)?, File::open(&source_path)) else {
            return Ok(false);
        };
        // Of a sealed chunk, ships the whole file, with the seal.
        let until = if is_sealed { source.metadata()?.len() } else { end - id.0 };
        if self.newest.as_ref().is_none_or(|newest| newest.id != id) {
            let follows_on = |newest: &Copied| newest.is_complete && self.shipped == id.0;
            if !self.newest.as_ref().is_some_and(follows_on) {
                // The chunks in between were removed before they were shipped.
                self.remove_all()?;
            }
            let Some(started) = self.start(id, header, &source, &source_path)? else { return Ok(false) };
            self.newest = Some(started);
        }
        let Some(newest) = &mut self.newest else { return Ok(false) };
        if newest.header != header {
            return Err(
                format!("'{}' is not the chunk that was shipped before", source_path.display()).into()
            );
        }
        while newest.len < until {
            let len = (until - newest.len).min(PIECE);
            let Some(piece) = read(&source, &source_path, newest.len, len, &header)? else {
                return Ok(false);
            };
            newest.file.write_all_at(&piece, newest.len)?;
            newest.file.sync_data()?;
            newest.len += piece.len() as u64;
        }
        newest.is_complete = is_sealed;
        self.shipped = if is_sealed { sealed_end(&self.copy, id)? } else { id.0 + until };
        Ok(true)
    }

    /// Starts a chunk of the copy with the header and the first record of the source; `None` if the
    /// source is gone.
    fn start(&self, id: ChunkId, header: [u8; HEADER], source: &File, path: &Path) -> Result<Option<Copied>> {
        let first = self.reader.records_from(id.0).and_then(|mut records| records.next().transpose());
        let len = match first {
            Ok(Some((_, segment, _))) => segment.offset + segment.size - id.0,
            Ok(None) | Err(WalError::NotInLog { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(piece) = read(source, path, 0, len, &header)? else { return Ok(None) };
        let started = self.copy.join("started.tmp");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&started)?;
        file.write_all_at(&piece, 0)?;
        file.sync_all()?;
        fs::rename(&started, self.copy.join(id.file_name()))?;
        self.sync_copy()?;
        Ok(Some(Copied { id, header, file, len, is_complete: false }))
    }

    /// Removes the chunks that the log has removed.
    fn remove_old(&self, oldest: Option<ChunkId>) -> Result<()> {
        for id in Listing::of(&self.copy)?.chunks {
            if oldest.is_some_and(|oldest| id < oldest) {
                fs::remove_file(self.copy.join(id.file_name()))?;
                self.sync_copy()?;
            }
        }
        Ok(())
    }

    fn remove_all(&mut self) -> Result<()> {
        self.newest = None;
        self.remove_old(Some(ChunkId(u64::MAX)))
    }

    fn sync_copy(&self) -> io::Result<()> {
        File::open(&self.copy)?.sync_all()
    }
}

/// Reads the header of the chunk that has this name now; `None` if there is none.
fn header_of(path: &Path) -> io::Result<Option<[u8; HEADER]>> {
    let mut header = [0; HEADER];
    match File::open(path).and_then(|file| file.read_exact_at(&mut header, 0)) {
        Ok(()) => Ok(Some(header)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads bytes of a chunk; `None` if the chunk is gone: its file may have been reused, and the bytes
/// belong to another chunk. A chunk loses its name before its file is reused.
fn read(source: &File, path: &Path, from: u64, len: u64, header: &[u8; HEADER]) -> Result<Option<Vec<u8>>> {
    let mut piece = vec![0; len as usize];
    match source.read_exact_at(&mut piece, from) {
        Ok(()) => Ok((header_of(path)?.as_ref() == Some(header)).then_some(piece)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Returns where the records of a sealed chunk end.
fn sealed_end(dir: &Path, id: ChunkId) -> Result<u64> {
    let chunk = RawChunk::open(dir, id)?;
    if let Some(seal) = chunk.seal()? {
        return Ok(seal.data_end);
    }
    // The seal is at the end, unless a crash kept the file from being cut.
    let mut records = chunk.records(ChunkPlace::Older);
    while records.next()?.is_some() {}
    Ok(records.sound_end())
}

// Checking -----------------------------------------------------------------------------------------

/// Compares the copy with the log, byte for byte, and opens a copy of the copy, so that shipping can go
/// on. Nothing may be shipped meanwhile. Returns the state machine's next number.
pub fn check(log: &Path, copy: &Path) -> Result<u64> {
    let opened = copy.with_extension("opened");
    fs::create_dir_all(&opened)?;
    let chunks = Listing::of(copy)?.chunks;
    for (i, id) in chunks.iter().enumerate() {
        let copied = fs::read(copy.join(id.file_name()))?;
        fs::write(opened.join(id.file_name()), &copied)?;
        match fs::read(log.join(id.file_name())) {
            // A chunk that was copied between its seal and its cut is longer than it is now. Only the
            // copy's newest chunk may be shorter.
            Ok(original)
                if !copied.starts_with(&original)
                    && (i + 1 < chunks.len() || !original.starts_with(&copied)) =>
            {
                return Err(format!("{id}: the copy differs").into());
            }
            // The chunk was removed, or is not in the copy yet.
            _ => {}
        }
    }
    let mut numbers = Numbers::default();
    ChunkedWal::<Raw>::options(config(&opened)).must_exist().open(&mut numbers)?.close()?;
    fs::remove_dir_all(&opened)?;
    Ok(numbers.next)
}
