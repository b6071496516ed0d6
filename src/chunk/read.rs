//! Reading chunks by position: a file is opened for a read, a few files stay open, and no file is read after its
//! chunk was removed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use crate::config::ClosedReads;
use crate::error::{Error, Result};
use crate::format::{Header, Salt};
use crate::position::ChunkId;
use crate::storage::{Access, Storage, StorageFile};

/// Files of closed chunks that stay open between reads.
const OPEN_MAX: usize = 64;

/// The pause between two looks of a closed log for readers of its maps.
const UNMAP_PAUSE: Duration = Duration::from_micros(50);

/// The file of one chunk, as its readers share it.
#[derive(Debug)]
pub(crate) struct ChunkFile {
    header: Header,
    salt: Salt,
    handle: RwLock<Handle>,
}

#[derive(Debug)]
enum Handle {
    Shut,
    Open(OpenFile),
    /// The log is closed: no read starts. A running read already has the file from here.
    LetGo(Weak<dyn StorageFile>),
    /// The chunk is removed; its file may have another life already.
    Gone,
}

impl Handle {
    fn let_go(&mut self) -> bool {
        match self {
            Handle::Open(open) if open.is_held() => false,
            Handle::Open(_) => {
                *self = Handle::Shut;
                true
            }
            Handle::Shut | Handle::LetGo(_) | Handle::Gone => true,
        }
    }
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<dyn StorageFile>,
    /// Its bytes in memory. The file stays open beside it, because it has readers of its own.
    map: Option<Arc<dyn StorageFile>>,
}

impl OpenFile {
    fn new(file: Arc<dyn StorageFile>) -> Self {
        OpenFile { file, map: None }
    }

    /// Whether anybody but the chunk holds it.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.file) > 1 || self.map.as_ref().is_some_and(|map| Arc::strong_count(map) > 1)
    }
}

impl ChunkFile {
    pub(crate) fn shut(header: Header) -> Self {
        Self::new(header, Handle::Shut)
    }

    pub(crate) fn open(header: Header, file: Arc<dyn StorageFile>) -> Self {
        Self::new(header, Handle::Open(OpenFile::new(file)))
    }

    fn new(header: Header, handle: Handle) -> Self {
        ChunkFile { header, salt: Salt::new(header.salt), handle: RwLock::new(handle) }
    }

    pub(crate) fn id(&self) -> ChunkId {
        ChunkId(self.header.chunk_id)
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn salt(&self) -> &Salt {
        &self.salt
    }

    /// The file, if it is open; doesn't wait for a thread that is just opening it.
    pub(crate) fn opened(&self) -> Option<Arc<dyn StorageFile>> {
        match &*self.handle.try_read()? {
            Handle::Open(open) => Some(open.file.clone()),
            Handle::Shut | Handle::LetGo(_) | Handle::Gone => None,
        }
    }

    /// The file's map, if there is one.
    fn mapped(&self) -> Option<Arc<dyn StorageFile>> {
        match &*self.handle.read() {
            Handle::Open(open) => open.map.clone(),
            Handle::Shut | Handle::LetGo(_) | Handle::Gone => None,
        }
    }

    /// Closes the file, unless a reader holds it: [`retire`](Self::retire) must see that reader. Returns whether the
    /// file was closed.
    fn let_go(&self) -> bool {
        self.handle.write().let_go()
    }

    /// The same, but doesn't wait for a thread that is just opening the file.
    fn try_let_go(&self) -> bool {
        self.handle.try_write().is_some_and(|mut handle| handle.let_go())
    }

    /// Lets go of the file for good: the log is closed.
    pub(crate) fn end(&self) {
        let mut handle = self.handle.write();
        if let Handle::Open(open) = &*handle {
            *handle = Handle::LetGo(Arc::downgrade(&open.file));
        }
    }

    /// Ends all reading that has not started. `true` if certainly no reader holds the file, so that it may be
    /// overwritten.
    pub(crate) fn retire(&self) -> bool {
        match std::mem::replace(&mut *self.handle.write(), Handle::Gone) {
            // Its map goes here, before anybody can overwrite it.
            Handle::Open(open) => !open.is_held(),
            Handle::Shut => true,
            Handle::LetGo(file) => file.strong_count() == 0,
            // Retired before: a reader that was there then may be there still.
            Handle::Gone => false,
        }
    }
}

/// Files that are open, in the order in which they were opened.
type Opened = Mutex<VecDeque<Arc<ChunkFile>>>;

/// What the logs and readers of this process keep open.
static KEPT: Mutex<Vec<Weak<Opened>>> = Mutex::new(Vec::new());

/// Opens a file; where the process or the system has no descriptor left, gives up the files that are only kept
/// open between reads, those of other logs too, and tries once more.
pub(crate) fn with_a_descriptor<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match open() {
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::MFILE | Errno::NFILE)) => {
            give_up_kept_files();
            open()
        }
        done => done,
    }
}

