//! An SQLite WAL, seen from its file: how many frames are valid, and how many of them committed.
//!
//! ```text
//! | header | frame | frame, commit | frame | frame | not valid ...
//!                          committed ^       valid ^: the next look goes on here
//! ```
//!
//! - The running checksum is kept, so a look reads what was added. Of what was read before, it reads
//!   only headers again: the file's, the last committed frame's, and those of the frames behind it.
//! - Frames behind the last commit are not final: what is rolled back, to a savepoint perhaps, is
//!   written over from there, under the same salts, and leaves the frames after it as they are.
//! - A checkpoint doesn't change the file. What follows it does: the next writer restarts the file with
//!   new salts, or it is truncated, or deleted with the last connection. Only the index, in the file
//!   that ends in `-shm`, says how much is checkpointed; it is read where that is asked for.

use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::WalEvent;
use super::shared::Tail;
use super::sqlite::{Checksum, FRAME_HEADER_LEN, HEADER_LEN, Header, INDEX_LEN, SqliteDefect, backfilled};
use crate::error::{Error, Result};
use crate::storage::{Access, DiskStorage, Storage, StorageFile, read_full_at};

/// How often a look is tried while the file is restarted under it.
const TRIES: usize = 4;

/// What is at the path of an SQLite WAL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SqliteFile {
    /// Nothing: no connection is open, or the database is not in WAL mode.
    #[default]
    Missing,
    /// A file without bytes: nothing was written yet, or a checkpoint has truncated it.
    Empty,
    /// A file that is no WAL. SQLite takes it for empty.
    Invalid(SqliteDefect),
    /// A WAL.
    Valid,
}

/// How an SQLite WAL stands. Numbers are 0 unless it is [`Valid`](SqliteFile::Valid).
///
/// How much of it is on stable storage can't be seen: that depends on the writer's `synchronous`, and
/// nothing in the file tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteState {
    /// What is there.
    pub file: SqliteFile,
    /// Bytes in a page.
    pub page_size: u32,
    /// How many checkpoints there were, by the file's header.
    pub checkpoint_sequence: u32,
    /// The salts of this life of the file. The first goes up by one at each restart, the second is
    /// random.
    pub salts: [u32; 2],
    /// Valid frames. A transaction that is not committed yet may change its own again, which is not seen
    /// before it is.
    pub frames: u64,
    /// Frames up to the last commit: what a reader of the database sees, and what is left after a crash.
    pub committed_frames: u64,
    /// The database's size, in pages, after the last commit.
    pub database_pages: u32,
    /// Frames that a checkpoint has copied into the database, if the WAL's index was read and tells.
    pub checkpointed_frames: Option<u32>,
}

/// An SQLite WAL that is followed.
#[derive(Debug)]
pub(super) struct SqliteTail {
    path: PathBuf,
    /// The `-shm` file, if it is to be read.
    index: Option<PathBuf>,
    seen: WalEvent<SqliteState>,
    /// None unless the file is valid.
    cursor: Option<Cursor>,
    /// Room for a frame.
    buf: Vec<u8>,
}

/// What was read of a WAL.
#[derive(Debug, Clone)]
struct Cursor {
    header_bytes: [u8; HEADER_LEN],
    header: Header,
    valid: Place,
    committed: Place,
    /// The header of the last frame that is committed, by which it is known again.
    last_committed: [u8; FRAME_HEADER_LEN],
    /// Of the headers of the frames behind it.
    uncommitted: DefaultHasher,
    database_pages: u32,
}

/// Behind a frame.
#[derive(Debug, Clone, Copy)]
struct Place {
    frames: u64,
    /// Of all before it.
    checksum: Checksum,
}

impl SqliteTail {
    pub(super) fn new(path: PathBuf, read_index: bool) -> Self {
        let index = read_index.then(|| index_path(&path)).flatten();
        SqliteTail { path, index, seen: WalEvent::default(), cursor: None, buf: Vec::new() }
    }

    /// The file is not, or no longer, a WAL.
    fn forget(&mut self, file: SqliteFile) {
        let was = self.seen.state.file;
        let changes = &mut self.seen.changes;
        match file {
            SqliteFile::Missing => changes.gone += u64::from(was != SqliteFile::Missing),
            _ => changes.shrunk += u64::from(was == SqliteFile::Valid),
        }
        self.seen.state = SqliteState { file, ..SqliteState::default() };
        self.cursor = None;
    }

