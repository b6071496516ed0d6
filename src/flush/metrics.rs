//! Counters and latency histograms of flushes, written by the worker, read from any thread.
//!
//! A histogram has 16 buckets to each power of two, so a percentile is at most 1/16 too high; it
//! takes a fixed 4 KiB and no lock.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[cfg(feature = "metrics")]
use ::metrics::Unit;

use super::export::{Counter, Largest, Level};
use super::under_way::SyncUnderWay;

/// Counts and latencies of all flushes since the log was opened. A flush is counted before its callback runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushMetrics {
    /// Batches of flushes written, rotations not counted.
    pub batch_count: u64,
    /// Batches that were synced.
    pub sync_batch_count: u64,
    /// Flushes done, whether or not they had a callback.
    pub flush_count: u64,
    /// Bytes of records written, headers and checkpoints of new chunks included.
    pub write_bytes: u64,
    /// Flushes in the largest batch.
    pub batch_items_max: u64,
    /// Rotations done.
    pub rotation_count: u64,
    /// Chunks removed.
    pub removed_count: u64,
    /// Removals, and preparations of spare files, that failed.
    pub housekeeping_failure_count: u64,
    /// Callbacks that panicked.
    pub callback_panic_count: u64,
    /// [Pinned readers](crate::PinnedReader) now; clones count once.
    pub pinned_reader_count: u64,
    /// Removals that wait now for pinned readers to be dropped.
    pub pinned_removal_count: u64,
    /// [Pins](crate::WalPin) and [subscribers](crate::Subscriber) that held the log when it last drained.
    pub pin_count: u64,
    /// Bytes of the log from the pin that was farthest behind, when the log last drained, to its end.
    pub pinned_bytes: u64,
    /// Pins and subscribers that broke.
    pub broken_pin_count: u64,
    /// For how long the sync under way has been under way now, in microseconds; 0 if there is none. A disk that
    /// hangs shows here while it hangs; [`sync`](Self::sync) counts a sync only once it is done.
    pub sync_age_us: u64,
    /// How long flushes waited to be taken by the worker.
    pub queue_wait: Latency,
    /// How long the writes of a batch took.
    pub write: Latency,
    /// How long the sync of a batch took.
    pub sync: Latency,
    /// How long a batch took from being taken to its callbacks.
    pub batch: Latency,
}

/// A distribution of durations, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half took at most this long.
    pub p50_us: u64,
    /// 90 % took at most this long.
    pub p90_us: u64,
    /// 95 % took at most this long.
    pub p95_us: u64,
    /// 99 % took at most this long.
    pub p99_us: u64,
    /// 99.9 % took at most this long.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// The live counters of [`FlushMetrics`].
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) batch_count: Counter,
    pub(crate) sync_batch_count: Counter,
    pub(crate) flush_count: Counter,
    pub(crate) write_bytes: Counter,
    pub(crate) batch_items_max: Largest,
    pub(crate) rotation_count: Counter,
    pub(crate) removed_count: Counter,
    pub(crate) housekeeping_failure_count: Counter,
    pub(crate) callback_panic_count: Counter,
    pub(crate) pinned_reader_count: Level,
    pub(crate) pinned_removal_count: Level,
    pub(crate) pin_count: Level,
    pub(crate) pinned_bytes: Level,
    pub(crate) broken_pin_count: Counter,
    pub(crate) sync_under_way: SyncUnderWay,
    pub(crate) queue_wait: Histogram,
    pub(crate) write: Histogram,
    pub(crate) sync: Histogram,
    pub(crate) batch: Histogram,
}

impl Metrics {
    /// The metrics of the log in `dir`.
    #[cfg(not(feature = "metrics"))]
    pub(crate) fn new(_dir: &Path) -> Self {
        Metrics::default()
    }

    /// The metrics of the log in `dir`, exported as the program's.
    #[cfg(feature = "metrics")]
    pub(crate) fn new(dir: &Path) -> Self {
        let registry = super::export::Registry::new(dir);
        let counter = |name, help| registry.counter(name, Unit::Count, help);
        let seconds = |name, help| {
            let exported = Some(registry.histogram(name, Unit::Seconds, help));
            Histogram { exported, ..Histogram::default() }
        };
        Metrics {
            batch_count: counter("chunked_wal_batches_total", "Batches of flushes written"),
            sync_batch_count: counter("chunked_wal_synced_batches_total", "Batches that were synced"),
            flush_count: counter("chunked_wal_flushes_total", "Flushes done"),
            write_bytes: registry.counter(
                "chunked_wal_written_bytes_total",
                Unit::Bytes,
                "Bytes of records written, headers and checkpoints of new chunks included",
            ),
            batch_items_max: registry.largest("chunked_wal_batch_flushes", Unit::Count, "Flushes in a batch"),
            rotation_count: counter("chunked_wal_rotations_total", "Rotations done"),
            removed_count: counter("chunked_wal_removed_chunks_total", "Chunks removed"),
            housekeeping_failure_count: counter(
                "chunked_wal_housekeeping_failures_total",
                "Removals, and preparations of spare files, that failed",
            ),
            callback_panic_count: counter("chunked_wal_callback_panics_total", "Callbacks that panicked"),
            pinned_reader_count: registry.level("chunked_wal_pinned_readers", Unit::Count, "Pinned readers"),
            pinned_removal_count: registry.level(
                "chunked_wal_pinned_removals",
                Unit::Count,
                "Removals that wait for pinned readers",
            ),
            pin_count: registry.level(
                "chunked_wal_pins",
                Unit::Count,
                "Pins and subscribers, at the last drain",
            ),
            pinned_bytes: registry.level(
                "chunked_wal_pinned_bytes",
                Unit::Bytes,
                "Bytes from the pin that was farthest behind to the log's end, at the last drain",
            ),
            broken_pin_count: counter("chunked_wal_broken_pins_total", "Pins and subscribers that broke"),
            sync_under_way: SyncUnderWay::shown_as(registry.moment(
                "chunked_wal_sync_started_timestamp_seconds",
                "When the sync under way has started, in seconds since 1970; 0 if there is none",
            )),
            queue_wait: seconds(
                "chunked_wal_queue_wait_seconds",
                "How long flushes waited to be taken by the worker",
            ),
            write: seconds("chunked_wal_write_seconds", "How long the writes of a batch took"),
            sync: seconds("chunked_wal_sync_seconds", "How long the sync of a batch took"),
            batch: seconds(
                "chunked_wal_batch_seconds",
                "How long a batch took from being taken to its callbacks",
            ),
        }
    }

