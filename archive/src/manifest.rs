//! Manifests, and the names and hashes of the objects that they name: format version 1.
//!
//! ```text
//! manifest ─┬─► index, level 2 ─► 32 indexes, level 1 ─► 32 objects each
//!           ├─► index, level 1 ─► 32 objects
//!           └─► object, object, object          bytes of a chunk's file, from a position to another
//! ```
//!
//! - The objects of a manifest are in the log's order: by chunk, then by position. No two overlap.
//! - Whenever 32 neighbours at the end have the same level, an index takes their place. So a manifest stays small,
//!   however long the log is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The format that this version writes.
pub(crate) const FORMAT: u32 = 1;

/// How many neighbours of one level become an index.
const FAN_OUT: usize = 32;

/// The prefixes of the names.
pub(crate) const MANIFESTS: &str = "manifests";
pub(crate) const EPOCHS: &str = "epochs";
pub(crate) const OBJECTS: &str = "objects";
pub(crate) const INDEXES: &str = "indexes";

/// What the archive has, as of one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) number: u64,
    /// Empty until the first object is published.
    pub(crate) log_id: String,
    /// The archiver's that the archive belongs to.
    pub(crate) epoch: u64,
    /// Random: makes the bytes of each attempt to publish unique.
    pub(crate) nonce: String,
    pub(crate) written_ms: u64,
    /// By name, the offset from which on nothing is pruned.
    pub(crate) pins: BTreeMap<String, u64>,
    pub(crate) objects: Vec<Object>,
}

/// Bytes of the log in the store, or an index of such objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    /// 0 for bytes of a chunk's file; otherwise an index of objects of the level below.
    pub(crate) level: u8,
    /// The chunk's id; in an index, of its first object.
    pub(crate) chunk: u64,
    /// The position in the chunk's file; in an index, of its first object.
    pub(crate) from: u64,
    /// The position after the last byte; in an index, the total of bytes.
    pub(crate) to: u64,
    /// The global offset up to which the log's bytes are in the archive with this object.
    pub(crate) end: u64,
    /// Whether the chunk ends with this object, so that its seal is in it; in an index, with its last one.
    pub(crate) sealed: bool,
    /// When the bytes were durable at the latest, in milliseconds since 1970; in an index, of its first object.
    pub(crate) time_ms: u64,
    pub(crate) epoch: u64,
    /// SHA-256 of the bytes.
    pub(crate) sha256: String,
}

impl Object {
    /// The object's name in the store.
    pub(crate) fn name(&self, log_id: &str) -> String {
        let Object { chunk, from, to, end, epoch, sha256, .. } = self;
        if self.level == 0 {
            format!("{OBJECTS}/{log_id}/{chunk:020}/{from:013}-{to:013}-{epoch:06}-{sha256}")
        } else {
            format!("{INDEXES}/{log_id}/{chunk:020}-{end:020}-{epoch:06}-{sha256}")
        }
    }

    /// Bytes of the log's files in it.
    pub(crate) fn bytes(&self) -> u64 {
        if self.level == 0 { self.to - self.from } else { self.to }
    }
}

/// A name in the store, as far as a prune has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// The global offset before which the log must end for this object to be of no use.
    pub(crate) last_used: u64,
    pub(crate) epoch: u64,
}

impl Named {
    /// Reads the name of an object or an index; `None` for any other name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let (kind, _log_id) = (parts.next()?, parts.next()?);
        match kind {
            OBJECTS => {
                let last_used = parts.next()?.parse::<u64>().ok()?.checked_add(1)?;
                let epoch = parts.next()?.split('-').nth(2)?.parse().ok()?;
                Some(Named { last_used, epoch })
            }
            INDEXES => {
                let mut fields = parts.next()?.split('-').skip(1);
                Some(Named { last_used: fields.next()?.parse().ok()?, epoch: fields.next()?.parse().ok()? })
            }
            _ => None,
        }
    }
}

impl Manifest {
    /// The manifest of an archive without objects.
    pub(crate) fn empty() -> Self {
        Manifest {
            format: FORMAT,
            number: 0,
            log_id: String::new(),
            epoch: 0,
            nonce: String::new(),
            written_ms: 0,
            pins: BTreeMap::new(),
            objects: Vec::new(),
        }
    }

    pub(crate) fn name(number: u64) -> String {
        format!("{MANIFESTS}/{number:012}")
    }

