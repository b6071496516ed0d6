//! [`BlobStore`]: appends, syncs, rotates, removes.

use std::path::PathBuf;
use std::sync::Arc;

use crate::blob::payload::{Blobs, Newest, Number, Payload};
use crate::blob::read::Chunks;
use crate::blob::{Blob, BlobReader, BlobRef};
use crate::config::Config;
use crate::error::{Error, NoBlob, Result};
use crate::flush::{Flush, FlushTicket};
use crate::record::WalRecord;
use crate::recovery::{RecoveryReport, Replay};
use crate::storage::{DiskStorage, Storage};
use crate::wal::ChunkedWal;

const MIB: u64 = 1 << 20;

/// Capacity of the buffer for blobs on their way into the log that is kept for the next.
const SCRATCH_MAX: usize = MIB as usize;

/// How a blob store is kept. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobConfig {
    /// The store's directory, made when missing. Its own: not the log's.
    pub dir: PathBuf,

    /// A chunk counts as full once it has this many bytes; it may pass the size by its last blob.
    /// 64 MiB unless set.
    pub chunk_max_size: u64,

    /// The largest blob that is appended, at most 4 GiB less 64 bytes. Opening holds the largest blob of
    /// the newest chunk in memory. 64 MiB unless set.
    pub max_blob_size: u64,

    /// Blobs that were read stay in memory, up to this many bytes; with 0, each read goes to the file and
    /// is checked again. 64 MiB unless set.
    pub cache_bytes_max: u64,

    /// The permissions of the store's files, as [`Config::file_mode`]. 0o600 unless set.
    pub file_mode: u32,
}

impl BlobConfig {
    /// The defaults, for a store in `dir`.
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

/// What a chunk of blobs holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobChunk {
    /// Its number, as in the [`BlobRef`]s that lead there.
    pub chunk_id: u32,
    /// Bytes of log in it: header, blobs, what stands around each.
    pub size: u64,
}

/// Big payloads in chunk files, appended and never changed; see the [module](super).
///
/// One owner appends; [`reader`](Self::reader) gives handles for other threads. Dropping it closes it as
/// [`close`](Self::close) does, and logs what fails.
#[derive(Debug)]
pub struct BlobStore {
    wal: ChunkedWal<Blobs>,
    reader: BlobReader,
    /// The open chunk's.
    number: Number,
    /// Used for each append again.
    scratch: WalRecord<Blobs>,
}

impl BlobStore {
    /// Opens the store in its directory, or begins one. Repairs what a crash tore, as a log does.
    ///
    /// Reads the newest chunk; of each older one only a few bytes.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`](crate::OpenOptions::open). The settings are checked under the names of
    /// the log's: `max_record_size` is `max_blob_size` there.
    pub fn open(config: BlobConfig) -> Result<Self> {
        Self::open_on(config, Arc::new(DiskStorage))
    }

