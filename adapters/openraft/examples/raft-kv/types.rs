//! What raft is told.

use std::collections::BTreeMap;
use std::io::Cursor;

use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The types of this raft; those that are not named are openraft's own.
    pub(crate) Kv: D = Write, R = ()
);

pub(crate) type NodeId = u64;

/// A command: the key has this value. Told twice, it does the same once, so a client may try again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) value: String,
}

pub(crate) type Map = BTreeMap<String, String>;

/// What a server says to a client's write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is stored by a majority, and applied.
    Done,
    /// Somebody else leads.
    Leader(Option<NodeId>),
    /// It may be stored or not: try again.
    Failed(String),
}

/// How a server is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) id: NodeId,
    pub(crate) leads: bool,
    pub(crate) term: u64,
    pub(crate) last_log: Option<u64>,
    pub(crate) applied: Option<u64>,
    /// The last entry in its newest snapshot, and the last that is in its log no more.
    pub(crate) snapshot: Option<u64>,
    pub(crate) purged: Option<u64>,
}
