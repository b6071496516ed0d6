//! A build without the feature `lz4` and a log that needs it: refused by name, and nothing is changed.
#![cfg(not(feature = "lz4"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chunked_wal::raw::RawChunk;
use chunked_wal::{ChunkId, Compression, Config, Error, Replay, WalReader};

use crate::common::*;

/// The chunks in a directory, and their bytes.
fn chunks(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let chunks = paths.filter(|path| !path.ends_with("LOCK"));
    chunks.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect()
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, chunk: ChunkId) {
    let error = result.map(|_| ()).unwrap_err();
    let Error::Unsupported { path, offset, what, found: 1 | 3, known: 2 } = &error else { panic!("{error}") };
    assert_eq!((path.file_name().unwrap().to_str().unwrap(), *offset), (&*chunk.file_name(), chunk.0));
    assert_eq!(*what, "features (cargo feature `lz4`)");
    assert!(error.to_string().contains("cargo feature `lz4`"), "{error}");
}

#[test]
fn a_log_that_needs_lz4_is_refused_by_name_and_left_as_it_is() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/lz4");
    let written = chunks(&fixture);
    let ids: Vec<_> =
        written.keys().map(|name| ChunkId::parse_file_name(name.to_str().unwrap()).unwrap()).collect();
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in &written {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let config = Config::new(dir.path());
    assert_eq!(config.compression, Compression::None);

    for replay in [Replay::All, Replay::FromLastCheckpoint] {
        let opened = Wal::options(config.clone()).replay(replay).open(&mut List::default());
        refused(opened, ids[1]);
        assert_eq!(chunks(dir.path()), written);
    }
    refused(WalReader::<Words>::open_read_only(dir.path()), ids[3]);
    refused(RawChunk::open(dir.path(), ids[1]), ids[1]);

    // The dump reports the two, and continues after each.
    let lock = Wal::acquire_lock(&config).unwrap();
    let (mut read, mut errors) = (0, Vec::new());
    Wal::dump_records(&config, &lock, |id, _, record| {
        match record {
            Ok(_) => read += 1,
            Err(error) => errors.push((id, error)),
        }
        Ok::<(), Error>(())
    })
    .unwrap();
    assert!(read > 10);
    assert_eq!(errors.len(), 2);
    for ((id, error), expected) in errors.into_iter().zip([ids[1], ids[3]]) {
        assert_eq!(id, expected);
        refused(Err::<(), _>(error), expected);
    }
    assert_eq!(chunks(dir.path()), written);
}
