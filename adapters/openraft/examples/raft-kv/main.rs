//! A replicated key-value server, and a driver that injects faults.
//!
//! ```text
//! cargo run --release --example raft-kv -- cluster                     3 processes, 30 seconds
//! cargo run --release --example raft-kv -- cluster --seconds 8         a short run
//! cargo run --release --example raft-kv -- cluster --seed 7            the faults of an earlier run
//! cargo run --release --example raft-kv -- cluster --acknowledge-early a store with a bug: the run must fail
//! ```
//!
//! Run it in `adapters/openraft`, or with `-p chunked-wal-openraft` from above. The driver starts three
//! servers on loopback and lets several clients write and read. Meanwhile it kills and pauses servers,
//! cuts the network between them, fills their disks, and takes their power. At the end it reads each key
//! on each server once more. The history of each key must be linearizable, and all servers must agree.
//! Otherwise the run ends with an error, and keeps the histories.
//!
//! | directory | |
//! | --- | --- |
//! | `server/` | a server, to copy: axum, openraft, a `LogStore`, and durable snapshots |
//! | `driver/` | the driver: clients, faults and the check |
//!
//! The seed gives the same faults in the same order. It doesn't give the same run, because the servers
//! are processes.

mod driver;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use crate::driver::node::Start;
use crate::driver::{Acknowledges, Run};

/// Any error, for the person who started the program.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: raft-kv cluster [--seconds N] [--seed N] [--acknowledge-early]";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft-kv: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Outcome<()> {
    match Start::given()? {
        Some(start) => driver::node::run(start).await,
        None => driver::run(parse(std::env::args().skip(1))?).await,
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Run> {
    if words.next().as_deref() != Some("cluster") {
        return Err(USAGE.into());
    }
    let time = Duration::from_secs(30);
    let mut run = Run { time, seed: fastrand::u64(..), acknowledges: Acknowledges::Synced };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => run.time = seconds(words.next())?,
            "--seed" => run.seed = number(words.next())?,
            "--acknowledge-early" => run.acknowledges = Acknowledges::Early,
            _ => return Err(format!("'{word}' is no option; {USAGE}").into()),
        }
    }
    Ok(run)
}

fn seconds(word: Option<String>) -> Outcome<Duration> {
    match number(word)? {
        seconds @ 1..=3600 => Ok(Duration::from_secs(seconds)),
        other => Err(format!("{other} seconds are not from 1 to 3600; {USAGE}").into()),
    }
}

fn number(word: Option<String>) -> Outcome<u64> {
    let word = word.unwrap_or_default();
    word.parse().map_err(|_| format!("'{word}' is not a number; {USAGE}").into())
}
