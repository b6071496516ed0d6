//! The open chunk: encodes records into the tail and counts its records and bytes.
//!
//! ```text
//! [16 bytes, header][codec's bytes][zeros to 8]     encoded in place, at the end of the tail
//!  └── filled in last: length, check, CRC ──┘
//! ```
//!
//! - A frame is staged first and counts once committed; a codec or state machine that fails or
//!   panics half-way leaves no byte.
//! - The file has room for every record accepted and for the seal after it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{ChunkFile, TailWriter};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::format::{
    DataCrc, FLAG_MORE, FRAME_HEADER_LEN, Kind, SEAL_LEN, Salt, Seal, Transform, finish_frame, unsynced,
};
use crate::position::{ALIGN, ChunkId, Segment, ceil8};
use crate::record::{ToPayload, WalRecord, WalTypes, misstated};
use crate::storage::StorageFile;

/// Allocations grow by whole steps of this size, so that a run of records past the end does not ask
/// for each.
const ALLOCATE_STEP: u64 = 64 * 1024;

/// As many as a frame is padded with, and one more.
const ZEROS: [u8; ALIGN as usize] = [0; ALIGN as usize];

/// Offsets this near to the end of `u64` are not used, so that sums with a header, a seal or a block
/// never wrap.
const OFFSET_MAX: u64 = u64::MAX - (1 << 20);

/// The chunk that takes records.
#[derive(Debug)]
pub(crate) struct OpenChunk {
    pub(crate) file: Arc<ChunkFile>,
    /// The one handle that serves the chunk until its seal.
    pub(crate) handle: Arc<dyn StorageFile>,
    salt: Salt,
    /// Compresses payloads, where that is wanted and the chunk's header allows it.
    transform: Option<Transform>,
    /// Global offset of the next frame.
    next: u64,
    records: u64,
    data_crc: DataCrc,
    /// The frame after the last record, not accepted yet. Kept here because passing it back and forth would slow an
    /// append noticeably.
    staged: Staged,
    /// The frames of a batch after the last record, not accepted yet.
    staged_batch: Vec<Staged>,
    /// Bytes of the file that are known to be allocated.
    allocated: u64,
    /// What is allocated at first.
    file_size: u64,
    was_half_full: bool,
    path: PathBuf,
}

/// A frame in the buffer that is not accepted yet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Staged {
    pub(crate) segment: Segment,
    pub(crate) crc: u32,
}

/// The facts about a chunk that is continued, or has just started.
#[derive(Debug)]
pub(crate) struct OpenChunkState {
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) data_crc: DataCrc,
    pub(crate) allocated: u64,
    pub(crate) transform: Option<Transform>,
}

impl OpenChunk {
    pub(crate) fn new(
        file: Arc<ChunkFile>,
        handle: Arc<dyn StorageFile>,
        state: OpenChunkState,
        config: &Config,
    ) -> Self {
        let OpenChunkState { end, records, data_crc, allocated, transform } = state;
        OpenChunk {
            salt: file.salt().clone(),
            path: config.chunk_path(file.id()),
            file_size: config.chunk_file_size(),
            file,
            handle,
            transform,
            next: end,
            records,
            data_crc,
            staged: Staged::default(),
            staged_batch: Vec::new(),
            allocated,
            was_half_full: false,
        }
    }

    pub(crate) fn id(&self) -> ChunkId {
        self.file.id()
    }

