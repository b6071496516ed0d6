//! [`MemoryStorage`]: a disk in memory that crashes and fails on request.
//!
//! ```text
//! Storage, StorageFile ─► calls ─► medium ─► names   a directory: current, durable, pending
//!                          fault             file    a file: current, durable, versions of pages
//!                                  crash ─► another medium
//! ```
//!
//! - Everything is under one lock, which is held during an operation, never during a test's hook.
//! - Nothing depends on time, addresses or hash seeds: the same operations give the same disk.

mod bytes;
mod calls;
mod crash;
mod fault;
mod file;
mod medium;
mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use parking_lot::{Condvar, Mutex};

use self::bytes::PAGE;
pub use self::fault::{Fault, FaultHow, Op, OpKind};
use self::medium::{Medium, Node};
use crate::random::{STEP, mix};

/// A disk in memory that crashes and fails on request.
///
/// For tests: of this crate, and of your own state machine on top of it. A test runs its workload on a
/// `MemoryStorage`, cuts the power somewhere, and opens the log again on a disk as a real power loss
/// might leave it.
///
/// ```text
/// workload ─► MemoryStorage ──crash(seed)──► another MemoryStorage ─► open again, compare
///                 │         ──crash_states──► all possible ones, if there are few
///                 └───────────kill─────────► the same page cache, without handles and locks
/// ```
///
/// ```
/// use std::io::IoSlice;
/// use std::path::Path;
/// use chunked_wal::storage::{MemoryStorage, Storage};
///
/// # fn main() -> std::io::Result<()> {
/// let disk = MemoryStorage::default();
/// let file = disk.create(Path::new("/log"))?;
/// disk.sync_dir(Path::new("/"))?;
/// file.write_at(&[IoSlice::new(b"synced")], 0)?;
/// file.sync()?;
/// file.write_at(&[IoSlice::new(b"SYNCED, and more")], 0)?;
///
/// for seed in 0..100 {
///     let left = disk.crash(seed).read_file("/log").unwrap_or_default();
///     assert!(left.starts_with(b"synced") || left.starts_with(b"SYNCED"));
/// }
/// # Ok(())
/// # }
/// ```
///
/// # What a crash may do
///
/// - To bytes: each unsynced write is kept, lost, or torn, at sectors (512 bytes) or pages (4 KiB), any
///   subset of them, whatever the order of the writes. A sector that was written before its file's last
///   sync holds the bytes after one of the operations since, or those before all of them (powersafe
///   overwrite). A sector that was not may also be torn at any byte.
/// - To a file's size: the file has one of its sizes since the last sync, independent of the bytes:
///   size without data reads as zeros, data without size is cut off. A lost cut restores the bytes
///   that were cut.
/// - To names: each create, rename and remove since the directory's last sync is kept or lost by
///   itself. A rename is atomic, as on file systems with a journal; see
///   [`set_torn_renames`](Self::set_torn_renames). A name may be there without the file's bytes.
/// - Never: lose synced bytes or names.
///
/// Switches make the disk less kind: [`set_reserved_sizes`](Self::set_reserved_sizes),
/// [`set_fresh_space`](Self::set_fresh_space), [`set_sector_size`](Self::set_sector_size),
/// [`set_unreadable_sectors`](Self::set_unreadable_sectors), and, without a crash,
/// [`set_evictions`](Self::set_evictions). Each says whether the log's promises cover it. By default
/// all are off.
///
/// # Paths
///
/// Absolute, of any depth; a relative path starts at `/`, which always exists. `.` and `..` are
/// resolved; there are no links.
///
/// # Operations
///
/// A clone is the same disk; [`crash`](Self::crash) and [`kill`](Self::kill) make new disks that share
/// nothing with it. A call through [`Storage`](super::Storage) or [`StorageFile`](super::StorageFile)
/// is an operation. The methods here are not operations: they are not counted, logged or failed.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,

    /// Notified when syncs may no longer be paused.
    resumed: Condvar,
}

#[derive(Default)]
struct State {
    disk: Medium,
    control: Control,
}

/// The switches and faults that a test has set.
#[derive(Default)]
struct Control {
    operations: u64,

