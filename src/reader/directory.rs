//! A log read from its directory, with no lock and no writes, while any process may have the log open.
//!
//! ```text
//! refresh: list names ─► newest chunk: frontier ─► View { chunks, end }
//! read:    View ─► open the file by its name ─► scan, up to the known end
//!             ▲                                   │ damaged or gone
//!             └────────── refresh, try again ◄────┘ still so? then it is an error
//! ```
//!
//! - With [`ReadUpTo::Durable`] no record is returned that the writer could still lose. A chunk with a successor is
//!   durable as a whole; of the newest chunk, the records that its own frames prove.
//! - One look proves no damage, because the writer starts, seals, cuts and removes chunks meanwhile, and uses the
//!   files of removed chunks again. A read counts only if the file has its chunk's name before the first byte is
//!   read, and still has the name after a byte was wrong.
//! - No file stays open between calls: a removed chunk's space is free once the last read in it has ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use parking_lot::Mutex;

use super::live::record_holding;
use crate::directory::{FileBytes, Looks, list_changing, open_chunk, settled};
use crate::error::{Damage, Error, Foreign, Proof, Result};
use crate::format::{Frame, Frontier, HEADER_LEN, Header, Scan, ScanEnd, is_void_at};
use crate::position::{ChunkId, Segment};
use crate::recovery::scan_error;
use crate::storage::Storage;

/// How far a log that is opened read-only is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadUpTo {
    /// To the last record that is proven to be durable: no crash can lose a record that was read.
    ///
    /// A record is proven by something written later: a record after it, the mark of a log that has gone idle, or
    /// the end of its chunk. So the proof may come a little after the record.
    #[default]
    Durable,
    /// To the last whole record written, which a crash of the machine may take back.
    Written,
}

/// A log's directory, as it was at the last look.
#[derive(Debug)]
pub(crate) struct Directory {
    storage: Arc<dyn Storage>,
    pub(super) dir: PathBuf,
    read_up_to: ReadUpTo,
    read_buffer_size: usize,
    view: Mutex<View>,
}

/// The result of one look.
#[derive(Debug, Clone)]
struct View {
    /// Oldest first, never empty.
    chunks: Vec<ChunkId>,
    /// The frontier of the newest.
    frontier: Frontier,
    /// The global offset at which the readable records end.
    end: u64,
}

impl View {
    fn start(&self) -> u64 {
        self.chunks.first().map_or(self.end, |id| id.0)
    }

    /// The chunk that holds `offset`, and the global offset at which its readable records end.
    fn find(&self, offset: u64) -> Option<(ChunkId, u64)> {
        let next = self.chunks.partition_point(|id| id.0 <= offset);
        let id = *self.chunks.get(next.checked_sub(1)?)?;
        Some((id, self.chunks.get(next).map_or(self.end, |next| next.0.min(self.end))))
    }
}

