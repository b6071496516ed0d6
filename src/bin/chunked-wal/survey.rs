//! Whether a directory has a log in it, and whether a process has the log open.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use chunked_wal::raw::{Listing, RawChunk};
use chunked_wal::{ChunkId, Error};

use crate::outcome::Failure;

/// Lists a log's directory; for anything else, fails with a line that says what it is.
pub(crate) fn survey(dir: &Path) -> Result<Listing, Failure> {
    match fs::metadata(dir) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Failure::no_directory(dir, "is a file; a log is a directory"));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::no_directory(dir, "does not exist: no such directory"));
        }
        Err(e) => return Err(Failure::io("look at", dir, &e)),
        Ok(_) => {}
    }
    let listing = Listing::of(dir)?;
    if listing.chunks.is_empty() {
        return Err(match listing.foreign.len() {
            0 => Failure::empty(dir),
            files => Failure::no_log(dir, files),
        });
    }
    // Files that only have the names of chunks are not a log.
    let is_foreign = |id: &ChunkId| matches!(RawChunk::open(dir, *id), Err(Error::NotAChunk { .. }));
    if listing.chunks.iter().all(is_foreign) {
        return Err(Failure::no_log(dir, listing.chunks.len() + listing.foreign.len()));
    }
    Ok(listing)
}

/// Whether a process has the log open, as far as the system reports it.
///
/// Trying the lock would find out, too, but would make an open that happens at that moment fail.
pub(crate) fn is_open(dir: &Path) -> bool {
    // A log locks its directory as well as the file, because the file may be removed or replaced.
    let held = [fs::metadata(dir), fs::metadata(dir.join("LOCK"))];
    let held = held.map(|found| found.map(|found| found.ino()).ok());
    let Ok(locks) = fs::read_to_string("/proc/locks") else { return false };
    // 1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234567 0 EOF. Some file systems have another device here
    // than in `stat`, so only the inode is compared.
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let inode = words.get(5).and_then(|place| place.rsplit(':').next()?.parse::<u64>().ok());
        words.get(1) == Some(&"FLOCK")
            && words.get(3) == Some(&"WRITE")
            && inode.is_some()
            && held.contains(&inode)
    })
}
