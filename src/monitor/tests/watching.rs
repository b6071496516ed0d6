//! When the thread looks, and when the operating system watches for it.

use std::fs;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;

/// One test takes all watches of the system, another one needs a watch.
static WATCHES: Mutex<()> = Mutex::new(());

/// Takes all watches that the operating system has left; `false` if there are too many.
#[cfg(target_os = "linux")]
fn exhaust_watches(taken: &mut Vec<rustix::fd::OwnedFd>) -> bool {
    while taken.len() < 600 {
        match rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC) {
            Ok(instance) => taken.push(instance),
            Err(_) => return true,
        }
    }
    false
}

#[test]
#[cfg(target_os = "linux")]
fn where_nothing_can_be_watched_it_polls_until_it_can() {
    let _alone = WATCHES.lock();
    let dir = tempfile::tempdir().unwrap();
    let options = MonitorOptions::new().poll_interval(Duration::from_millis(5));
    let mut taken = Vec::new();
    let mut monitor = loop {
        if !exhaust_watches(&mut taken) {
            println!("not tried: this system has more watches than a test should take");
            return;
        }
        let mut monitor = options.clone().open(dir.path()).unwrap();
        assert_eq!(monitor.watch_error(), None);
        assert!(monitor.wait_timeout(Duration::from_millis(20)).unwrap().is_none());
        // Otherwise another process has just released one.
        if monitor.watch_error().is_some() {
            break monitor;
        }
    };
    let path = dir.path().join(ChunkId(0).file_name());
    fs::write(dir.path().join("new"), chunk(2)).unwrap();
    fs::rename(dir.path().join("new"), path).unwrap();
    assert_eq!(monitor.wait().unwrap().unwrap().state.records, 3);
    drop(taken);
    while monitor.watch_error().is_some() {
        std::thread::yield_now();
    }
}

/// A tail that opens a file at each look, as real ones do, and counts the looks.
struct Opens {
    path: PathBuf,
    looks: Arc<AtomicU64>,
    /// Whether each look brings something new.
    is_growing: Arc<AtomicBool>,
    seen: WalEvent<u64>,
}

impl Tail<u64> for Opens {
    fn look(&mut self) -> Result<()> {
        fs::read(&self.path).map_err(|e| Error::io("read", &self.path, e))?;
        let looks = self.looks.fetch_add(1, Relaxed) + 1;
        if self.is_growing.load(Relaxed) {
            self.seen.state = looks;
        }
        Ok(())
    }

    fn seen(&self) -> &WalEvent<u64> {
        &self.seen
    }
}

/// A file that a monitor's thread follows.
struct Followed {
    dir: tempfile::TempDir,
    path: PathBuf,
    looks: Arc<AtomicU64>,
    is_growing: Arc<AtomicBool>,
    shared: Arc<Shared<u64>>,
    thread: JoinHandle<()>,
}

