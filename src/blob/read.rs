//! Reads a blob by its reference.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::blob::blocks::{BLOCK, Touched};
use crate::blob::cache::Cache;
use crate::blob::payload::{Blobs, Number};
use crate::blob::{BlobRef, blocks};
use crate::error::{Damage, Error, NoBlob, Result};
use crate::format::{FRAME_HEADER_LEN, FrameHeader, Kind};
use crate::position::{Segment, ceil8};
use crate::reader::{StoredFrame, WalReader};

/// A blob's bytes. Cheap to clone: clones, and later reads while the blob is in the cache, share the
/// bytes.
///
/// The memory belongs to the process. No change of the file can change it or take it away.
#[derive(Clone)]
pub struct Blob {
    frame: Arc<StoredFrame>,
    /// The rest of the payload is its table.
    length: usize,
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.frame.payload()[..self.length]
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

/// The chunks that can be read.
#[derive(Debug)]
pub(super) struct Chunks {
    /// The number of the oldest chunk.
    pub(super) oldest: Number,
    /// The global offset of each chunk in the log, oldest first; the last chunk is the open one.
    pub(super) starts: Vec<u64>,
}

impl Chunks {
    /// Returns where a chunk starts, and where it ends unless it is the open one.
    fn find(&self, chunk_id: u32) -> Result<(u64, Option<u64>), NoBlob> {
        let index = chunk_id.wrapping_sub(self.oldest.number) as usize;
        match self.starts.get(index) {
            Some(start) => Ok((*start, self.starts.get(index + 1).copied())),
            None if chunk_id.wrapping_sub(self.oldest.first) < self.oldest.index() => Err(NoBlob::Removed),
            None => Err(NoBlob::UnknownChunk),
        }
    }

    /// Returns the number of the chunk at an index of `starts`.
    pub(super) fn number(&self, index: usize) -> u32 {
        self.oldest.number.wrapping_add(index as u32)
    }
}

/// Reads blobs, from any thread, while the store's owner appends.
///
/// Cheap to clone; all clones share the store's cache. Once the store is closed, a read of a blob that
/// isn't in the cache returns [`Error::Closed`].
#[derive(Clone)]
pub struct BlobReader {
    wal: WalReader<Blobs>,
    pub(super) chunks: Arc<RwLock<Chunks>>,
    pub(super) cache: Arc<Mutex<Cache>>,
}

impl BlobReader {
    pub(super) fn new(wal: WalReader<Blobs>, chunks: Chunks, cache_bytes_max: u64) -> Self {
        let cache = Arc::new(Mutex::new(Cache::new(cache_bytes_max)));
        BlobReader { wal, chunks: Arc::new(RwLock::new(chunks)), cache }
    }

    /// Reads a blob from the cache, or from its file or the memory that waits to be written; then its
    /// checksum is checked.
    ///
    /// # Errors
    ///
    /// [`Error::NotABlob`] for a reference that leads nowhere; [`Error::Corrupt`] for a blob whose
    /// bytes are corrupted or were cut off; [`Error::Io`]; [`Error::Closed`].
    pub fn read(&self, blob: BlobRef) -> Result<Blob> {
        let segment = self.segment(blob).map_err(|reason| blob.leads_nowhere(reason))?;
        let place = (blob.chunk_id, blob.offset);
        let kept = self.cache.lock().get(place);
        let frame = match kept {
            Some(frame) => frame,
            None => {
                let frame = Arc::new(self.read_frame(blob, segment)?);
                self.cache.lock().put(place, &frame);
                frame
            }
        };
        if blocks::stored_len(blob.length) != Some(frame.payload().len() as u64) {
            return Err(blob.leads_nowhere(NoBlob::NotThere));
        }
        // As long as the payload, or shorter.
        Ok(Blob { frame, length: blob.length as usize })
    }

