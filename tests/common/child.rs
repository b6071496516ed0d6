//! Tests that take a process of their own.

use std::process::Command;

/// Runs this test binary again, for one test. The caller sets the variables from which that test learns
/// that it is the child.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
}
