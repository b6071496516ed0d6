//! The old log: its directory, which is only read, and its records in order.
//!
//! ```text
//! r-….wal           r-….wal                      r-….wal
//! checkpoint, …  ─► checkpoint, …             ─► checkpoint, …, torn tail
//!                └ starts where the last ends    └ the newest chunk alone may have one
//!
//! record   type, 4 bytes | what the codec wrote     (a checkpoint also ends in a checksum of 8 bytes)
//! ```
//!
//! - Nothing says where a record ends, except its codec.
//! - The lock file is opened for reading, and locked if it exists, so that the old program can't start meanwhile.
//! - A record that can't be decoded is the torn tail only in the newest chunk, only if the file ends in the middle of
//!   it or has nothing but zeros from there on, and only if no record that a checksum proves follows.

mod chunk;
mod tail;
#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use chunked_wal::ChunkId;
use chunked_wal_02::{WALRecord, WalTypes};

use self::chunk::ChunkRecords;
use crate::convert::OldFormat;
use crate::error::{Error, Result};

const LOCK: &str = "LOCK";
/// How a chunk of this version's logs starts.
const MAGIC: &[u8] = b"CHNKWAL\n";

/// The old log's directory.
#[derive(Debug)]
pub(crate) struct Source {
    dir: PathBuf,
    /// The chunks, oldest first, without those that a crash left without their first record.
    chunks: Vec<ChunkId>,
    /// Held while the log is read; `None` if there is no lock file.
    _lock: Option<File>,
}

/// The place of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// The global offset.
    pub(crate) offset: u64,
    /// The position in the file.
    pub(crate) position: u64,
}

/// A record as it was read.
#[derive(Debug)]
pub(crate) struct Record<'a, W: WalTypes> {
    pub(crate) place: &'a Place,
    pub(crate) starts_chunk: bool,
    pub(crate) record: WALRecord<W>,
    /// The bytes that the record's codec reads.
    pub(crate) payload: &'a [u8],
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) chunks: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) torn: Option<Torn>,
}

/// The torn write at the end of the old log, which is not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// The file of the newest chunk.
    pub path: PathBuf,
    /// The global offset at which the last whole record ends.
    pub offset: u64,
    /// The bytes in the file after that offset.
    pub bytes: u64,
}

impl Source {
    /// Lists and locks a directory.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let (chunks, files) = list(dir)?;
        if files == 0 {
            return Err(Error::Empty { dir: dir.to_owned() });
        }
        let Some(oldest) = chunks.first() else { return Err(Error::NoLog { dir: dir.to_owned() }) };
        let oldest = dir.join(oldest.file_name());
        if beginning(&oldest, MAGIC.len() as u64)? == MAGIC {
            return Err(Error::NeedsNone { path: oldest });
        }
        let lock = lock(&dir.join(LOCK))?;
        Ok(Source { dir: dir.to_owned(), chunks, _lock: lock })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The length of the largest chunk's file.
    pub(crate) fn chunk_len_max(&self) -> Result<u64> {
        let mut max = 0;
        for id in &self.chunks {
            let path = self.dir.join(id.file_name());
            max = fs::metadata(&path).map_err(Error::io("look at", &path))?.len().max(max);
        }
        Ok(max)
    }

