//! One snapshot's file: its name and its bytes.
//!
//! ```text
//! s-00_000_000_000_000_000_324.snap       the snapshot of the records before offset 324
//! s-00_000_000_000_000_000_324.snap.tmp   the same while it is written
//!
//! 0      8        12        16       32       40       48            52           56
//! │magic │version │zeros    │log id  │offset  │length  │CRC of bytes │CRC of these │ bytes …
//! ```
//!
//! - `bytes` are the program's. Numbers are little-endian; both checksums are CRC-32C.
//! - The file has exactly `length` bytes after its header.
//! - A later version keeps the magic, the version and the header's checksum where they are.

use std::io::{self, BufWriter, IoSlice, Write};
use std::path::Path;

use crate::error::{Error, Result, SnapshotFault};
use crate::format::Crc;
use crate::position::Padded;
use crate::storage::{Access, Storage, StorageFile, read_full_at, write_all_at};

const MAGIC: [u8; 8] = *b"CWALSNAP";
const VERSION: u32 = 1;
const LEN: usize = 56;
const CRC_AT: usize = 52;

const PREFIX: &str = "s-";
const SUFFIX: &str = ".snap";
const TEMP_SUFFIX: &str = ".tmp";

/// Written at once.
const PIECE: usize = 256 << 10;

/// What a file in the directory is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileName {
    /// A snapshot of the records before this offset.
    Snapshot(u64),
    /// A snapshot that was being written.
    Temp,
}

pub(super) fn name(offset: u64) -> String {
    format!("{PREFIX}{}{SUFFIX}", Padded(offset))
}

pub(super) fn temp_name(offset: u64) -> String {
    name(offset) + TEMP_SUFFIX
}

impl FileName {
    /// `None` for a name that no snapshot has.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let whole = text.strip_suffix(TEMP_SUFFIX);
        let digits = whole.unwrap_or(text).strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let offset = digits.replace('_', "").parse().ok()?;
        if name(offset) != whole.unwrap_or(text) {
            return None;
        }
        Some(if whole.is_some() { FileName::Temp } else { FileName::Snapshot(offset) })
    }
}

/// What a file starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) log_id: [u8; 16],
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) crc: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id);
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.len.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.crc.to_le_bytes());
        let crc = Crc::of(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; LEN]) -> Result<Self, SnapshotFault> {
        let damaged = |what| Err(SnapshotFault::Damaged { what });
        if !bytes.starts_with(&MAGIC) {
            return damaged("it does not start as a snapshot");
        }
        if u32::from_le_bytes(array_at(bytes, CRC_AT)) != Crc::of(&bytes[..CRC_AT]) {
            return damaged("the checksum of its header fails");
        }
        let found = u32::from_le_bytes(array_at(bytes, 8));
        if found != VERSION {
            return Err(SnapshotFault::Unsupported { found, known: VERSION });
        }
        Ok(Header {
            log_id: array_at(bytes, 16),
            offset: u64::from_le_bytes(array_at(bytes, 32)),
            len: u64::from_le_bytes(array_at(bytes, 40)),
            crc: u32::from_le_bytes(array_at(bytes, 48)),
        })
    }
}

fn array_at<const N: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// Writes and syncs a file that does not exist yet; returns its size.
pub(super) fn write(
    storage: &dyn Storage,
    path: &Path,
    (log_id, offset): ([u8; 16], u64),
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<u64> {
    let file = storage.create(path).map_err(|e| Error::no_space("create", path, 0, e))?;
    let output = Output { file: &*file, position: LEN as u64, crc: Crc::default() };
    let mut writer = BufWriter::with_capacity(PIECE, output);
    let filled = fill(&mut writer).and_then(|()| writer.flush());
    let Output { position, crc, .. } = writer.get_ref();
    let failed = |e| Error::no_space("write", path, *position, e);
    filled.map_err(failed)?;
    let header = Header { log_id, offset, len: position - LEN as u64, crc: crc.value() };
    write_all_at(&*file, &mut [IoSlice::new(&header.encode())], 0).map_err(failed)?;
    file.sync().map_err(|e| Error::no_space("sync", path, *position, e))?;
    Ok(*position)
}

/// Writes one piece after the other.
struct Output<'a> {
    file: &'a dyn StorageFile,
    position: u64,
    crc: Crc,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all_at(self.file, &mut [IoSlice::new(bytes)], self.position)?;
        self.crc.take([], bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the snapshot of the records before `offset`, and checks all of it. `log_id` is the log's, if it is known.
///
/// # Errors
///
/// [`Error::Snapshot`] for damaged bytes.
pub(super) fn read(
    storage: &dyn Storage,
    path: &Path,
    offset: u64,
    log_id: Option<[u8; 16]>,
) -> Result<Vec<u8>> {
    let io = |op| move |e| Error::io(op, path, e);
    let file = storage.open(path, Access::Read).map_err(io("open"))?;
    let file_len = file.len().map_err(io("measure"))?;
    let mut head = [0; LEN];
    let n = read_full_at(&*file, &mut head, 0).map_err(io("read"))?;
    let fault = |reason| Error::Snapshot { path: path.to_owned(), reason };
    let damaged = |what| Err(fault(SnapshotFault::Damaged { what }));
    if n < LEN {
        return damaged("it is shorter than its header");
    }
    let header = Header::decode(&head).map_err(fault)?;
    if header.offset != offset {
        return damaged("it covers another part of the log than its name says");
    }
    if log_id.is_some_and(|id| id != header.log_id) {
        return Err(fault(SnapshotFault::OtherLog));
    }
    if header.len.checked_add(LEN as u64) != Some(file_len) {
        return damaged("it does not have the length that it was written with");
    }
    let bytes = read_bytes(&*file, header.len).map_err(io("read"))?;
    if bytes.len() as u64 != header.len || Crc::of(&bytes) != header.crc {
        return damaged("its checksum fails");
    }
    Ok(bytes)
}

fn read_bytes(file: &dyn StorageFile, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.resize(len, 0);
    let n = read_full_at(file, &mut bytes, LEN as u64)?;
    bytes.truncate(n);
    Ok(bytes)
}
