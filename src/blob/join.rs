//! [`BlobWal`]: a log and the blobs that its records name.

use crate::blob::{Blob, BlobRef, BlobStore};
use crate::error::Result;
use crate::record::WalTypes;
use crate::wal::ChunkedWal;

/// A log and the blob store that its records refer to, joined so that no record can reach the disk
/// before the blobs that it names.
///
/// ```text
/// append_blob ─► append_blob ─► wal() ═ the blobs are synced ═► append, flush, rotate ...
///                                └──── while the log is lent, no blob can be appended ────┘
/// ```
///
/// A log may write an appended record at any time: when a buffer is full, or when it rotates. So a blob
/// must be durable before a record that names it is *appended*. [`wal`](Self::wal) is the only way to
/// the log, and it syncs the blobs first. As long as the log is lent, the borrow checker forbids to
/// append another blob. So whenever a record can be appended, every existing [`BlobRef`] leads to a
/// durable blob, and a flush of the log completes for its records and their blobs together.
///
/// To share syncs, append the blobs of a batch first, then its records: that takes one sync of the
/// blobs and one of the log.
#[derive(Debug)]
pub struct BlobWal<W: WalTypes> {
    wal: ChunkedWal<W>,
    blobs: BlobStore,
}

impl<W: WalTypes> BlobWal<W> {
    /// Joins a log and the store of its blobs.
    pub fn new(wal: ChunkedWal<W>, blobs: BlobStore) -> Self {
        BlobWal { wal, blobs }
    }

    /// Appends a blob, whose reference a record may then name.
    ///
    /// # Errors
    ///
    /// As [`BlobStore::append`].
    pub fn append_blob(&mut self, blob: &[u8]) -> Result<BlobRef> {
        self.blobs.append(blob)
    }

    /// Makes every blob appended so far durable, and lends the log. Doesn't wait if all blobs are
    /// durable already.
    ///
    /// # Errors
    ///
    /// As [`BlobStore::sync`]. Then the log is not lent, so that no record can name a blob that is not
    /// durable.
    pub fn wal(&mut self) -> Result<&mut ChunkedWal<W>> {
        self.blobs.sync()?;
        Ok(&mut self.wal)
    }

    /// Returns the blob store, for reading.
    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Reads a blob.
    ///
    /// # Errors
    ///
    /// As [`BlobReader::read`](super::BlobReader::read).
    pub fn read_blob(&self, blob: BlobRef) -> Result<Blob> {
        self.blobs.read(blob)
    }

    /// Removes the blob chunks before the chunk of `oldest`, the oldest blob that is still needed.
    /// First makes the log durable, because its last records may be the reason why the older blobs are
    /// no longer needed.
    ///
    /// Waits until the chunks are removed.
    ///
    /// # Errors
    ///
    /// As [`ChunkedWal::sync`] and [`BlobStore::remove_chunks_before`].
    pub fn remove_blobs_before(&mut self, oldest: BlobRef) -> Result<Vec<u32>> {
        self.wal()?.sync()?;
        self.blobs.remove_chunks_before(oldest.chunk_id)
    }

    /// Returns the log and the store, separate again.
    pub fn into_parts(self) -> (ChunkedWal<W>, BlobStore) {
        (self.wal, self.blobs)
    }

    /// Closes the log, then the store.
    ///
    /// # Errors
    ///
    /// The first failure; the log and the store are closed even then.
    pub fn close(self) -> Result<()> {
        let log = self.wal.close();
        self.blobs.close().and(log)
    }
}