    /// The number in a manifest's name.
    pub(crate) fn number_in(name: &str) -> Option<u64> {
        name.strip_prefix(MANIFESTS)?.strip_prefix('/')?.parse().ok()
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |e: serde_json::Error| Error::Damaged { name: name.to_string(), what: e.to_string() };
        let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(Error::Unsupported { name: name.to_string(), found: format, known: FORMAT });
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    /// The oldest offset that can be restored.
    pub(crate) fn start(&self) -> u64 {
        self.objects.first().map_or(0, |first| first.chunk)
    }

    /// The global offset up to which the log is archived.
    pub(crate) fn end(&self) -> u64 {
        self.objects.last().map_or(0, |last| last.end)
    }

    /// The offset up to which whole chunks are archived, with their seals. The last object is never an index.
    pub(crate) fn sealed_upto(&self) -> u64 {
        self.objects.last().map_or(0, |last| if last.sealed { last.end } else { last.chunk })
    }

    /// Bytes of the log's files in the archive.
    pub(crate) fn bytes(&self) -> u64 {
        self.objects.iter().map(Object::bytes).sum()
    }

    /// Replaces the last objects of one level by an index, if there are enough; returns the index's name and bytes,
    /// which must be in the store before the manifest. To be called until it returns `None`.
    pub(crate) fn fold(&mut self, epoch: u64) -> Option<(String, Vec<u8>)> {
        // The last object stays, because the archiver continues it.
        let (_, folded) = self.objects.split_last()?;
        let level = folded.last()?.level;
        let count = folded.iter().rev().take_while(|object| object.level == level).count();
        if count < FAN_OUT {
            return None;
        }
        let begin = folded.len() - count;
        let children: Vec<_> = self.objects.splice(begin..begin + FAN_OUT, []).collect();
        let bytes = encode(&children);
        let (first, last) = (children.first()?, children.last()?);
        let index = Object {
            level: level + 1,
            chunk: first.chunk,
            from: first.from,
            to: children.iter().map(Object::bytes).sum(),
            end: last.end,
            sealed: last.sealed,
            time_ms: first.time_ms,
            epoch,
            sha256: sha256(&bytes),
        };
        let name = index.name(&self.log_id);
        self.objects.insert(begin, index);
        Some((name, bytes))
    }
}

/// Encodes a manifest, an index or a claim. Structures of numbers, strings and maps with string keys always encode.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The SHA-256 of some bytes in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(chunk: u64, n: u64) -> Object {
        let (from, to) = (n * 8, n * 8 + 8);
        let (sha256, end) = (sha256(&n.to_le_bytes()), chunk + to);
        Object { level: 0, chunk, from, to, end, sealed: false, time_ms: n, epoch: 3, sha256 }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let object = object(320, 5);
        let name = object.name("00ff");
        assert_eq!(Named::parse(&name), Some(Named { last_used: 321, epoch: 3 }));
        let index = Object { level: 1, ..object };
        assert_eq!(Named::parse(&index.name("00ff")), Some(Named { last_used: 368, epoch: 3 }));
        assert_eq!(Named::parse("objects/00ff/x"), None);
        assert_eq!(Manifest::number_in(&Manifest::name(77)), Some(77));
    }

    #[test]
    fn a_manifest_stays_small_and_keeps_every_object_once_in_order() {
        let mut manifest = Manifest { epoch: 3, ..Manifest::empty() };
        let mut indexes = BTreeMap::new();
        for n in 0..5000 {
            manifest.objects.push(object(0, n));
            while let Some((name, bytes)) = manifest.fold(3) {
                indexes.insert(name, bytes);
            }
            assert!(manifest.objects.len() <= 3 * FAN_OUT + 1);
        }
        assert_eq!((manifest.end(), manifest.bytes()), (40_000, 40_000));
        let mut todo = manifest.objects.clone();
        let mut found = Vec::new();
        while !todo.is_empty() {
            let next = todo.remove(0);
            if next.level == 0 {
                found.push(next.time_ms);
            } else {
                let children: Vec<Object> = serde_json::from_slice(&indexes[&next.name("")]).unwrap();
                todo.splice(0..0, children);
            }
        }
        assert_eq!(found, (0..5000).collect::<Vec<_>>());
    }

    #[test]
    fn a_chunk_without_its_seal_may_not_be_removed_from_the_log() {
        let mut manifest = Manifest::empty();
        assert_eq!(manifest.sealed_upto(), 0);
        let all_records = object(320, 5);
        manifest.objects.push(all_records.clone());
        assert_eq!((manifest.end(), manifest.sealed_upto()), (368, 320));
        manifest.objects.push(Object { from: 48, to: 88, end: 368, sealed: true, ..all_records });
        assert_eq!((manifest.end(), manifest.sealed_upto()), (368, 368));
    }

    #[test]
    fn a_later_format_is_refused() {
        let later = encode(&Manifest { format: FORMAT + 1, ..Manifest::empty() });
        let error = Manifest::decode("m", &later).unwrap_err();
        assert!(matches!(error, Error::Unsupported { found: 2, known: 1, .. }), "{error}");
        assert!(matches!(Manifest::decode("m", b"{").unwrap_err(), Error::Damaged { .. }));
    }
}
