//! The parameters of a run: how much to measure, where, and which contestants take part.

use std::path::PathBuf;
use std::time::Duration;

use crate::peer::Peer;

const MIB: u64 = 1 << 20;

/// The parameters of a run.
pub(crate) struct Context {
    pub(crate) scale: Scale,
    /// The directory of the logs; on a disk.
    pub(crate) dir: PathBuf,
    pub(crate) peers: Vec<&'static dyn Peer>,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    /// A turn of the workloads that are measured by time.
    pub(crate) turn: Duration,
    /// Bytes of a log's segment files, and of the raw files.
    pub(crate) chunk_bytes: u64,
    /// Bytes that each log is given before it is measured, so that its files are reused.
    pub(crate) warm_bytes: u64,
    /// S3: records of a turn.
    pub(crate) completions: u64,
    /// S4: bytes of a turn.
    pub(crate) append_bytes: u64,
    /// S5: bytes of the log that is replayed.
    pub(crate) replay_bytes: u64,
    /// S6: records of the longest log, and of the longest that is opened by reading it.
    pub(crate) open_records: u64,
    pub(crate) open_records_read: u64,
    /// S6: bytes of a chunk as usual, and of a large one.
    pub(crate) open_chunks: [u64; 2],
    /// S7: records of the log.
    pub(crate) read_records: u64,
    /// S8: a turn, and its rounds.
    pub(crate) rotate_turn: Duration,
    pub(crate) rotate_rounds: usize,
    /// S9: how long a log is idle; how long chunks are made, and how many at most.
    pub(crate) idle: Duration,
    pub(crate) chunks_time: Duration,
    pub(crate) chunks: u64,
}

impl Scale {
    pub(crate) fn full() -> Self {
        Scale {
            rounds: 5,
            turn: Duration::from_millis(200),
            chunk_bytes: 32 * MIB,
            warm_bytes: 4 * 32 * MIB,
            completions: 100_000,
            append_bytes: 64 * MIB,
            replay_bytes: 64 * MIB,
            open_records: 10_000_000,
            open_records_read: 1_000_000,
            open_chunks: [64 * MIB, 1024 * MIB],
            read_records: 400_000,
            rotate_turn: Duration::from_secs(4),
            rotate_rounds: 3,
            idle: Duration::from_secs(3),
            chunks_time: Duration::from_secs(30),
            chunks: 100_000,
        }
    }

    /// All workloads in a few minutes.
    pub(crate) fn quick() -> Self {
        Scale {
            rounds: 3,
            turn: Duration::from_millis(50),
            chunk_bytes: 8 * MIB,
            warm_bytes: 4 * 8 * MIB,
            append_bytes: 12 * MIB,
            replay_bytes: 8 * MIB,
            open_records: 1_000_000,
            open_records_read: 100_000,
            read_records: 100_000,
            rotate_turn: Duration::from_secs(2),
            rotate_rounds: 1,
            idle: Duration::from_millis(200),
            chunks_time: Duration::from_secs(2),
            ..Scale::full()
        }
    }

    /// Just enough to see that everything works: the figures mean nothing.
    pub(crate) fn smoke() -> Self {
        Scale {
            rounds: 1,
            turn: Duration::from_millis(5),
            chunk_bytes: MIB,
            warm_bytes: 2 * MIB,
            completions: 1000,
            append_bytes: MIB,
            replay_bytes: MIB,
            open_records: 20_000,
            open_records_read: 20_000,
            open_chunks: [MIB, 4 * MIB],
            read_records: 1000,
            rotate_turn: Duration::from_millis(20),
            rotate_rounds: 1,
            idle: Duration::from_millis(10),
            chunks_time: Duration::from_millis(100),
            chunks: 50,
        }
    }
}
