//! A raft log is cut at every operation of its disk: see `explore.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../../../../tests/common/random.rs"]
mod random;

mod explore;

mod model;

mod workload;
