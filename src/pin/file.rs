//! Where subscribers' files are, and how they are read and written.
//!
//! ```text
//! DIR/subscribers/NAME/cursor    the file: see `format/cursor.rs`
//!                     /LOCK     held while the subscriber is open
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::directory::SUBSCRIBERS_NAME;
use crate::error::{Error, Result};
use crate::format::{CURSOR_FILE_LEN, Cursor, CursorFile, Notice};
use crate::storage::{Access, Storage, StorageFile, read_full_at, write_all_at};

const CURSOR_NAME: &str = "cursor";

/// The directory of a subscriber to the log in `dir`.
pub(super) fn directory(dir: &Path, name: &str) -> PathBuf {
    dir.join(SUBSCRIBERS_NAME).join(name)
}

/// The directories of all subscribers to the log in `dir`, sorted.
pub(super) fn directories(storage: &dyn Storage, dir: &Path) -> Result<Vec<PathBuf>> {
    let dir = dir.join(SUBSCRIBERS_NAME);
    let names = match storage.list(&dir) {
        Ok(names) => names,
        // A file of that name is somebody else's.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(Error::io("list", dir, e)),
    };
    // Also a link to a directory, whose name is listed without the slash.
    let name = |name: std::ffi::OsString| {
        Some(name.to_str()?.trim_end_matches('/').to_string()).filter(|name| is_name(name))
    };
    let mut found: Vec<_> = names.into_iter().filter_map(name).map(|name| dir.join(name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// The name of the subscriber with this directory.
pub(super) fn name_of(dir: &Path) -> String {
    dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether a subscriber may have this name, which names a directory.
pub(super) fn is_name(name: &str) -> bool {
    let is_fitting = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(is_fitting)
}

/// The file in a subscriber's directory.
pub(super) fn cursor_path(dir: &Path) -> PathBuf {
    dir.join(CURSOR_NAME)
}

/// Opens the file in a subscriber's directory, or makes it.
pub(super) fn open_or_make(storage: &dyn Storage, dir: &Path) -> Result<Arc<dyn StorageFile>> {
    let path = cursor_path(dir);
    match storage.open(&path, Access::ReadWrite) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            storage.create(&path).map_err(|e| Error::no_space("create", path, CURSOR_FILE_LEN, e))
        }
        opened => opened.map_err(|e| Error::io("open", path, e)),
    }
}

/// Reads the file in a subscriber's directory; a missing one is new.
pub(super) fn read(storage: &dyn Storage, dir: &Path) -> io::Result<CursorFile> {
    match storage.open(&cursor_path(dir), Access::Read) {
        Ok(file) => read_open(&*file),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(CursorFile::New)
        }
        Err(e) => Err(e),
    }
}

pub(super) fn read_open(file: &dyn StorageFile) -> io::Result<CursorFile> {
    let mut bytes = vec![0; CURSOR_FILE_LEN as usize];
    let len = read_full_at(file, &mut bytes, 0)?;
    bytes.truncate(len);
    Ok(CursorFile::decode(&bytes))
}

/// Stores a cursor; it is durable on return. After an error, this cursor or the one before may be on the disk.
pub(super) fn store(file: &dyn StorageFile, cursor: &Cursor) -> io::Result<()> {
    write_all_at(file, &mut [io::IoSlice::new(&cursor.encode())], cursor.position())?;
    file.sync()
}

/// Tells the subscriber with this directory something, durably.
pub(super) fn tell(storage: &dyn Storage, dir: &Path, notice: &Notice) -> Result<()> {
    let path = cursor_path(dir);
    let told = storage.open(&path, Access::ReadWrite).and_then(|file| {
        write_all_at(&*file, &mut [io::IoSlice::new(&notice.encode())], Notice::POSITION)?;
        file.sync()
    });
    told.map_err(|e| Error::no_space("write", path, CURSOR_FILE_LEN, e))
}
