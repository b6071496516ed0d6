//! A replicated key-value server, and a driver that kills its leaders.
//!
//! ```text
//! cargo run --release --example raft-kv -- cluster                3 processes, 30 seconds
//! cargo run --release --example raft-kv -- cluster --seconds 8    a short run
//! ```
//!
//! Run it in `adapters/openraft`, or with `-p chunked-wal-openraft` from above. The driver starts three
//! servers on loopback, lets several clients write, and kills and restarts the leader again and again
//! (SIGKILL). At the end it reads everything from every server: each acknowledged write must be there,
//! and all servers must agree. Otherwise the run ends with an error.
//!
//! ```text
//! cluster ──┬─ clients ── POST /write ──► server ◄── POST /raft/… ──► server
//!           └─ killer ─── SIGKILL, start again ──► server      each: axum ─ openraft ─ LogStore ─ chunked-wal
//! ```
//!
//! | file | |
//! | --- | --- |
//! | `types.rs` | the commands of raft: a write, and its types |
//! | `machine.rs`, `snapshot.rs` | the state machine, and its snapshots, which are durable |
//! | `network.rs`, `server.rs` | messages between servers, and a server |
//! | `address.rs` | a server's address: the system assigns another port at every start |
//! | `cluster.rs`, `process.rs`, `client.rs`, `killer.rs`, `report.rs` | the driver |

mod address;
mod client;
mod cluster;
mod killer;
mod machine;
mod network;
mod process;
mod report;
mod server;
mod snapshot;
mod types;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Any error, for the person who started the program.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["cluster"] => cluster::run(Duration::from_secs(30)).await,
        ["cluster", "--seconds", seconds] => match seconds.parse() {
            Ok(seconds @ 1..=3600) => cluster::run(Duration::from_secs(seconds)).await,
            _ => Err(format!("'{seconds}' is not a number of seconds from 1 to 3600").into()),
        },
        ["node", id, dir] => match id.parse() {
            Ok(id) => server::run(id, Path::new(dir)).await,
            Err(_) => Err(format!("'{id}' is not a number").into()),
        },
        _ => Err("usage: raft-kv cluster [--seconds N]\n       raft-kv node ID DIR".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft-kv: {error}");
            ExitCode::FAILURE
        }
    }
}
