//! Snapshot files: the whole map at one position of the log.
//!
//! ```text
//! snapshot-00000000000000001234      magic | applied | keys | key, count, values ... | CRC
//! ```
//!
//! - A file with a final name is whole and durable: its bytes are synced before the rename.
//! - The name says how many actions the snapshot covers; the file repeats the number, and ends in a
//!   checksum of everything before. So another file or a damaged one is an error, and never a wrong
//!   state.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::{fs, io};

use chunked_wal::codeq::config::{CodeqConfig, Crc32fast};
use chunked_wal::codeq::{Decode, Encode};

use crate::record::Map;

const MAGIC: u64 = u64::from_be_bytes(*b"kv-snap1");
const CRC_LEN: usize = 8;
const PREFIX: &str = "snapshot-";
const TEMP_SUFFIX: &str = ".tmp";

/// Names a snapshot by the number of actions that it covers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SnapshotId {
    /// The number of actions, since the log was new, that the snapshot covers.
    pub(crate) applied: u64,
}

impl SnapshotId {
    pub(crate) fn file_name(self) -> String {
        format!("{PREFIX}{:020}", self.applied)
    }

    fn parse(name: &str) -> Option<Self> {
        let id = SnapshotId { applied: name.strip_prefix(PREFIX)?.parse().ok()? };
        (id.file_name() == name).then_some(id)
    }
}

/// Writes a snapshot, which is on stable storage under its name when this returns. Returns its size in
/// bytes.
pub(crate) fn write(dir: &Path, id: SnapshotId, map: &Map) -> io::Result<u64> {
    let path = dir.join(id.file_name());
    let temp = dir.join(id.file_name() + TEMP_SUFFIX);
    let bytes = encode(id, map)?;
    let written = || -> io::Result<()> {
        let mut file = File::create(&temp)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        // In this order: a name without its bytes would pass for a snapshot.
        fs::rename(&temp, &path)?;
        File::open(dir)?.sync_all()
    };
    written().map_err(|e| named("write", &path, e))?;
    Ok(bytes.len() as u64)
}

/// Reads a snapshot, and checks all of it.
pub(crate) fn load(dir: &Path, id: SnapshotId) -> io::Result<Map> {
    let path = dir.join(id.file_name());
    let read = || decode(id, &fs::read(&path)?);
    read().map_err(|e| named("load", &path, e))
}

/// Lists the snapshots in a directory; none if there is no directory.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<SnapshotId>> {
    let names = names(dir).map_err(|e| named("list snapshots in", dir, e))?;
    Ok(names.iter().filter_map(|name| SnapshotId::parse(name)).collect())
}

/// Removes all snapshots but one, and files that a crash left half-written.
pub(crate) fn remove_all_but(dir: &Path, kept: Option<SnapshotId>) -> io::Result<()> {
    for name in names(dir).map_err(|e| named("list snapshots in", dir, e))? {
        let stem = name.strip_suffix(TEMP_SUFFIX).unwrap_or(&name);
        if SnapshotId::parse(stem).is_some() && Some(&name) != kept.map(SnapshotId::file_name).as_ref() {
            let path = dir.join(&name);
            fs::remove_file(&path).map_err(|e| named("remove", &path, e))?;
        }
    }
    Ok(())
}

fn encode(id: SnapshotId, map: &Map) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for number in [MAGIC, id.applied, map.len() as u64] {
        number.encode(&mut bytes)?;
    }
    for (key, values) in map {
        key.encode(&mut bytes)?;
        (values.len() as u64).encode(&mut bytes)?;
        for value in values {
            value.encode(&mut bytes)?;
        }
    }
    Crc32fast::hash(&bytes).encode(&mut bytes)?;
    Ok(bytes)
}

fn decode(id: SnapshotId, bytes: &[u8]) -> io::Result<Map> {
    let (mut rest, crc) = bytes
        .len()
        .checked_sub(CRC_LEN)
        .map(|body| bytes.split_at(body))
        .ok_or_else(|| damaged("the file is shorter than its checksum"))?;
    if u64::decode(crc)? != Crc32fast::hash(rest) {
        return Err(damaged("its checksum fails"));
    }
    let r = &mut rest;
    if u64::decode(&mut *r)? != MAGIC {
        return Err(damaged("the file does not start as a snapshot"));
    }
    if u64::decode(&mut *r)? != id.applied {
        return Err(damaged("the file's number is not the one in its name"));
    }
    let mut map = Map::new();
    for _ in 0..u64::decode(&mut *r)? {
        let key = String::decode(&mut *r)?;
        let count = u64::decode(&mut *r)?;
        let values = (0..count).map(|_| String::decode(&mut *r)).collect::<io::Result<_>>()?;
        map.insert(key, values);
    }
    if rest.is_empty() { Ok(map) } else { Err(damaged("bytes are left over after the last key")) }
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    // A name that is not UTF-8 is not a snapshot's.
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    entries.filter_map(|entry| name(entry).transpose()).collect()
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}; restore the file from a copy"))
}

fn named(op: &str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{op} '{}': {error}", path.display()))
}