impl Directory {
    /// Looks at the log in `dir`.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        read_up_to: ReadUpTo,
        read_buffer_size: usize,
    ) -> Result<Self> {
        let dir = storage.resolve_dir(dir).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path: dir.to_owned() },
            _ => Error::io("open directory", dir, e),
        })?;
        let view = settled(|| look(&*storage, &dir, read_up_to, read_buffer_size, None))?;
        Ok(Directory { storage, dir, read_up_to, read_buffer_size, view: Mutex::new(view) })
    }

    /// The global offsets at which the readable records start and end.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let view = self.view.lock();
        (view.start(), view.end)
    }

    /// The global offset below which the readable records are proven to be durable.
    pub(crate) fn durable(&self) -> u64 {
        let view = self.view.lock();
        view.frontier.durable().min(view.end)
    }

    /// Looks again.
    pub(crate) fn refresh(&self) -> Result<()> {
        // Held during the look, so that of two looks the later one stays.
        let mut view = self.view.lock();
        let found = settled(|| {
            look(&*self.storage, &self.dir, self.read_up_to, self.read_buffer_size, Some(&*view))
        })?;
        let (expected, log_id) = (view.frontier.header.log_id, found.frontier.header.log_id);
        if expected != log_id {
            let path = self.path(ChunkId(found.frontier.header.chunk_id));
            return Err(Error::ForeignChunk { path, reason: Foreign::LogId { expected, found: log_id } });
        }
        *view = found;
        Ok(())
    }

    pub(crate) fn path(&self, id: ChunkId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    pub(crate) fn not_in_log(&self, offset: u64, size: u64) -> Error {
        let view = self.view.lock();
        Error::NotInLog { offset, size, start: view.start(), end: view.end }
    }

    /// The records from `at`, where one begins, to `end`.
    pub(crate) fn records(self: &Arc<Self>, begin: Begin, at: u64, end: u64) -> DirectoryRecords {
        DirectoryRecords { directory: self.clone(), begin, at, end, current: None }
    }

    /// The record that holds the byte at `offset`, if it and all before it in its chunk are sound.
    pub(crate) fn record_at(&self, offset: u64) -> Option<Segment> {
        let (id, end) = self.view.lock().find(offset)?;
        let current = self.open_at(id.0, end).ok()?;
        record_holding(current.scan, offset)
    }

    /// Whether a repair took out the record that began at `offset`.
    pub(crate) fn is_voided(&self, offset: u64) -> Option<ChunkId> {
        let (id, end) = self.view.lock().find(offset)?;
        let (header, _) = open_chunk(&*self.storage, &self.path(id), id).ok()?;
        let current = self.open_at(id.0, end).ok()?;
        is_void_at(current.scan.source(), &header, offset).is_ok_and(|is_void| is_void).then_some(id)
    }

    /// Opens the chunk that holds `at`, to be read up to `end`.
    fn open_at(&self, at: u64, end: u64) -> Result<Current> {
        let (found, expected) = {
            let view = self.view.lock();
            (view.find(at), view.frontier.header.log_id)
        };
        let Some((id, chunk_end)) = found else { return Err(self.not_in_log(at, end - at)) };
        let path = self.path(id);
        let (header, mut bytes) = open_chunk(&*self.storage, &path, id)?;
        if header.log_id != expected {
            let reason = Foreign::LogId { expected, found: header.log_id };
            return Err(Error::ForeignChunk { path, reason });
        }
        let is_part = end < chunk_end;
        let end = chunk_end.min(end);
        bytes.len = bytes.len.min(end - id.0);
        let scan = Scan::new(bytes, &header, false, self.read_buffer_size).beginning_at(at - id.0);
        // The reader's end is never inside a batch, but a record that was asked for may be.
        let scan = if is_part { scan.one_by_one() } else { scan };
        Ok(Current { id, end, scan })
    }
}

/// Lists the chunks and finds the end of the newest one, starting at its end in `before`.
fn look(
    storage: &dyn Storage,
    dir: &Path,
    read_up_to: ReadUpTo,
    read_buffer_size: usize,
    before: Option<&View>,
) -> Result<View> {
    let known = before.map_or(&[][..], |view| &view.chunks);
    let chunks = list_changing(storage, dir, known)?.chunks;
    let Some(newest) = chunks.last() else { return Err(Error::NotFound { path: dir.to_owned() }) };
    let path = dir.join(newest.file_name());
    let (header, bytes) = open_chunk(storage, &path, *newest)?;
    let before = before.map(|view| &view.frontier).filter(|frontier| frontier.header == header);
    let frontier =
        read_on(&bytes, &header, before, read_buffer_size).map_err(|e| Error::from_read(&path, e))?;
    let end = match read_up_to {
        // With nothing proven not even the first record counts: the chunk's name may not be durable yet.
        ReadUpTo::Durable => frontier.synced.max(newest.0),
        ReadUpTo::Written if frontier.end == newest.0 + HEADER_LEN => newest.0,
        ReadUpTo::Written => frontier.end,
    };
    Ok(View { chunks, frontier, end })
}

