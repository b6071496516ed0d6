//! Concurrent reads: a record is found in memory while it waits to be written, then in its file.
//!
//! ```text
//! WalReader ─┐
//! WalReader ─┼─► LogView ─► chunks: which one? ─► Tail: still in memory? ─► OpenFiles: its file
//! ChunkedWal ┘
//! WalReader ─► Directory: a log that somebody else may have open, read by its names and bytes alone
//! ```
//!
//! - Memory is asked first: what it has let go of is in the file.
//! - Every read is checked by the frame's CRC, with the chunk's salt and the frame's offset in it.

mod directory;
mod follow;
mod handle;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;

use crate::chunk::ChunkFile;
use crate::chunk::ClosedChunk;
use crate::chunk::OpenFiles;
use crate::chunk::Tail;
use crate::error::Damage;
use crate::error::Error;
use crate::error::Proof;
use crate::error::Result;
use crate::flush::Inside;
use crate::flush::Positions;
use crate::format::FRAME_HEADER_LEN;
use crate::format::FrameHeader;
use crate::format::HEADER_LEN;
use crate::format::Kind;
use crate::format::ReadAt;
use crate::format::Scan;
use crate::format::ScanEnd;
use crate::format::verify_frame;
use crate::position::ALIGN;
use crate::position::ChunkId;
use crate::position::Segment;
use crate::record::WalRecord;
use crate::record::WalTypes;
use crate::storage::read_full_at;

pub use directory::ReadUpTo;
pub use follow::Follow;
pub use handle::ReadOnlyOptions;
pub use handle::Records;
pub use handle::WalReader;

/// A record larger than this has its header read before memory is taken for the whole.
const HEADER_FIRST: u64 = 64 * 1024;

/// What readers share with the log: which chunks there are, and where their bytes stand.
#[derive(Debug)]
pub(crate) struct LogView<C> {
    pub(crate) positions: Arc<Positions>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) files: OpenFiles,
    pub(crate) chunks: RwLock<Chunks<C>>,
    pub(crate) read_buffer_size: usize,
    /// The writer is gone; the directory may have another one, which may use files again.
    closed: AtomicBool,
}

/// A record's frame as it is stored, whole and right.
#[derive(Debug)]
pub(crate) struct StoredFrame {
    /// An action or a checkpoint.
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    payload_end: usize,
    bytes: Vec<u8>,
}

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

/// The chunks that can be read.
#[derive(Debug)]
pub(crate) struct Chunks<C> {
    pub(crate) closed: BTreeMap<ChunkId, Arc<ClosedChunk<C>>>,
    pub(crate) open: Option<Arc<ChunkFile>>,
}

impl<C> Chunks<C> {
    /// The chunk that `offset` may be in, and where that ends, if it has ended.
    fn find(&self, offset: u64) -> Option<(Arc<ChunkFile>, Option<u64>)> {
        if let Some(open) = &self.open
            && offset >= open.id().0
        {
            return Some((open.clone(), None));
        }
        let (_, chunk) = self.closed.range(..=ChunkId(offset)).next_back()?;
        (offset < chunk.end).then(|| (chunk.file.clone(), Some(chunk.end)))
    }

