//! [`BlobStore`]: appends, syncs, rotates, removes.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::blob::payload::{Blobs, Newest, Number, Payload};
use crate::blob::read::Chunks;
use crate::blob::{Blob, BlobReader, BlobRef, blocks};
use crate::config::Config;
use crate::error::{Error, NoBlob, Result};
use crate::flush::{Flush, FlushTicket};
use crate::record::WalRecord;
use crate::recovery::{RecoveryReport, Replay};
use crate::storage::{DiskStorage, Storage};
use crate::wal::ChunkedWal;

const MIB: u64 = 1 << 20;

/// The largest capacity of the buffer for appended blobs that is kept for the next blob.
const SCRATCH_MAX: usize = MIB as usize;

/// The settings of a blob store. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobConfig {
    /// The store's directory, made when missing. It must not be the log's directory.
    pub dir: PathBuf,

    /// A chunk is full once it has this many bytes; its last blob may exceed the size. Default: 64 MiB.
    pub chunk_max_size: u64,

    /// The largest blob that can be appended, at most 4 GiB less 257 KiB. Opening holds the largest
    /// blob of the newest chunk in memory. Default: 64 MiB.
    pub max_blob_size: u64,

    /// Blobs that were read stay in memory, up to this many bytes; with 0, each read goes to the file
    /// and checks the blob again. Default: 64 MiB.
    pub cache_bytes_max: u64,

    /// The permissions of the store's files, as [`Config::file_mode`]. Default: 0o600.
    pub file_mode: u32,
}

impl BlobConfig {
    /// Returns the defaults, for a store in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        BlobConfig {
            dir: dir.into(),
            chunk_max_size: 64 * MIB,
            max_blob_size: 64 * MIB,
            cache_bytes_max: 64 * MIB,
            file_mode: 0o600,
        }
    }
}

/// A chunk of a blob store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobChunk {
    /// The chunk's number, as in the [`BlobRef`]s that lead to it.
    pub chunk_id: u32,
    /// The bytes of log in the chunk: header, blobs, and the frame around each blob.
    pub size: u64,
}

/// Big payloads in chunk files, appended and never changed; see the [module](super).
///
/// One owner appends; [`reader`](Self::reader) returns handles for other threads. Dropping the store
/// closes it as [`close`](Self::close) does, and logs a failure.
#[derive(Debug)]
pub struct BlobStore {
    wal: ChunkedWal<Blobs>,
    reader: BlobReader,
    /// The open chunk's number.
    number: Number,
    /// Reused by each append.
    scratch: WalRecord<Blobs>,
    max_blob_size: u64,
}

impl BlobStore {
    /// Opens the store in its directory, or starts a new one. Repairs a tail that a crash tore, as a
    /// log does.
    ///
    /// Reads the newest chunk, and only a few bytes of each older chunk.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`](crate::OpenOptions::open). The settings are checked under the names of
    /// the log's settings: `max_blob_size` is called `max_record_size` there.
    pub fn open(config: BlobConfig) -> Result<Self> {
        Self::open_on(config, Arc::new(DiskStorage))
    }

