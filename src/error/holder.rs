//! Which process holds a log's lock, as far as the system reports it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Returns the id of the process that holds the lock file at `path`, or the lock of its directory, which a log takes
/// as well because the file may be removed or replaced. A number below 1 means a process without an id here. `None`
/// where the system doesn't report the lock: outside Linux, and mostly for other machines and containers.
pub(crate) fn lock_holder(path: &Path) -> Option<i64> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let held = [path.parent(), Some(path)]
        .map(|path| path.and_then(|path| fs::metadata(path).ok()).map(|m| m.ino()));
    // 1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234567 0 EOF. Some file systems have another device here
    // than in `stat`, so only the inode is compared.
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let inode = words.get(5).and_then(|place| place.rsplit(':').next()?.parse::<u64>().ok());
        let is_held = words.get(1) == Some(&"FLOCK") && words.get(3) == Some(&"WRITE");
        if is_held && inode.is_some() && held.contains(&inode) {
            return words.get(4)?.parse().ok();
        }
        None
    })
}
