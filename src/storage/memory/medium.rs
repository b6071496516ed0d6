//! The disk itself: numbered files and directories, and their names.
//!
//! - Node 0 is the root directory.
//! - A node lives as long as a handle is open on it, or a name leads to it now or after some crash.
//! - Every change has a number, so that a crash can name one operation in all places that it touched.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::io::{ErrorKind, IoSlice};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::bytes::{Bytes, PAGE, pieces};
use super::file::Inode;
use super::names::{Change, Directory};
use super::{FreshSpace, ReservedSizes, SectorSize};
use crate::random::mix;

/// The root directory.
pub(super) const ROOT: u64 = 0;

/// A file or a directory.
#[derive(Clone)]
pub(super) enum Node {
    File(Inode),
    Dir(Directory),
}

/// A disk.
#[derive(Clone)]
pub(super) struct Medium {
    pub(super) nodes: BTreeMap<u64, Node>,

    /// Files with an advisory lock.
    pub(super) locks: BTreeSet<u64>,

    /// The most bytes that files may take.
    pub(super) capacity: Option<u64>,

    /// Whether a crash may leave both names of a rename.
    pub(super) torn_renames: bool,

    /// Whether a crash may leave a sector under write unreadable.
    pub(super) unreadable_sectors: bool,

    /// What a crash may do to the 4 KiB around a torn write.
    pub(super) sectors: SectorSize,

    /// What a crash may leave in space that was reserved and not written.
    pub(super) fresh_space: FreshSpace,

    /// Whether a file's sync makes a size durable that was only reserved.
    pub(super) reserved_sizes: ReservedSizes,

    /// The seed from which evictions of clean pages that are not on the medium are drawn before a read.
    pub(super) evictions: Option<u64>,
    next_id: u64,
    next_op: u64,
}

impl Default for Medium {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Dir(Directory::default()))]),
            locks: BTreeSet::new(),
            capacity: None,
            torn_renames: false,
            unreadable_sectors: false,
            sectors: SectorSize::default(),
            fresh_space: FreshSpace::default(),
            reserved_sizes: ReservedSizes::default(),
            evictions: None,
            next_id: ROOT + 1,
            next_op: 0,
        }
    }
}

impl Medium {
    /// A disk with the same settings and other contents.
    pub(super) fn with_nodes(&self, nodes: BTreeMap<u64, Node>) -> Self {
        Self { nodes, locks: BTreeSet::new(), ..*self }
    }

    /// A number for the next change.
    fn next_op(&mut self) -> u64 {
        self.next_op += 1;
        self.next_op
    }

