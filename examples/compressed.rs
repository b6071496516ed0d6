//! A log of events with compressed payloads: how much space it saves, and what stays the same.
//!
//! ```text
//! cargo run --release --features lz4 --example compressed
//! ```

use std::convert::Infallible;
use std::error::Error;

use chunked_wal::{ChunkId, ChunkedWal, Compression, Config, Segment, StateMachine, WalRecord, WalTypes};

struct Events;

impl WalTypes for Events {
    type Action = String;
    type Checkpoint = u64;
    type Callback = ();
}

/// The number of events, and of their bytes.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    events: u64,
    bytes: u64,
    places: Vec<Segment>,
}

impl StateMachine<Events> for Seen {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Events>, _: ChunkId, place: Segment) -> Result<(), Infallible> {
        match record {
            WalRecord::Action(event) => {
                self.events += 1;
                self.bytes += event.len() as u64;
                self.places.push(place);
            }
            WalRecord::Checkpoint(events) => self.events = *events,
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.events
    }
}

fn event(n: u64) -> String {
    let items: Vec<_> =
        (0..1 + n % 9).map(|i| format!(r#"{{"sku":"A-{}","count":{i}}}"#, n * 7 + i)).collect();
    format!(r#"{{"event":"order placed","customer":"c-{}","items":[{}]}}"#, n % 97, items.join(","))
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut config = Config::new(dir.path());

    // A log that already exists, without compression.
    let mut seen = Seen::default();
    let mut wal = ChunkedWal::<Events>::open(config.clone(), &mut seen)?;
    for n in 0..10_000 {
        wal.append_and_apply(event(n), &mut seen)?;
    }
    let plain = wal.on_disk_size();
    wal.close()?;
    println!("10000 events as they are: {} bytes of events in {plain} bytes of log", seen.bytes);

    // Compression is turned on. The open chunk was started without it, so compression starts with the
    // next rotation; a program in a hurry rotates at once.
    config.compression = Compression::Lz4 { min_len: 64 };
    let mut seen = Seen::default();
    let mut wal = ChunkedWal::<Events>::open(config.clone(), &mut seen)?;
    wal.close_open_chunk(&seen)?;
    let before = wal.on_disk_size();
    for n in 0..10_000 {
        wal.append_and_apply(event(n), &mut seen)?;
    }
    let compressed = wal.on_disk_size() - before;
    wal.close()?;
    println!("10000 events compressed: {compressed} bytes of log, {}%", compressed * 100 / plain);

    // Compression is turned off again, and all of the log can be read: a log is read as it was written.
    config.compression = Compression::None;
    let mut again = Seen::default();
    let wal = ChunkedWal::<Events>::open(config, &mut again)?;
    assert_eq!(again, seen);
    let last = again.places.last().ok_or("nothing was replayed")?;
    assert_eq!(wal.read_record(*last)?, WalRecord::Action(event(9_999)));
    println!("all {} events are read back, {} bytes", again.events, again.bytes);
    assert!(compressed < plain, "nothing was saved");
    Ok(())
}
