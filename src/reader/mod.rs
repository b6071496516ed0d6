//! Concurrent reads: a record is found in memory while it waits to be written, then in its file.
//!
//! ```text
//! WalReader ─┐
//! WalReader ─┼─► LogView ─► chunks: which one? ─► Tail: still in memory? ─► OpenFiles: its file
//! ChunkedWal ┘
//! PinnedReader ─► a LogView of its own, with the chunks and the end of one moment
//! WalReader ─► Directory: a log that another process may have open, read by its names and bytes alone
//! ```
//!
//! - A thread that reads in the same chunk again takes chunk and file from [`LastReads`], without a lock.
//! - Written bytes are read from the file. Other bytes are looked for in memory first: those that memory has let go
//!   of are in the file.
//! - Every read is checked by the frame's CRC, with the chunk's salt and the frame's offset in it.

mod directory;
mod follow;
mod handle;
mod last_reads;
mod live;
#[cfg(feature = "blob")]
mod parts;
mod pinned;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use crate::chunk::{ChunkFile, ClosedChunk, OpenFiles, Tail};
use crate::error::{Damage, Error, Proof, Result, Undecodable};
use crate::flush::{Housekeeper, Pin, Positions};
use crate::format::{
    FRAME_HEADER_LEN, Frame, FrameHeader, HEADER_LEN, Kind, Memory, Owner, Scan, is_void_at, whole_frame,
};
use crate::position::{ALIGN, ChunkId, Segment};
use crate::record::{WalRecord, WalTypes};
use crate::storage::{StorageFile, read_full_at};

pub(crate) use directory::Directory;
pub use directory::ReadUpTo;
pub use follow::Follow;
pub use handle::{ReadOnlyOptions, Records, WalReader};
use last_reads::{HeldFile, LastReads};
use live::{ChunkBytes, record_holding};
#[cfg(feature = "blob")]
pub(crate) use parts::FrameParts;
pub use pinned::PinnedReader;

/// A record larger than this has its header read before memory is taken for the whole.
const HEADER_FIRST: u64 = 64 * 1024;

/// The part of the log that its readers share: the chunks, and where their bytes are.
#[derive(Debug)]
pub(crate) struct LogView<C> {
    pub(crate) positions: Arc<Positions>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) files: Arc<OpenFiles>,
    pub(crate) chunks: RwLock<Chunks<C>>,
    last_reads: LastReads,
    pub(crate) read_buffer_size: usize,
    /// The writer is gone. Another one may have the directory, and may use files again.
    closed: Arc<AtomicBool>,
    /// Weak, because a reader may outlive the log, whose files the housekeeper has open.
    housekeeper: Weak<Housekeeper>,
    /// Of a [`PinnedReader`]: nothing is read at this offset or after it. The pin is none if the log had ended.
    pinned: Option<(u64, Option<Pin>)>,
}

/// A record's frame as it is stored, whole and right.
#[cfg(feature = "blob")]
#[derive(Debug)]
pub(crate) struct StoredFrame {
    /// An action or a checkpoint.
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    payload_end: usize,
    bytes: Vec<u8>,
}

#[cfg(feature = "blob")]
impl StoredFrame {
    #[cfg(all(test, feature = "blob"))]
    pub(crate) fn of_payload(payload: &[u8]) -> Self {
        let bytes = [&[0; FRAME_HEADER_LEN], payload].concat();
        StoredFrame { kind: Kind::Action, flags: 0, payload_end: bytes.len(), bytes }
    }

    /// As it is stored.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[FRAME_HEADER_LEN..self.payload_end]
    }
}

/// Where a frame is read from.
enum Source {
    /// The frame is in this file, as a whole.
    File(HeldFile),
    /// Ask the memory first. Bytes that are no longer in memory are in the chunk's file, which may have to be opened.
    MemoryOrFile(Arc<ChunkFile>),
}

