//! A durable key-value server: an enum for the log, snapshots, and a graceful shutdown.
//!
//! ```text
//! cargo run --release -p chunked-wal-server -- /tmp/my-server 127.0.0.1:8080
//! curl -X PUT -d 'the value' http://127.0.0.1:8080/the-key     # answers once it is durable
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Router, routing};
use chunked_wal::snapshot::{Restored, Snapshots};
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, SharedWal, StateMachine, WalRecord, WalTypes};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

const SNAPSHOT_BYTES: u64 = 1 << 20; // a snapshot after that much log

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Command {
    Set { key: String, value: String },
    Delete { key: String },
}
chunked_wal::serde_codec!(Command as MessagePack);

struct Log;
impl WalTypes for Log {
    type Action = Command;
    type Checkpoint = (); // the state is in the snapshots
    type Callback = ();
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Map(BTreeMap<String, String>);
impl StateMachine<Log> for Map {
    type Error = Infallible;
    fn apply(&mut self, record: &WalRecord<Log>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        match record {
            WalRecord::Action(Command::Set { key, value }) => drop(self.0.insert(key.clone(), value.clone())),
            WalRecord::Action(Command::Delete { key }) => drop(self.0.remove(key)),
            WalRecord::Checkpoint(()) => {}
        }
        Ok(())
    }
    fn checkpoint(&self) {}
}

type Wal = SharedWal<Log, Map>;
type Answer = Result<StatusCode, (StatusCode, String)>;

async fn get(State(wal): State<Wal>, Path(key): Path<String>) -> Result<String, StatusCode> {
    wal.read(|map| map.0.get(&key).cloned()).ok_or(StatusCode::NOT_FOUND)
}

async fn put(State(wal): State<Wal>, Path(key): Path<String>, value: String) -> Answer {
    commit(&wal, Command::Set { key, value }).await
}

async fn delete(State(wal): State<Wal>, Path(key): Path<String>) -> Answer {
    commit(&wal, Command::Delete { key }).await
}

/// Answers once the command is durable.
async fn commit(wal: &Wal, command: Command) -> Answer {
    let durable = async { wal.commit_async(command).await?.await };
    let failed = |e: chunked_wal::Error| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string());
    durable.await.map(|_| StatusCode::NO_CONTENT).map_err(failed)
}

/// Takes snapshots on a thread of their own, until the sender is dropped.
fn take_snapshots(wal: &Wal, snapshots: &Snapshots, stop: &Receiver<()>) {
    let mut last = wal.progress().appended;
    while stop.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
        let appended = wal.progress().appended;
        if appended - last < SNAPSHOT_BYTES {
            continue;
        }
        let write = |map, file: &mut dyn std::io::Write| Ok(serde_json::to_writer(file, &map)?);
        match snapshots.take_shared(wal, Map::clone, write) {
            Ok(removed) => println!("a snapshot; {} chunks removed", removed.len()),
            Err(error) => eprintln!("no snapshot: {error}"), // the log keeps what it would have covered
        }
        last = appended;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(arguments.next().ok_or("usage: chunked-wal-server DIR [ADDRESS]")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_string());

    let options = ChunkedWal::options(Config::new(dir.join("log")).chunk_max_size(8 << 20));
    let restore = |bytes: Option<&[u8]>| bytes.map_or(Ok(Map::default()), serde_json::from_slice);
    let restored = Snapshots::open(dir.join("snapshots"), options, restore).map_err(|e| e.to_string())?;
    let Restored { log, state, snapshots, damaged, .. } = restored;
    damaged.iter().for_each(|damaged| eprintln!("{damaged}"));
    println!("opened the log: {}", log.recovery());
    let wal = SharedWal::new(log, state);
    let (stop, stopped) = channel();
    let saver = std::thread::spawn({
        let wal = wal.clone();
        move || take_snapshots(&wal, &snapshots, &stopped)
    });

    let key = routing::get(get).put(put).delete(delete);
    let app = Router::new().route("/{key}", key).with_state(wal.clone());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = async move { tokio::select!(_ = terminate.recv() => {}, _ = interrupt.recv() => {}) };
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await?; // requests under way are answered
    drop(stop);
    saver.join().map_err(|_| "the thread for snapshots panicked")?;
    Ok(wal.close_async().await?)
}
