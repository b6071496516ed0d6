//! The commands of raft, and the server's answers.

use std::collections::BTreeMap;
use std::io::Cursor;

use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The types of this raft; all others are openraft's defaults.
    pub(crate) Kv: D = Write, R = ()
);

pub(crate) type NodeId = u64;

/// A command that sets a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// A question for a key's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) key: String,
}

pub(crate) type Map = BTreeMap<String, String>;

/// A server's answer to a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer<T> {
    /// For a write: a majority has stored it, and it is applied. For a read: the value was current at
    /// some moment since the question arrived.
    Done(T),
    /// Nothing was done, because another server leads, if one is known.
    NotLeader(Option<NodeId>),
    /// The write may take effect or not, now or later.
    Unknown(String),
}

/// A server's status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) id: NodeId,
    pub(crate) leads: bool,
    pub(crate) term: u64,
    pub(crate) last_log: Option<u64>,
    pub(crate) applied: Option<u64>,
    /// The last entry in its newest snapshot, and the last entry that was purged from its log.
    pub(crate) snapshot: Option<u64>,
    pub(crate) purged: Option<u64>,
}
