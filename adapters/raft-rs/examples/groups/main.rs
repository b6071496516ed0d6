//! A thousand raft groups in each of three processes, whose logs are one log for each process.
//!
//! ```text
//! cargo run --release --example groups                              1,000 groups, 30 seconds
//! cargo run --release --example groups -- --groups 100 --seconds 8  a short run
//! ```
//!
//! Run it in `adapters/raft-rs`, or with `-p chunked-wal-raft-rs` from above. Each group has a member in each process,
//! and the groups' leaders are spread over the processes. Clients write to groups at random. Meanwhile the driver kills
//! one process after the other, and starts it again. At the end, all members of a group must have applied the same
//! writes, each once, and every acknowledged write is among them. Otherwise the run ends with an error.
//!
//! ```text
//! driver ─┬─ clients ── write ──► process 1 ──┐
//!         ├─ kills ─────────────► process 2 ──┼─ a thread runs all members ─► one log
//!         └─ check ── read ─────► process 3 ──┘
//! ```
//!
//! | file | |
//! | --- | --- |
//! | `server.rs` | a process: its members, and the thread that runs them |
//! | `wire.rs` | frames on Unix sockets, between members and from clients |
//! | `driver.rs` | starts and kills the processes, and checks what they have |
//! | `client.rs` | writes to groups, and knows which writes were acknowledged |

mod client;
mod driver;
mod server;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use crate::driver::Run;
use crate::server::Start;

/// Any error, for the person who started the program.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The ids of the processes, and of each group's members.
const PROCESSES: [u64; 3] = [1, 2, 3];

/// The member of a group that should lead.
fn preferred(group: u64) -> u64 {
    PROCESSES[group as usize % PROCESSES.len()]
}

fn main() -> ExitCode {
    let done = match Start::given() {
        Some(start) => server::run(start),
        None => parse(std::env::args().skip(1)).and_then(driver::run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("groups: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Run> {
    let mut run = Run { groups: 1000, time: Duration::from_secs(30) };
    while let Some(word) = words.next() {
        let number = words.next().and_then(|word| word.parse::<u64>().ok());
        match (word.as_str(), number) {
            ("--groups", Some(groups @ 1..=100_000)) => run.groups = groups,
            ("--seconds", Some(seconds @ 1..=3600)) => run.time = Duration::from_secs(seconds),
            _ => return Err("usage: groups [--groups 1..100000] [--seconds 1..3600]".into()),
        }
    }
    Ok(run)
}