    fn add_node(&mut self, node: Node) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.nodes.insert(id, node);
        id
    }

    // Names ---------------------------------------------------------------------------------------

    /// The node at `path`.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for name in normal(path).components().skip(1) {
            let found = self.dir(at)?.current().get(name.as_os_str());
            at = *found.ok_or(ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory of `path`, and the name in it.
    fn resolve_parent(&self, path: &Path) -> io::Result<(u64, OsString)> {
        let path = normal(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let parent = self.resolve(parent)?;
        self.dir(parent)?;
        Ok((parent, name.to_owned()))
    }

    pub(super) fn resolve_file(&self, path: &Path) -> io::Result<u64> {
        let id = self.resolve(path)?;
        self.file(id).map(|_| id)
    }

    pub(super) fn dir(&self, id: u64) -> io::Result<&Directory> {
        match self.nodes.get(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn dir_mut(&mut self, id: u64) -> io::Result<&mut Directory> {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn file(&self, id: u64) -> io::Result<&Inode> {
        match self.nodes.get(&id) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn file_mut(&mut self, id: u64) -> io::Result<&mut Inode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(ErrorKind::IsADirectory.into()),
        }
    }

    /// The path that leads to `id` now.
    pub(super) fn path_of(&self, id: u64) -> Option<PathBuf> {
        self.walk().into_iter().find_map(|(path, node)| (node == id).then_some(path))
    }

    /// Every path but the root's, with its node, in order.
    pub(super) fn walk(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        self.walk_into(Path::new("/"), ROOT, &mut found);
        found
    }

    fn walk_into(&self, path: &Path, id: u64, found: &mut Vec<(PathBuf, u64)>) {
        let Ok(dir) = self.dir(id) else { return };
        for (name, child) in dir.current() {
            let path = path.join(name);
            found.push((path.clone(), *child));
            self.walk_into(&path, *child, found);
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let slashed = |(name, id): (&OsString, &u64)| {
            let mut name = name.clone();
            if self.dir(*id).is_ok() {
                name.push("/");
            }
            name
        };
        Ok(self.dir(self.resolve(path)?)?.current().iter().map(slashed).collect())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<u64> {
        let (parent, name) = self.resolve_parent(path)?;
        if self.dir(parent)?.current().contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (id, op) = (self.add_node(node), self.next_op());
        self.dir_mut(parent)?.change(op, Change::Add { name, id });
        Ok(id)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.add(path, Node::File(Inode::default()))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<u64> {
        self.add(path, Node::Dir(Directory::default()))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.resolve_file(from)?;
        let ((dir, from), (to_dir, to)) = (self.resolve_parent(from)?, self.resolve_parent(to)?);
        if dir != to_dir {
            return Err(ErrorKind::CrossesDevices.into());
        }
        if let Some(replaced) = self.dir(dir)?.current().get(&to) {
            self.file(*replaced)?;
        }
        if from != to {
            let op = self.next_op();
            self.dir_mut(dir)?.change(op, Change::Rename { from, to, id });
        }
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.resolve(path)?;
        if !self.dir(id)?.current().is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = self.resolve_parent(path)?;
        let op = self.next_op();
        self.dir_mut(parent)?.change(op, Change::Remove { name, id });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let id = self.resolve_file(path)?;
        let (parent, name) = self.resolve_parent(path)?;
        let op = self.next_op();
        self.dir_mut(parent)?.change(op, Change::Remove { name, id });
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.resolve(path)?;
        self.dir_mut(id)?.sync();
        self.forget_unreachable();
        Ok(())
    }

    /// A directory's sync that fails, and that later syncs don't make good.
    pub(super) fn sync_dir_lies(&mut self, path: &Path) -> io::Result<()> {
        let id = self.resolve(path)?;
        self.dir_mut(id)?.sync_lies();
        Err(Errno::IO.into())
    }

    /// Frees the nodes that no name, crash or handle leads to.
    pub(super) fn forget_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(id) = todo.pop() {
            if let Ok(dir) = self.dir(id) {
                todo.extend(dir.reachable().filter(|id| reached.insert(*id)));
            }
        }
        let open = |node: &Node| matches!(node, Node::File(file) if file.opens > 0);
        self.nodes.retain(|id, node| reached.contains(id) || open(node));
    }

    // Files ---------------------------------------------------------------------------------------

    /// Reads; before that, some of the clean pages that are not on the medium are evicted.
    pub(super) fn read(&mut self, id: u64, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if let Some(seed) = &mut self.evictions {
            *seed = mix(*seed);
            let seed = *seed;
            self.file_mut(id)?.evict(|page| mix(seed ^ page).is_multiple_of(4));
        }
        self.file(id)?.read(buf, position)
    }

    /// Evicts all clean pages that are not on the medium.
    pub(super) fn evict(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.evict(|_| true);
            }
        }
    }

    /// Writes as many of the bytes as there is space for, at most `max`.
    pub(super) fn write(
        &mut self,
        id: u64,
        bufs: &[IoSlice<'_>],
        position: u64,
        max: usize,
    ) -> io::Result<usize> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(max);
        check_len(position.saturating_add(wanted as u64))?;
        let len = self.writable(self.file(id)?.current(), position, wanted);
        if len == 0 && wanted > 0 {
            return Err(Errno::NOSPC.into());
        }
        let op = self.next_op();
        self.file_mut(id)?.write(op, bufs, len, position)?;
        Ok(len)
    }

    /// How many of `wanted` bytes there is space for.
    fn writable(&self, bytes: &Bytes, position: u64, wanted: usize) -> usize {
        let Some(mut free) = self.free_pages() else { return wanted };
        let mut len = 0;
        for (index, _, n) in pieces(position, wanted) {
            if !bytes.has_space(index) {
                if free == 0 {
                    break;
                }
                free -= 1;
            }
            len += n;
        }
        len
    }

    pub(super) fn allocate(&mut self, id: u64, len: u64) -> io::Result<()> {
        check_len(len)?;
        let bytes = self.file(id)?.current();
        let mut after = bytes.clone();
        after.allocate(len);
        if self.free_pages().is_some_and(|free| after.space() - bytes.space() > free) {
            return Err(Errno::NOSPC.into());
        }
        let op = self.next_op();
        self.file_mut(id)?.allocate(op, len);
        Ok(())
    }

    pub(super) fn set_len(&mut self, id: u64, len: u64) -> io::Result<()> {
        check_len(len)?;
        let op = self.next_op();
        self.file_mut(id)?.set_len(op, len);
        Ok(())
    }

    /// The pages that may still be taken; a node without a name and a handle takes none.
    fn free_pages(&self) -> Option<u64> {
        Some((self.capacity? / PAGE as u64).saturating_sub(self.used_pages()))
    }

    pub(super) fn used_pages(&self) -> u64 {
        let named: BTreeSet<u64> = self.walk().into_iter().map(|(_, id)| id).collect();
        let space = |(id, node): (&u64, &Node)| match node {
            Node::File(file) if file.opens > 0 || named.contains(id) => file.current().space(),
            _ => 0,
        };
        self.nodes.iter().map(space).sum()
    }

    // By hand -------------------------------------------------------------------------------------

    /// Puts a file in place, durable at once, with the directories above it.
    pub(super) fn put_file(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let path = normal(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let mut at = ROOT;
        for name in parent.components().skip(1) {
            at = self.put(at, name.as_os_str(), Node::Dir(Directory::default()))?;
        }
        let id = self.put(at, name, Node::File(Inode::default()))?;
        self.file_mut(id)?.put(Bytes::of(bytes));
        Ok(())
    }

    /// Makes a name durable, as it is or with the node `new`.
    fn put(&mut self, dir: u64, name: &OsStr, new: Node) -> io::Result<u64> {
        let found = self.dir(dir)?.current().get(name).copied();
        let id = found.unwrap_or_else(|| self.add_node(new));
        self.dir_mut(dir)?.put(name.to_owned(), Some(id));
        Ok(id)
    }

    /// Removes a file, durably.
    pub(super) fn take_file(&mut self, path: &Path) -> io::Result<()> {
        self.resolve_file(path)?;
        let (parent, name) = self.resolve_parent(path)?;
        self.dir_mut(parent)?.put(name, None);
        self.forget_unreachable();
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn settle(&mut self) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.settle(),
                Node::Dir(dir) => dir.settle(),
            }
        }
        self.forget_unreachable();
    }

    /// The same disk after the process ended: no handle, no lock; unsynced changes are still unsynced.
    pub(super) fn without_process(&self) -> Self {
        let mut disk = self.with_nodes(self.nodes.clone());
        for node in disk.nodes.values_mut() {
            if let Node::File(file) = node {
                file.opens = 0;
            }
        }
        disk.forget_unreachable();
        disk
    }
}

/// No file is larger than a signed offset allows.
fn check_len(len: u64) -> io::Result<()> {
    if len > i64::MAX as u64 { Err(Errno::FBIG.into()) } else { Ok(()) }
}

/// `path` as an absolute path without `.` and `..`; a relative path starts at the root.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    normal
}
