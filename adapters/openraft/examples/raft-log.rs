//! The command `chunked-wal` for the logs of the example `raft-kv`: it shows votes, commits and entries decoded.
//!
//! ```text
//! cargo run --example raft-log -- dump DIR             each record as text
//! cargo run --example raft-log -- follow --json DIR    as JSON, as the records become durable
//! cargo run --example raft-log -- --help
//! ```
//!
//! For your own raft, put your type configuration in the place of `Kv`.

#[allow(dead_code, reason = "only the types of the log are needed here")]
#[path = "raft-kv/server/types.rs"]
pub(crate) mod types;

use std::process::ExitCode;

use chunked_wal::tools::Tool;
use chunked_wal_openraft::RaftWal;

pub(crate) fn main() -> ExitCode {
    Tool::with_json::<RaftWal<types::Kv>>().main()
}
