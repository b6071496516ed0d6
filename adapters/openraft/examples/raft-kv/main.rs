//! A replicated key-value server, and a driver that kills its leaders.
//!
//! ```text
//! cargo run --release --example raft-kv -- cluster                3 processes, 30 seconds
//! cargo run --release --example raft-kv -- cluster --seconds 8    a short run
//! ```
//!
//! Run it in `adapters/openraft`, or with `-p chunked-wal-openraft` from above. The driver starts three
//! servers on loopback, lets several clients write, kills the leader with SIGKILL again and again and
//! starts it anew. At the end it asks every server for everything: each acknowledged write has to be
//! there, and all have to agree. It ends with an error if not.
//!
//! ```text
//! cluster ──┬─ clients ── POST /write ──► server ◄── POST /raft/… ──► server
//!           └─ killer ─── SIGKILL, start again ──► server      each: axum ─ openraft ─ LogStore ─ chunked-wal
//! ```
//!
//! | file | |
//! | --- | --- |
//! | `types.rs` | what raft is told: a write, and its types |
//! | `machine.rs`, `snapshot.rs` | the state machine, and its snapshots, which are durable |
//! | `network.rs`, `server.rs` | the way between servers, and a server |
//! | `address.rs` | where a server listens: the system gives it another port at every start |
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

/// Whatever goes wrong, for the one who started it to read.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["cluster"] => cluster::run(Duration::from_secs(30)).await,
        ["cluster", "--seconds", seconds] => match seconds.parse() {
            Ok(seconds @ 1..=3600) => cluster::run(Duration::from_secs(seconds)).await,
            _ => Err(format!("'{seconds}' are no seconds: 1 to 3600").into()),
        },
        ["node", id, dir] => match id.parse() {
            Ok(id) => server::run(id, Path::new(dir)).await,
            Err(_) => Err(format!("'{id}' is no number").into()),
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