/// Never waits: a thread that is just opening a file may run this too.
fn give_up_kept_files() {
    for opened in KEPT.lock().iter().filter_map(Weak::upgrade) {
        if let Some(mut opened) = opened.try_lock() {
            opened.retain(|chunk| !chunk.try_let_go());
        }
    }
}

/// Opens chunk files on demand and keeps those opened last open.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    /// `None` once the log is closed.
    storage: RwLock<Option<Arc<dyn Storage>>>,
    dir: PathBuf,
    opened: Arc<Opened>,
    closed_reads: ClosedReads,
    maps: Mutex<Maps>,
}

/// The maps that readers may hold.
#[derive(Debug, Default)]
struct Maps {
    made: Vec<Weak<dyn StorageFile>>,
    /// None is made any more.
    ended: bool,
}

impl OpenFiles {
    pub(crate) fn new(storage: Arc<dyn Storage>, dir: &Path, closed_reads: ClosedReads) -> Self {
        let (opened, maps) = (Arc::<Opened>::default(), Mutex::default());
        let mut kept = KEPT.lock();
        kept.retain(|opened| opened.strong_count() > 0);
        kept.push(Arc::downgrade(&opened));
        OpenFiles { storage: RwLock::new(Some(storage)), dir: dir.to_owned(), opened, closed_reads, maps }
    }

