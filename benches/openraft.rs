//! The cost of the adapters: entries of 256 bytes appended through each of them, and the same bytes appended to the
//! bare log. All wait once per batch until it is durable. They take turns, another one first in each round, and each
//! turn has a new log.
//!
//! On Linux the log is in `/dev/shm`, where a sync costs nothing, so that the difference is visible. A real disk's sync
//! takes a hundred times as long.
//!
//! ```text
//! cargo bench -p chunked-wal-benches --bench openraft               half a minute, on a quiet machine
//! cargo bench -p chunked-wal-benches --bench openraft -- --write    and writes the table into docs/benchmarks.md
//! ```
#![allow(clippy::unwrap_used, reason = "a bench")]

mod common;
#[allow(dead_code, reason = "only the median is used")]
mod figures;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use chunked_wal::{ChunkedWal, Config, Flush, WalRecord};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use common::{Nothing, Types};
use figures::median;

/// Bytes of an entry's command.
const SIZE: usize = 256;

/// Entries of an append, and of a turn: the log doesn't rotate meanwhile.
const CASES: [(u64, u64); 3] = [(1, 5_000), (16, 50_000), (256, 100_000)];

const ROUNDS: usize = 15;

/// Returns how long appends of this many entries take.
type Turn = fn(&Path, u64, u64, &Runtime) -> Duration;

const LOGS: [(&str, Turn); 4] = [
    ("bare log", bare),
    ("openraft 0.9", with_0_9::texts),
    ("openraft 0.10", with_0_10::texts),
    ("0.9, `Vec<u8>` as a list", with_0_9::lists),
];

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
const BEGIN: &str = "<!-- adapters: written by benches/openraft -->\n";
const END: &str = "<!-- End of adapters. -->\n";

fn main() {
    let table = table(&measure());
    println!("{table}");
    if std::env::args().any(|arg| arg == "--write") {
        let page = fs::read_to_string(PAGE).unwrap();
        let (before, rest) = page.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        fs::write(PAGE, format!("{before}{BEGIN}\n{table}\n{END}{after}")).unwrap();
    }
}

/// Returns microseconds for an entry, by case, log and round.
fn measure() -> [[Vec<f64>; LOGS.len()]; CASES.len()] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut times = CASES.map(|_| LOGS.map(|_| Vec::new()));
    for round in 0..ROUNDS {
        for ((batch, entries), times) in CASES.into_iter().zip(&mut times) {
            for i in (0..LOGS.len()).map(|i| (i + round) % LOGS.len()) {
                let dir = dir();
                let took = LOGS[i].1(dir.path(), batch, entries / batch, &runtime);
                times[i].push(took.as_secs_f64() * 1e6 / (entries / batch * batch) as f64);
            }
        }
    }
    times
}

fn table(times: &[[Vec<f64>; LOGS.len()]]) -> String {
    let mut table = format!(
        "Microseconds for an entry: medians of {ROUNDS} rounds, with the least and the greatest in parentheses.\n\n"
    );
    let names = LOGS.map(|(name, _)| name).join(" | ");
    table
        .push_str(&format!("| entries in an append | {names} |\n| ---: |{}\n", " ---: |".repeat(LOGS.len())));
    for ((batch, _), times) in CASES.iter().zip(times) {
        let cells = times.each_ref().map(|times| {
            let least = times.iter().copied().fold(f64::INFINITY, f64::min);
            let most = times.iter().copied().fold(0.0, f64::max);
            format!("{:.2} ({least:.2}–{most:.2})", median(times.clone()))
        });
        table.push_str(&format!("| {batch} | {} |\n", cells.join(" | ")));
    }
    table
}

fn dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn command() -> String {
    "x".repeat(SIZE)
}

/// Times this many appends after a first one, which asks for the file's space.
fn time(appends: u64, mut append: impl FnMut() -> Duration) -> Duration {
    append();
    (0..appends).map(|_| append()).sum()
}

/// The records are the commands alone.
fn bare(dir: &Path, batch: u64, appends: u64, runtime: &Runtime) -> Duration {
    let mut wal = ChunkedWal::<Types>::open(Config::new(dir), &mut Nothing).unwrap();
    time(appends, || {
        let records: Vec<_> =
            (0..batch).map(|_| WalRecord::<Types>::Action(command().into_bytes())).collect();
        let started = Instant::now();
        runtime.block_on(async {
            for record in &records {
                wal.try_close_full_chunk(&Nothing).unwrap();
                wal.append(record).unwrap();
            }
            wal.flush_ticket(Flush::Sync).unwrap().await.unwrap();
        });
        started.elapsed()
    })
}

/// Makes a function that appends through the adapter of the module: the two versions of openraft have different types
/// under the same names.
macro_rules! through_adapter {
    ($name:ident, $types:ty, $command:expr) => {
        pub(crate) fn $name(dir: &Path, batch: u64, appends: u64, runtime: &Runtime) -> Duration {
            let mut store = LogStore::<$types>::open(Config::new(dir)).unwrap();
            let mut next = 0;
            time(appends, || {
                let entry = |index| Entry { log_id: log_id(index), payload: EntryPayload::Normal($command) };
                let entries: Vec<_> = (next..next + batch).map(entry).collect();
                next += batch;
                let started = Instant::now();
                runtime.block_on(store.blocking_append(entries)).unwrap();
                started.elapsed()
            })
        }
    };
}

mod with_0_9 {
    use std::io::Cursor;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use chunked_wal::Config;
    use chunked_wal_openraft::LogStore;
    use openraft::storage::RaftLogStorageExt;
    use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId};
    use tokio::runtime::Runtime;

    use super::{command, time};

    openraft::declare_raft_types!(Texts: D = String, R = ());
    openraft::declare_raft_types!(Lists: D = Vec<u8>, R = ());

    fn log_id(index: u64) -> LogId<u64> {
        LogId::new(CommittedLeaderId::new(1, 1), index)
    }

    through_adapter!(texts, Texts, command());
    // serde takes a `Vec<u8>` for a list of numbers; those above 127 take two bytes.
    through_adapter!(lists, Lists, vec![0xab; super::SIZE]);
}

mod with_0_10 {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use chunked_wal::Config;
    use chunked_wal_openraft_0_10::LogStore;
    use openraft::storage::RaftLogStorageExt;
    use openraft::type_config::alias::LogIdOf;
    use openraft::{Entry, EntryPayload};
    use openraft_0_10 as openraft;
    use tokio::runtime::Runtime;

    use super::{command, time};

    openraft::declare_raft_types!(Texts: D = String, R = String);

    fn log_id(index: u64) -> LogIdOf<Texts> {
        openraft::testing::log_id::<Texts>(1, 1, index)
    }

    through_adapter!(texts, Texts, command());
}
