//! The same directory, by those who only look: readers that can't write, `raw`, and an open that mends.

use std::fs;
use std::sync::Arc;

use chunked_wal::raw::{Listing, RawChunk};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, ReadUpTo, WalReader, raw};

use crate::run::{Disk, Placed, Words, decode, examine};

/// Runs one input; a panic, a wait without end or a difference is a finding.
pub fn looks(data: &[u8]) -> String {
    let disk = decode(data);
    let verdict = examine(&disk.storage, &disk.config);
    let mut seen = Vec::new();
    for up_to in [ReadUpTo::Durable, ReadUpTo::Written] {
        seen.push(match read_only(&disk, up_to) {
            Ok(records) => {
                // A reader shows nothing that a writer would not replay, where one can open the log.
                if let Ok(replayed) = &verdict.outcome {
                    assert!(
                        records.iter().all(|record| replayed.contains(record)),
                        "{records:?} of {replayed:?}"
                    );
                }
                format!("{up_to:?} {}", records.len().min(9))
            }
            Err(error) => first_word(&error),
        });
    }
    let mended = mend(&disk);
    if verdict.outcome.is_ok() {
        assert!(mended.is_ok(), "it opens, but not when it may mend: {mended:?}");
    }
    // Files cost more than memory.
    let raw = if data.len().is_multiple_of(4) { on_disk(&disk.storage) } else { String::new() };
    format!("{} | {} | {} | {raw}", verdict.kind, seen.join(" "), mended.is_ok())
}

fn first_word(error: &chunked_wal::Error) -> String {
    let text = format!("{error:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_string()
}

/// All that such a reader returns before an error.
fn read_only(disk: &Disk, up_to: ReadUpTo) -> Result<Vec<Placed>, chunked_wal::Error> {
    let options = WalReader::<Words>::read_only_options(&disk.config.dir).up_to(up_to);
    let reader = options.storage(Arc::new(disk.storage.kill())).open()?;
    Ok(reader.records().map_while(Result::ok).collect())
}

/// Opens what can be mended or cut; what was opened so opens again without it.
fn mend(disk: &Disk) -> Result<(), chunked_wal::Error> {
    let storage = disk.storage.kill();
    let options = || ChunkedWal::<Words>::options(disk.config.clone()).storage(Arc::new(storage.clone()));
    options().mend().cut_unreadable_tail().open(&mut crate::run::Seen::default())?.close()?;
    options().open(&mut crate::run::Seen::default()).expect("what was mended opens").close()
}

/// `raw` looks at real files: every frame, also behind damage.
fn on_disk(storage: &MemoryStorage) -> String {
    let dir = tempfile::tempdir().expect("a directory for it");
    for (path, bytes) in storage.snapshot() {
        // A name that this file system would not have is in no such directory.
        let _no_such_name = path.file_name().map(|name| fs::write(dir.path().join(name), &bytes));
    }
    let Ok(listing) = Listing::of(dir.path()) else { return "no listing".to_string() };
    let (mut records, mut skipped) = (0, 0);
    let _of_whom = raw::log_id(dir.path(), &listing.chunks);
    for (i, id) in listing.chunks.iter().enumerate() {
        let Ok(chunk) = RawChunk::open(dir.path(), *id) else { continue };
        let _sealed = chunk.seal();
        let mut frames = chunk.records(listing.place(i));
        loop {
            while let Ok(Some(_)) = frames.next() {
                records += 1;
            }
            let Ok(Some(range)) = frames.skip_damage() else { break };
            assert!(range.start < range.end, "{range:?}");
            skipped += 1;
        }
    }
    format!("{} {}", records.min(9), skipped.min(3))
}
