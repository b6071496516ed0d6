//! Appender's side, queue, worker, progress and tickets under many schedules: the crate's own files, compiled
//! against a model checker's locks and atomics, which decides at each of them who runs next.
//!
//! - A lost wake-up shows as a deadlock, which the checker reports with the schedule that led to it.
//! - Schedules are drawn from a fixed seed; `MODEL_SEED` gives others, `MODEL_SCHEDULES` more of them.
//! - It models every atomic as sequentially consistent: an ordering that is too weak goes unseen.
//!
//! It has no harness, because those files have unit tests of their own, which are not for here.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    unexpected_cfgs,
    missing_docs,
    reason = "parts of other rooms"
)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod chunk;
#[path = "../../src/error/mod.rs"]
mod error;
mod flush;
#[path = "log.rs"]
mod log_model;
mod models;
#[path = "../../src/panics.rs"]
mod panics;
#[path = "../../src/position.rs"]
mod position;
mod sync;

/// What those files need of the other rooms.
mod record {
    use std::sync::Arc;

    use crate::position::ChunkId;

    pub(crate) trait Callback: Send + 'static {
        fn complete(self, result: crate::error::Result<()>);
    }

    pub(crate) trait WalTypes: 'static {
        type Checkpoint: Send + Sync + 'static;
        type Callback: Callback;
    }

    pub(crate) struct ChunkPersisted {
        pub(crate) chunk_id: ChunkId,
        pub(crate) start: u64,
        pub(crate) synced: u64,
    }

    pub(crate) type OnChunkPersisted<W> =
        Arc<dyn Fn(ChunkPersisted, Option<&<W as WalTypes>::Checkpoint>) + Send + Sync>;
}

mod format {
    #[derive(Debug)]
    pub(crate) struct Header {
        pub(crate) chunk_id: u64,
    }

    pub(crate) struct Seal {
        pub(crate) records: u64,
        pub(crate) data_len: u64,
        pub(crate) data_crc: u32,
    }

    pub(crate) const UNSYNCED_MAX: u64 = 2 << 30;
}

mod config {
    use std::time::Duration;

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum IdleMark {
        Written,
        Synced,
    }

    pub(crate) struct Config {
        pub(crate) flush_batch_max_items: u64,
        pub(crate) flush_batch_max_bytes: u64,
        pub(crate) flush_batch_wait: Duration,
    }
}

mod storage {
    use std::io::Result;
    use std::path::Path;

    pub(crate) trait Storage: Send + Sync {
        fn rename_new(&self, from: &Path, to: &Path) -> Result<()>;
        fn sync_dir(&self, dir: &Path) -> Result<()>;
    }
}

use std::time::Instant;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// A model, and how many schedules of it are enough for every day.
type Model = (&'static str, fn(), Search);

enum Search {
    /// Half of them drawn evenly, half with few preemptions at any place.
    Drawn(usize),
    /// All there are.
    All,
}

const MODELS: [Model; 10] = [
    ("queue", models::queue, Search::Drawn(40_000)),
    ("room", models::room, Search::Drawn(20_000)),
    ("positions", models::positions, Search::Drawn(40_000)),
    ("offsets", models::offsets, Search::Drawn(40_000)),
    ("first_cause", models::first_cause, Search::Drawn(20_000)),
    ("log", models::log, Search::Drawn(80_000)),
    ("pair_completed_waited", models::pair::<true, false>, Search::All),
    ("pair_completed_awaited", models::pair::<true, true>, Search::All),
    ("pair_dropped_waited", models::pair::<false, false>, Search::All),
    ("pair_dropped_awaited", models::pair::<false, true>, Search::All),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let seed = from_env("MODEL_SEED").unwrap_or(1);
    for (name, model, search) in MODELS {
        let name = format!("model_check_{name}");
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let started = Instant::now();
        let schedules = match search {
            Search::All => runner(DfsScheduler::new(None, false)).run(model),
            Search::Drawn(schedules) => {
                let half = from_env("MODEL_SCHEDULES").map_or(schedules, |n| n as usize).div_ceil(2);
                runner(RandomScheduler::new_from_seed(seed, half)).run(model)
                    + runner(PctScheduler::new_from_seed(seed, 3, half)).run(model)
            }
        };
        println!("{name}: {schedules} schedules in {:.1?}, seed {seed}", started.elapsed());
    }
}

fn runner<S: shuttle::scheduler::Scheduler + 'static>(scheduler: S) -> Runner<S> {
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    // It says at every weaker ordering what is said above.
    config.silence_warnings = true;
    Runner::new(scheduler, config)
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
