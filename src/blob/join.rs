//! [`BlobWal`]: a log and the blobs that its records name.

use crate::blob::{Blob, BlobRef, BlobStore};
use crate::error::Result;
use crate::record::WalTypes;
use crate::wal::ChunkedWal;

/// A log and the blob store that its records refer to, joined so that no record can reach the disk before
/// the blobs that it names.
///
/// ```text
/// append_blob ─► append_blob ─► wal() ═ the blobs are synced ═► append, flush, rotate ...
///                                └──── while the log is lent, no blob can be appended ────┘
/// ```
///
/// A log may write what was appended at any time: when a buffer is full, when it rotates. So a blob must be
/// durable before a record that names it is *appended*. [`wal`](Self::wal) is the only way to the log, and
/// it syncs the blobs first. As long as the log is lent, the borrow checker lets nobody append another
/// blob. So every [`BlobRef`] that there is leads to a durable blob whenever somebody can append, and a
/// flush of the log completes for its records and their blobs together.
///
/// To share syncs, append the blobs of a batch first, then its records: one sync of the blobs, one of the
/// log.
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

    /// Appends a blob, to be named in a record.
    ///
    /// # Errors
    ///
    /// As [`BlobStore::append`].
    pub fn append_blob(&mut self, blob: &[u8]) -> Result<BlobRef> {
        self.blobs.append(blob)
    }

    /// Makes every blob appended so far durable, and lends the log. Waits for no sync if they are
    /// durable already.
    ///
    /// # Errors
    ///
    /// As [`BlobStore::sync`]: then the log is not lent, so that nothing can name what is not durable.
    pub fn wal(&mut self) -> Result<&mut ChunkedWal<W>> {
        self.blobs.sync()?;
        Ok(&mut self.wal)
    }

    /// The blobs, for reading.
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

    /// Removes the blob chunks before the one that `oldest` is in: the oldest blob that is still needed.
    /// First makes durable what is in the log, since it may be what needs the others no more.
    ///
    /// Waits until it is done.
    ///
    /// # Errors
    ///
    /// As [`ChunkedWal::sync`] and [`BlobStore::remove_chunks_before`].
    pub fn remove_blobs_before(&mut self, oldest: BlobRef) -> Result<Vec<u32>> {
        self.wal()?.sync()?;
        self.blobs.remove_chunks_before(oldest.chunk_id)
    }

    /// The log and the store, each on its own again.
    pub fn into_parts(self) -> (ChunkedWal<W>, BlobStore) {
        (self.wal, self.blobs)
    }

    /// Closes the log, then the store.
    ///
    /// # Errors
    ///
    /// The first that failed; both are closed.
    pub fn close(self) -> Result<()> {
        let log = self.wal.close();
        self.blobs.close().and(log)
    }
}