    /// The global offset after the last record.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.next
    }

    /// Bytes from the chunk's beginning to its last record's end.
    #[inline]
    pub(crate) fn size(&self) -> u64 {
        self.next - self.id().0
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Whether the chunk is half full and was not before: it is time to have the next chunk's file made.
    #[inline]
    pub(crate) fn becomes_half_full(&mut self, config: &Config) -> bool {
        if self.was_half_full {
            return false;
        }
        self.was_half_full =
            self.size() >= config.chunk_max_size / 2 || self.records >= config.chunk_max_records / 2;
        self.was_half_full
    }

    /// What the seal will say if the chunk ends here.
    pub(crate) fn seal(&self) -> Seal {
        Seal { records: self.records, data_len: self.size(), data_crc: self.data_crc.value() }
    }

    /// Encodes a record after the last one. `synced` is the offset known to be durable.
    #[inline]
    pub(crate) fn stage(
        &mut self,
        record: &impl ToPayload,
        tail: &mut TailWriter,
        synced: u64,
        payload_max: u64,
    ) -> Result<()> {
        let Self { next, salt, transform, .. } = self;
        let encoder = FrameEncoder { tail, salt, payload_max, transform: transform.as_mut() };
        self.staged = encoder.stage(0, record, *next, synced, 0)?;
        self.reserve(self.staged.segment.size)
    }

    /// Encodes the records of a batch after the last record; there is at least one, and their frames may take
    /// `batch_max` bytes.
    pub(crate) fn stage_batch<W: WalTypes>(
        &mut self,
        records: &[WalRecord<W>],
        tail: &mut TailWriter,
        synced: u64,
        payload_max: u64,
        batch_max: u64,
    ) -> Result<()> {
        let (len, mut size) = (records.len(), 0);
        self.staged_batch.clear();
        for (index, record) in records.iter().enumerate() {
            let Self { next, salt, transform, .. } = self;
            let encoder = FrameEncoder { tail, salt, payload_max, transform: transform.as_mut() };
            let flags = if index + 1 < len { FLAG_MORE } else { 0 };
            let staged = encoder.stage(size as usize, record, *next + size, synced, flags);
            let staged = staged.map_err(|error| in_batch(index, error))?;
            size += staged.segment.size;
            if size > batch_max {
                return Err(Error::BatchTooLarge { index, len, max: batch_max });
            }
            self.staged_batch.push(staged);
        }
        self.reserve(size)
    }

    /// The segments of the staged batch.
    pub(crate) fn staged_batch(&self) -> Vec<Segment> {
        self.staged_batch.iter().map(|staged| staged.segment).collect()
    }

    /// Accepts the staged batch, which has at least one record; returns the segment of its last record.
    pub(crate) fn commit_batch(&mut self, tail: &mut TailWriter) -> Segment {
        let begin = self.next;
        let mut last = Segment::default();
        for Staged { segment, crc } in self.staged_batch.drain(..) {
            self.records += 1;
            self.data_crc.push(crc);
            self.next += segment.size;
            last = segment;
        }
        tail.publish((self.next - begin) as usize);
        last
    }

    /// The segment of the staged frame.
    pub(crate) fn staged(&self) -> Segment {
        self.staged.segment
    }

    /// Accepts the staged frame; returns its segment.
    #[inline]
    pub(crate) fn commit(&mut self, tail: &mut TailWriter) -> Segment {
        let Staged { segment, crc } = self.staged;
        tail.publish(segment.size as usize);
        self.next += segment.size;
        self.records += 1;
        self.data_crc.push(crc);
        segment
    }

    /// Sees to it that the file has space for `size` more bytes and the seal.
    #[inline]
    pub(crate) fn reserve(&mut self, size: u64) -> Result<()> {
        let needed = self.size() + size + SEAL_LEN;
        if needed <= self.allocated { Ok(()) } else { self.extend(needed) }
    }

    #[cold]
    fn extend(&mut self, needed: u64) -> Result<()> {
        let len =
            if needed <= self.file_size { self.file_size } else { needed.next_multiple_of(ALLOCATE_STEP) };
        self.allocated = match self.allocate(len) {
            // On a disk that is nearly full the record itself may still fit where the step does not.
            Err(Error::StorageFull { .. }) if needed < len => self.allocate(needed)?,
            allocated => allocated?,
        };
        Ok(())
    }

    fn allocate(&self, len: u64) -> Result<u64> {
        let allocated = self.handle.allocate(len);
        allocated.map(|()| len).map_err(|e| Error::no_space("allocate", &self.path, len, e))
    }
}

/// What a frame is made with.
pub(crate) struct FrameEncoder<'a> {
    pub(crate) tail: &'a mut TailWriter,
    pub(crate) salt: &'a Salt,
    pub(crate) payload_max: u64,
    pub(crate) transform: Option<&'a mut Transform>,
}

