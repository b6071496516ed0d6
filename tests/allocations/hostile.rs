//! A length in a file takes no memory by itself: opening needs no more than the file's size, and buffers.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;

use chunked_wal::{ChunkId, ChunkedWal, Config, Error, Replay};

use crate::common::*;
use crate::{HELD, PEAK};

/// Beyond the file: a read buffer of 1 MiB that grows to hold a frame of the file's size, and small
/// things.
const BUFFERS: usize = (1 << 20) + (256 << 10);

/// The most that is held at once while `f` runs, beyond what was held before.
fn peak_of(f: impl FnOnce()) -> usize {
    let before = HELD.load(SeqCst);
    PEAK.store(before, SeqCst);
    f();
    PEAK.load(SeqCst) - before
}

/// Opens, reads and dumps a directory that holds this chunk alone, and perhaps a successor's name.
fn open_and_dump(dir: &Path, what: &str, bytes: &[u8]) {
    let mut config = Config::new(dir);
    config.chunk_max_size = 4096;
    let path = config.chunk_path(ChunkId(0));
    for replay in [Replay::All, Replay::FromLastCheckpoint] {
        std::fs::write(&path, bytes).unwrap();
        let peak = peak_of(|| {
            let lock = ChunkedWal::<Words>::acquire_lock(&config).unwrap();
            ChunkedWal::<Words>::dump_records(&config, &lock, |_, _, _| Ok::<(), Error>(())).unwrap();
            let options = ChunkedWal::<Words>::options(config.clone()).replay(replay).lock(lock);
            if let Ok(wal) = options.open(&mut History::default()) {
                assert!(wal.records().all(|record| record.is_ok()), "{what}");
            }
        });
        let limit = bytes.len() + BUFFERS;
        assert!(peak < limit, "{what}, {replay:?}: {peak} bytes for a file of {}", bytes.len());
        for entry in std::fs::read_dir(dir).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

pub(crate) fn hostile_lengths_take_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Forge::chunk(0).checkpoint("").action("a");
    let at = |len| {
        let salt = u64::from_le_bytes(first.bytes[24..32].try_into().unwrap());
        begun_frame(salt, first.end, len)
    };
    for len in [u32::MAX, u32::MAX - 15, 1 << 30, 64 << 20, 2 << 20, 10_000, 4096] {
        for behind in [0, 4096 - 16, 1 << 20, 3 << 20] {
            let forge = first.clone().raw(&at(len)).zeros(behind);
            open_and_dump(dir.path(), &format!("a frame of {len}, {behind} behind it"), &forge.bytes);
            let forge = forge.raw(&[1]);
            open_and_dump(dir.path(), &format!("a frame of {len}, {behind} and no end"), &forge.bytes);
        }
        // Many that begin, each of which goes far beyond the file.
        let mut many = first.clone();
        for _ in 0..2000 {
            let salt = u64::from_le_bytes(many.bytes[24..32].try_into().unwrap());
            let begun = begun_frame(salt, many.bytes.len() as u64, len);
            many = many.raw(&begun);
        }
        open_and_dump(dir.path(), &format!("2000 frames of {len}"), &many.bytes);
    }
    // The first frame, and a codec's length inside a frame that is sound.
    let salt = u64::from_le_bytes(first.bytes[24..32].try_into().unwrap());
    let mut headless = Forge::chunk(0);
    headless = headless.raw(&begun_frame(salt, HEADER, u32::MAX));
    open_and_dump(dir.path(), "a first frame", &headless.bytes);
    let codec = first.clone().frame(1, 0, &[0xff; 64]).mark();
    open_and_dump(dir.path(), "a word of 4 GiB", &codec.bytes);
    // Seals that count more than there is.
    for value in [u64::MAX, u64::MAX / 2, 1 << 40] {
        let payload = [value.to_le_bytes(), value.to_le_bytes(), 0_u64.to_le_bytes()].concat();
        let seal = first.clone().frame(3, 0, &payload);
        open_and_dump(dir.path(), &format!("a seal of {value}"), &seal.bytes);
    }
    // Compressed payloads that claim to be large, and blocks that could be.
    #[cfg(feature = "lz4")]
    for claimed in [u32::MAX, 64 << 20, 4 << 20, 2 << 20] {
        for block in [
            vec![0xff; 100],
            vec![0xff; 16_000],
            vec![0x10; 16_000],
            [&[0x1f, 0, 1, 0][..], &[255; 16_000]].concat(),
        ] {
            let payload = [&claimed.to_le_bytes()[..], &block].concat();
            let forge = Forge::chunk(0).header(12, &[1]).checkpoint("").frame(1, 1, &payload).mark();
            open_and_dump(dir.path(), &format!("a claim of {claimed} in {}", block.len()), &forge.bytes);
        }
    }
    // The counter counts.
    assert!(peak_of(|| drop(vec![1_u8; 8 << 20])) >= 8 << 20);
}
