//! Imports of logs that raft-log 0.4 and chunked-wal 0.2 wrote themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bytes;
mod command;
mod common;
mod damage;
mod kills;
mod new_raft;
mod old_raft;
mod raft;