impl FrameEncoder<'_> {
    /// Stages the frame of a record for `offset`, `begin` bytes after the start of the staged bytes. After an error
    /// or a panic of the codec nothing has to be taken back, because staged bytes don't count. `synced` is the
    /// offset known to be durable, `flags` are those of the frame beside its transformation's.
    #[inline(always)]
    pub(crate) fn stage(
        self,
        begin: usize,
        record: &impl ToPayload,
        offset: u64,
        synced: u64,
        mut flags: u8,
    ) -> Result<Staged> {
        let FrameEncoder { tail, salt, payload_max, transform } = self;
        let payload_begin = begin + FRAME_HEADER_LEN;
        tail.stage(begin, payload_begin);
        let mut len = stage_payload(tail, payload_begin, record, payload_max)?;
        if cfg!(debug_assertions) {
            // A record that can't be decoded would end the log at the next open.
            let payload_end = payload_begin + len as usize;
            let payload = &tail.stage(payload_end, payload_end)[payload_begin..];
            record.check_payload(payload).map_err(|e| Error::Encode { source: Arc::new(e) })?;
        }
        if let Some(transform) = transform {
            let payload_end = payload_begin + len as usize;
            let payload = &mut tail.stage(payload_end, payload_end)[payload_begin..];
            if let Some(stored) = transform.apply(payload) {
                // The payload did not become longer, so it still fits.
                (len, flags) = (stored.len, flags | stored.flags);
            }
        }
        let size = ceil8(u64::from(len)).map(|padded| FRAME_HEADER_LEN as u64 + padded);
        let end = size.and_then(|size| offset.checked_add(size)).filter(|end| *end <= OFFSET_MAX);
        let Some(end) = end else { return Err(Error::OffsetsUsedUp { end: OFFSET_MAX }) };
        let size = end - offset;
        let payload_end = payload_begin + len as usize;
        // A whole word of zeros is one store, where it is not known how many of them are wanted.
        let frame = &mut tail.stage(payload_end, payload_end + ZEROS.len())[begin..];
        frame[payload_end - begin..].copy_from_slice(&ZEROS);
        let frame = &mut frame[..size as usize];
        let crc = finish_frame(frame, len, record.kind(), flags, offset, unsynced(offset, synced), salt);
        Ok(Staged { segment: Segment::new(offset, size), crc })
    }
}

/// Lets the codec write after the first `begin` staged bytes, and checks the length that it returns.
#[inline(always)]
fn stage_payload(tail: &mut TailWriter, begin: usize, record: &impl ToPayload, max: u64) -> Result<u32> {
    let left = usize::try_from(max).unwrap_or(usize::MAX);
    let mut writer = PayloadWriter { tail, staged: begin, left, exceeded: false };
    let encoded = record.encode_payload(&mut writer);
    let PayloadWriter { staged, exceeded, .. } = writer;
    if exceeded {
        return Err(too_large(record, max));
    }
    let claimed = encoded.map_err(|e| Error::Encode { source: Arc::new(e) })?;
    let written = staged - begin;
    if claimed != written {
        return Err(misstated(claimed, written));
    }
    u32::try_from(written).map_err(|_| too_large(record, max))
}

/// An error about one record of a batch names the record; others concern the log.
#[cold]
fn in_batch(index: usize, error: Error) -> Error {
    match error {
        Error::Encode { .. } | Error::RecordTooLarge { .. } | Error::CheckpointTooLarge { .. } => {
            Error::InBatch { index, source: Box::new(error) }
        }
        error => error,
    }
}

#[cold]
fn too_large(record: &impl ToPayload, max: u64) -> Error {
    match record.kind() {
        // The appended record may be small: the checkpoint that the next chunk starts with is too large.
        Kind::Checkpoint => Error::CheckpointTooLarge { max },
        _ => Error::RecordTooLarge { max },
    }
}

/// Stages the codec's bytes up to a limit, so that one record can't fill the memory.
struct PayloadWriter<'a> {
    tail: &'a mut TailWriter,
    staged: usize,
    left: usize,
    exceeded: bool,
}

impl io::Write for PayloadWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            self.exceeded = true;
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the record passes max_record_size"));
        }
        let end = self.staged + bytes.len();
        self.tail.stage(self.staged, end)[self.staged..].copy_from_slice(bytes);
        self.left -= bytes.len();
        self.staged = end;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
