//! [`RaftTypes`]: the types of a raft library, and the little that the store has to know about them.

use std::fmt::Debug;

use chunked_wal::Callback;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The types of a raft library.
///
/// The log stores votes, log ids and entries as MessagePack with the names of their fields, so records
/// stay readable as long as serde can read old values into the types.
pub trait RaftTypes: Debug + Clone + PartialEq + 'static {
    /// Identifies an entry: its index, and the term or leader that proposed it.
    type LogId: Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// A node's vote, or all of raft's hard state except the commit.
    type Vote: Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// An entry with its log id.
    type Entry: Debug + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Learns when appended entries are durable.
    type Callback: Callback;

    /// Returns the index of an entry.
    fn index(log_id: &Self::LogId) -> u64;

    /// Returns the log id of an entry.
    fn log_id(entry: &Self::Entry) -> Self::LogId;
}
