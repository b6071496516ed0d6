//! A logger that panics, for example because standard error is closed, does no harm to threads that wait for the log.
//!
//! Each test runs in a process of its own, because a process has one logger.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::mpsc::channel;
use std::time::Duration;

use chunked_wal::storage::{Fault, FaultHow, OpKind};
use chunked_wal::{Error, Flush};

use crate::common::*;
use crate::{ROLE, assert_passes};

struct Panicking;

impl log::Log for Panicking {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let on_a_thread_of_the_log =
            std::thread::current().name().is_some_and(|name| name.starts_with("wal-"));
        assert!(!on_a_thread_of_the_log, "stderr is gone: {}", record.args());
    }

    fn flush(&self) {}
}

const SOON: Duration = Duration::from_secs(20);

/// Runs this test once more in a process that has this logger; returns whether this process is that one.
fn installed(test: &str) -> bool {
    let is_child = std::env::var_os(ROLE).is_some();
    if is_child {
        log::set_logger(&Panicking).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    } else {
        assert_passes(again(&format!("logger::{test}")).env(ROLE, "logger"));
    }
    is_child
}

#[test]
fn every_callback_runs_although_the_failure_can_not_be_logged() {
    if !installed("every_callback_runs_although_the_failure_can_not_be_logged") {
        return;
    }
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    let gate = Gate::new(&disk.storage, |op| op.kind == OpKind::Sync);
    let (told, done) = channel();
    for word in ["a", "b", "c"] {
        wal.append(&action(word)).unwrap();
        wal.flush(Flush::Sync, Some(told.clone())).unwrap();
    }
    gate.wait_for(1);
    disk.storage.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    gate.open();
    for _ in 0..3 {
        done.recv_timeout(SOON).expect("every callback comes").unwrap_err();
    }
    let (ended, end) = channel();
    std::thread::spawn(move || {
        drop(wal);
        ended.send(()).unwrap();
    });
    end.recv_timeout(SOON).expect("a drop comes back");
}

#[test]
fn rotations_and_removals_continue_although_they_can_not_be_logged() {
    if !installed("rotations_and_removals_continue_although_they_can_not_be_logged") {
        return;
    }
    let disk = Disk::default();
    let (mut wal, _) = disk.open();
    for word in ["a", "b", "c"] {
        wal.append(&action(word)).unwrap();
        wal.close_open_chunk_with(word.to_string()).unwrap();
    }
    let drained = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(drained).unwrap();
    let idle: Result<(), Error> = wal.wait_idle();
    idle.unwrap();
    wal.close().unwrap();
}
