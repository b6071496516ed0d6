//! The contents of the log: actions, and the checkpoint with which each chunk starts. Bytes in, bytes
//! out; the log's frame around them has kind, length and checksum.

use std::collections::BTreeMap;
use std::io;
use std::io::{Read, Write};

use chunked_wal::WalTypes;
use chunked_wal::codeq::{Decode, Encode};

use crate::import::Acknowledge;
use crate::snapshot::SnapshotId;

/// The store's contents: the values of each key, oldest first.
pub(crate) type Map = BTreeMap<String, Vec<String>>;

/// The types of the store's log.
#[derive(Debug)]
pub(crate) struct Kv;

impl WalTypes for Kv {
    type Action = Action;
    type Checkpoint = Checkpoint;
    type Callback = Acknowledge;
}

/// A change of the map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Sets the key to this one value.
    Set { key: String, value: String },
    /// Removes the key.
    Delete { key: String },
    /// Adds a value to the key.
    Append { key: String, value: String },
}

impl Action {
    pub(crate) fn set(key: impl Into<String>, value: impl Into<String>) -> Self {
        Action::Set { key: key.into(), value: value.into() }
    }

    pub(crate) fn delete(key: impl Into<String>) -> Self {
        Action::Delete { key: key.into() }
    }

    pub(crate) fn append(key: impl Into<String>, value: impl Into<String>) -> Self {
        Action::Append { key: key.into(), value: value.into() }
    }

    /// Changes the map. This can't fail, so that it is all or nothing, as a state machine must be.
    pub(crate) fn apply_to(&self, map: &mut Map) {
        match self {
            Action::Set { key, value } => {
                map.insert(key.clone(), vec![value.clone()]);
            }
            Action::Delete { key } => {
                map.remove(key);
            }
            Action::Append { key, value } => map.entry(key.clone()).or_default().push(value.clone()),
        }
    }
}

const SET: u8 = 1;
const DELETE: u8 = 2;
const APPEND: u8 = 3;

/// A tag, then the parts; a `String` includes its length.
impl Encode for Action {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        match self {
            Action::Set { key, value } => {
                Ok(SET.encode(&mut w)? + key.encode(&mut w)? + value.encode(&mut w)?)
            }
            Action::Delete { key } => Ok(DELETE.encode(&mut w)? + key.encode(&mut w)?),
            Action::Append { key, value } => {
                Ok(APPEND.encode(&mut w)? + key.encode(&mut w)? + value.encode(&mut w)?)
            }
        }
    }
}

impl Decode for Action {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        match u8::decode(&mut r)? {
            SET => Ok(Action::Set { key: String::decode(&mut r)?, value: String::decode(&mut r)? }),
            DELETE => Ok(Action::Delete { key: String::decode(&mut r)? }),
            APPEND => Ok(Action::Append { key: String::decode(&mut r)?, value: String::decode(&mut r)? }),
            tag => Err(io::Error::new(io::ErrorKind::InvalidData, format!("no action has the tag {tag}"))),
        }
    }
}

/// The state at one position of the log, in a few bytes: not the map, but the name of a file that has
/// it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkpoint {
    /// The number of actions applied since the log was new, including those of removed chunks.
    pub(crate) applied: u64,
    /// The newest snapshot; `None` means the empty map of a new log.
    pub(crate) snapshot: Option<SnapshotId>,
}

impl Checkpoint {
    /// Whether the snapshot alone is the whole state here, so that replay can start at this position.
    pub(crate) fn is_ground(&self) -> bool {
        self.applied == self.snapshot.map_or(0, |id| id.applied)
    }
}

impl Encode for Checkpoint {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        Ok(self.applied.encode(&mut w)? + self.snapshot.map(|id| id.applied).encode(&mut w)?)
    }
}

impl Decode for Checkpoint {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let applied = u64::decode(&mut r)?;
        let snapshot = Option::<u64>::decode(&mut r)?.map(|applied| SnapshotId { applied });
        Ok(Checkpoint { applied, snapshot })
    }
}