impl Source {
    fn chunk(&self) -> &Arc<ChunkFile> {
        match self {
            Source::File(held) => &held.chunk,
            Source::MemoryOrFile(chunk) => chunk,
        }
    }
}

/// A frame that was read and is right. Small, because the fastest way of a read passes it on.
struct Found {
    kind: Kind,
    payload_len: u32,
    flags: u8,
}

impl Found {
    /// Whether the bytes are one frame of this chunk, a record's, and right.
    #[inline]
    fn check(chunk: &ChunkFile, offset: u64, frame: &[u8]) -> Result<Self, Damage> {
        let header = whole_frame(frame, offset, chunk.salt())?;
        match Kind::from_u8(header.kind) {
            Some(kind @ (Kind::Action | Kind::Checkpoint)) => {
                Ok(Found { kind, flags: header.flags, payload_len: header.len })
            }
            _ => Err(Damage::FrameHeader),
        }
    }

    #[inline]
    fn frame<'f>(&self, offset: u64, bytes: &'f [u8], owner: Owner<'f>) -> Frame<'f> {
        let payload = &bytes[FRAME_HEADER_LEN..FRAME_HEADER_LEN + self.payload_len as usize];
        Frame { kind: self.kind, flags: self.flags, offset, size: bytes.len() as u64, payload, owner }
    }

    /// Whether this build knows all the frame's flags.
    #[inline]
    fn is_known(&self, chunk: &ChunkFile) -> bool {
        self.flags & !chunk.header().record_flags() == 0
    }
}

