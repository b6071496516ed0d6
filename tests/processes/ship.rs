//! The example `ship`: the writer and the shipper are killed again and again, and the copy stays a log.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; the example has parts that only its command uses")]
#![allow(unreachable_pub, reason = "an example")]

#[path = "../../examples/ship.rs"]
mod example;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use chunked_wal::ChunkedWal;
use chunked_wal::raw::{Listing, Raw};

use crate::ROLE;
use crate::common::again;

const LOG: &str = "CHUNKED_WAL_TEST_LOG";
const COPY: &str = "CHUNKED_WAL_TEST_COPY";

fn spawn(role: &str, log: &Path, copy: &Path) -> Child {
    again("ship::the_copy_survives_kills_of_both_sides")
        .envs([(ROLE, Path::new(role)), (LOG, log), (COPY, copy)])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills a child, which must not have ended by itself.
fn kill(mut child: Child) {
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(ended.is_none(), "{ended:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_copy_survives_kills_of_both_sides() {
    if let Ok(role) = std::env::var(ROLE) {
        let path = |name| std::path::PathBuf::from(std::env::var_os(name).unwrap());
        match role.as_str() {
            "writer" => example::write(&path(LOG)).unwrap(),
            _ => example::follow(&path(LOG), &path(COPY)).unwrap(),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = (dir.path().join("log"), dir.path().join("copy"));
    let mut writer = spawn("writer", &log, &copy);
    let mut shipper = spawn("shipper", &log, &copy);
    let mut progress = Vec::new();
    for round in 0..24_u64 {
        std::thread::sleep(Duration::from_millis(60 + round * 7919 % 100));
        if round % 3 != 1 {
            kill(shipper);
            // The copy opens, even if a shipment was interrupted.
            if Listing::of(&copy).is_ok_and(|found| !found.chunks.is_empty()) {
                progress.push(example::check(&log, &copy).unwrap());
            }
            shipper = spawn("shipper", &log, &copy);
        }
        if round % 3 != 2 {
            kill(writer);
            writer = spawn("writer", &log, &copy);
        }
    }
    kill(writer);
    kill(shipper);
    assert!(progress.is_sorted() && progress.last() > progress.first(), "{progress:?}");

    // Catching up: the log is opened and closed, so that all of it is durable, and shipped.
    let mut numbers = example::Numbers::default();
    ChunkedWal::<Raw>::open(example::config(&log), &mut numbers).unwrap().close().unwrap();
    let mut shipper = example::Shipper::new(&log, &copy).unwrap();
    shipper.catch_up().unwrap();
    assert_eq!(example::check(&log, &copy).unwrap(), numbers.next);
    let (original, copied) = (Listing::of(&log).unwrap().chunks, Listing::of(&copy).unwrap().chunks);
    assert_eq!(original, copied);
    println!("{} numbers, {} chunks kept, begun at {}", numbers.next, copied.len(), copied[0]);
    assert!(numbers.next > 500 && copied[0].0 > 0, "{} numbers, from {}", numbers.next, copied[0]);

    // If chunks are removed before they are shipped, the copy starts again.
    let mut numbers = example::Numbers::default();
    let mut wal = ChunkedWal::<Raw>::open(example::config(&log), &mut numbers).unwrap();
    for _ in 0..3 {
        wal.close_open_chunk(&numbers).unwrap();
        let payload = chunked_wal::raw::Payload(numbers.next.to_le_bytes().to_vec());
        wal.append_and_apply(payload, &mut numbers).unwrap();
    }
    let old = wal.drain_closed_chunks_while(|_| true);
    wal.remove_chunks(old).unwrap();
    wal.close().unwrap();
    shipper.catch_up().unwrap();
    assert_eq!(example::check(&log, &copy).unwrap(), numbers.next);
    assert_eq!(Listing::of(&copy).unwrap().chunks.len(), 1);
}
