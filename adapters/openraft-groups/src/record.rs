//! openraft's types as the log's: [`RaftEntry`], and [`State`], which a group keeps beside its entries.
//!
//! - Both are MessagePack with the names of fields, so that a type may gain fields.
//! - The last log id isn't in the state: it is that of the last entry, or the purged one.

use std::io;
use std::io::{Read, Write};

use chunked_wal::codec::MessagePack;
use chunked_wal::codeq::{Decode, Encode};
use chunked_wal_groups::{GroupLog, LogEntry};
use openraft::RaftTypeConfig;
use openraft::entry::RaftEntry as _;
use openraft::type_config::alias::{LogIdOf, VoteOf};
use serde::{Deserialize, Serialize};

/// The log of all groups, in the types of a type config.
pub type RaftGroups<C> = GroupLog<RaftEntry<C>>;

/// openraft's entry, as an entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct RaftEntry<C: RaftTypeConfig>(pub C::Entry);

impl<C: RaftTypeConfig> LogEntry for RaftEntry<C> {
    type State = State<C>;

    fn index(&self) -> u64 {
        self.0.index()
    }
}

impl<C: RaftTypeConfig> Encode for RaftEntry<C> {
    fn encode<W: Write>(&self, w: W) -> io::Result<usize> {
        MessagePack::write(&self.0, w)
    }
}

impl<C: RaftTypeConfig> Decode for RaftEntry<C> {
    fn decode<R: Read>(r: R) -> io::Result<Self> {
        MessagePack::read(r).map(RaftEntry)
    }
}

/// Raft's state in a group, without the entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct State<C: RaftTypeConfig> {
    /// The last saved vote.
    pub vote: Option<VoteOf<C>>,
    /// The last saved commit.
    pub committed: Option<LogIdOf<C>>,
    /// The last purged entry.
    pub purged: Option<LogIdOf<C>>,
}

// By hand, because a derive would require the type config to have a default.
impl<C: RaftTypeConfig> Default for State<C> {
    fn default() -> Self {
        State { vote: None, committed: None, purged: None }
    }
}

impl<C: RaftTypeConfig> Encode for State<C> {
    fn encode<W: Write>(&self, w: W) -> io::Result<usize> {
        MessagePack::write(self, w)
    }
}

impl<C: RaftTypeConfig> Decode for State<C> {
    fn decode<R: Read>(r: R) -> io::Result<Self> {
        MessagePack::read(r)
    }
}
