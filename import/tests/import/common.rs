//! What the tests share: directories that are compared as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use tempfile::TempDir;

/// A directory with an old log in it, and the place of the new one.
pub(crate) struct Place {
    pub(crate) root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("old")).unwrap();
        Place { root }
    }

    pub(crate) fn old(&self) -> PathBuf {
        self.root.path().join("old")
    }

    pub(crate) fn new_log(&self) -> PathBuf {
        self.root.path().join("new")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.path().join("new.importing")
    }

    /// Only the old log is here.
    pub(crate) fn assert_nothing_new(&self) {
        let names: Vec<_> =
            fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["old"]);
    }
}

/// Opens an old log again. A process that another test has begun has the lock too, until it becomes another program.
pub(crate) fn once_unlocked<T>(mut open: impl FnMut() -> io::Result<T>) -> T {
    let begun = Instant::now();
    loop {
        match open() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < Duration::from_secs(10) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// All there is to see of a directory: the bytes of its files, and when each and the directory itself changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    modified: SystemTime,
    files: BTreeMap<PathBuf, (Vec<u8>, SystemTime)>,
}

impl Snapshot {
    pub(crate) fn of(dir: &Path) -> Self {
        let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let files = paths.map(|path| (path.clone(), (fs::read(&path).unwrap(), modified(&path)))).collect();
        Snapshot { modified: modified(dir), files }
    }
}

/// Runs `import`, and checks that the old directory is as before, to the byte and to the time.
pub(crate) fn untouched<T>(old: &Path, import: impl FnOnce() -> T) -> T {
    let before = Snapshot::of(old);
    let result = import();
    assert!(before == Snapshot::of(old), "the old directory was changed");
    result
}

/// The chunk files of a directory, oldest first.
pub(crate) fn chunks(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.sort();
    paths
}

/// Copies the files of a log's directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Numbers that differ from test to test, and are the same in each run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Numbers(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
