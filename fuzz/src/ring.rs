//! A ring in a file: a sound one, changed at some places, then opened, read and written to.
//!
//! ```text
//! data: records, checkpoints, capacity │ change │ change │ ...
//! ```

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use chunked_wal::embedded::{Checkpoint, EmbeddedReader, EmbeddedWal, Region};
use chunked_wal::storage::{Access, MemoryStorage, Storage, StorageFile};

const PATH: &str = "/host";

/// Runs one input; a panic, a wait without end or a difference is a finding.
pub fn ring(data: &[u8]) -> String {
    let mut bytes = data.iter().copied();
    let mut byte = || bytes.next().unwrap_or(0);
    let rounds = u64::from(byte() % 64);
    let every = 1 + u64::from(byte() % 8);
    // Now and then of a megabyte, filled by a rule.
    let big = byte();
    let capacity = if big % 16 == 15 { 1 << 20 } else { 152 + u64::from(big) * 16 };
    let region = Region { offset: 512, len: capacity };
    let disk = MemoryStorage::default();
    let rule = byte();
    let stale: Vec<u8> = (0..capacity + 1024).map(|i| pattern(rule, i)).collect();
    disk.write_file(PATH, &stale).expect("a name of its own");
    let file = |disk: &MemoryStorage| -> Arc<dyn StorageFile> {
        disk.open(Path::new(PATH), Access::ReadWrite).expect("it was written")
    };
    let mut stored = Checkpoint::default();
    let mut kind = "new".to_string();
    match EmbeddedWal::open(file(&disk), region, stored) {
        Err(error) => kind = format!("{error:?}").chars().take(20).collect(),
        Ok(mut wal) => {
            for i in 0..rounds {
                let record = vec![byte(); usize::from(byte())];
                let appended = match i % 4 {
                    0..3 => wal.append(&record),
                    _ => wal.append_deferred(&record),
                };
                let is_due = appended.is_err() || i.is_multiple_of(every);
                if let (true, Ok(checkpoint)) = (is_due, wal.checkpoint()) {
                    stored = checkpoint;
                    wal.checkpoint_stored(checkpoint).expect("it was just made");
                }
            }
        }
    }
    // Changes: a place, and what is written there.
    let left: Vec<u8> = bytes.collect();
    for change in left.chunks_exact(4).take(32) {
        let at = 512 + u64::from(u16::from_le_bytes([change[0], change[1]])) % capacity;
        let new = vec![change[2]; usize::from(change[3]) % 64 + 1];
        file(&disk).write_at(&[IoSlice::new(&new)], at).expect("in memory");
    }
    let read = EmbeddedReader::open(file(&disk), region, stored).map(|reader| pending(reader.pending()));
    let before = disk.read_file(PATH);
    match EmbeddedWal::open(file(&disk), region, stored) {
        Err(error) => {
            assert_eq!(before, disk.read_file(PATH), "changed by an open that failed: {error}");
            assert!(read.is_err() || stored == Checkpoint::default(), "a reader opens it: {error}");
            kind = format!("{kind} {}", format!("{error:?}").chars().take(10).collect::<String>());
        }
        Ok(mut wal) => {
            let found = pending(wal.pending());
            if let Ok(read) = read {
                assert_eq!(read, found, "a reader and the log differ");
            }
            kind = format!("{kind} {}", found.len().min(9));
            if let Ok(history) = wal.history() {
                let history = pending(history);
                assert!(history.ends_with(&found), "{found:?} of {history:?}");
            }
            if wal.append(b"appended").is_ok() {
                let again =
                    EmbeddedWal::open(file(&disk.kill()), region, stored).expect("it was just written to");
                let again = pending(again.pending());
                assert_eq!(again.len(), found.len() + 1, "of {found:?}");
                assert!(
                    again.starts_with(&found) && again.last().is_some_and(|(_, last)| last == b"appended")
                );
            }
        }
    }
    kind
}

fn pending<'a>(
    records: impl Iterator<Item = chunked_wal::embedded::Result<(u64, Vec<u8>)>> + 'a,
) -> Vec<(u64, Vec<u8>)> {
    records.map_while(Result::ok).collect()
}

/// What was there before: zeros, a repeated byte, small integers, or what looks like frame headers.
fn pattern(rule: u8, i: u64) -> u8 {
    match rule % 4 {
        0 => 0,
        1 => rule,
        2 => (i / 8 % 256) as u8 * u8::from(i.is_multiple_of(8)),
        _ => ((u64::from(rule) << 32 | 1).to_le_bytes())[(i % 8) as usize],
    }
}