/// Goes on at the end of an earlier look at the same chunk, so that a look costs only the new bytes. If the record
/// before that end is gone, goes on at the last proven end, because a crash may have taken unproven records back.
fn read_on(
    bytes: &FileBytes,
    header: &Header,
    before: Option<&Frontier>,
    read_buffer_size: usize,
) -> io::Result<Frontier> {
    let (mut frontier, read_size) = match before {
        None => (Frontier::new(header), read_buffer_size),
        Some(before) if !before.holds(bytes)? => (before.back_to_synced(), read_buffer_size),
        Some(before) if before.is_unchanged(bytes)? => return Ok(*before),
        Some(before) => (*before, read_buffer_size.min(Frontier::READ_ON)),
    };
    frontier.advance(bytes, read_size)?;
    Ok(frontier)
}

/// The records from one offset to another, as bytes.
#[derive(Debug)]
pub(crate) struct DirectoryRecords {
    directory: Arc<Directory>,
    begin: Begin,
    /// Where the next record begins.
    at: u64,
    end: u64,
    current: Option<Current>,
}

/// What follows if the chunk to start in is removed before the first record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The oldest record was asked for: reading starts at the record that is the oldest by then.
    Oldest,
    /// This very offset was asked for: it is an error.
    Exactly,
}

/// The chunk that is being read.
struct Current {
    id: ChunkId,
    end: u64,
    scan: Scan<FileBytes>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("id", &self.id).field("end", &self.end).finish_non_exhaustive()
    }
}

impl DirectoryRecords {
    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Hands the next record to `f`; `None` at the end.
    pub(crate) fn next_with<T>(&mut self, f: impl FnOnce(ChunkId, Frame<'_>) -> T) -> Result<Option<T>> {
        let mut looks = Looks::new();
        while self.at < self.end {
            let Self { directory, current: held, .. } = self;
            let opened = match held.take() {
                Some(current) => Ok(current),
                None => directory.open_at(self.at, self.end),
            };
            let error = match opened.map(|current| held.insert(current)) {
                Err(error) => error,
                Ok(current) => match current.scan.next() {
                    Ok(Some(frame)) => {
                        self.begin = Begin::Exactly;
                        self.at = frame.offset + frame.size;
                        return Ok(Some(f(current.id, frame)));
                    }
                    Ok(None) => match current.wrong_end(directory) {
                        None => {
                            self.at = current.end;
                            self.current = None;
                            continue;
                        }
                        Some(error) => error,
                    },
                    Err(e) => Error::from_read(directory.path(current.id), e),
                },
            };
            looks.again_after(error)?;
            self.look_again()?;
        }
        Ok(None)
    }

    /// Looks at the directory again after a read failed: the chunk may be gone.
    fn look_again(&mut self) -> Result<()> {
        self.current = None;
        self.directory.refresh()?;
        let (start, end) = self.directory.bounds();
        if self.at < start && self.begin == Begin::Oldest {
            self.at = start;
        }
        if self.at < start || end < self.end {
            return Err(self.directory.not_in_log(self.at, self.end - self.at));
        }
        Ok(())
    }
}

impl Current {
    /// The error if the records don't end where the chunk ends.
    fn wrong_end(&self, directory: &Directory) -> Option<Error> {
        let path = directory.path(self.id);
        match self.scan.end() {
            Some(ScanEnd::Clean { data_end, .. } | ScanEnd::Torn { data_end, .. }) => {
                let (path, chunk_id, offset) = (path, self.id, *data_end);
                let damage = Damage::FrameHeader;
                (offset < self.end).then_some(Error::Corrupt {
                    path,
                    chunk_id,
                    offset,
                    damage,
                    proof: Proof::Seen,
                })
            }
            Some(ScanEnd::Sealed { data_end, .. }) => Some(Error::Gap {
                path: directory.path(ChunkId(self.end)),
                expected: *data_end,
                found: self.end,
            }),
            other => Some(scan_error(other, self.id, &path)),
        }
    }
}
