//! The traits for a disk in memory: every call passes one gate.
//!
//! ```text
//! call ─► number it ─► hook, pause (no lock held) ─► crashed? fault? ─► do it ─► log it
//! ```

use std::any::Any;
use std::ffi::OsString;
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use rustix::io::Errno;

use super::fault::{FaultHow, Op, OpKind, strike};
use super::medium::{Medium, normal};
use super::{MemoryStorage, Shared};
use crate::storage::{Access, Storage, StorageFile};

/// The target of an operation.
#[derive(Clone, Copy)]
enum On<'a> {
    Path(&'a Path),
    File(u64),
}

impl On<'_> {
    fn path(self, disk: &Medium) -> PathBuf {
        match self {
            On::Path(path) => normal(path),
            On::File(id) => disk.path_of(id).unwrap_or_else(|| PathBuf::from("(unlinked)")),
        }
    }
}

impl Shared {
    /// Lets an operation through, or fails it. `act` performs it; `line` formats its log line from the
    /// name of its target.
    fn pass<T>(
        &self,
        kind: OpKind,
        on: On<'_>,
        line: impl FnOnce(&str) -> String,
        act: impl FnOnce(&mut Medium, Option<FaultHow>) -> io::Result<T>,
    ) -> io::Result<T> {
        let number = self.count(kind, on);

        let mut state = self.state.lock();
        if state.control.is_crashed(number) {
            return Err(io::Error::other("the disk has crashed"));
        }
        let recorded = state.control.log.is_some() && kind.is_change();
        let line = recorded.then(|| line(&shown(&on.path(&state.disk))));

        let how = strike(&mut state.control.faults, kind);
        let result = match how.and_then(FaultHow::refuses) {
            Some(refused) => Err(refused),
            None => act(&mut state.disk, how),
        };
        let error = match &result {
            Err(e) => Some(named(e)),
            Ok(_) => (how == Some(FaultHow::DoneButIo)).then(|| named(&Errno::IO.into())),
        };
        if let (Some(log), Some(line)) = (&mut state.control.log, line) {
            log.push(error.iter().fold(line, |line, e| format!("{line}: {e}")));
        }

        drop(state); // before a handle in `result` is dropped, because closing it locks again
        if how == Some(FaultHow::DoneButIo) {
            return Err(result.err().unwrap_or_else(|| Errno::IO.into()));
        }
        result
    }

    /// Numbers an operation, and passes it to the test's hook before it happens.
    fn count(&self, kind: OpKind, on: On<'_>) -> u64 {
        let mut state = self.state.lock();
        let number = state.control.operations;
        state.control.operations += u64::from(kind.is_change());

        if let Some(hook) = state.control.hook.clone() {
            let op = Op { number, kind, path: on.path(&state.disk) };
            parking_lot::MutexGuard::unlocked(&mut state, || hook(&op));
        }
        while matches!(kind, OpKind::Sync | OpKind::SyncDir)
            && state.control.syncs_paused
            && !state.control.is_crashed(number)
        {
            self.resumed.wait(&mut state);
        }
        number
    }

    fn look<T>(
        &self,
        kind: OpKind,
        on: On<'_>,
        act: impl FnOnce(&mut Medium) -> io::Result<T>,
    ) -> io::Result<T> {
        self.pass(kind, on, |_| String::new(), |disk, _| act(disk))
    }

    /// Makes one directory, then its name durable.
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let made = self.pass(
            OpKind::CreateDir,
            On::Path(path),
            |name| format!("create dir {name}"),
            |disk, _| disk.create_dir(path),
        );
        match made {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
            // As on the real disk: the next call makes the directory again, because a second sync would
            // prove nothing.
            _ => self.sync_parent(path).inspect_err(|_| drop(self.state.lock().disk.remove_dir(path))),
        }
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let line = |_: &str| format!("sync dir {}", parent.display());
        self.pass(OpKind::SyncDir, On::Path(parent), line, |disk, how| sync_dir(disk, parent, how))
    }
}

impl MemoryStorage {
    fn handle(&self, disk: &mut Medium, id: u64, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        disk.file_mut(id)?.opens += 1;
        Ok(Arc::new(MemoryFile { shared: self.shared.clone(), id, access }))
    }
}