    /// Operations with this number and later ones fail.
    fails_from: Option<u64>,
    faults: Vec<Fault>,
    log: Option<Vec<String>>,
    hook: Option<Hook>,
    syncs_paused: bool,
}

impl Control {
    /// Whether an operation with this number comes after the crash.
    fn is_crashed(&self, number: u64) -> bool {
        self.fails_from.is_some_and(|from| number >= from)
    }
}

type Hook = Arc<dyn Fn(&Op) + Send + Sync>;

/// Power and processes.
impl MemoryStorage {
    fn with(disk: Medium) -> Self {
        let state = Mutex::new(State { disk, control: Control::default() });
        Self { shared: Arc::new(Shared { state, resumed: Condvar::new() }) }
    }

    /// Returns one disk that a power loss at this moment could leave. The same state and `seed` give
    /// the same disk. Seed 0 loses all unsynced changes, seed 1 keeps them; other seeds are drawn, and
    /// edge cases (exactly one operation lost, kept or torn) come often.
    ///
    /// The new disk has no handles, locks, faults, hook or log; its operations count from 0.
    pub fn crash(&self, seed: u64) -> Self {
        Self::with(crash::draw(&self.shared.state.lock().disk, seed))
    }

    /// Returns every disk that a power loss at this moment could leave, without tears within a sector;
    /// `None` if there are more than `limit`. The list may have duplicates. (Of a page with more than
    /// 64 unsynced writes, 64 are known.)
    pub fn crash_states(&self, limit: usize) -> Option<Vec<Self>> {
        let disks = crash::enumerate(&self.shared.state.lock().disk, limit)?;
        Some(disks.into_iter().map(Self::with).collect())
    }

    /// Returns the disk after the process was killed while the machine runs on: all written bytes are
    /// read back, and unsynced ones may still be lost in a later crash. Handles and locks are gone.
    pub fn kill(&self) -> Self {
        Self::with(self.shared.state.lock().disk.without_process())
    }

    /// Lets `n` more operations (those that [`operations`](Self::operations) counts) through; then
    /// everything fails, reading included. 0 cuts the power now: operations under way fail too, such as
    /// a paused sync, or the operation whose [hook](Self::on_operation) calls this method.
    ///
    /// The disk's contents stay as they are: [`crash`](Self::crash) or [`kill`](Self::kill) returns
    /// them.
    pub fn crash_after(&self, n: u64) {
        let control = &mut self.shared.state.lock().control;
        control.fails_from = Some(if n == 0 { 0 } else { control.operations.saturating_add(n) });
        self.shared.resumed.notify_all();
    }

    /// Returns how many operations that change or sync something were asked for so far: create, write,
    /// sync, allocate, set_len, rename, remove, directory sync, and each directory made. Failed ones
    /// count.
    pub fn operations(&self) -> u64 {
        self.shared.state.lock().control.operations
    }

    /// Makes everything durable, including changes whose sync failed.
    pub fn sync_everything(&self) {
        self.shared.state.lock().disk.settle();
    }

    /// Sets whether a crash may leave both the old and the new name of a rename, as on file systems
    /// without a journal. Default: off.
    pub fn set_torn_renames(&self, torn: TornRenames) {
        self.shared.state.lock().disk.torn_renames = torn == TornRenames::Possible;
    }

    /// Sets whether a [`crash`](Self::crash) may leave the sector in which a write was torn unreadable;
    /// not among [`crash_states`](Self::crash_states). Default: off. The log's promises don't cover it:
    /// such a sector may hold acknowledged records, if new ones were appended to it.
    /// [`cut_unreadable_tail`](crate::OpenOptions::cut_unreadable_tail) decides what happens to it.
    pub fn set_unreadable_sectors(&self, unreadable: UnreadableSectors) {
        self.shared.state.lock().disk.unreadable_sectors = unreadable == UnreadableSectors::Possible;
    }

    /// Sets what a [`crash`](Self::crash) may do to the bytes beside a torn write; not among
    /// [`crash_states`](Self::crash_states). The log's promises hold only for [`SectorSize::Bytes512`]:
    /// a 4 KiB sector that is lost as a whole takes acknowledged records with it.
    pub fn set_sector_size(&self, size: SectorSize) {
        self.shared.state.lock().disk.sectors = size;
    }

