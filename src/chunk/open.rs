//! The open chunk: encodes records into the tail and counts what it holds.
//!
//! ```text
//! [16 bytes, header][codec's bytes][zeros to 8]     encoded in place, at the end of the open buffer
//!  └── filled in last: length, check, CRC ──┘
//! ```
//!
//! - A frame is staged first and counts once committed; a codec or state machine that fails or
//!   panics half-way leaves no byte behind.
//! - The file has room for every record accepted and for the seal behind it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::ChunkFile;
use super::Tail;
use crate::config::Config;
use crate::error::Error;
use crate::error::Result;
use crate::format::Compressor;
use crate::format::DataCrc;
use crate::format::FLAG_LZ4;
use crate::format::FRAME_HEADER_LEN;
use crate::format::SEAL_LEN;
use crate::format::Salt;
use crate::format::Seal;
use crate::format::finish_frame;
use crate::format::unsynced;
use crate::position::ChunkId;
use crate::position::Segment;
use crate::position::ceil8;
use crate::record::WalRecord;
use crate::record::WalTypes;
use crate::storage::StorageFile;

/// Allocations grow by whole steps of this size, so that a run of records past the end does not ask
/// for each.
const ALLOCATE_STEP: u64 = 64 * 1024;

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
    compressor: Option<Compressor>,
    /// Global offset of the next frame.
    next: u64,
    records: u64,
    data_crc: DataCrc,
    /// The frame behind the last record, not accepted yet. Kept here because an append is so short
    /// that handing it back and forth would show.
    staged: Staged,
    /// Bytes of the file that are known to be allocated.
    allocated: u64,
    /// What is allocated at first.
    file_size: u64,
    path: PathBuf,
}

/// A frame that stands in the buffer and is not accepted yet.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) segment: Segment,
    pub(crate) crc: u32,
}

/// What is known of a chunk that is opened to be continued, or has just been begun.
#[derive(Debug)]
pub(crate) struct OpenChunkState {
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) data_crc: DataCrc,
    pub(crate) allocated: u64,
    pub(crate) compressor: Option<Compressor>,
}

impl OpenChunk {
    pub(crate) fn new(
        file: Arc<ChunkFile>,
        handle: Arc<dyn StorageFile>,
        state: OpenChunkState,
        config: &Config,
    ) -> Self {
        let OpenChunkState { end, records, data_crc, allocated, compressor } = state;
        OpenChunk {
            salt: file.salt(),
            path: config.chunk_path(file.id()),
            file_size: config.chunk_file_size(),
            file,
            handle,
            compressor,
            next: end,
            records,
            data_crc,
            staged: Staged::default(),
            allocated,
        }
    }

    pub(crate) fn id(&self) -> ChunkId {
        self.file.id()
    }

    /// The global offset behind the last record.
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

    /// What the seal will say if the chunk ends here.
    pub(crate) fn seal(&self) -> Seal {
        Seal { records: self.records, data_len: self.size(), data_crc: self.data_crc.value() }
    }

    /// Encodes a record behind the last one. `synced` is the offset known to be durable.
    #[inline]
    pub(crate) fn stage<W: WalTypes>(
        &mut self,
        record: &WalRecord<W>,
        tail: &Tail,
        synced: u64,
        payload_max: u64,
    ) -> Result<()> {
        let Self { staged, next, salt, compressor, .. } = self;
        tail.with_open(|buffer| -> Result<()> {
            *staged = encode_frame(buffer, record, *next, synced, salt, payload_max, compressor.as_mut())?;
            Ok(())
        })?;
        // Taken back also if the storage panics.
        let unreserved = TakeBack { tail, end: self.next };
        self.reserve(self.staged.segment.size)?;
        std::mem::forget(unreserved);
        Ok(())
    }

    /// Where the staged frame stands.
    pub(crate) fn staged(&self) -> Segment {
        self.staged.segment
    }