    /// As [`open`](Self::open), on another storage than the real disk.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_on(config: BlobConfig, storage: Arc<dyn Storage>) -> Result<Self> {
        let mut wal_config = Config::new(config.dir);
        wal_config.chunk_max_size = config.chunk_max_size;
        wal_config.max_record_size = config.max_blob_size;
        wal_config.file_mode = config.file_mode;
        // Who removes blobs wants the space back.
        wal_config.spare_chunks = 0;
        let mut newest = Newest { next: Number::random(), found: None };
        let options = ChunkedWal::options(wal_config).replay(Replay::FromLastCheckpoint).storage(storage);
        let wal = options.open(&mut newest)?;
        // A closed chunk's checkpoint is its successor's, which may not have been begun yet.
        let number = match (wal.closed_chunk_stats().last(), newest.found) {
            (Some(closed), _) => closed.checkpoint,
            (None, Some(found)) => found,
            (None, None) => newest.next,
        };
        let reader = BlobReader::new(wal.reader(), chunks(&wal, number), config.cache_bytes_max);
        let scratch = WalRecord::Action(Payload::default());
        Ok(BlobStore { wal, reader, number, scratch })
    }

    /// Appends a blob; returns where it is. It can be read at once, and is durable once
    /// [`sync`](Self::sync) has returned.
    ///
    /// A record that names it must not reach the disk before it does: [`BlobWal`](super::BlobWal) sees
    /// to that.
    ///
    /// Copies the blob into memory that a thread of the store's writes from. Blocks while more than
    /// 32 MiB wait there, and where the next chunk's file is not ready yet.
    ///
    /// # Errors
    ///
    /// Nothing is appended then: [`Error::RecordTooLarge`], [`Error::StorageFull`] (try again once there
    /// is space), [`Error::Poisoned`], [`Error::Io`], [`Error::OffsetsUsedUp`].
    pub fn append(&mut self, blob: &[u8]) -> Result<BlobRef> {
        if self.wal.is_open_chunk_full() {
            self.rotate()?;
        }
        if let WalRecord::Action(Payload(bytes)) = &mut self.scratch {
            bytes.clear();
            bytes.shrink_to(SCRATCH_MAX);
            bytes.extend_from_slice(blob);
        }
        let segment = self.wal.append(&self.scratch)?;
        Ok(BlobRef {
            chunk_id: self.number.number,
            offset: segment.offset - self.wal.open_chunk_id().0,
            length: blob.len() as u64,
        })
    }

    /// Makes every blob appended so far durable, and waits until it is. Costs nothing if they are.
    ///
    /// # Errors
    ///
    /// What made it fail; the store is poisoned then.
    pub fn sync(&mut self) -> Result<()> {
        self.wal.sync()
    }

    /// Has every blob appended so far made durable, with a ticket to wait for or `.await`.
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
    /// As there.
    pub fn read(&self, blob: BlobRef) -> Result<Blob> {
        self.reader.read(blob)
    }

    /// A handle for reading from other threads.
    pub fn reader(&self) -> BlobReader {
        self.reader.clone()
    }

    /// The chunks, oldest first; the last is the open one.
    pub fn chunks(&self) -> Vec<BlobChunk> {
        let chunks = self.reader.chunks.read();
        let ends = chunks.starts[1..].iter().copied().chain([self.wal.progress().appended]);
        let sizes = chunks.starts.iter().zip(ends).map(|(start, end)| end.saturating_sub(*start));
        sizes.enumerate().map(|(i, size)| BlobChunk { chunk_id: chunks.number(i), size }).collect()
    }

    /// Removes the chunks before the one with this number; returns the numbers of those removed.
    ///
    /// What no longer names blobs in them must be durable before:
    /// [`BlobWal::remove_blobs_before`](super::BlobWal::remove_blobs_before) sees to that. A crash may
    /// leave some of them, which are there again then and can be removed again. [`Blob`]s that were read
    /// stay as they are.
    ///
    /// Waits until it is done.
    ///
    /// # Errors
    ///
    /// [`Error::NotABlob`] if the store has no such chunk: nothing is removed. [`Error::Poisoned`]; the
    /// operating system's words if a file could not be removed, which is tried again with the next.
    pub fn remove_chunks_before(&mut self, chunk_id: u32) -> Result<Vec<u32>> {
        let here = self.chunks();
        let Some(count) = here.iter().position(|chunk| chunk.chunk_id == chunk_id) else {
            let blob = BlobRef { chunk_id, offset: 0, length: 0 };
            return Err(blob.leads_nowhere(NoBlob::UnknownChunk));
        };
        // A store that has failed removes nothing: it must not hide what it can't remove.
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

    /// What opening the store found and did, in the words of a log.
    pub fn recovery(&self) -> &RecoveryReport {
        self.wal.recovery()
    }

    /// Makes all durable and lets go of the directory.
    ///
    /// # Errors
    ///
    /// What failed, now or before.
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

    /// Shows the readers which chunks there are.
    fn show_chunks(&self) {
        *self.reader.chunks.write() = chunks(&self.wal, self.number);
    }
}

/// The chunks of a store whose open one has this number.
fn chunks(wal: &ChunkedWal<Blobs>, open: Number) -> Chunks {
    let closed = wal.closed_chunk_stats();
    let oldest = Number { number: open.number.wrapping_sub(closed.len() as u32), ..open };
    let starts = closed.iter().map(|chunk| chunk.global_start).chain([wal.open_chunk_id().0]).collect();
    Chunks { oldest, starts }
}