    /// Sets what a [`crash`](Self::crash) may leave in space that was reserved and not written; not
    /// among [`crash_states`](Self::crash_states). The log's promises cover it.
    pub fn set_fresh_space(&self, fresh: FreshSpace) {
        self.shared.state.lock().disk.fresh_space = fresh;
    }

    /// Sets whether a file's sync makes a size durable that is only reserved. Data always has its size.
    /// The log's promises cover it.
    pub fn set_reserved_sizes(&self, sizes: ReservedSizes) {
        self.shared.state.lock().disk.reserved_sizes = sizes;
    }

    /// Sets when pages are evicted that are clean and not on the medium. Default: never. After an
    /// eviction a read finds the medium's bytes again, so bytes that were written but not synced may
    /// not survive the process. The log's promises cover it.
    pub fn set_evictions(&self, evictions: Evictions) {
        self.shared.state.lock().disk.evictions = match evictions {
            Evictions::Never => None,
            Evictions::Drawn(seed) => Some(seed),
        };
    }

    /// Whether [`set_evictions`](Self::set_evictions) has chosen evictions.
    pub(crate) fn evicts(&self) -> bool {
        self.shared.state.lock().disk.evictions.is_some()
    }

    /// Evicts all these pages now.
    pub fn evict(&self) {
        self.shared.state.lock().disk.evict();
    }
}

/// Whether a crash may leave an unreadable sector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnreadableSectors {
    /// A sector under write holds old or new bytes.
    #[default]
    Impossible,
    /// Reading the sector in which a write was torn is `EIO`, until the sector is written as a whole.
    Possible,
}

/// The unit that the disk rewrites as a whole or not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SectorSize {
    /// 512 bytes: bytes beside a torn write are not touched.
    #[default]
    Bytes512,
    /// 4 KiB: where a write is torn, the 4 KiB around it may have any contents.
    Bytes4096,
}

/// The contents, after a crash, of space that was reserved and not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FreshSpace {
    /// Zeros.
    #[default]
    Zeros,
    /// Older bytes of the disk: those of another file, or any.
    OlderBytes,
}

/// What a file's sync does to a size after the last written byte, as an allocation leaves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReservedSizes {
    /// The size is durable.
    #[default]
    Durable,
    /// A crash may lose the size: `fdatasync` need not write metadata that no data needs.
    MayBeLost,
}

/// When the page cache forgets clean pages.
///
/// This matters only for pages whose sync failed ([`FaultHow::SyncLies`]): they are clean, but differ
/// from the medium.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Evictions {
    /// Never.
    #[default]
    Never,
    /// Before each read, each such page of the file with a chance of one in four, drawn from this seed.
    Drawn(u64),
}

/// Whether a crash may come between the two halves of a rename.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TornRenames {
    /// It may not, because the file system has a journal.
    #[default]
    Impossible,
    /// It may, and then both names lead to the file.
    Possible,
}

/// Faults.
impl MemoryStorage {
    /// Arms a fault. Several may be armed, and all count every operation; where two strike the same
    /// operation, the one that was armed first happens, and the other waits for the next operation.
    pub fn fail(&self, fault: Fault) {
        self.shared.state.lock().control.faults.push(fault);
    }

    /// Disarms all faults.
    pub fn heal(&self) {
        self.shared.state.lock().control.faults.clear();
    }