thread_local! {
    /// The buffer of the thread's last small record.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The thread's buffer, so that no memory is allocated or zeroed for a small record. Its old bytes are arbitrary.
/// A codec that itself reads a record gets another buffer, because this one is taken.
struct Buffer(Vec<u8>);

impl Buffer {
    /// With `len` bytes or more.
    #[inline]
    fn take(len: usize) -> Self {
        let mut bytes = BUFFER.try_with(Cell::take).unwrap_or_default();
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Buffer(bytes)
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        let _thread_is_ending = BUFFER.try_with(|place| place.set(std::mem::take(&mut self.0)));
    }
}

/// The chunks that can be read.
#[derive(Debug)]
pub(crate) struct Chunks<C> {
    pub(crate) closed: BTreeMap<ChunkId, Arc<ClosedChunk<C>>>,
    pub(crate) open: Option<Arc<ChunkFile>>,
}

impl<C> Chunks<C> {
    /// The chunk that `offset` may be in, and where that ends, if it has ended.
    fn find(&self, offset: u64) -> Option<(&Arc<ChunkFile>, Option<u64>)> {
        if let Some(open) = &self.open
            && offset >= open.id().0
        {
            return Some((open, None));
        }
        let (_, chunk) = self.closed.range(..=ChunkId(offset)).next_back()?;
        (offset < chunk.end).then_some((&chunk.file, Some(chunk.end)))
    }

    /// The oldest closed chunk, unless it is the log's last.
    pub(crate) fn drainable(&self) -> Option<Arc<ClosedChunk<C>>> {
        let has_successor = self.open.is_some() || self.closed.len() > 1;
        self.closed.values().next().filter(|_| has_successor).cloned()
    }

    /// The id of the oldest chunk.
    pub(crate) fn first(&self) -> Option<ChunkId> {
        let closed = self.closed.keys().next().copied();
        closed.or_else(|| self.open.as_ref().map(|open| open.id()))
    }
}

impl<C> LogView<C> {
    pub(crate) fn new(
        positions: Arc<Positions>,
        tail: Arc<Tail>,
        files: OpenFiles,
        chunks: Chunks<C>,
        read_buffer_size: usize,
        housekeeper: Weak<Housekeeper>,
    ) -> Self {
        let (files, closed) = (Arc::new(files), Arc::default());
        let (chunks, last_reads) = (RwLock::new(chunks), LastReads::new());
        let pinned = None;
        LogView { positions, tail, files, chunks, last_reads, read_buffer_size, closed, housekeeper, pinned }
    }

    /// The log as it is now. No chunk of it is removed as long as the view is there and the log is open.
    fn pin(&self) -> Self {
        let chunks = self.chunks.read();
        // Under the lock: no chunk is drained before it is pinned, and nothing is appended to a chunk that is
        // unknown here.
        let end = self.end();
        let from = chunks.first().unwrap_or(ChunkId(end));
        let pin = self.housekeeper.upgrade().map(|housekeeper| housekeeper.pin(from));
        let chunks = Chunks { closed: chunks.closed.clone(), open: chunks.open.clone() };
        LogView {
            positions: self.positions.clone(),
            tail: self.tail.clone(),
            files: self.files.clone(),
            chunks: RwLock::new(chunks),
            // What it kept would outlive a close, which can't empty it.
            last_reads: LastReads::never(),
            read_buffer_size: self.read_buffer_size,
            closed: self.closed.clone(),
            housekeeper: self.housekeeper.clone(),
            pinned: Some((end, pin)),
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.last_reads.forget_below(u64::MAX);
        self.files.close();
        let chunks = self.chunks.read();
        let closed = chunks.closed.values().map(|chunk| &chunk.file);
        for file in closed.chain(&chunks.open) {
            file.end();
        }
        drop(chunks);
        // Only now, when no read finds a chunk gone without the reason.
        if let Some(housekeeper) = self.housekeeper.upgrade() {
            housekeeper.end_pins();
        }
    }

    /// Takes the oldest closed chunk out of the log: a read that starts later doesn't find it.
    pub(crate) fn drain(&self, chunk: &ClosedChunk<C>) {
        self.chunks.write().closed.remove(&chunk.file.id());
        self.last_reads.forget_below(chunk.end);
    }

    /// The global offset of the oldest byte that can be read.
    pub(crate) fn start(&self) -> u64 {
        self.chunks.read().first().map_or_else(|| self.end(), |id| id.0)
    }

    /// The global offset after the last record that can be read.
    pub(crate) fn end(&self) -> u64 {
        self.pinned.as_ref().map_or_else(|| self.positions.appended(), |(end, _)| *end)
    }

    pub(crate) fn read_record<W: WalTypes<Checkpoint = C>>(&self, segment: Segment) -> Result<WalRecord<W>> {
        // The codec is the user's, so no lock is held while it runs.
        if segment.size > HEADER_FIRST {
            let (frame, found) = self.read_large(segment)?;
            let memory = Memory::from(frame);
            return self.decode(segment.offset, memory.bytes(), memory.owner(), found);
        }
        self.check()?;
        let mut buffer = Buffer::take(segment.size as usize);
        let frame = &mut buffer.0[..segment.size as usize];
        let found = match self.read_again(segment, frame) {
            Some(found) => found,
            None => self.locate(segment).and_then(|source| self.read_from(source, segment.offset, frame))?,
        };
        self.decode(segment.offset, frame, Owner::none(), found)
    }

    #[inline]
    fn decode<W: WalTypes<Checkpoint = C>>(
        &self,
        offset: u64,
        frame: &[u8],
        owner: Owner<'_>,
        found: Found,
    ) -> Result<WalRecord<W>> {
        // Not by `map_err`, which would move the record once more.
        match WalRecord::decode(&found.frame(offset, frame, owner)) {
            Ok(record) => Ok(record),
            Err(e) => {
                let id = self.chunks.read().find(offset).map(|(chunk, _)| chunk.id());
                let drained = || self.not_in_log(offset, frame.len() as u64);
                Err(id.map_or_else(drained, |id| self.undecodable(id, offset, e)))
            }
        }
    }

    /// Reads the whole frame of a record, and checks it.
    #[cfg(feature = "blob")]
    pub(crate) fn read_frame(&self, segment: Segment) -> Result<StoredFrame> {
        let (bytes, found) = self.read_large(segment)?;
        Ok(StoredFrame {
            kind: found.kind,
            flags: found.flags,
            payload_end: FRAME_HEADER_LEN + found.payload_len as usize,
            bytes,
        })
    }

    /// Reads a frame of any size into memory of its own.
    fn read_large(&self, segment: Segment) -> Result<(Vec<u8>, Found)> {
        self.check()?;
        let source = self.locate(segment)?;
        if segment.size > HEADER_FIRST {
            // The segment may be no frame at all: take memory for it only once a header says so.
            let mut header = [0; FRAME_HEADER_LEN];
            self.read_exact(&source, segment.offset, &mut header)?;
            if FrameHeader::parse(&header).frame_size() != segment.size {
                return Err(self.no_frame(source.chunk(), segment.offset, segment.size));
            }
        }
        let mut frame = vec![0; segment.size as usize];
        let found = self.read_from(source, segment.offset, &mut frame)?;
        Ok((frame, found))
    }

    /// Reads a frame from the file that this thread has read last. `None` if the frame is not in it, or not right:
    /// then the long way finds the reason.
    #[inline]
    fn read_again(&self, segment: Segment, frame: &mut [u8]) -> Option<Found> {
        let Segment { offset, size, .. } = segment;
        let held = self.last_reads.take(offset, offset.checked_add(size)?)?;
        let read = read_full_at(&*held.file, frame, offset - held.chunk.id().0);
        let whole = read.is_ok_and(|n| n == frame.len());
        let found = whole.then(|| Found::check(&held.chunk, offset, frame).ok()).flatten();
        let found = found.filter(|found| found.is_known(&held.chunk));
        self.last_reads.put(offset, held);
        found
    }

    /// Reads the frame that fills `frame`, and checks it.
    fn read_from(&self, source: Source, offset: u64, frame: &mut [u8]) -> Result<Found> {
        self.read_exact(&source, offset, frame)?;
        let chunk = source.chunk();
        let found = Found::check(chunk, offset, frame);
        let found = found.map_err(|damage| match damage {
            Damage::FrameHeader => self.no_frame(chunk, offset, frame.len() as u64),
            damage => self.corrupt(chunk.id(), offset, damage),
        })?;
        if !found.is_known(chunk) {
            let (path, what) = (self.files.path(chunk.id()), "frame flags");
            let (found, known) = (found.flags.into(), chunk.header().record_flags().into());
            return Err(Error::Unsupported { path, offset, what, found, known });
        }
        if let Source::File(held) = source {
            self.last_reads.put(offset, Box::new(held));
        }
        Ok(found)
    }

    /// Where to read the frame at `segment`, if there may be one.
    fn locate(&self, segment: Segment) -> Result<Source> {
        let Segment { offset, size, .. } = segment;
        let end = offset.checked_add(size);
        let whole = size >= FRAME_HEADER_LEN as u64 && size.is_multiple_of(ALIGN);
        let source = if whole { end.and_then(|end| self.source(offset, end)) } else { None };
        source.ok_or_else(|| self.not_in_log(offset, size))
    }

    /// Where the bytes from `offset` to `end` are; `None` if the log has no such frames.
    fn source(&self, offset: u64, end: u64) -> Option<Source> {
        let (chunk, closed_at, chunk_end) = {
            let chunks = self.chunks.read();
            let (chunk, closed_at) = chunks.find(offset)?;
            // Under the lock: after a rotation `appended` is not the end of this chunk.
            (chunk.clone(), closed_at, closed_at.unwrap_or_else(|| self.end()))
        };
        let start = chunk.id().0;
        if offset < start + HEADER_LEN || chunk_end < end {
            return None;
        }
        // Written bytes are in the file, even if memory still has them.
        let written = chunk_end.min(self.positions.written());
        let map = closed_at.filter(|closed_at| *closed_at == written);
        let map = map.and_then(|closed_at| self.files.map(&chunk, closed_at - start));
        let file = map.or_else(|| if end <= written { chunk.opened() } else { None });
        Some(match file {
            Some(file) => Source::File(HeldFile { chunk, end: written, file }),
            None => Source::MemoryOrFile(chunk),
        })
    }

    /// Fills `buf` from the source's bytes at a global offset.
    fn read_exact(&self, source: &Source, offset: u64, buf: &mut [u8]) -> Result<()> {
        let size = buf.len();
        let n = match source {
            Source::File(held) => self.read_file(&*held.file, held.chunk.id(), offset, buf)?,
            Source::MemoryOrFile(chunk) => self.read(chunk, offset, buf)?,
        };
        if n == size { Ok(()) } else { Err(self.corrupt(source.chunk().id(), offset, Damage::FrameCutShort)) }
    }

    fn read_file(&self, file: &dyn StorageFile, id: ChunkId, offset: u64, buf: &mut [u8]) -> Result<usize> {
        read_full_at(file, buf, offset - id.0).map_err(|e| Error::io("read", self.files.path(id), e))
    }

    /// Reads the chunk's bytes at a global offset, as far as they go.
    fn read(&self, chunk: &Arc<ChunkFile>, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let memory_starts = match self.tail.read_at(buf, offset) {
            Ok(n) => return Ok(n),
            Err(start) => start,
        };
        let size = buf.len() as u64;
        let gone = || self.check().err().unwrap_or_else(|| self.not_in_log(offset, size));
        // Once the log is closed, another writer may have removed the file.
        let file = self.files.get(chunk).map_err(|e| self.check().err().unwrap_or(e))?.ok_or_else(gone)?;
        let in_file = usize::try_from(memory_starts - offset).unwrap_or(usize::MAX).min(buf.len());
        let n = self.read_file(&*file, chunk.id(), offset, &mut buf[..in_file])?;
        if n < in_file || n == buf.len() {
            return Ok(n);
        }
        // The rest was in memory a moment ago; by now it may be in the file as well.
        Ok(n + self.read(chunk, offset + n as u64, &mut buf[n..])?)
    }

    /// [`Error::Closed`] once the log is closed.
    #[inline]
    fn check(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn not_in_log(&self, offset: u64, size: u64) -> Error {
        Error::NotInLog { offset, size, start: self.start(), end: self.end() }
    }

    /// Why no frame of this size begins there: the segment is wrong if a sound record holds its first byte and
    /// all records before that are sound, too; else the bytes are damaged. Reads the chunk up to there.
    #[cold]
    fn no_frame(&self, chunk: &Arc<ChunkFile>, offset: u64, size: u64) -> Error {
        let end = {
            let chunks = self.chunks.read();
            let found = chunks.find(offset).filter(|(found, _)| found.id() == chunk.id());
            found.map(|(_, closed_at)| closed_at.unwrap_or_else(|| self.end()))
        };
        let Some(end) = end else { return self.not_in_log(offset, size) };
        let bytes = || ChunkBytes { view: self, chunk: chunk.clone(), end };
        if is_void_at(bytes(), chunk.header(), offset).is_ok_and(|is_void| is_void) {
            return Error::Voided { path: self.files.path(chunk.id()), offset };
        }
        match record_holding(Scan::new(bytes(), chunk.header(), true, self.read_buffer_size), offset) {
            Some(found) if (found.offset, found.size) != (offset, size) => {
                Error::NoSuchRecord { offset, size, found }
            }
            _ => self.corrupt(chunk.id(), offset, Damage::FrameHeader),
        }
    }

    fn corrupt(&self, chunk_id: ChunkId, offset: u64, damage: Damage) -> Error {
        if self.closed.load(Ordering::Acquire) {
            // Another writer may have used the file again.
            return Error::Closed;
        }
        let path = self.files.path(chunk_id);
        Error::Corrupt { path, chunk_id, offset, damage, proof: Proof::Seen }
    }

    fn undecodable(&self, chunk_id: ChunkId, offset: u64, why: Undecodable) -> Error {
        Error::undecodable(self.files.path(chunk_id), chunk_id, offset, why)
    }
}