    /// Accepts the staged frame.
    #[inline]
    pub(crate) fn commit(&mut self) {
        self.next += self.staged.segment.size;
        self.records += 1;
        self.data_crc.push(self.staged.crc);
    }

    /// Sees to it that the file has space for `size` more bytes and the seal.
    #[inline]
    pub(crate) fn reserve(&mut self, size: u64) -> Result<()> {
        let needed = self.size() + size + SEAL_LEN;
        if needed <= self.allocated {
            return Ok(());
        }
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

/// Takes a staged frame back when dropped: it got no space, was refused, or something panicked.
#[derive(Debug)]
pub(crate) struct TakeBack<'a> {
    pub(crate) tail: &'a Tail,
    /// The global offset at which the frame begins.
    pub(crate) end: u64,
}

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        self.tail.truncate(self.end);
    }
}

/// Appends a record's frame to `buffer`: all of it, or nothing, also if the codec panics.
#[inline(always)]
pub(crate) fn encode_frame<W: WalTypes>(
    buffer: &mut Vec<u8>,
    record: &WalRecord<W>,
    offset: u64,
    synced: u64,
    salt: &Salt,
    payload_max: u64,
    compressor: Option<&mut Compressor>,
) -> Result<Staged> {
    let mut frame = PartialFrame { start: buffer.len(), buffer, whole: false };
    frame.buffer.extend_from_slice(&[0; FRAME_HEADER_LEN]);
    let mut len = encode_payload(frame.buffer, record, payload_max)?;
    let mut flags = 0;
    if let Some(compressor) = compressor {
        let payload = frame.start + FRAME_HEADER_LEN;
        if compressor.compress(frame.buffer, payload) {
            // It became shorter, so it still fits.
            len = (frame.buffer.len() - payload) as u32;
            flags = FLAG_LZ4;
        }
    }
    let size = ceil8(u64::from(len)).map(|payload| payload + FRAME_HEADER_LEN as u64);
    let end = size.and_then(|size| offset.checked_add(size)).filter(|end| *end <= OFFSET_MAX);
    let Some(end) = end else { return Err(Error::OffsetsUsedUp { end: OFFSET_MAX }) };
    let size = end - offset;
    frame.buffer.resize(frame.start + size as usize, 0);
    let bytes = &mut frame.buffer[frame.start..];
    let crc = finish_frame(bytes, len, record.kind(), flags, offset, unsynced(offset, synced), salt);
    frame.whole = true;
    Ok(Staged { segment: Segment::new(offset, size), crc })
}

/// Lets the codec write and checks what it says of it.
#[inline]
fn encode_payload<W: WalTypes>(buffer: &mut Vec<u8>, record: &WalRecord<W>, max: u64) -> Result<u32> {
    let start = buffer.len();
    let mut writer = Limited { buffer, left: usize::try_from(max).unwrap_or(usize::MAX), exceeded: false };
    let encoded = record.encode_payload(&mut writer);
    if writer.exceeded {
        return Err(Error::RecordTooLarge { max });
    }
    let claimed = encoded.map_err(|e| Error::Encode { source: Arc::new(e) })?;
    let written = buffer.len() - start;
    if claimed != written {
        let message = format!("the codec returned {claimed} bytes but wrote {written}");
        return Err(Error::Encode { source: Arc::new(io::Error::new(io::ErrorKind::InvalidData, message)) });
    }
    u32::try_from(written).map_err(|_| Error::RecordTooLarge { max })
}

/// A frame in the making; dropped before it is whole, it takes its bytes back.
struct PartialFrame<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    whole: bool,
}

impl Drop for PartialFrame<'_> {
    fn drop(&mut self) {
        if !self.whole {
            self.buffer.truncate(self.start);
        }
    }
}

/// Writes into the buffer up to a limit, so that a codec can't fill the memory with one record.
struct Limited<'a> {
    buffer: &'a mut Vec<u8>,
    left: usize,
    exceeded: bool,
}

impl io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            self.exceeded = true;
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the record passes max_record_size"));
        }
        self.left -= bytes.len();
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