    /// Limits the space that files may take, in bytes; beyond it, writes and allocations fail with
    /// `ENOSPC`, and a write that fits in part is cut short. Space is taken in blocks of 4 KiB, by
    /// allocation or by the first write there; cutting a file frees its space, and so does removing a
    /// file that has no handle.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.state.lock().disk.capacity = bytes;
    }

    /// Returns the bytes of space that files take, in whole blocks.
    pub fn used(&self) -> u64 {
        self.shared.state.lock().disk.used_pages() * PAGE as u64
    }

    /// Calls `hook` before every operation, on the operation's thread and with nothing locked: the hook
    /// may wait, panic, or use this disk. The operation happens when the hook returns.
    pub fn on_operation(&self, hook: impl Fn(&Op) + Send + Sync + 'static) {
        self.shared.state.lock().control.hook = Some(Arc::new(hook));
    }

    /// While paused, syncs of files and directories wait; [`crash_after(0)`](Self::crash_after) wakes
    /// them to fail.
    pub fn pause_syncs(&self, paused: bool) {
        self.shared.state.lock().control.syncs_paused = paused;
        self.shared.resumed.notify_all();
    }

    /// Starts a new log of operations, or ends it.
    ///
    /// Each line has the operation and its name: `create a`, `write a 64@0`, `sync a`, `allocate a
    /// 4096`, `set_len a 104`, `rename a -> b`, `remove b`, `sync dir`, `create dir c`; and `: EIO` or
    /// the like at the end if it failed. A file has its name at that time. The random part of a
    /// temporary name is left out: `spare-*.tmp`. A sync by
    /// [`create_dir`](crate::storage::Storage::create_dir) is `sync dir /its/path`.
    pub fn record(&self, on: bool) {
        self.shared.state.lock().control.log = on.then(Vec::new);
    }

    /// Returns the log since it was started or last taken; recording goes on.
    pub fn take_log(&self) -> Vec<String> {
        self.shared.state.lock().control.log.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Direct access to files, without operations.
impl MemoryStorage {
    /// Returns a file's bytes, as a read would find them.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        let id = state.disk.resolve_file(path.as_ref()).ok()?;
        Some(state.disk.file(id).ok()?.current().to_vec())
    }

    /// Puts a file in place, or replaces its contents; durable at once, directories above it included.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        self.shared.state.lock().disk.put_file(path.as_ref(), bytes)
    }

    /// Removes a file; durable at once.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.shared.state.lock().disk.take_file(path.as_ref())
    }

    /// Flips one bit of a file, on the medium and in the page cache. Bit 0 is the lowest of the
    /// first byte, bit 8 the lowest of the second.
    pub fn flip_bit(&self, path: impl AsRef<Path>, bit: u64) -> io::Result<()> {
        let disk = &mut self.shared.state.lock().disk;
        let id = disk.resolve_file(path.as_ref())?;
        disk.file_mut(id)?.flip(bit / 8, 1 << (bit % 8))
    }

    /// Returns the names of the files in a directory, sorted; none if the directory doesn't exist.
    pub fn files(&self, dir: impl AsRef<Path>) -> Vec<String> {
        let names = self.shared.state.lock().disk.list(dir.as_ref()).unwrap_or_default();
        let names = names.into_iter().map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| !name.ends_with('/')).collect()
    }

    /// Returns all files with all their bytes: for small disks only.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = &self.shared.state.lock().disk;
        let bytes = |id| disk.file(id).ok().map(|file| file.current().to_vec());
        disk.walk().into_iter().filter_map(|(path, id)| Some((path, bytes(id)?))).collect()
    }

    /// Returns a number that changes when a name, a size or a byte does.
    pub fn digest(&self) -> u64 {
        let disk = &self.shared.state.lock().disk;
        let mut digest = Digest::default();
        for (path, id) in disk.walk() {
            digest.add(path.as_os_str().as_encoded_bytes());
            let Some(Node::File(file)) = disk.nodes.get(&id) else { continue };
            digest.add(&file.current().len().to_le_bytes());
            for (index, page) in file.current().pages().filter(|(_, page)| page.bytes != [0; PAGE]) {
                digest.add(&index.to_le_bytes());
                digest.add(&page.bytes);
            }
        }
        digest.0
    }
}

/// A hash, 8 bytes at a time.
#[derive(Default)]
struct Digest(u64);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn mix(&mut self, word: u64) {
        self.0 = mix(self.0.rotate_left(5) ^ word).wrapping_add(STEP);
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A hook that prints, or a panic while the lock is held, must not wait for itself.
        let Some(state) = self.shared.state.try_lock() else { return f.write_str("MemoryStorage { .. }") };
        let paths: Vec<PathBuf> = state.disk.walk().into_iter().map(|(path, _)| path).collect();
        f.debug_struct("MemoryStorage")
            .field("operations", &state.control.operations)
            .field("paths", &paths)
            .finish()
    }
}
