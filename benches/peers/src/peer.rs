//! The interface of a log that takes part: each peer implements as much of this as it can.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use anyhow::bail;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::Serialize;

use crate::workload::Workload;

/// Whether a peer takes part in a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    Yes,
    /// Its API can't do the workload, for this reason.
    No(&'static str),
    /// It returns before the record is on stable storage; how that was seen. It is run and shown, but
    /// not compared.
    DoesNotSync(&'static str),
}

/// How a log is opened for a workload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Bytes of a segment file, where the peer lets one choose.
    pub(crate) chunk_bytes: u64,
    /// Whether the log forgets old segments as it goes, as far as its API can, so that it may use their
    /// files again. Otherwise it keeps everything.
    pub(crate) forget: bool,
    /// Whether many appends are on their way to the disk at a time.
    pub(crate) many_at_once: bool,
    /// Whether the log is opened at its last checkpoint, where it can be. Otherwise all is replayed.
    pub(crate) at_checkpoint: bool,
    /// The most bytes between two syncs, where that is known. A log that can't write without a sync is
    /// given files that have room for so much.
    pub(crate) unsynced_bytes: u64,
}

impl Setup {
    pub(crate) fn keeping(chunk_bytes: u64) -> Self {
        Setup { chunk_bytes, forget: false, many_at_once: false, at_checkpoint: false, unsynced_bytes: 0 }
    }

    pub(crate) fn forgetting(chunk_bytes: u64) -> Self {
        Setup { forget: true, ..Setup::keeping(chunk_bytes) }
    }
}

/// A log under test.
pub(crate) trait Peer: Sync {
    /// The crate's name, followed by the way of use if there are several.
    fn name(&self) -> &'static str;

    fn fit(&self, workload: Workload) -> Fit;

    /// Opens the log in `dir`, which exists; makes it if it is not there.
    fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Log>>;

    /// Opens the log in `dir`, reads every record, closes it; returns how many there were.
    fn replay(&self, _dir: &Path, _setup: &Setup) -> Result<u64> {
        bail!("cannot replay")
    }

    /// Makes a log of `count` records in `dir`, of which none are in memory, to be read in any order.
    fn random_reads(&self, _dir: &Path, _payload: &[u8], _count: u64) -> Result<Box<dyn RandomReads>> {
        bail!("cannot read at random")
    }
}

/// An open log that appends one payload again and again.
pub(crate) trait Log: Send {
    /// Sets the payload of all later appends.
    fn set_payload(&mut self, payload: &[u8]);

    /// Appends, without waiting for the disk if the log can do that. Occasional work of a log, such as
    /// starting a new segment, is done here.
    fn append(&mut self) -> Result<()>;

    /// Makes everything appended durable.
    fn sync(&mut self) -> Result<()>;

    /// Appends, and returns once that is durable.
    fn append_durable(&mut self) -> Result<()> {
        self.append()?;
        self.sync()
    }

    /// Appends `count` times. A separate method, so that there is one virtual call instead of one per
    /// record.
    fn append_many(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.append()?;
        }
        Ok(())
    }

    /// Appends `count` times, then makes all of it durable; returns when the last record was appended.
    fn append_then_sync(&mut self, count: u64) -> Result<Instant> {
        self.append_many(count)?;
        let appended = Instant::now();
        self.sync()?;
        Ok(appended)
    }

    /// Prepares for this number of completions. Not timed.
    fn prepare_completions(&mut self, _count: u64) {}

    /// Appends `count` records, each with its own completion that reports when the record is durable;
    /// returns once all have completed.
    fn append_with_completions(&mut self, _count: u64) -> Result<()> {
        bail!("has no completions")
    }

    /// Waits until no background work is left.
    fn wait_idle(&mut self) -> Result<()> {
        self.sync()
    }

    /// Turns the log into one that threads append to together.
    fn share(self: Box<Self>) -> Box<dyn SharedLog>;
}

/// An open log that many threads append to.
pub(crate) trait SharedLog: Send + Sync {
    /// Appends, and returns once that is durable.
    fn append_durable(&self) -> Result<()>;
}

/// Threads take turns with a log that has one owner.
impl<L: Log> SharedLog for Mutex<L> {
    fn append_durable(&self) -> Result<()> {
        self.lock().append_durable()
    }
}

/// Reads records from any thread.
pub(crate) trait RandomReads: Send + Sync {
    /// Looks up the places of records by their numbers, from 0. Not timed, so that no table of places
    /// affects a figure.
    fn find<'a>(&'a self, records: &[u64]) -> Box<dyn Found + 'a>;
}

/// Records that were found, to be read by one thread.
pub(crate) trait Found {
    /// Reads the `i`th of them, and checks it as far as the log does; returns its length.
    fn read(&self, i: usize) -> Result<usize>;
}

/// Places, and how a record is read there.
struct Places<P, R> {
    places: Vec<P>,
    read: R,
}

impl<P, R: Fn(&P) -> Result<usize>> Found for Places<P, R> {
    fn read(&self, i: usize) -> Result<usize> {
        (self.read)(&self.places[i])
    }
}

/// Records at these places.
pub(crate) fn found<'a, P: 'a>(
    places: impl Iterator<Item = P>,
    read: impl Fn(&P) -> Result<usize> + 'a,
) -> Box<dyn Found + 'a> {
    Box::new(Places { places: places.collect(), read })
}

/// A payload of `len` bytes, without long runs of one byte, in case something compresses.
pub(crate) fn payload(len: usize) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    };
    (0..len).map(|_| next()).collect()
}
