//! A log that is archived late: the bytes that go up in a second, of those that the store's line takes.

use std::path::Path;
use std::time::{Duration, Instant};

use chunked_wal_archive::Archiver;

use crate::distant::{BYTES_PER_S, Distant};
use crate::writing::write_log;

const BYTES: u64 = 800 << 20;

/// The share of the line that was used, by round.
pub(crate) type Uploading = Vec<f64>;

pub(crate) fn round(dir: &Path, uploading: &mut Uploading) {
    let log = dir.join("late");
    if !log.exists() {
        write_log(&log, BYTES);
    }
    let began = Instant::now();
    let archiver = Archiver::of_directory(&log).start(Distant::new(BYTES_PER_S)).unwrap();
    let status = archiver.close(Duration::from_secs(60)).unwrap();
    uploading.push(status.log_bytes as f64 / began.elapsed().as_secs_f64() / BYTES_PER_S);
}
