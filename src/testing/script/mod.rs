//! [`Script`]: the steps of a workload, drawn from a seed or given.

mod text;

use crate::config::Config;
use crate::storage::{FaultHow, TornRenames};
use crate::testing::dice::Dice;

/// One step of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// `a<from>x<count>`: appends actions, and applies each. A full chunk is closed first.
    Append {
        /// The number of the first action; the others follow it.
        from: u64,
        /// The number of actions.
        count: u64,
    },
    /// `B<from>x<count>`: appends actions as one batch, after it has applied each. A full chunk is closed first.
    Batch {
        /// The number of the first action; the others follow it.
        from: u64,
        /// The number of actions.
        count: u64,
    },
    /// `b<from>x<count>`: appends actions and flushes each without waiting, so that the worker finds
    /// all of them queued. Odd ones ask for a sync, every fifth starts a chunk.
    Burst {
        /// The number of the first action; the others follow it.
        from: u64,
        /// The number of actions.
        count: u64,
    },
    /// `p`: appends the state machine's checkpoint, in the middle of the chunk.
    Checkpoint,
    /// `w`: flushes with [`Flush::Write`](crate::Flush::Write).
    Write,
    /// `s`: flushes with [`Flush::Sync`](crate::Flush::Sync).
    Sync,
    /// `r`: closes the open chunk.
    Rotate,
    /// `d<chunks>`: syncs, then drains and removes this many of the oldest chunks, if they are closed.
    Remove {
        /// The number of chunks.
        chunks: u64,
    },
    /// `D<chunks>`: does the same without flushing first and without waiting.
    RemoveAtOnce {
        /// The number of chunks.
        chunks: u64,
    },
    /// `i`: waits until the log has nothing left to do.
    Idle,
    /// `c`: closes the log and opens it again.
    Close,
    /// `k`: kills the process and opens the log again.
    Kill,
    /// `x<seed>`: crashes the machine and opens the log again.
    Crash {
        /// Selects one of the disks that the crash may leave.
        seed: u64,
    },
    /// `f<after><how>`, where `<how>` is `io`, `done` or `lie`: lets `<after>` operations of the
    /// storage succeed, then one fails. If the log reports a failure, the process ends and the log is
    /// opened again.
    Fault {
        /// How many operations succeed before.
        after: u64,
        /// How the operation fails: [`Io`](FaultHow::Io), [`DoneButIo`](FaultHow::DoneButIo) or
        /// [`SyncLies`](FaultHow::SyncLies).
        how: FaultHow,
    },
}

/// How fast the steps follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// The log may finish its work after each step, so that the same script gives the same operations.
    #[default]
    Calm,
    /// The next step comes at once, so that the log's threads run freely.
    Rush,
}

/// A workload: settings of the log, and steps. A failure prints a script as text, and
/// [`CrashTest::replay`](crate::testing::CrashTest::replay) takes that text.
///
/// ```
/// use chunked_wal::testing::{Script, Step};
///
/// let script: Script = "size=512 spares=1; a7x3 s r a10x2 x9".parse()?;
/// assert_eq!(script.spare_chunks, 1);
/// assert_eq!(script.steps[1], Step::Sync);
/// assert_eq!(script.to_string().parse::<Script>()?, script);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Script {
    /// `size=`: [`Config::chunk_max_size`].
    pub chunk_max_size: u64,
    /// `records=`: [`Config::chunk_max_records`].
    pub chunk_max_records: u64,
    /// `spares=`: [`Config::spare_chunks`].
    pub spare_chunks: u64,
    /// `buffer=`: [`Config::open_buffer_max_bytes`].
    pub open_buffer_max_bytes: u64,
    /// `queue=`: [`Config::flush_queue_max_bytes`].
    pub flush_queue_max_bytes: u64,
    /// `batch=`: [`Config::flush_batch_max_items`].
    pub flush_batch_max_items: u64,
    /// `read=`: [`Config::read_buffer_size`].
    pub read_buffer_size: u64,
    /// `zeros=`: [`Config::zero_ahead_bytes`].
    pub zero_ahead_bytes: u64,
    /// `renames=whole` or `renames=torn`: whether a crash may leave both names of a rename.
    pub torn_renames: TornRenames,
    /// `pace=calm` or `pace=rush`.
    pub pace: Pace,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            chunk_max_size: 512,
            chunk_max_records: u64::MAX,
            spare_chunks: 2,
            open_buffer_max_bytes: QUEUE,
            flush_queue_max_bytes: QUEUE,
            flush_batch_max_items: 1,
            read_buffer_size: 512,
            zero_ahead_bytes: 4096,
            torn_renames: TornRenames::Impossible,
            pace: Pace::Calm,
            steps: Vec::new(),
        }
    }
}

