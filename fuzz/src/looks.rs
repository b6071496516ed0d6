//! The same directory, by readers that can't write, by `raw`, and by an open that mends.

use std::sync::Arc;

use chunked_wal::raw::{Listing, RawChunk};
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
    let raw = raw(&disk);
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

/// `raw` looks at every frame, also after damage.
fn raw(disk: &Disk) -> String {
    let (storage, dir) = (disk.storage.kill(), &disk.config.dir);
    let Ok(listing) = Listing::of_storage(&storage, dir) else { return "no listing".to_string() };
    let (mut records, mut skipped) = (0, 0);
    let _of_whom = raw::log_id_on(&storage, dir, &listing.chunks);
    for (i, id) in listing.chunks.iter().enumerate() {
        let Ok(chunk) = RawChunk::open_on(&storage, dir, *id) else { continue };
        let _mendable = raw::mendable_on(&storage, dir, *id, listing.chunks.get(i + 1).copied());
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
