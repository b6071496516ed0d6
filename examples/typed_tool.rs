//! A command like `chunked-wal` for logs of your own types: it shows their records decoded.
//!
//! ```text
//! cargo run --features cli,serde --example typed_tool -- new orders            makes a small log to look at
//! cargo run --features cli,serde --example typed_tool -- dump orders
//! cargo run --features cli,serde --example typed_tool -- dump --json orders
//! cargo run --features cli,serde --example typed_tool -- --help
//! ```
//!
//! In a program with types of its own, `main` is all that is needed, and its body is one line.

use std::collections::BTreeMap;
use std::process::ExitCode;

use chunked_wal::tools::Tool;
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, WalTypes};
use serde::{Deserialize, Serialize};

/// What happens to an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Event {
    Placed { order: u64, item: String },
    Shipped { order: u64 },
}

/// The orders that are not shipped yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open(BTreeMap<u64, String>);

chunked_wal::serde_codec!(Event as MessagePack, Open as MessagePack);

pub(crate) struct Orders;

impl WalTypes for Orders {
    type Action = Event;
    type Checkpoint = Open;
    type Callback = ();
}

impl StateMachine<Orders> for Open {
    type Error = std::convert::Infallible;

    fn apply(&mut self, record: &WalRecord<Orders>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        match record.clone() {
            WalRecord::Action(Event::Placed { order, item }) => drop(self.0.insert(order, item)),
            WalRecord::Action(Event::Shipped { order }) => drop(self.0.remove(&order)),
            WalRecord::Checkpoint(open) => *self = open,
        }
        Ok(())
    }

    fn checkpoint(&self) -> Open {
        self.clone()
    }
}

/// Makes a log with two chunks.
pub(crate) fn make(dir: &str) -> Result<(), chunked_wal::Error> {
    let mut open = Open::default();
    let mut wal = ChunkedWal::<Orders>::open(Config::new(dir), &mut open)?;
    wal.append_and_apply(Event::Placed { order: 7, item: "a \"blue\" bicycle".to_string() }, &mut open)?;
    wal.close_open_chunk(&open)?;
    wal.append_and_apply(Event::Shipped { order: 7 }, &mut open)?;
    wal.close()
}

pub(crate) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, new, dir] = &words[..]
        && new == "new"
    {
        return match make(dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    Tool::with_json::<Orders>().main()
}