    pub(crate) fn path(&self, id: ChunkId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    /// The file of a chunk; `None` if it was removed meanwhile, or the log closed.
    pub(crate) fn get(&self, chunk: &Arc<ChunkFile>) -> Result<Option<Arc<dyn StorageFile>>> {
        let file = {
            let mut handle = chunk.handle.write();
            match &*handle {
                Handle::Open(open) => return Ok(Some(open.file.clone())),
                Handle::Gone | Handle::LetGo(_) => return Ok(None),
                Handle::Shut => {
                    let path = self.path(chunk.id());
                    let Some(storage) = self.storage.read().clone() else { return Ok(None) };
                    let opened = with_a_descriptor(|| storage.open(&path, Access::Read));
                    let file = opened.map_err(|e| Error::io("open", path, e))?;
                    *handle = Handle::Open(OpenFile::new(file.clone()));
                    file
                }
            }
        };
        self.keep(chunk.clone());
        if self.storage.read().is_none() {
            // Closed meanwhile, before this one was among those kept.
            chunk.end();
        }
        Ok(Some(file))
    }

    /// The map of a closed chunk's file, all of whose `len` bytes are written. `None` where there is none:
    /// the file is read by position then.
    pub(crate) fn map(&self, chunk: &Arc<ChunkFile>, len: u64) -> Option<Arc<dyn StorageFile>> {
        if self.closed_reads == ClosedReads::Positional {
            return None;
        }
        if let Some(map) = chunk.mapped() {
            return Some(map);
        }
        // Ignore the error; the positional read reports it.
        let file = self.get(chunk).ok()??;
        let mut handle = chunk.handle.write();
        let Handle::Open(open) = &mut *handle else { return None };
        if open.map.is_none() {
            let mut maps = self.maps.lock();
            if maps.ended {
                return None;
            }
            let made = file.map(len);
            let made = made.inspect_err(|e| log::debug!("{} can't be mapped: {e}", chunk.id())).ok()??;
            maps.made.retain(|map| map.strong_count() > 0);
            maps.made.push(Arc::downgrade(&made));
            open.map = Some(made);
        }
        open.map.clone()
    }

    /// Opens no more files, and closes those kept and the directory; waits for readers of a map.
    pub(crate) fn close(&self) {
        self.unmap_all();
        *self.storage.write() = None;
        for chunk in self.opened.lock().drain(..) {
            chunk.end();
        }
    }

    /// Makes no more maps, drops all, and waits for their readers: once the log's lock is released, another log may
    /// cut the files. Readers hold a map only while they copy out of it.
    fn unmap_all(&self) {
        self.maps.lock().ended = true;
        while self.maps.lock().made.iter().any(|map| map.strong_count() > 0) {
            // Again and again: a file that is just being opened is not in the line yet.
            for chunk in &*self.opened.lock() {
                if let Handle::Open(open) = &mut *chunk.handle.write() {
                    open.map = None;
                }
            }
            std::thread::sleep(UNMAP_PAUSE);
        }
    }

    /// Counts an open file among those that stay open, and shuts the one that did longest.
    pub(crate) fn keep(&self, chunk: Arc<ChunkFile>) {
        let mut opened = self.opened.lock();
        opened.push_back(chunk);
        // Those that are being read go to the end of the line, each looked at once.
        for _ in 0..opened.len() {
            if opened.len() <= OPEN_MAX {
                break;
            }
            if let Some(oldest) = opened.pop_front()
                && !oldest.let_go()
            {
                opened.push_back(oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::storage::DiskStorage;
    #[cfg(feature = "mmap")]
    use crate::storage::read_full_at;

    /// A chunk's file on the real disk, whose first bytes can be mapped.
    fn chunk_of(files: &OpenFiles, id: u64) -> Arc<ChunkFile> {
        let header =
            Header { chunk_id: id, features: 0, salt: 1, log_id: [0; 16], created_ms: 0, previous_crc: 0 };
        let file = DiskStorage.create(&files.path(ChunkId(id))).unwrap();
        file.write_at(&[IoSlice::new(&[7; 5000])], 0).unwrap();
        Arc::new(ChunkFile::shut(header))
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know the flags that files are opened with")]
    fn a_file_that_is_held_or_was_retired_before_is_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(Arc::new(DiskStorage), dir.path(), ClosedReads::Positional);
        let chunk = chunk_of(&files, 0);
        let held = files.get(&chunk).unwrap().unwrap();
        assert!(files.map(&chunk, 5000).is_none(), "nobody asked for maps");
        assert!(!chunk.let_go());
        assert!(!chunk.retire());
        drop(held);
        assert!(!chunk.retire(), "who held it then may hold it still");
        assert!(files.get(&chunk).unwrap().is_none());

        let chunk = chunk_of(&files, 8);
        drop(files.get(&chunk).unwrap());
        assert!(chunk.retire());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know the flags that files are opened with")]
    fn a_file_that_is_read_when_the_log_is_closed_is_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(Arc::new(DiskStorage), dir.path(), ClosedReads::Positional);
        let (read, kept, shut) = (chunk_of(&files, 0), chunk_of(&files, 8), chunk_of(&files, 16));
        let held = files.get(&read).unwrap().unwrap();
        drop(files.get(&kept).unwrap());
        files.close();
        for chunk in [&read, &kept, &shut] {
            assert!(files.get(chunk).unwrap().is_none());
        }
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(!read.retire());
        assert!(kept.retire());
        assert!(shut.retire());
    }

    #[cfg(feature = "mmap")]
    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know the flags that files are opened with")]
    fn a_map_that_is_held_holds_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(Arc::new(DiskStorage), dir.path(), ClosedReads::Mapped);
        let (read, kept, cut) = (chunk_of(&files, 0), chunk_of(&files, 8), chunk_of(&files, 16));
        let map = files.map(&read, 4999).unwrap();
        assert_eq!(map.len().unwrap(), 4999);
        assert_eq!(read_full_at(&*map, &mut [0; 10], 4990).unwrap(), 9);
        assert_eq!(read_full_at(&*map, &mut [0; 10], u64::MAX).unwrap(), 0);
        assert!(files.map(&cut, 5001).is_none(), "the file is shorter");
        assert!(!read.let_go());
        assert!(!read.retire());

        drop(files.map(&kept, 5000).unwrap());
        assert!(kept.let_go());
        drop(files.map(&kept, 5000).unwrap());
        assert!(kept.retire());
        assert!(files.map(&kept, 5000).is_none());
        drop(map);
    }

    #[cfg(feature = "mmap")]
    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know the flags that files are opened with")]
    fn a_log_that_ends_waits_for_reads_in_a_map() {
        let dir = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(Arc::new(DiskStorage), dir.path(), ClosedReads::Mapped);
        let chunk = chunk_of(&files, 0);
        let map = files.map(&chunk, 5000).unwrap();
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                files.unmap_all();
                ended.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            std::thread::sleep(Duration::from_millis(20));
            assert!(!ended.load(std::sync::atomic::Ordering::SeqCst));
            drop(map);
        });
        assert!(files.map(&chunk, 5000).is_none());
        assert!(files.get(&chunk).unwrap().is_some(), "by position it can be read");
    }
}