    /// The oldest closed chunk, unless nothing comes behind it.
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
    ) -> Self {
        let closed = AtomicBool::new(false);
        LogView { positions, tail, files, chunks: RwLock::new(chunks), read_buffer_size, closed }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The global offset of the oldest byte that can be read.
    pub(crate) fn start(&self) -> u64 {
        self.chunks.read().first().map_or_else(|| self.positions.appended(), |id| id.0)
    }

    pub(crate) fn read_record<W: WalTypes<Checkpoint = C>>(&self, segment: Segment) -> Result<WalRecord<W>> {
        let (chunk, frame) = self.read_frame(segment, "read_record")?;
        let record = WalRecord::decode_payload(frame.kind, frame.flags, frame.payload());
        record.map_err(|e| self.undecodable(&chunk, segment.offset, e))
    }

    /// Reads the whole frame of a record, and checks it.
    pub(crate) fn read_frame(
        &self,
        segment: Segment,
        method: &'static str,
    ) -> Result<(Arc<ChunkFile>, StoredFrame)> {
        self.check(method)?;
        let not_in_log = || self.not_in_log(segment.offset, segment.size);
        let end = segment.offset.checked_add(segment.size).filter(|end| *end <= self.positions.appended());
        let end = end.ok_or_else(not_in_log)?;
        let found = self.chunks.read().find(segment.offset);
        let (chunk, chunk_end) = found.ok_or_else(not_in_log)?;
        let in_frames = segment.offset >= chunk.id().0 + HEADER_LEN && chunk_end.is_none_or(|e| end <= e);
        let whole = segment.size >= FRAME_HEADER_LEN as u64 && segment.size.is_multiple_of(ALIGN);
        if !in_frames || !whole {
            return Err(not_in_log());
        }
        if segment.size > HEADER_FIRST {
            // What is asked for may be no frame at all: no memory for it before its header says so.
            let mut header = [0; FRAME_HEADER_LEN];
            self.read_exact(&chunk, segment.offset, &mut header)?;
            if FrameHeader::parse(&header).frame_size() != segment.size {
                return Err(self.corrupt(&chunk, segment.offset, Damage::FrameHeader));
            }
        }
        let mut bytes = vec![0; segment.size as usize];
        self.read_exact(&chunk, segment.offset, &mut bytes)?;
        let frame = self.check_frame(&chunk, segment.offset, bytes)?;
        Ok((chunk, frame))
    }

    fn check_frame(&self, chunk: &ChunkFile, offset: u64, bytes: Vec<u8>) -> Result<StoredFrame> {
        let mut header = [0; FRAME_HEADER_LEN];
        header.copy_from_slice(&bytes[..FRAME_HEADER_LEN]);
        let header = FrameHeader::parse(&header);
        let salt = chunk.salt();
        let whole = header.frame_size() == bytes.len() as u64 && header.check_ok(&salt, offset);
        let kind = Kind::from_u8(header.kind).filter(|kind| matches!(kind, Kind::Action | Kind::Checkpoint));
        let Some(kind) = kind.filter(|_| whole) else {
            return Err(self.corrupt(chunk, offset, Damage::FrameHeader));
        };
        if !verify_frame(&bytes, offset, &salt) {
            return Err(self.corrupt(chunk, offset, Damage::FrameChecksum));
        }
        let (flags, known) = (header.flags, chunk.header().record_flags());
        if flags & !known != 0 {
            let path = self.files.path(chunk.id());
            let (found, known) = (flags.into(), known.into());
            return Err(Error::Unsupported { path, offset, what: "frame flags", found, known });
        }
        Ok(StoredFrame { kind, flags, payload_end: FRAME_HEADER_LEN + header.len as usize, bytes })
    }

    /// Fills `buf` from the chunk's bytes at a global offset.
    fn read_exact(&self, chunk: &Arc<ChunkFile>, offset: u64, buf: &mut [u8]) -> Result<()> {
        let size = buf.len();
        if self.read(chunk, offset, buf)? == size {
            return Ok(());
        }
        Err(self.corrupt(chunk, offset, Damage::FrameCutShort))
    }

    /// Reads the chunk's bytes at a global offset, as far as they go.
    fn read(&self, chunk: &Arc<ChunkFile>, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let memory_starts = match self.tail.read_at(buf, offset) {
            Ok(n) => return Ok(n),
            Err(start) => start,
        };
        let gone = || self.not_in_log(offset, buf.len() as u64);
        let file = self.files.get(chunk)?.ok_or_else(gone)?;
        let in_file = usize::try_from(memory_starts - offset).unwrap_or(usize::MAX).min(buf.len());
        let n = read_full_at(&*file, &mut buf[..in_file], offset - chunk.id().0)
            .map_err(|e| Error::io("read", self.files.path(chunk.id()), e))?;
        if n < in_file || n == buf.len() {
            return Ok(n);
        }
        // The rest was in memory a moment ago; by now it may be in the file as well.
        Ok(n + self.read(chunk, offset + n as u64, &mut buf[n..])?)
    }

    /// An error if reading makes no sense any more, or would wait for this very thread.
    fn check(&self, method: &'static str) -> Result<()> {
        Inside::refuse_read(self.positions.identity(), method)?;
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn not_in_log(&self, offset: u64, size: u64) -> Error {
        Error::NotInLog { offset, size, start: self.start(), end: self.positions.appended() }
    }

    fn corrupt(&self, chunk: &ChunkFile, offset: u64, damage: Damage) -> Error {
        if self.closed.load(Ordering::Acquire) {
            // Whoever has the directory now may have used the file again.
            return Error::Closed;
        }
        let path = self.files.path(chunk.id());
        Error::Corrupt { path, chunk_id: chunk.id(), offset, damage, proof: Proof::Seen }
    }

    fn undecodable(&self, chunk: &ChunkFile, offset: u64, e: io::Error) -> Error {
        Error::decode(self.files.path(chunk.id()), chunk.id(), offset, e)
    }
}

/// The records of an open log, oldest first.
struct LiveRecords<W: WalTypes> {
    view: Arc<LogView<W::Checkpoint>>,
    /// Chunks to come, each with its end.
    chunks: VecDeque<(Arc<ChunkFile>, u64)>,
    /// Where the first of them is begun, unless at its beginning.
    from: u64,
    current: Option<Scan<ChunkBytes<W::Checkpoint>>>,
}

impl<W: WalTypes> LiveRecords<W> {
    /// The records from the global offset `from` on, where one begins.
    fn new(view: Arc<LogView<W::Checkpoint>>, from: u64) -> Self {
        let chunks = {
            let chunks = view.chunks.read();
            // Under the lock, so that nothing is appended to a chunk that is unknown here.
            let appended = view.positions.appended();
            let closed = chunks.closed.values().map(|chunk| (chunk.file.clone(), chunk.end));
            let open = chunks.open.iter().map(|open| (open.clone(), appended));
            // A chunk that is just being begun has nothing appended yet.
            let all = closed.chain(open.filter(|(open, end)| *end > open.id().0));
            all.filter(|(_, end)| *end > from).collect()
        };
        LiveRecords { view, chunks, from, current: None }
    }

    fn step(&mut self) -> Result<Option<(ChunkId, Segment, WalRecord<W>)>> {
        loop {
            if self.current.is_none() && self.chunks.is_empty() {
                return Ok(None);
            }
            self.view.check("records")?;
            let Some(scan) = &mut self.current else {
                let Some((chunk, end)) = self.chunks.pop_front() else { return Ok(None) };
                let header = *chunk.header();
                let bytes = ChunkBytes { view: self.view.clone(), chunk, end };
                let scan = Scan::new(bytes, &header, false, self.view.read_buffer_size);
                self.current = Some(scan.beginning_at(self.from.saturating_sub(header.chunk_id)));
                continue;
            };
            let chunk = scan.source().chunk.clone();
            let end = scan.source().end;
            let path = || self.view.files.path(chunk.id());
            if let Some(frame) = scan.next().map_err(|e| Error::from_read(path(), e))? {
                let record = WalRecord::decode_payload(frame.kind, frame.flags, frame.payload);
                let record = record.map_err(|e| self.view.undecodable(&chunk, frame.offset, e))?;
                return Ok(Some((chunk.id(), Segment::new(frame.offset, frame.size), record)));
            }
            match scan.end() {
                Some(ScanEnd::Clean { data_end, .. } | ScanEnd::Torn { data_end, .. })
                    if *data_end == end => {}
                Some(ScanEnd::Corrupt { at, damage, .. }) => {
                    return Err(self.view.corrupt(&chunk, *at, *damage));
                }
                _ => {
                    let at = scan.last_segment().map_or(chunk.id().0 + HEADER_LEN, |(o, size)| o + size);
                    return Err(self.view.corrupt(&chunk, at, Damage::FrameHeader));
                }
            }
            self.current = None;
        }
    }
}

/// A chunk's bytes up to a global offset, from memory or file, for the scan.
#[derive(Debug)]
struct ChunkBytes<C> {
    view: Arc<LogView<C>>,
    chunk: Arc<ChunkFile>,
    end: u64,
}

impl<C> ReadAt for ChunkBytes<C> {
    fn len(&self) -> u64 {
        self.end - self.chunk.id().0
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let left = self.len().saturating_sub(position);
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        Ok(self.view.read(&self.chunk, self.chunk.id().0 + position, &mut buf[..n])?)
    }
}
