//! What takes processes: writers killed at any moment, races for the lock, few descriptors, a logger that panics.
//!
//! Such a test runs this binary again as its child. A variable says which part the child plays.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod directory;
mod kills;
mod logger;
mod ship;
mod subscribers;

use std::process::Command;

/// The variable that says which part a child plays.
const ROLE: &str = "CHUNKED_WAL_TEST_ROLE";

/// Waits for a child that runs one test, which must pass.
fn assert_passes(child: &mut Command) {
    let ran = child.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{}", said.trim());
}
