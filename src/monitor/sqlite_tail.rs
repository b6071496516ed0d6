//! An SQLite WAL as its file shows it: how many frames are valid, and how many of them are committed.
//!
//! ```text
//! | header | frame | frame, commit | frame | frame | not valid ...
//!                          committed ^       valid ^: the next look continues here
//! ```
//!
//! - The running checksum is kept, so a look reads only new bytes, and three kinds of headers again:
//!   the file's, the last committed frame's, and those of the frames after it.
//! - Frames after the last commit are not final: a rollback, for example to a savepoint, overwrites
//!   frames from its start on, with the same salts, and leaves later frames as they are.
//! - A checkpoint doesn't change the file. The next writer does: it restarts the file with new salts,
//!   or the file is truncated, or deleted with the last connection. Only the index, the file that ends
//!   in `-shm`, says how much is checkpointed; it is read where the user asks for it.

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
    /// There is no file: no connection is open, or the database is not in WAL mode.
    #[default]
    Missing,
    /// The file has no bytes: nothing was written yet, or a checkpoint has truncated it.
    Empty,
    /// The file is not a WAL. SQLite treats it as empty.
    Invalid(SqliteDefect),
    /// The file is a WAL.
    Valid,
}

/// The state of an SQLite WAL. Numbers are 0 unless the file is [`Valid`](SqliteFile::Valid).
///
/// The file can't show how much of it is on stable storage: that depends on the writer's `synchronous`
/// setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteState {
    /// What is at the path.
    pub file: SqliteFile,
    /// The bytes of a page.
    pub page_size: u32,
    /// How many checkpoints there were, by the file's header.
    pub checkpoint_sequence: u32,
    /// The salts of this life of the file. A restart adds one to the first salt; the second is random.
    pub salts: [u32; 2],
    /// The number of valid frames. A transaction that is not committed yet may rewrite its own frames;
    /// the count shows that only after the commit.
    pub frames: u64,
    /// The number of frames up to the last commit: the frames that a reader of the database sees, and
    /// that a crash leaves.
    pub committed_frames: u64,
    /// The database's size, in pages, after the last commit.
    pub database_pages: u32,
    /// The number of frames that a checkpoint has copied into the database, if the WAL's index was read
    /// and says it.
    pub checkpointed_frames: Option<u32>,
}

/// An SQLite WAL that is followed.
#[derive(Debug)]
pub(super) struct SqliteTail {
    path: PathBuf,
    /// The `-shm` file, if it is to be read.
    index: Option<PathBuf>,
    seen: WalEvent<SqliteState>,
    /// `None` unless the file is valid.
    cursor: Option<Cursor>,
    /// A buffer for a frame.
    buf: Vec<u8>,
}

/// How far a WAL was read.
#[derive(Debug, Clone)]
struct Cursor {
    header_bytes: [u8; HEADER_LEN],
    header: Header,
    valid: Place,
    committed: Place,
    /// The header of the last committed frame, which shows whether the frame is still the same.
    last_committed: [u8; FRAME_HEADER_LEN],
    /// A hash of the headers of the frames after it.
    uncommitted: DefaultHasher,
    database_pages: u32,
}

/// A position after a frame.
#[derive(Debug, Clone, Copy)]
struct Place {
    frames: u64,
    /// The checksum of everything before.
    checksum: Checksum,
}

impl SqliteTail {
    pub(super) fn new(path: PathBuf, read_index: bool) -> Self {
        let index = read_index.then(|| index_path(&path)).flatten();
        SqliteTail { path, index, seen: WalEvent::default(), cursor: None, buf: Vec::new() }
    }

    /// Records that the file is not, or no longer, a WAL.
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

    /// Reads the file's new bytes; returns `false`, and records nothing, if the file changes during the
    /// look.
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
            Some(cursor) => cursor.unchanged_part(file)?,
            None => Cursor::new(header_bytes, header),
        };
        let from = cursor.valid.frames;
        cursor.advance(file, &mut self.buf)?;
        // A restart writes the header first: so frames may be new while the header that was read is the
        // old one.
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
        // In the middle of a change the index says nothing; its last number still holds.
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
        // The file is restarted faster than it can be read. The next look may be luckier.
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

    /// Returns the part of the cursor that still holds for the file: all, or up to the last commit, or
    /// nothing.
    fn unchanged_part(&self, file: &dyn StorageFile) -> io::Result<Self> {
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

    /// Returns the offset of the frame that has `frames` frames before it.
    fn position(&self, frames: u64) -> u64 {
        HEADER_LEN as u64 + frames * self.header.frame_size() as u64
    }

    /// Moves over the valid frames that follow.
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
