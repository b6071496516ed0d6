//! Files that a repair puts aside: copied or renamed to a name of their own, durably.

use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::outcome::Failure;

/// Makes a durable copy, which gets its name only once it is whole.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let copied = fs::copy(from, &part).and_then(|_| File::open(&part)?.sync_all());
    copied.and_then(|()| fs::rename(&part, to)).map_err(|e| {
        let _half_made = fs::remove_file(&part);
        Failure::io("copy", from, &e)
    })?;
    sync_dir(to.parent().unwrap_or(to))
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), Failure> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| Failure::io("sync", dir, &e))
}

/// Returns a name for a file that is put aside, which no earlier repair has used.
pub(super) fn free_name(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".broken");
    let first = PathBuf::from(&aside);
    let mut names = std::iter::once(first).chain((2..).map(|n: u64| {
        let mut name = aside.clone();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    }));
    names.find(|name| !name.exists()).unwrap_or_else(|| path.with_extension("broken"))
}