    pub(crate) fn snapshot(&self) -> FlushMetrics {
        FlushMetrics {
            batch_count: self.batch_count.load(Relaxed),
            sync_batch_count: self.sync_batch_count.load(Relaxed),
            flush_count: self.flush_count.load(Relaxed),
            write_bytes: self.write_bytes.load(Relaxed),
            batch_items_max: self.batch_items_max.load(Relaxed),
            rotation_count: self.rotation_count.load(Relaxed),
            removed_count: self.removed_count.load(Relaxed),
            housekeeping_failure_count: self.housekeeping_failure_count.load(Relaxed),
            callback_panic_count: self.callback_panic_count.load(Relaxed),
            pinned_reader_count: self.pinned_reader_count.load(Relaxed),
            pinned_removal_count: self.pinned_removal_count.load(Relaxed),
            pin_count: self.pin_count.load(Relaxed),
            pinned_bytes: self.pinned_bytes.load(Relaxed),
            broken_pin_count: self.broken_pin_count.load(Relaxed),
            sync_age_us: self.sync_under_way.age_us(),
            queue_wait: self.queue_wait.latency(),
            write: self.write.latency(),
            sync: self.sync.latency(),
            batch: self.batch.latency(),
        }
    }
}

/// Buckets to each power of two: 2^4.
const SUB_BITS: u32 = 4;
/// Durations past 2^36 µs (19 hours) share the last bucket.
const TOP_BIT: u32 = 36;
const BUCKETS: usize = ((TOP_BIT - SUB_BITS + 2) << SUB_BITS) as usize;

/// A histogram of microseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
    max_us: AtomicU64,
    #[cfg(feature = "metrics")]
    exported: Option<::metrics::Histogram>,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]),
            max_us: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            exported: None,
        }
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        self.record_many(duration, 1);
    }

    /// Records the duration `count` times. Only the holder of the worker's lock calls it, so a load and a store
    /// suffice.
    pub(crate) fn record_many(&self, duration: Duration, count: u64) {
        if count == 0 {
            return;
        }
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = &self.buckets[bucket(us)];
        bucket.store(bucket.load(Relaxed) + count, Relaxed);
        if us > self.max_us.load(Relaxed) {
            self.max_us.store(us, Relaxed);
        }
        #[cfg(feature = "metrics")]
        if let Some(exported) = &self.exported {
            exported.record_many(duration, usize::try_from(count).unwrap_or(usize::MAX));
        }
    }

    fn latency(&self) -> Latency {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let count = counts.iter().sum();
        let max_us = self.max_us.load(Relaxed);
        let quantile = |per_mille: u64| quantile(&counts, count, per_mille).min(max_us);
        Latency {
            count,
            p50_us: quantile(500),
            p90_us: quantile(900),
            p95_us: quantile(950),
            p99_us: quantile(990),
            p999_us: quantile(999),
            max_us,
        }
    }
}

/// The bucket of a value: exact below 16, then 16 to each power of two.
fn bucket(us: u64) -> usize {
    let us = us.min((1 << (TOP_BIT + 1)) - 1);
    if us < 1 << SUB_BITS {
        return us as usize;
    }
    let top = u64::BITS - 1 - us.leading_zeros();
    let sub = (us >> (top - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
    (((top - SUB_BITS + 1) as usize) << SUB_BITS) + sub
}

/// The largest value that falls into a bucket.
fn bucket_max(bucket: usize) -> u64 {
    let (row, sub) = (bucket >> SUB_BITS, (bucket & ((1 << SUB_BITS) - 1)) as u64);
    if row == 0 { sub } else { (((1 << SUB_BITS) + sub + 1) << (row - 1)) - 1 }
}

fn quantile(counts: &[u64], total: u64, per_mille: u64) -> u64 {
    let rank = (u128::from(total) * u128::from(per_mille)).div_ceil(1000) as u64;
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= rank && *count > 0 {
            return bucket_max(bucket);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_own_maximum_and_the_next_value_goes_on() {
        for b in 0..BUCKETS {
            assert_eq!(bucket(bucket_max(b)), b);
            if b + 1 < BUCKETS {
                assert_eq!(bucket(bucket_max(b) + 1), b + 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_at_most_a_sixteenth_high() {
        let histogram = Histogram::default();
        assert_eq!(histogram.latency(), Latency::default());
        for us in 1..=1000 {
            histogram.record(Duration::from_micros(us));
        }
        let latency = histogram.latency();
        assert_eq!((latency.count, latency.max_us), (1000, 1000));
        for (found, exact) in [(latency.p50_us, 500), (latency.p99_us, 990), (latency.p999_us, 999)] {
            assert!(found >= exact && found <= exact + exact / 16 + 1, "{found} for {exact}");
        }
    }
}
