//! openraft's own suite of 45 cases, each on a group of a log with 100 other groups, with chunks so small that space is
//! reclaimed inside it; and once more with the log closed and opened again before every operation.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../../../openraft-0-10/tests/common/machine.rs"]
mod machine;

#[path = "../../../openraft-0-10/tests/suite/reopening.rs"]
mod reopening;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chunked_wal_openraft_groups::LogStore;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;

use common::{Log, OTHERS, Others, Store, Texts, open_at, store};
use machine::Machine;
use reopening::Reopening;

/// All cases on one log, each on a group of its own.
struct OneLog {
    log: Log,
    cases: AtomicU64,
}

impl StoreBuilder<Texts, LogStore<Texts>, Machine, ()> for OneLog {
    async fn build(&self) -> Result<((), LogStore<Texts>, Machine), StorageError<Texts>> {
        let group = OTHERS + self.cases.fetch_add(1, Relaxed);
        let store = LogStore::open(&self.log, group).unwrap();
        Ok(((), store.batch_max_bytes(500), Machine::default()))
    }
}

#[test]
fn the_suite_passes_beside_busy_groups() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_at(dir.path());
    let stop = Arc::new(AtomicBool::new(false));
    let others = {
        let (log, stop) = (log.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut others = Others::default();
            while !stop.load(Relaxed) {
                others.go_on(&log).unwrap();
                std::thread::sleep(Duration::from_micros(100));
            }
        })
    };
    // Until space has been reclaimed once.
    while log.space().moved == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let moved_before = log.space().moved;
    let passed = Texts::run(Suite::test_all(OneLog { log: log.clone(), cases: AtomicU64::new(0) }));
    let space = log.space();
    stop.store(true, Relaxed);
    others.join().unwrap();
    passed.unwrap();
    println!("{space:?}, {moved_before} moved before");
    assert!(space.moved > moved_before, "nothing was reclaimed in the suite: {space:?}");
    assert!(space.appended > 2 * space.log, "the space of purged entries was not taken back: {space:?}");
    log.close().unwrap();
}

struct Reopened;

impl StoreBuilder<Texts, Reopening, Machine, ()> for Reopened {
    async fn build(&self) -> Result<((), Reopening, Machine), StorageError<Texts>> {
        let dir = tempfile::tempdir().unwrap();
        let others = Mutex::new(Others::default());
        let open = move || -> Store {
            let log = open_at(dir.path());
            let mut others = others.lock().unwrap();
            (0..30).for_each(|_| others.go_on(&log).unwrap());
            MOVED.fetch_add(log.space().moved, Relaxed);
            store(&log, OTHERS)
        };
        Ok(((), Reopening::new(open), Machine::default()))
    }
}

static MOVED: AtomicU64 = AtomicU64::new(0);

#[test]
fn the_suite_passes_with_a_reopen_before_every_operation() {
    Texts::run(Suite::test_all(Reopened)).unwrap();
    // The wrapper is worth nothing if it doesn't do what it says.
    assert!(reopening::count() > 300, "{}", reopening::count());
    println!("{} reopened, {} bytes moved", reopening::count(), MOVED.load(Relaxed));
    assert!(MOVED.load(Relaxed) > 0);
}
