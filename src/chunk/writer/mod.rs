//! Writes one chunk's file, for the flush worker and for a repair.
//!
//! ```text
//!  | header, frames         | seal, or sync mark | zeros ahead            | space, allocated |
//!    write ─► sync          ^ end                  zero_ahead ─► sync
//!             └─► seal: write, cut, sync      mark: write
//! ```
//!
//! - Offsets are global. The chunk's header is at the chunk's id.
//! - Only the caller knows when to sync: `write` and `mark` don't. What a seal or a mark says of the bytes
//!   before it must be true when it is written, so the caller has synced them.
//! - Nothing is retried. After an error the caller writes no more to this chunk, except where the error is
//!   [`Error::StorageFull`] for a mark, which changes nothing.

mod ahead;
mod write_back;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::ahead::ZerosAhead;
pub(crate) use self::ahead::{BLOCK, spare_piece};
use self::write_back::WriteBack;
use crate::error::{Error, Result};
use crate::format::{Header, SEAL_LEN, SYNC_MARK_LEN, Salt, Seal, closing_mark, sync_mark};
use crate::panics::report;
use crate::position::ChunkId;
use crate::storage::{Access, Storage, StorageFile, write_all_at};

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The one that writes to a chunk's file.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    id: ChunkId,
    salt: Salt,
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    space: Space,
    is_marked: bool,
    ahead: ZerosAhead,
    back: WriteBack,
}

/// Whether the file has space for a seal or a mark after its last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    /// A crash may have taken the space back. A write that finds none is [`Error::StorageFull`].
    Doubtful,
    /// The appender reserved the space before it accepted the frame. A write that finds none is a failure of
    /// the disk like any other.
    Reserved,
}

/// The cut of a sealed chunk's file, which only gives space back: the seal itself says where the chunk ends.
#[derive(Debug)]
pub(crate) struct Cut {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    len: u64,
}

impl Cut {
    pub(crate) fn apply(&self) -> Result<()> {
        self.file.set_len(self.len).map_err(|e| Error::io("truncate", &self.path, e))
    }
}

impl ChunkWriter {
    /// Writes to a chunk's file that is open already.
    pub(crate) fn new(header: &Header, path: PathBuf, file: Arc<dyn StorageFile>) -> Self {
        ChunkWriter {
            id: ChunkId(header.chunk_id),
            salt: Salt::new(header.salt),
            path,
            file,
            space: Space::Doubtful,
            is_marked: false,
            ahead: ZerosAhead::none(),
            back: WriteBack::default(),
        }
    }

    /// Opens a chunk's file for writing.
    pub(crate) fn open(storage: &dyn Storage, path: &Path, header: &Header) -> Result<Self> {
        let file =
            storage.open(path, Access::ReadWrite).map_err(|e| Error::io("open for writing", path, e))?;
        Ok(Self::new(header, path.to_owned(), file))
    }

    /// For the chunk that takes records: the appender reserves space from now on, and zeros are written ahead in
    /// steps of up to `zero_ahead_bytes` within the `allocated` bytes of the file. It has zeros up to `zeroed`.
    pub(crate) fn for_records(
        self,
        header: &Header,
        zero_ahead_bytes: u64,
        allocated: u64,
        zeroed: u64,
    ) -> Self {
        let ahead = ZerosAhead::of_file(header, zero_ahead_bytes, allocated, zeroed);
        ChunkWriter { space: Space::Reserved, ahead, ..self }
    }

    pub(crate) fn id(&self) -> ChunkId {
        self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &Arc<dyn StorageFile> {
        &self.file
    }

    /// The file has another name from now on.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    fn position(&self, offset: u64) -> u64 {
        offset - self.id.0
    }

    fn error(&self, op: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |e| Error::io(op, &self.path, e)
    }