/// A queue or buffer that no workload fills.
const QUEUE: u64 = 1 << 20;

impl Script {
    /// Returns the workload of a seed.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut script = Script {
            chunk_max_size: dice.pick(&[64, 256, 512, 1024, 2048, 6000, 6000, 20_000]),
            chunk_max_records: dice.pick(&[u64::MAX, u64::MAX, 2, 5]),
            spare_chunks: dice.pick(&[0, 1, 2, 2]),
            open_buffer_max_bytes: dice.pick(&[QUEUE, QUEUE, QUEUE, 100]),
            flush_queue_max_bytes: dice.pick(&[QUEUE, QUEUE, QUEUE, 300]),
            flush_batch_max_items: dice.pick(&[1, 3, 8192]),
            read_buffer_size: dice.pick(&[16, 64, 512, 512, 4096, 4096, 4096]),
            zero_ahead_bytes: dice.pick(&[0, 4096, 4096, 256 << 10]),
            torn_renames: dice.pick(&[
                TornRenames::Impossible,
                TornRenames::Impossible,
                TornRenames::Possible,
            ]),
            pace: dice.pick(&[Pace::Calm, Pace::Calm, Pace::Calm, Pace::Rush]),
            steps: Vec::new(),
        };
        let steps = 4 + dice.below(24);
        script.steps = (0..steps).map(|_| Step::draw(&mut dice)).collect();
        script
    }

    pub(crate) fn apply(&self, config: &mut Config) {
        config.chunk_max_size = self.chunk_max_size;
        config.chunk_max_records = self.chunk_max_records;
        config.spare_chunks = self.spare_chunks;
        config.open_buffer_max_bytes = self.open_buffer_max_bytes;
        config.flush_queue_max_bytes = self.flush_queue_max_bytes;
        config.flush_batch_max_items = self.flush_batch_max_items;
        config.read_buffer_size = self.read_buffer_size;
        config.zero_ahead_bytes = self.zero_ahead_bytes;
    }
}

impl Step {
    fn draw(dice: &mut Dice) -> Self {
        let from = dice.below(1_000_000);
        match dice.below(39) {
            0..=8 => Step::Append { from, count: 1 + dice.below(6) },
            9..=10 | 32..=33 => Step::Burst { from, count: 2 + dice.below(6) },
            11 => Step::Checkpoint,
            12..=14 => Step::Write,
            15..=18 => Step::Sync,
            19..=21 => Step::Rotate,
            22 => Step::Remove { chunks: 1 + dice.below(3) },
            23..=24 => Step::RemoveAtOnce { chunks: 1 + dice.below(3) },
            25 => Step::Idle,
            36..=38 => Step::Batch { from, count: 1 + dice.below(5) },
            26 => Step::Close,
            27..=28 => Step::Kill,
            29..=30 => Step::Crash { seed: dice.below(1 << 20) },
            _ => Step::Fault {
                after: dice.below(8),
                how: dice.pick(&[FaultHow::Io, FaultHow::DoneButIo, FaultHow::SyncLies, FaultHow::SyncLies]),
            },
        }
    }
}
