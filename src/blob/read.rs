//! Reads a blob by its reference.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::blob::BlobRef;
use crate::blob::cache::Cache;
use crate::blob::payload::{Blobs, Number};
use crate::error::{Damage, Error, NoBlob, Result};
use crate::format::{FRAME_HEADER_LEN, Kind};
use crate::position::{Segment, ceil8};
use crate::reader::{StoredFrame, WalReader};

/// A blob's bytes. Cheap to clone: clones, and later reads while the blob is in the cache, share the
/// bytes.
///
/// The memory belongs to the process. No change of the file can change it or take it away.
#[derive(Clone)]
pub struct Blob {
    frame: Arc<StoredFrame>,
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.frame.payload()
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
        if frame.payload().len() as u64 != blob.length {
            return Err(blob.leads_nowhere(NoBlob::NotThere));
        }
        Ok(Blob { frame })
    }

    fn read_frame(&self, blob: BlobRef, segment: Segment) -> Result<StoredFrame> {
        match self.wal.read_frame(segment) {
            Ok(frame) if frame.kind == Kind::Action && frame.flags == 0 => Ok(frame),
            // The checkpoint at the start of a chunk, a record that no store writes, or no frame at
            // all.
            Ok(_) | Err(Error::NoSuchRecord { .. } | Error::Corrupt { damage: Damage::FrameHeader, .. }) => {
                Err(blob.leads_nowhere(NoBlob::NotThere))
            }
            Err(Error::NotInLog { .. }) => Err(blob.leads_nowhere(NoBlob::OutOfRange)),
            Err(error) => Err(error),
        }
    }

    /// Returns the frame of a reference.
    fn segment(&self, blob: BlobRef) -> Result<Segment, NoBlob> {
        let (start, end) = self.chunks.read().find(blob.chunk_id)?;
        let size = ceil8(blob.length).and_then(|n| n.checked_add(FRAME_HEADER_LEN as u64));
        let offset = start.checked_add(blob.offset);
        let (Some(size), Some(offset)) = (size, offset) else { return Err(NoBlob::OutOfRange) };
        let inside = offset.checked_add(size).is_some_and(|e| end.is_none_or(|end| e <= end));
        if inside { Ok(Segment::new(offset, size)) } else { Err(NoBlob::OutOfRange) }
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader").field("chunks", &self.chunks.read().starts.len()).finish_non_exhaustive()
    }
}
