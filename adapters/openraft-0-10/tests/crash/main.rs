//! A raft log is cut at every operation of its disk: the crash test of the adapter for openraft 0.9,
//! with 0.10. `CRASH_STATES` and `CRASH_SEED` ask for more states, or for others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../../../../tests/common/random.rs"]
mod random;

#[path = "../../../openraft/tests/crash/explore.rs"]
mod explore;

#[path = "../../../openraft/tests/crash/model.rs"]
mod model;

#[path = "../../../openraft/tests/crash/workload.rs"]
mod workload;