    /// Writes bytes at `offset`. Once much is written without a sync, the disk begins to write it back.
    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        self.is_marked = false;
        let position = self.position(offset);
        write_all_at(&*self.file, &mut [IoSlice::new(bytes)], position).map_err(self.error("write"))?;
        let len = bytes.len() as u64;
        if let Some((from, to)) = self.back.note_write(position + len, len) {
            self.file.write_back(from, to - from).map_err(self.error("write back"))?;
        }
        Ok(())
    }

    /// Makes everything durable that was written.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.file.sync().map_err(self.error("sync"))?;
        self.back.note_sync();
        Ok(())
    }

    /// Writes the seal after the last frame, cuts the file after the seal, and syncs both.
    ///
    /// In this order, because the place of the seal has its space already, and a cut first could lose it to
    /// others on a full disk. Whichever of the two a crash keeps, the next recovery comes to the same end.
    pub(crate) fn seal_and_cut(&mut self, seal: &Seal) -> Result<()> {
        self.write_seal(seal)?;
        self.cut(self.id.0 + seal.data_len + SEAL_LEN)?;
        // Only a sealed chunk may have a successor.
        self.sync()
    }

    /// Writes the seal after the last frame and syncs it; returns the cut of the file, which may follow at any time.
    pub(crate) fn seal(mut self, seal: &Seal) -> Result<Cut> {
        self.write_seal(seal)?;
        // Only a sealed chunk may have a successor.
        self.sync()?;
        Ok(Cut { path: self.path, file: self.file, len: seal.data_len + SEAL_LEN })
    }

    fn write_seal(&mut self, seal: &Seal) -> Result<()> {
        let end = self.id.0 + seal.data_len;
        self.write_end(&seal.frame(end, 0, &self.salt), end)
    }

    /// Cuts the file at `end`.
    pub(crate) fn cut(&mut self, end: u64) -> Result<()> {
        self.file.set_len(self.position(end)).map_err(self.error("truncate"))
    }

    /// Whether a sync mark is after the last frame, or found no space there.
    pub(crate) fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// Writes a sync mark at `end`, where everything before is durable.
    pub(crate) fn mark(&mut self, end: u64) -> Result<()> {
        self.write_end(&sync_mark(end, &self.salt), end)?;
        self.is_marked = true;
        Ok(())
    }

    /// Writes no mark before the next write, which brings space for one.
    pub(crate) fn give_up_mark(&mut self) {
        self.is_marked = true;
    }

    /// Writes the closing mark at `end`, where everything before is durable, and syncs it: no record follows,
    /// and the next to open need not look for one.
    pub(crate) fn close(&mut self, end: u64) -> Result<()> {
        // Opened on a full disk, a log may have no space for a mark: the next to open looks for the end.
        let len = self.file.len().map_err(self.error("measure"))?;
        if len >= self.position(end) + SYNC_MARK_LEN {
            self.write_end(&closing_mark(end, &self.salt), end)?;
        }
        self.sync()
    }

    /// Allocates space for a seal at `end`, if the file is too short for it.
    pub(crate) fn reserve_seal(&mut self, end: u64) -> Result<()> {
        let needed = self.position(end) + SEAL_LEN;
        if self.file.len().map_err(self.error("measure"))? < needed {
            let allocated = self.file.allocate(needed);
            allocated.map_err(|e| Error::no_space("allocate", &self.path, needed, e))?;
        }
        Ok(())
    }

    /// Writes a seal or a mark.
    fn write_end(&mut self, frame: &[u8], end: u64) -> Result<()> {
        let position = self.position(end);
        let written = write_all_at(&*self.file, &mut [IoSlice::new(frame)], position);
        written.map_err(|e| match self.space {
            Space::Doubtful => Error::no_space("write", &self.path, position + SEAL_LEN, e),
            Space::Reserved => Error::io("write", &self.path, e),
        })
    }

    /// Counts a sync to come, of the `bytes` before `end`. After many small ones writes zeros ahead, which the sync
    /// makes durable with the records: a failure of it fails the log anyway.
    pub(crate) fn zero_ahead(&mut self, end: u64, bytes: u64) -> Result<()> {
        let Some((from, to)) = self.ahead.note_sync(self.position(end), bytes) else { return Ok(()) };
        match write_zeros(&*self.file, from, to).map_err(|e| Error::no_space("write", &self.path, to, e)) {
            // The space was promised and is not there, so there will be none.
            Err(Error::StorageFull { source, .. }) => {
                let path = self.path.display();
                report(|| log::warn!("no zeros are written ahead in '{path}': {source}"));
                self.ahead = ZerosAhead::none();
                Ok(())
            }
            written => written,
        }
    }

    /// Whether the next chunk's file may get a piece of zeros now.
    pub(crate) fn take_spare_piece(&mut self) -> bool {
        self.ahead.take_spare_piece()
    }
}

/// Writes zeros to a part of a file.
pub(crate) fn write_zeros(file: &dyn StorageFile, from: u64, to: u64) -> std::io::Result<()> {
    for at in (from..to).step_by(ZEROS.len()) {
        let len = (to - at).min(ZEROS.len() as u64) as usize;
        write_all_at(file, &mut [IoSlice::new(&ZEROS[..len])], at)?;
    }
    Ok(())
}
