//! Crashes at every operation, and the operations themselves.
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod golden;
mod snapshots;
mod subscribers;
