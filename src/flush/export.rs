//! The log's numbers as metrics of the program, through the facade `metrics` (feature `metrics`).
//!
//! - Every handle is asked for once, when the log is opened, from the recorder that is installed then.
//!   After that a number is an atomic operation more.
//! - `docs/features/metrics.md` lists them all; `tests/features/metrics.rs` compares.
//! - Without the feature nothing of it is compiled: a [`Counter`] is an atomic.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter of the log's, and by feature of the program's. Used like an atomic.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    exported: Option<::metrics::Counter>,
}

impl Counter {
    pub(crate) fn fetch_add(&self, n: u64, order: Ordering) {
        self.value.fetch_add(n, order);
        #[cfg(feature = "metrics")]
        if let Some(exported) = &self.exported {
            exported.increment(n);
        }
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.value.load(order)
    }
}

/// The largest of the numbers given, and by feature a histogram of them. Used like an atomic.
#[derive(Debug, Default)]
pub(crate) struct Largest {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    exported: Option<::metrics::Histogram>,
}

impl Largest {
    pub(crate) fn fetch_max(&self, n: u64, order: Ordering) {
        self.value.fetch_max(n, order);
        #[cfg(feature = "metrics")]
        if let Some(exported) = &self.exported {
            exported.record(n as f64);
        }
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.value.load(order)
    }
}

/// A moment that is shown, or none: in a gauge by feature, as the seconds since 1970 or 0.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    /// With the time at which the log was opened.
    #[cfg(feature = "metrics")]
    exported: Option<(::metrics::Gauge, std::time::Duration)>,
}

impl Moment {
    #[cfg(not(feature = "metrics"))]
    pub(crate) fn set(&self, _since_open: Option<std::time::Duration>) {}

    #[cfg(feature = "metrics")]
    pub(crate) fn set(&self, since_open: Option<std::time::Duration>) {
        if let Some((exported, opened)) = &self.exported {
            exported.set(since_open.map_or(0.0, |since| (*opened + since).as_secs_f64()));
        }
    }
}

/// A number that rises and falls, and by feature a gauge of the program's.
#[derive(Debug, Default)]
pub(crate) struct Level {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    exported: Option<::metrics::Gauge>,
}

impl Level {
    pub(crate) fn set(&self, n: u64) {
        self.value.store(n, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        if let Some(exported) = &self.exported {
            exported.set(n as f64);
        }
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.value.load(order)
    }
}

#[cfg(feature = "metrics")]
pub(crate) use registry::Gauges;
#[cfg(feature = "metrics")]
pub(crate) use registry::Registry;

#[cfg(feature = "metrics")]
mod registry {
    use std::path::Path;
    use std::time::SystemTime;

    use ::metrics::{
        Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
        histogram,
    };

    use super::{Counter, Largest, Level, Moment};

    /// Asks the recorder for the handles of one log.
    pub(crate) struct Registry {
        /// The log's directory, which distinguishes its metrics from those of other logs.
        log: String,
    }

    impl Registry {
        pub(crate) fn new(dir: &Path) -> Self {
            Registry { log: dir.display().to_string() }
        }

        pub(crate) fn counter(&self, name: &'static str, unit: Unit, help: &'static str) -> Counter {
            describe_counter!(name, unit, help);
            let exported = Some(counter!(name, "log" => self.log.clone()));
            Counter { exported, ..Counter::default() }
        }

        pub(crate) fn largest(&self, name: &'static str, unit: Unit, help: &'static str) -> Largest {
            Largest { exported: Some(self.histogram(name, unit, help)), ..Largest::default() }
        }

        pub(crate) fn histogram(&self, name: &'static str, unit: Unit, help: &'static str) -> Histogram {
            describe_histogram!(name, unit, help);
            histogram!(name, "log" => self.log.clone())
        }

        pub(crate) fn moment(&self, name: &'static str, help: &'static str) -> Moment {
            let exported = self.gauge(name, Unit::Seconds, help);
            exported.set(0.0);
            let opened = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Moment { exported: Some((exported, opened)) }
        }

        pub(crate) fn level(&self, name: &'static str, unit: Unit, help: &'static str) -> Level {
            let exported = self.gauge(name, unit, help);
            exported.set(0.0);
            Level { exported: Some(exported), ..Level::default() }
        }

        fn gauge(&self, name: &'static str, unit: Unit, help: &'static str) -> Gauge {
            describe_gauge!(name, unit, help);
            gauge!(name, "log" => self.log.clone())
        }

        /// The gauges of a log that begins at `offset`.
        pub(crate) fn gauges(&self, offset: u64) -> Gauges {
            let bytes = |name, help| self.gauge(name, Unit::Bytes, help);
            let gauges = Gauges {
                appended: bytes("chunked_wal_appended_offset_bytes", "Global offset of what is appended"),
                written: bytes(
                    "chunked_wal_written_offset_bytes",
                    "Global offset of what the operating system has",
                ),
                synced: bytes("chunked_wal_synced_offset_bytes", "Global offset of what is durable"),
                failed: self.gauge(
                    "chunked_wal_failed",
                    Unit::Count,
                    "1 once the log has stopped at a failure, else 0",
                ),
            };
            gauges.set(offset, offset, offset);
            gauges.failed.set(0);
            gauges
        }
    }

    /// How far a log has got, and whether it goes on.
    #[derive(Debug)]
    pub(crate) struct Gauges {
        appended: Gauge,
        written: Gauge,
        synced: Gauge,
        failed: Gauge,
    }

    impl Gauges {
        pub(crate) fn set(&self, appended: u64, written: u64, synced: u64) {
            self.appended.set(appended as f64);
            self.written.set(written as f64);
            self.synced.set(synced as f64);
        }

        pub(crate) fn fail(&self) {
            self.failed.set(1);
        }
    }
}
