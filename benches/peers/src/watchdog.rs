//! Ends the program when one contestant gets stuck, and names it, so that a run never waits forever.

use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

/// Longer than any working contestant takes.
const LIMIT: Duration = Duration::from_secs(300);

/// The contestant that is running, and since when.
static WATCHED: Mutex<Option<(String, Instant)>> = Mutex::new(None);

/// Watches a contestant until this is dropped.
pub(crate) struct Watched;

pub(crate) fn watch(who: String) -> Watched {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        std::thread::spawn(end_if_stuck);
    });
    *WATCHED.lock() = Some((who, Instant::now()));
    Watched
}

impl Drop for Watched {
    fn drop(&mut self) {
        *WATCHED.lock() = None;
    }
}

fn end_if_stuck() {
    loop {
        std::thread::sleep(Duration::from_secs(5));
        if let Some((who, since)) = &*WATCHED.lock()
            && since.elapsed() > LIMIT
        {
            eprintln!("{who} is stuck for {} s: leave it out with --peers", LIMIT.as_secs());
            std::process::exit(3);
        }
    }
}
