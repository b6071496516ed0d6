//! Directories by their paths: making one durably, resolving, listing and syncing.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// [`Storage::create_dir`](crate::storage::Storage::create_dir) on the disk.
pub(super) fn create(dir: &Path) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    let mut existing = dir.as_path();
    let mut missing = Vec::new();
    while let Err(e) = fs::metadata(existing) {
        let (ErrorKind::NotFound, Some(parent)) = (e.kind(), existing.parent()) else { return Err(e) };
        missing.push(existing);
        existing = parent;
    }

    let base = resolve(existing)?;
    sync_name_of(&base)?;
    for path in missing.into_iter().rev() {
        make_dir(path)?;
    }
    resolve(&dir)
}

/// [`Storage::resolve_dir`](crate::storage::Storage::resolve_dir) on the disk.
pub(super) fn resolve(dir: &Path) -> io::Result<PathBuf> {
    let dir = fs::canonicalize(dir)?;
    match fs::metadata(&dir)?.is_dir() {
        true => Ok(dir),
        false => Err(ErrorKind::NotADirectory.into()),
    }
}

/// The names in a directory; those of directories end in `/`.
pub(super) fn list(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let mut name = entry.file_name();
        if entry.file_type()?.is_dir() {
            name.push("/");
        }
        names.push(name);
    }
    Ok(names)
}

/// Makes the names in a directory durable.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes one directory whose parent exists, and makes its name durable.
///
/// The parent is opened first. If that fails, no directory is made, so that no later call finds a
/// directory whose name could not be made durable.
fn make_dir(path: &Path) -> io::Result<()> {
    let parent = path.parent().map(File::open).transpose()?;
    match fs::create_dir(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => {} // made, by this call or another process
    }
    let synced = parent.map_or(Ok(()), |parent| parent.sync_all());
    // A second sync that succeeds would prove nothing about a name made before the first: so the next
    // call makes the directory again. A directory that has files by now stays.
    synced.inspect_err(|_| drop(fs::remove_dir(path)))
}

/// Makes the name of an existing directory durable.
///
/// Guards against a process that was killed between making the directory and syncing its parent. The
/// name of a mount point was not made by a log, and neither was one in a directory that this process
/// may not open.
fn sync_name_of(dir: &Path) -> io::Result<()> {
    let Some(parent) = dir.parent() else { return Ok(()) };
    let synced = || -> io::Result<()> {
        if fs::metadata(parent)?.dev() == fs::metadata(dir)?.dev() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    match synced() {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}