impl Storage for MemoryStorage {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        let dir = normal(dir);
        let mut missing = Vec::new();
        let mut existing = dir.as_path();
        while let Err(e) = self.resolve_dir(existing) {
            let (ErrorKind::NotFound, Some(parent)) = (e.kind(), existing.parent()) else { return Err(e) };
            missing.push(existing);
            existing = parent;
        }
        self.shared.sync_parent(existing)?;
        for path in missing.into_iter().rev() {
            self.shared.make_dir(path)?;
        }
        Ok(dir)
    }

    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        let path = normal(dir);
        self.shared.look(OpKind::List, On::Path(dir), |disk| {
            disk.dir(disk.resolve(&path)?)?;
            Ok(path.clone())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.shared.pass(OpKind::List, On::Path(dir), str::to_owned, |disk, how| {
            let mut names = disk.list(dir)?;
            match how {
                Some(FaultHow::MissesName(n)) if !names.is_empty() => {
                    names.remove(n % names.len());
                }
                Some(FaultHow::NameTwice(n)) if !names.is_empty() => {
                    names.push(names[n % names.len()].clone())
                }
                _ => {}
            }
            Ok(names)
        })
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let line = |name: &str| format!("create {name}");
        self.shared.pass(OpKind::Create, On::Path(path), line, |disk, _| {
            let id = disk.create(path)?;
            self.handle(disk, id, Access::ReadWrite)
        })
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.shared.look(OpKind::Open, On::Path(path), |disk| {
            let id = disk.resolve_file(path)?;
            self.handle(disk, id, access)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let line = |name: &str| format!("rename {name} -> {}", shown(to));
        self.shared.pass(OpKind::Rename, On::Path(from), line, |disk, _| disk.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let line = |name: &str| format!("rename {name} -> {}", shown(to));
        self.shared.pass(OpKind::Rename, On::Path(from), line, |disk, _| {
            disk.resolve_file(from)?;
            match disk.resolve_file(to) {
                Err(e) if e.kind() == ErrorKind::NotFound => disk.rename(from, to),
                _ => Err(Errno::EXIST.into()),
            }
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let line = |name: &str| format!("remove {name}");
        self.shared.pass(OpKind::Remove, On::Path(path), line, |disk, _| disk.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let line = |_: &str| "sync dir".to_owned();
        self.shared.pass(OpKind::SyncDir, On::Path(dir), line, |disk, how| sync_dir(disk, dir, how))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let exists =
            self.shared.look(OpKind::Lock, On::Path(path), |disk| match disk.resolve_file(path) {
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
                found => found.map(|_| true),
            })?;
        if !exists {
            match self.create(path) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }

        let mut state = self.shared.state.lock();
        let id = state.disk.resolve_file(path)?;
        if !state.disk.locks.insert(id) {
            return Ok(None);
        }
        state.disk.file_mut(id)?.opens += 1;
        Ok(Some(Box::new(LockGuard { shared: self.shared.clone(), id })))
    }
}

/// A lock that is held.
struct LockGuard {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.shared.state.lock().disk.locks.remove(&self.id);
        self.shared.close(self.id);
    }
}

/// A file that is open.
struct MemoryFile {
    shared: Arc<Shared>,
    id: u64,
    access: Access,
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile").field("id", &self.id).field("access", &self.access).finish()
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.shared.close(self.id);
    }
}

impl Shared {
    fn close(&self, id: u64) {
        let mut state = self.state.lock();
        if let Ok(file) = state.disk.file_mut(id) {
            file.opens -= 1;
        }
        state.disk.forget_unreachable();
    }
}

impl MemoryFile {
    /// Performs an operation that needs write access.
    fn change<T>(
        &self,
        kind: OpKind,
        line: impl FnOnce(&str) -> String,
        act: impl FnOnce(&mut Medium, Option<FaultHow>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.access == Access::Read {
            return Err(Errno::BADF.into());
        }
        self.shared.pass(kind, On::File(self.id), line, act)
    }
}

impl StorageFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.shared.pass(OpKind::Read, On::File(self.id), str::to_owned, |disk, how| {
            let max = short(how).min(buf.len());
            disk.read(self.id, &mut buf[..max], position)
        })
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        let next = |disk: &mut Medium| Ok(disk.file(self.id)?.current().next_data(position));
        self.shared.look(OpKind::Len, On::File(self.id), next)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        let line = |name: &str| format!("write {name} {len}@{position}");
        self.change(OpKind::Write, line, |disk, how| disk.write(self.id, bufs, position, short(how)))
    }

    fn sync(&self) -> io::Result<()> {
        let line = |name: &str| format!("sync {name}");
        self.shared.pass(OpKind::Sync, On::File(self.id), line, |disk, how| {
            let reserved = disk.reserved_sizes;
            let file = disk.file_mut(self.id)?;
            if how == Some(FaultHow::SyncLies) {
                file.sync_lies();
                return Err(Errno::IO.into());
            }
            file.sync(reserved);
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let line = |name: &str| format!("allocate {name} {len}");
        self.change(OpKind::Allocate, line, |disk, _| disk.allocate(self.id, len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let line = |name: &str| format!("set_len {name} {len}");
        self.change(OpKind::SetLen, line, |disk, _| disk.set_len(self.id, len))
    }

    fn len(&self) -> io::Result<u64> {
        self.shared.look(OpKind::Len, On::File(self.id), |disk| Ok(disk.file(self.id)?.current().len()))
    }
}

fn sync_dir(disk: &mut Medium, dir: &Path, how: Option<FaultHow>) -> io::Result<()> {
    if how == Some(FaultHow::SyncLies) { disk.sync_dir_lies(dir) } else { disk.sync_dir(dir) }
}

/// The most bytes that an operation may process.
fn short(how: Option<FaultHow>) -> usize {
    match how {
        Some(FaultHow::Short(max)) => max,
        _ => usize::MAX,
    }
}

/// A path as the log shows it: its last part, without the random part of a temporary file's name.
fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match (name.split_once('-'), name.ends_with(".tmp")) {
        (Some((prefix, _)), true) => format!("{prefix}-*.tmp"),
        _ => name,
    }
}

/// An error as the log shows it.
fn named(e: &io::Error) -> String {
    match e.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::IO) => "EIO".to_owned(),
        Some(Errno::NOSPC) => "ENOSPC".to_owned(),
        Some(Errno::INTR) => "EINTR".to_owned(),
        _ => e.to_string(),
    }
}
