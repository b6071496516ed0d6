//! A blob store: a sound one, changed at some places, then opened, read and written to.

use std::sync::Arc;

use chunked_wal::blob::{BlobConfig, BlobRef, BlobStore};
use chunked_wal::storage::MemoryStorage;

/// Runs one input; a panic, a wait without end, or a blob that differs is a finding.
pub fn blobs(data: &[u8]) -> String {
    let mut bytes = data.iter().copied();
    let mut byte = || bytes.next().unwrap_or(0);
    let disk = MemoryStorage::default();
    let mut config = BlobConfig::new("/blobs");
    config.chunk_max_size = 4096;
    let open = |disk: &MemoryStorage| BlobStore::open_on(config.clone(), Arc::new(disk.clone()));
    let mut store = open(&disk).expect("a new one");
    let mut stored: Vec<(BlobRef, Vec<u8>)> = Vec::new();
    for _ in 0..byte() % 24 {
        // Now and then a megabyte.
        let (fill, len) = (byte(), usize::from(byte()));
        let len = if len == 255 { 1 << 20 } else { len * 16 };
        let blob = vec![fill; len];
        stored.push((store.append(&blob).expect("there is room"), blob));
    }
    store.close().expect("in memory");

    let names: Vec<_> = disk.files("/blobs").into_iter().filter(|name| name != "LOCK").collect();
    let left: Vec<u8> = bytes.collect();
    let mut changed = false;
    for change in left.chunks_exact(5).take(16) {
        let path = format!("/blobs/{}", names[usize::from(change[0]) % names.len()]);
        let Some(mut file) = disk.read_file(&path) else { continue };
        let at = usize::from(u16::from_le_bytes([change[1], change[2]])) % (file.len() + 1);
        match change[3] % 3 {
            0 => file.truncate(at),
            1 => file.get_mut(at).into_iter().for_each(|byte| *byte ^= change[4]),
            _ => {
                let end = (at + usize::from(change[4])).min(file.len());
                file[at..end].fill(change[3]);
            }
        }
        changed = true;
        disk.write_file(&path, &file).expect("it is there");
    }

    match open(&disk) {
        Err(error) => {
            format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_string()
        }
        Ok(mut store) => {
            let mut sound = 0;
            for (reference, blob) in &stored {
                let (start, end) = (blob.len() as u64 / 3, blob.len() as u64 / 2);
                if let Ok(found) = store.read_range(*reference, start..end) {
                    assert_eq!(found, blob[start as usize..end as usize]);
                }
                // What comes back is what was stored, byte for byte, or an error.
                if let Ok(found) = store.read(*reference) {
                    assert_eq!(&*found, &blob[..]);
                    sound += 1;
                }
            }
            assert!(changed || sound == stored.len(), "{sound} of {}", stored.len());
            let added = store.append(b"another").expect("it was opened");
            store.sync().expect("in memory");
            assert_eq!(&*store.read(added).expect("it was just stored"), b"another");
            format!("opened {}", sound.min(9))
        }
    }
}