    /// Reads what was added to the file; `false`, and nothing is seen, if it changes under the look.
    pub(super) fn read_on(&mut self, file: &dyn StorageFile) -> io::Result<bool> {
        let mut header_bytes = [0; HEADER_LEN];
        if read_full_at(file, &mut header_bytes, 0)? < HEADER_LEN {
            let len = file.len()?;
            let short = SqliteFile::Invalid(SqliteDefect::Short { len });
            self.forget(if len == 0 { SqliteFile::Empty } else { short });
            return Ok(true);
        }
        let header = match Header::parse(&header_bytes) {
            Ok(header) => header,
            Err(defect) => {
                self.forget(SqliteFile::Invalid(defect));
                return Ok(true);
            }
        };
        let before = self.cursor.as_ref().filter(|cursor| cursor.header_bytes == header_bytes);
        let mut cursor = match before {
            Some(cursor) => cursor.standing(file)?,
            None => Cursor::new(header_bytes, header),
        };
        let from = cursor.valid.frames;
        cursor.advance(file, &mut self.buf)?;
        // A restart writes the header first: frames may be new ones, and it the old one.
        let mut header_now = [0; HEADER_LEN];
        read_full_at(file, &mut header_now, 0)?;
        if header_now != header_bytes {
            return Ok(false);
        }
        let came = cursor.valid.frames - from;

        let changes = &mut self.seen.changes;
        changes.records += came;
        changes.bytes += came * cursor.header.frame_size() as u64;
        match before {
            Some(before) => changes.shrunk += u64::from(cursor.valid.frames < before.valid.frames),
            None => changes.reset += u64::from(self.cursor.is_some()),
        }
        self.seen.state = SqliteState {
            file: SqliteFile::Valid,
            page_size: header.page_size,
            checkpoint_sequence: header.sequence,
            salts: header.salts,
            frames: cursor.valid.frames,
            committed_frames: cursor.committed.frames,
            database_pages: cursor.database_pages,
            checkpointed_frames: self.seen.state.checkpointed_frames.filter(|_| before.is_some()),
        };
        self.cursor = Some(cursor);
        Ok(true)
    }

    fn read_index(&mut self) -> Result<()> {
        let (Some(index), Some(cursor)) = (&self.index, &self.cursor) else { return Ok(()) };
        let Some(file) = open(index)? else { return Ok(()) };
        let mut bytes = [0; INDEX_LEN];
        read_full_at(&*file, &mut bytes, 0).map_err(|e| Error::io("read", index, e))?;
        // In the middle of a change it doesn't tell; what it told before still holds.
        if let Some(found) = backfilled(&bytes, &cursor.header_bytes) {
            let known = self.seen.state.checkpointed_frames.replace(found).unwrap_or(0);
            self.seen.changes.checkpointed_frames += u64::from(found.saturating_sub(known));
        }
        Ok(())
    }
}

impl Tail<SqliteState> for SqliteTail {
    fn look(&mut self) -> Result<()> {
        let Some(file) = open(&self.path)? else {
            self.forget(SqliteFile::Missing);
            return Ok(());
        };
        for _ in 0..TRIES {
            if self.read_on(&*file).map_err(|e| Error::io("read", &self.path, e))? {
                return self.read_index();
            }
        }
        // It is restarted faster than it can be read. The next look may be luckier.
        Ok(())
    }

    fn seen(&self) -> &WalEvent<SqliteState> {
        &self.seen
    }
}

impl Cursor {
    fn new(header_bytes: [u8; HEADER_LEN], header: Header) -> Self {
        let start = Place { frames: 0, checksum: header.checksum };
        Cursor {
            header_bytes,
            header,
            valid: start,
            committed: start,
            last_committed: [0; FRAME_HEADER_LEN],
            uncommitted: DefaultHasher::new(),
            database_pages: 0,
        }
    }

    /// What of it still stands in the file: all, or up to the last commit, or nothing.
    fn standing(&self, file: &dyn StorageFile) -> io::Result<Self> {
        let len = file.len()?;
        let mut frame = [0; FRAME_HEADER_LEN];
        if let Some(last) = self.committed.frames.checked_sub(1) {
            let n = read_full_at(file, &mut frame, self.position(last))?;
            if len < self.position(self.committed.frames) || n < frame.len() || frame != self.last_committed {
                return Ok(Cursor::new(self.header_bytes, self.header));
            }
        }
        let mut uncommitted = DefaultHasher::new();
        for i in self.committed.frames..self.valid.frames {
            read_full_at(file, &mut frame, self.position(i))?;
            uncommitted.write(&frame);
        }
        if len < self.position(self.valid.frames) || uncommitted.finish() != self.uncommitted.finish() {
            return Ok(Cursor { valid: self.committed, uncommitted: DefaultHasher::new(), ..self.clone() });
        }
        Ok(self.clone())
    }

    /// Where the frame stands that has so many before it.
    fn position(&self, frames: u64) -> u64 {
        HEADER_LEN as u64 + frames * self.header.frame_size() as u64
    }

    /// Goes on over the valid frames that follow.
    fn advance(&mut self, file: &dyn StorageFile, buf: &mut Vec<u8>) -> io::Result<()> {
        buf.resize(self.header.frame_size(), 0);
        loop {
            let n = read_full_at(file, buf, self.position(self.valid.frames))?;
            if n < buf.len() {
                return Ok(());
            }
            let Some(pages) = self.header.accept(buf, &mut self.valid.checksum) else { return Ok(()) };
            self.valid.frames += 1;
            let frame_header = &buf[..FRAME_HEADER_LEN];
            self.uncommitted.write(frame_header);
            if pages > 0 {
                (self.committed, self.database_pages) = (self.valid, pages);
                self.last_committed.copy_from_slice(frame_header);
                self.uncommitted = DefaultHasher::new();
            }
        }
    }
}

/// The path of a WAL's index.
fn index_path(wal: &Path) -> Option<PathBuf> {
    let name = wal.file_name()?.to_str()?.strip_suffix("-wal")?;
    Some(wal.with_file_name(format!("{name}-shm")))
}

/// Opens a file; `None` if it doesn't exist.
fn open(path: &Path) -> Result<Option<Arc<dyn StorageFile>>> {
    match DiskStorage.open(path, Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("open", path, e)),
    }
}
