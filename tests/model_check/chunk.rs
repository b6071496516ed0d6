//! What the modelled files work on: a log without bytes. Offsets are all that there is, and the disk checks what
//! must be true of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};

use crate::error::{Error, Result};
use crate::flush::Flush;
use crate::format::{Header, Seal};
use crate::position::ChunkId;
use crate::storage::Storage;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};

/// The failure of the operation with this number.
pub(crate) fn failure(operation: u64) -> Error {
    Error::io("sync", "chunk", std::io::Error::other(operation.to_string()))
}

/// Accepted and not written. It comes in pieces of two bytes at most.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    written: AtomicU64,
}

pub(crate) struct Unwritten {
    pub(crate) start: u64,
    end: u64,
}

impl Tail {
    pub(crate) fn next(&self, end: u64) -> Option<Unwritten> {
        let start = self.written.load(Ordering::SeqCst);
        (start < end).then(|| Unwritten { start, end: end.min(start + 2) })
    }

    pub(crate) fn written(&self, piece: Unwritten) {
        self.written.store(piece.end, Ordering::SeqCst);
    }
}

impl Unwritten {
    /// As many as there would be.
    pub(crate) fn bytes(&self) -> &'static [u8] {
        &[0; 2][..(self.end - self.start) as usize]
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}

/// A chunk as its readers share it.
#[derive(Debug)]
pub(crate) struct ChunkFile(pub(crate) Header);

impl ChunkFile {
    pub(crate) fn header(&self) -> &Header {
        &self.0
    }
}

/// All files, and how far the log has got in them.
#[derive(Debug)]
pub(crate) struct Disk {
    state: Mutex<DiskState>,
    marks: Condvar,
}

#[derive(Debug)]
struct DiskState {
    /// Writes, syncs and names to come before one fails.
    fails_after: u64,
    written: u64,
    synced: u64,
    /// The end of the last chunk that was sealed.
    sealed: u64,
    /// Where the last mark was written.
    marked: u64,
    /// A chunk has been named, and the directory was not synced since.
    name_pending: bool,
    failed: bool,
}

impl Disk {
    pub(crate) fn new(fails_after: u64) -> Arc<Self> {
        let state = DiskState {
            fails_after,
            written: 0,
            synced: 0,
            sealed: 0,
            marked: 0,
            name_pending: false,
            failed: false,
        };
        Arc::new(Disk { state: Mutex::new(state), marks: Condvar::new() })
    }

    /// Waits for the mark that a log writes when it has been quiet, or for the failure after which it writes none.
    pub(crate) fn wait_marked(&self, at: u64) {
        let mut state = self.state.lock();
        while state.marked < at && !state.failed {
            self.marks.wait(&mut state);
        }
    }

    /// How far a flush of this kind has got.
    pub(crate) fn reached(&self, mode: Flush) -> u64 {
        let state = self.state.lock();
        match mode {
            Flush::Write => state.written,
            Flush::Sync => state.synced,
        }
    }

    fn operation(&self, work: impl FnOnce(&mut DiskState)) -> std::io::Result<()> {
        let mut state = self.state.lock();
        match state.fails_after.checked_sub(1) {
            None => {
                state.failed = true;
                self.marks.notify_all();
                Err(std::io::Error::other("0"))
            }
            Some(left) => {
                state.fails_after = left;
                work(&mut state);
                Ok(())
            }
        }
    }
}

impl Storage for Disk {
    fn rename_new(&self, _: &Path, _: &Path) -> std::io::Result<()> {
        self.operation(|state| {
            assert_eq!(state.synced, state.written, "a name for what may be lost");
            assert!(!state.name_pending, "a second name that may be lost");
            state.name_pending = true;
        })
    }

    fn sync_dir(&self, _: &Path) -> std::io::Result<()> {
        self.operation(|state| state.name_pending = false)
    }
}

/// Cutting a file is no part of the model.
#[derive(Debug)]
pub(crate) struct Cut;

/// As the crate's: the same methods, on the model's disk.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    id: ChunkId,
    path: PathBuf,
    disk: Arc<Disk>,
    is_marked: bool,
}

impl ChunkWriter {
    pub(crate) fn new(header: &Header, path: PathBuf, disk: Arc<Disk>) -> Self {
        ChunkWriter { id: ChunkId(header.chunk_id), path, disk, is_marked: false }
    }

    pub(crate) fn for_records(self, _: &Header, _: u64, _: u64, _: u64) -> Self {
        self
    }

    pub(crate) fn id(&self) -> ChunkId {
        self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        self.is_marked = false;
        let done = self.disk.operation(|state| {
            assert_eq!(offset, state.written, "a gap, or the same again");
            assert!(state.sealed == self.id.0, "written to a chunk that is not the open one");
            state.written += bytes.len() as u64;
        });
        done.map_err(|_| failure(0))
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        // What it makes durable is what was written when it began.
        let written = self.disk.state.lock().written;
        shuttle::thread::yield_now();
        self.disk.operation(|state| state.synced = written).map_err(|_| failure(0))
    }

    pub(crate) fn seal(self, seal: &Seal) -> Result<Cut> {
        let end = self.id.0 + seal.data_len;
        let done = self.disk.operation(|state| {
            assert_eq!((state.synced, state.written), (end, end), "a seal of what may be lost");
            state.sealed = end;
        });
        done.map(|()| Cut).map_err(|_| failure(0))
    }

    pub(crate) fn is_marked(&self) -> bool {
        self.is_marked
    }

    pub(crate) fn mark(&mut self, end: u64) -> Result<()> {
        let mut state = self.disk.state.lock();
        assert_eq!((state.synced, state.written), (end, end), "a mark after what may be lost");
        assert!(!state.name_pending, "a mark under a name that may be lost");
        state.marked = end;
        self.is_marked = true;
        self.disk.marks.notify_all();
        Ok(())
    }

    pub(crate) fn close(&mut self, end: u64) -> Result<()> {
        self.mark(end)
    }

    pub(crate) fn zero_ahead(&mut self, end: u64, bytes: u64) -> Result<()> {
        let state = self.disk.state.lock();
        assert_eq!((state.synced, state.written), (end - bytes, end), "zeros for another sync");
        Ok(())
    }

    pub(crate) fn take_spare_piece(&mut self) -> bool {
        thread_rng().r#gen()
    }
}