    /// Reads every record, oldest first.
    pub(crate) fn read<W: WalTypes>(
        &self,
        format: &OldFormat,
        mut visit: impl FnMut(Record<'_, W>) -> Result<()>,
    ) -> Result<Totals> {
        let mut totals = Totals::default();
        let chunks = self.whole_chunks::<W>(format, &mut totals)?;
        let mut end = None;
        for (i, id) in chunks.iter().enumerate() {
            let path = self.dir.join(id.file_name());
            if let Some(expected) = end.filter(|end| *end != id.0) {
                return Err(Error::Gap { path, expected, found: id.0 });
            }
            let mut records = ChunkRecords::open(path, *id)?;
            self.read_chunk(format, &mut records, i + 1 == chunks.len(), &mut visit, &mut totals)?;
            totals.chunks += 1;
            end = Some(records.place().offset);
        }
        Ok(totals)
    }

    /// The chunks without the newest ones that have no whole first record: the old log would remove them.
    fn whole_chunks<W: WalTypes>(&self, format: &OldFormat, totals: &mut Totals) -> Result<&[ChunkId]> {
        let mut chunks = &self.chunks[..];
        while let [rest @ .., newest] = chunks {
            let mut records = ChunkRecords::open(self.dir.join(newest.file_name()), *newest)?;
            if !records.is_empty() {
                match records.next::<W>(&mut Vec::new()) {
                    Ok(_) => break,
                    Err(error) if tail::is_torn::<W>(&records, &error, format)? => {}
                    // The pass over all records reports it.
                    Err(_) => break,
                }
            }
            totals.torn = Some(records.torn());
            chunks = rest;
        }
        if chunks.is_empty() { Err(Error::Empty { dir: self.dir.clone() }) } else { Ok(chunks) }
    }

    fn read_chunk<W: WalTypes>(
        &self,
        format: &OldFormat,
        records: &mut ChunkRecords,
        is_newest: bool,
        visit: &mut impl FnMut(Record<'_, W>) -> Result<()>,
        totals: &mut Totals,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        let mut starts_chunk = true;
        while !records.is_at_end() {
            let place = records.place();
            let record = match records.next::<W>(&mut bytes) {
                Ok(record) => record,
                Err(error) if is_newest && tail::is_torn::<W>(records, &error, format)? => {
                    totals.torn = Some(records.torn());
                    return Ok(());
                }
                Err(error) => return Err(undecodable(records, error, format)),
            };
            let payload = match (&record, starts_chunk) {
                (WALRecord::Action(_), true) => return Err(not_a_checkpoint(place)),
                (WALRecord::Action(_), false) => &bytes[..],
                (WALRecord::Checkpoint(_), _) => tail::checkpoint_payload(&bytes),
            };
            totals.records += 1;
            totals.bytes += bytes.len() as u64;
            visit(Record { place: &place, starts_chunk, record, payload })?;
            starts_chunk = false;
        }
        Ok(())
    }
}

/// The error of a record that is not torn: damage, unless its checksum shows that it is of other types.
fn undecodable(records: &ChunkRecords, source: io::Error, format: &OldFormat) -> Error {
    let Place { path, offset, position } = records.place();
    // Where the file can't be read again, that is an error of its own, and hides nothing.
    if tail::is_whole(records, format).unwrap_or(false) {
        return Error::OtherTypes { path, offset, position, types: format.types, source };
    }
    Error::Damaged { path, offset, position, source }
}

fn not_a_checkpoint(place: Place) -> Error {
    let Place { path, offset, position } = place;
    let source = io::Error::new(io::ErrorKind::InvalidData, "a chunk must start with a checkpoint");
    Error::Damaged { path, offset, position, source }
}

/// The chunks of a directory, oldest first, and the number of its files.
fn list(dir: &Path) -> Result<(Vec<ChunkId>, usize)> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "does not exist: no such directory",
                io::ErrorKind::NotADirectory => "is a file; a log is a directory",
                _ => return Err(Error::io("list", dir)(error)),
            };
            return Err(Error::NoDirectory { path: dir.to_owned(), why });
        }
    };
    let (mut chunks, mut files) = (Vec::new(), 0);
    for entry in entries {
        let name = entry.map_err(Error::io("list", dir))?.file_name();
        chunks.extend(name.to_str().and_then(ChunkId::parse_file_name));
        files += 1;
    }
    chunks.sort();
    Ok((chunks, files))
}

fn beginning(path: &Path, len: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.take(len).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// Takes the old log's lock, shared, through a file that is open for reading: nothing is written.
fn lock(path: &Path) -> Result<Option<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::InUse { path: path.to_owned(), who: "has the old log open" })
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}
