//! The commands of raft.

use std::collections::BTreeMap;
use std::io::Cursor;

use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The types of this raft; all others are openraft's defaults.
    pub(crate) Kv: D = Write, R = ()
);

pub(crate) type NodeId = u64;

/// The number of servers; ids start at 1.
pub(crate) const NODES: NodeId = 3;

/// A command that sets a key. Applying it twice has the same effect as once, so a client may retry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) value: String,
}

pub(crate) type Map = BTreeMap<String, String>;

/// A server's answer to a client's write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// A majority has stored the write, and it is applied.
    Done,
    /// Another server leads.
    Leader(Option<NodeId>),
    /// The write may be stored or not: try again.
    Failed(String),
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