    /// As [`open`](Self::open), on another storage than the real disk.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_on(config: BlobConfig, storage: Arc<dyn Storage>) -> Result<Self> {
        let mut wal_config = Config::new(config.dir);
        wal_config.chunk_max_size = config.chunk_max_size;
        wal_config.max_record_size = blocks::stored_len(config.max_blob_size).unwrap_or(u64::MAX);
        wal_config.file_mode = config.file_mode;
        // A program that removes blobs wants the space back.
        wal_config.spare_chunks = 0;
        let mut newest = Newest { next: Number::random(), found: None };
        let options = ChunkedWal::options(wal_config).replay(Replay::FromLastCheckpoint).storage(storage);
        let wal = options.open(&mut newest)?;
        // A closed chunk's checkpoint belongs to its successor, which may not have been started yet.
        let number = match (wal.closed_chunk_stats().last(), newest.found) {
            (Some(closed), _) => closed.checkpoint,
            (None, Some(found)) => found,
            (None, None) => newest.next,
        };
        let reader = BlobReader::new(wal.reader(), chunks(&wal, number), config.cache_bytes_max);
        let scratch = WalRecord::Action(Payload::default());
        Ok(BlobStore { wal, reader, number, scratch, max_blob_size: config.max_blob_size })
    }

    /// Appends a blob and returns its reference. The blob can be read at once, and is durable once
    /// [`sync`](Self::sync) has returned.
    ///
    /// A record that names the blob must not reach the disk before the blob does:
    /// [`BlobWal`](super::BlobWal) takes care of that.
    ///
    /// Copies the blob into memory from which the store's worker writes. Blocks while more than 32 MiB
    /// wait there, and where the next chunk's file is not ready yet.
    ///
    /// # Errors
    ///
    /// Nothing is appended then: [`Error::RecordTooLarge`], [`Error::StorageFull`] (try again once
    /// there is space), [`Error::Poisoned`], [`Error::Io`], [`Error::OffsetsUsedUp`].
    pub fn append(&mut self, blob: &[u8]) -> Result<BlobRef> {
        if self.wal.is_open_chunk_full() {
            self.rotate()?;
        }
        if let WalRecord::Action(Payload(bytes)) = &mut self.scratch {
            bytes.clear();
            bytes.shrink_to(SCRATCH_MAX);
            blocks::push(bytes, blob);
        }
        let max = self.max_blob_size;
        let segment = self.wal.append(&self.scratch).map_err(|error| match error {
            Error::RecordTooLarge { .. } => Error::RecordTooLarge { max },
            error => error,
        })?;
        Ok(BlobRef {
            chunk_id: self.number.number,
            offset: segment.offset - self.wal.open_chunk_id().0,
            length: blob.len() as u64,
        })
    }

    /// Makes every blob appended so far durable, and waits for that. Costs nothing if all are durable
    /// already.
    ///
    /// # Errors
    ///
    /// The failure; the store is poisoned then.
    pub fn sync(&mut self) -> Result<()> {
        self.wal.sync()
    }

    /// Starts to make every blob appended so far durable; returns a ticket to wait for or to `.await`.
    ///
    /// # Errors
    ///
    /// As [`ChunkedWal::flush_ticket`].
    pub fn flush_ticket(&mut self) -> Result<FlushTicket> {
        self.wal.flush_ticket(Flush::Sync)
    }

    /// Reads a blob; see [`BlobReader::read`].
    ///
    /// # Errors
    ///
    /// As [`BlobReader::read`].
    pub fn read(&self, blob: BlobRef) -> Result<Blob> {
        self.reader.read(blob)
    }

    /// Reads a range of a blob; see [`BlobReader::read_range`].
    ///
    /// # Errors
    ///
    /// As [`BlobReader::read_range`].
    pub fn read_range(&self, blob: BlobRef, range: Range<u64>) -> Result<Vec<u8>> {
        self.reader.read_range(blob, range)
    }

    /// Returns a handle for reading from other threads.
    pub fn reader(&self) -> BlobReader {
        self.reader.clone()
    }

    /// Returns the chunks, oldest first; the last is the open one.
    pub fn chunks(&self) -> Vec<BlobChunk> {
        let chunks = self.reader.chunks.read();
        let ends = chunks.starts[1..].iter().copied().chain([self.wal.progress().appended]);
        let sizes = chunks.starts.iter().zip(ends).map(|(start, end)| end.saturating_sub(*start));
        sizes.enumerate().map(|(i, size)| BlobChunk { chunk_id: chunks.number(i), size }).collect()
    }

    /// Removes the chunks before the chunk with this number; returns the numbers of the removed chunks.
    ///
    /// The records that made the blobs in those chunks unneeded must be durable before:
    /// [`BlobWal::remove_blobs_before`](super::BlobWal::remove_blobs_before) takes care of that. A
    /// crash may leave some of those chunks; the next open finds them, and they can be removed again.
    /// [`Blob`]s that were read stay valid.
    ///
    /// Waits until the chunks are removed.
    ///
    /// # Errors
    ///
    /// [`Error::NotABlob`] if the store has no such chunk: nothing is removed. [`Error::Poisoned`];
    /// [`Error::Io`] if a file could not be removed: the next removal tries it again.
    pub fn remove_chunks_before(&mut self, chunk_id: u32) -> Result<Vec<u32>> {
        let here = self.chunks();
        let Some(count) = here.iter().position(|chunk| chunk.chunk_id == chunk_id) else {
            let blob = BlobRef { chunk_id, offset: 0, length: 0 };
            return Err(blob.leads_nowhere(NoBlob::UnknownChunk));
        };
        // A store that has failed removes nothing: it must not hide chunks that it can't remove.
        self.wal.sync()?;
        let mut left = count;
        let ids =
            self.wal.drain_closed_chunks_while(|_| left.checked_sub(1).inspect(|n| left = *n).is_some());
        let removed: Vec<u32> = here[..ids.len()].iter().map(|chunk| chunk.chunk_id).collect();
        self.show_chunks();
        self.reader.cache.lock().retain(|chunk| !removed.contains(&chunk));
        self.wal.remove_chunks(ids)?;
        self.wal.wait_idle()?;
        Ok(removed)
    }

    /// Returns what opening the store found and did, as a log reports it.
    pub fn recovery(&self) -> &RecoveryReport {
        self.wal.recovery()
    }

    /// Makes all blobs durable and releases the directory.
    ///
    /// # Errors
    ///
    /// The first failure, of the close or earlier.
    pub fn close(self) -> Result<()> {
        self.wal.close()
    }

    fn rotate(&mut self) -> Result<()> {
        let end = self.wal.progress().appended;
        let next = self.number.next().ok_or(Error::OffsetsUsedUp { end })?;
        self.wal.close_open_chunk_with(next)?;
        self.number = next;
        self.show_chunks();
        Ok(())
    }

    /// Publishes the list of chunks to the readers.
    fn show_chunks(&self) {
        *self.reader.chunks.write() = chunks(&self.wal, self.number);
    }
}

/// The chunks of a store whose open chunk has this number.
fn chunks(wal: &ChunkedWal<Blobs>, open: Number) -> Chunks {
    let closed = wal.closed_chunk_stats();
    let oldest = Number { number: open.number.wrapping_sub(closed.len() as u32), ..open };
    let starts = closed.iter().map(|chunk| chunk.global_start).chain([wal.open_chunk_id().0]).collect();
    Chunks { oldest, starts }
}