impl Followed {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db-wal");
        fs::write(&path, b"x").unwrap();
        let looks = Arc::new(AtomicU64::new(0));
        let is_growing = Arc::new(AtomicBool::new(false));
        let tail = Opens {
            path: path.clone(),
            looks: looks.clone(),
            is_growing: is_growing.clone(),
            seen: WalEvent::default(),
        };
        let shared = Arc::new(Shared::new(Box::new(tail)).unwrap());
        let target = Target {
            dir: dir.path().to_owned(),
            prefix: "x.db".into(),
            watch: Watch::Os,
            poll_interval: Duration::from_secs(1000),
        };
        let thread = watcher::spawn(shared.clone(), target).unwrap();
        let followed = Followed { dir, path, looks, is_growing, shared, thread };
        followed.wait_for_looks(2);
        followed
    }

    fn looks(&self) -> u64 {
        self.looks.load(Relaxed)
    }

    /// Changes the file, with one event.
    fn change(&self) {
        fs::OpenOptions::new().append(true).open(&self.path).unwrap().write_all(b"y").unwrap();
    }

    fn wait_for_looks(&self, looks: u64) {
        while self.looks() < looks {
            std::thread::yield_now();
        }
    }

    fn stop(self) {
        self.shared.stop();
        self.thread.join().unwrap();
    }

    /// Whether the operating system makes events for this process of writes to the file.
    #[cfg(target_os = "linux")]
    fn is_watched(&self) -> bool {
        let inode =
            fs::metadata(self.dir.path()).map(|found| std::os::unix::fs::MetadataExt::ino(&found)).unwrap();
        let inode = format!(" ino:{inode:x} ");
        let infos = fs::read_dir("/proc/self/fdinfo").unwrap();
        // Other tests close files meanwhile.
        let infos = infos.filter_map(|info| fs::read_to_string(info.ok()?.path()).ok());
        infos
            .flat_map(|info| info.lines().map(str::to_owned).collect::<Vec<_>>())
            .any(|line| line.starts_with("inotify ") && line.contains(&inode))
    }

    #[cfg(target_os = "linux")]
    fn wait_until_watched(&self) {
        while !self.is_watched() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_look_causes_no_look() {
    let _alone = WATCHES.lock();
    let followed = Followed::start();
    // Waits for nothing: no event should come.
    fs::write(followed.dir.path().join("another"), b"y").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(followed.looks(), 2);
    followed.change();
    // At the change; and after the pause, with the new watch.
    followed.wait_for_looks(4);
    std::thread::sleep(3 * watcher::PAUSE_MIN);
    assert_eq!(followed.looks(), 4);
    followed.stop();
}

#[test]
#[cfg(target_os = "linux")]
fn a_busy_file_is_not_watched() {
    let _alone = WATCHES.lock();
    let followed = Followed::start();
    assert!(followed.is_watched());
    followed.is_growing.store(true, Relaxed);
    followed.change();
    followed.wait_for_looks(4);
    for looks in 5..10 {
        assert!(!followed.is_watched(), "after {looks} looks");
        followed.wait_for_looks(looks);
    }
    followed.is_growing.store(false, Relaxed);
    followed.wait_until_watched();
    followed.stop();
}

#[test]
fn a_busy_file_is_looked_at_once_per_pause() {
    let _alone = WATCHES.lock();
    // Of writes that change nothing, a second look comes with the watch that is set up again.
    for (is_growing, looks_per_pause) in [(true, 1), (false, 2)] {
        let followed = Followed::start();
        followed.is_growing.store(is_growing, Relaxed);
        let (started, before) = (Instant::now(), followed.looks());
        while followed.looks() < before + 12 {
            followed.change();
        }
        let pauses = (followed.looks() - before) / looks_per_pause - 1;
        let took = started.elapsed();
        assert!(took >= watcher::PAUSE_MIN * pauses as u32, "{pauses} pauses in {took:?}");
        followed.stop();
    }
}

#[test]
fn a_change_is_seen_at_once_while_idle_and_after_a_pause_while_busy() {
    let _alone = WATCHES.lock();
    let followed = Followed::start();
    let looked_after = |looks: u64| {
        let before = followed.looks();
        let started = Instant::now();
        followed.change();
        followed.wait_for_looks(before + looks);
        started.elapsed()
    };
    // Other programs may delay a look, but not all of them.
    let idle = (0..20).map(|_| {
        let before = followed.looks();
        let late = looked_after(1);
        // The second look comes with the new watch.
        followed.wait_for_looks(before + 2);
        late
    });
    let idle = idle.min().unwrap();
    assert!(idle < watcher::PAUSE_MIN, "{idle:?}");
    followed.is_growing.store(true, Relaxed);
    looked_after(2);
    // One look may have begun before the write.
    let mut busy: Vec<Duration> = (0..20).map(|_| looked_after(2)).collect();
    busy.sort_unstable();
    assert!(busy[10] < 10 * watcher::PAUSE_MIN, "{busy:?}");
    followed.stop();
}

#[test]
fn a_pause_is_a_multiple_of_the_look_within_limits() {
    let ms = Duration::from_millis;
    for (look, pause) in
        [(ms(0), ms(20)), (ms(2), ms(20)), (ms(3), ms(30)), (ms(100), ms(1000)), (ms(101), ms(1000))]
    {
        assert_eq!(watcher::pause(look), pause, "{look:?}");
    }
    assert_eq!(watcher::pause(Duration::MAX), ms(1000));
}
