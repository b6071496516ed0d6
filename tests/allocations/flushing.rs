//! Steady appending and flushing takes no memory: buffers go round.
#![allow(clippy::unwrap_used, reason = "tests")]

use chunked_wal::{Flush, WalRecord};

use crate::OF_THREAD;
use crate::common::*;

pub(crate) fn appending_and_flushing_allocate_nothing_once_buffers_go_round() {
    let disk = Disk::with(|config| config.chunk_max_size = 1 << 20);
    // Numbers take no memory when an append decodes them, as it does in a build for tests.
    let mut wal = disk.options::<LogOf<u64>>().open(&mut Applied::default()).unwrap();
    let record = WalRecord::Action(7);
    let mut append_and_flush = |times| {
        let before = OF_THREAD.get();
        for i in 0..times {
            for _ in 0..=i % 7 {
                wal.append(&record).unwrap();
            }
            wal.flush(Flush::Sync, None).unwrap();
            wal.flush_ticket(Flush::Sync).unwrap().wait().unwrap();
        }
        OF_THREAD.get() - before
    };
    assert!(append_and_flush(100) > 0, "the counter counts");
    assert_eq!(append_and_flush(1000), 0);
}