    /// Reads the bytes `range` of a blob. Of a blob that is longer than 64 KiB and not in the cache, reads only the
    /// blocks of 64 KiB that the range touches, with their checksums, and checks these; the cache stays as it is.
    ///
    /// ```
    /// # use chunked_wal::blob::{BlobConfig, BlobStore};
    /// # let dir = tempfile::tempdir()?;
    /// let mut store = BlobStore::open(BlobConfig::new(dir.path()))?;
    /// let film = store.append(&vec![7; 10_000_000])?;
    /// let seek = store.read_range(film, 5_000_000..5_001_000)?;
    /// assert_eq!(seek, [7; 1000]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Takes memory for the range and at most 128 KiB more.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBlob`] for a range that is not inside the blob. [`Error::Corrupt`] with the offset of the block
    /// that is damaged. Otherwise as [`read`](Self::read).
    pub fn read_range(&self, blob: BlobRef, range: Range<u64>) -> Result<Vec<u8>> {
        let Range { start, end } = range;
        if start > end || end > blob.length {
            return Err(Error::OutOfBlob { start, end, length: blob.length });
        }
        let is_kept = || self.cache.lock().get((blob.chunk_id, blob.offset)).is_some();
        if blob.length <= BLOCK || is_kept() {
            return Ok(self.read(blob)?[start as usize..end as usize].to_vec());
        }
        let segment = self.segment(blob).map_err(|reason| blob.leads_nowhere(reason))?;
        let frame = self.wal.frame_parts(segment).map_err(|error| not_found(blob, error))?;
        let FrameHeader { kind, flags, len, .. } = frame.header;
        let is_blob = (kind, flags) == (Kind::Action as u8, 0);
        if !is_blob || blocks::stored_len(blob.length) != Some(len.into()) {
            return Err(blob.leads_nowhere(NoBlob::NotThere));
        }
        let touched = Touched::by(&(start..end), blob.length);
        let read = |part: &Range<u64>| {
            let mut bytes = vec![0; (part.end - part.start) as usize];
            frame.read(part.start, &mut bytes).map(|()| bytes).map_err(|error| not_found(blob, error))
        };
        let (mut bytes, table) = (read(&touched.bytes)?, read(&touched.table)?);
        touched.check(&bytes, &table).map_err(|position| frame.corrupt(position))?;
        bytes.truncate((end - touched.bytes.start) as usize);
        bytes.drain(..(start - touched.bytes.start) as usize);
        Ok(bytes)
    }

    fn read_frame(&self, blob: BlobRef, segment: Segment) -> Result<StoredFrame> {
        match self.wal.read_frame(segment) {
            Ok(frame) if frame.kind == Kind::Action && frame.flags == 0 => Ok(frame),
            // The checkpoint at the start of a chunk, or a record that no store writes.
            Ok(_) => Err(blob.leads_nowhere(NoBlob::NotThere)),
            Err(error) => Err(not_found(blob, error)),
        }
    }

    /// Returns the frame of a reference.
    fn segment(&self, blob: BlobRef) -> Result<Segment, NoBlob> {
        let (start, end) = self.chunks.read().find(blob.chunk_id)?;
        let size = blocks::stored_len(blob.length)
            .and_then(ceil8)
            .and_then(|n| n.checked_add(FRAME_HEADER_LEN as u64));
        let offset = start.checked_add(blob.offset);
        let (Some(size), Some(offset)) = (size, offset) else { return Err(NoBlob::OutOfRange) };
        let inside = offset.checked_add(size).is_some_and(|e| end.is_none_or(|end| e <= end));
        if inside { Ok(Segment::new(offset, size)) } else { Err(NoBlob::OutOfRange) }
    }
}

/// What the log says about a reference, as the store says it.
fn not_found(blob: BlobRef, error: Error) -> Error {
    match error {
        Error::NoSuchRecord { .. } | Error::Corrupt { damage: Damage::FrameHeader, .. } => {
            blob.leads_nowhere(NoBlob::NotThere)
        }
        Error::NotInLog { .. } => blob.leads_nowhere(NoBlob::OutOfRange),
        error => error,
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader").field("chunks", &self.chunks.read().starts.len()).finish_non_exhaustive()
    }
}
