//! The contents of the log: [`Action`]s, and the [`Meta`] with which each chunk starts.
//!
//! ```text
//! payload of an action      tag, 1 byte | MessagePack
//! payload of a checkpoint   MessagePack
//! ```
//!
//! A tag is never reused for anything else, because records from years ago will be replayed.

use std::fmt::Debug;
use std::io;
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use chunked_wal::codec::MessagePack;
use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::{Callback, Error, WalTypes};
use openraft::storage::LogFlushed;
use openraft::{LogId, RaftTypeConfig, Vote};
use serde::{Deserialize, Serialize, Serializer};

/// The types of a raft log's [`ChunkedWal`](chunked_wal::ChunkedWal), for programs that open one
/// themselves: to pass [options](crate::LogStore::open_with), or to
/// [dump](chunked_wal::ChunkedWal::dump_records) it.
#[derive(Debug)]
pub struct RaftWal<C>(PhantomData<C>);

impl<C: RaftTypeConfig> WalTypes for RaftWal<C> {
    type Action = Action<C>;
    type Checkpoint = Meta<C>;
    type Callback = Flushed<C>;
}

/// A change of raft's state.
///
/// It is `Serialize` for people and other programs, as `chunked_wal::tools` shows it. The log has an encoding of
/// its own.
#[derive(Debug, Serialize)]
#[serde(bound = "")]
pub enum Action<C: RaftTypeConfig> {
    /// The new vote.
    Vote(Vote<C::NodeId>),
    /// Everything up to this entry is committed.
    Committed(Option<LogId<C::NodeId>>),
    /// The next entry.
    Entry(#[serde(serialize_with = "serialize_entry")] Arc<C::Entry>),
    /// Entries from an index on are void.
    Truncate {
        /// The index of the first void entry.
        since: u64,
        /// The last entry that is left, or was purged. The record names it, because the entry's own
        /// record may be in a chunk that is gone when this record is replayed.
        last: Option<LogId<C::NodeId>>,
    },
    /// Entries up to this one are in a snapshot.
    Purge(LogId<C::NodeId>),
}

// By hand, because a derive would require entries to be `Clone`.
impl<C: RaftTypeConfig> Clone for Action<C> {
    fn clone(&self) -> Self {
        match self {
            Action::Vote(vote) => Action::Vote(vote.clone()),
            Action::Committed(committed) => Action::Committed(committed.clone()),
            Action::Entry(entry) => Action::Entry(entry.clone()),
            Action::Truncate { since, last } => Action::Truncate { since: *since, last: last.clone() },
            Action::Purge(upto) => Action::Purge(upto.clone()),
        }
    }
}

fn serialize_entry<T: Serialize, S: Serializer>(entry: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
    T::serialize(entry, serializer)
}

const VOTE: u8 = 1;
const COMMITTED: u8 = 2;
const ENTRY: u8 = 3;
const TRUNCATE: u8 = 4;
const PURGE: u8 = 5;

impl<C: RaftTypeConfig> Encode for Action<C> {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let tag = match self {
            Action::Vote(_) => VOTE,
            Action::Committed(_) => COMMITTED,
            Action::Entry(_) => ENTRY,
            Action::Truncate { .. } => TRUNCATE,
            Action::Purge(_) => PURGE,
        };
        w.write_all(&[tag])?;
        let bytes = match self {
            Action::Vote(vote) => MessagePack::write(vote, w),
            Action::Committed(committed) => MessagePack::write(committed, w),
            Action::Entry(entry) => MessagePack::write(&**entry, w),
            Action::Truncate { since, last } => MessagePack::write(&(since, last), w),
            Action::Purge(upto) => MessagePack::write(upto, w),
        };
        Ok(1 + bytes?)
    }
}

impl<C: RaftTypeConfig> Decode for Action<C> {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        Ok(match u8::decode(&mut r)? {
            VOTE => Action::Vote(MessagePack::read(r)?),
            COMMITTED => Action::Committed(MessagePack::read(r)?),
            ENTRY => Action::Entry(Arc::new(MessagePack::read(r)?)),
            TRUNCATE => {
                let (since, last) = MessagePack::read(r)?;
                Action::Truncate { since, last }
            }
            PURGE => Action::Purge(MessagePack::read(r)?),
            tag => {
                let why = format!("no action of a raft log has the tag {tag}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        })
    }
}

/// The checkpoint: raft's state without the entries themselves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Meta<C: RaftTypeConfig> {
    /// The last saved vote.
    pub vote: Option<Vote<C::NodeId>>,
    /// The last saved commit.
    pub committed: Option<LogId<C::NodeId>>,
    /// The last purged entry.
    pub purged: Option<LogId<C::NodeId>>,
    /// The last entry, or the last purged one if there is no entry.
    pub last: Option<LogId<C::NodeId>>,
    /// The index of the first entry, if there is one.
    pub first: u64,
}

impl<C: RaftTypeConfig> Meta<C> {
    /// The indexes of the entries.
    pub fn indexes(&self) -> Range<u64> {
        let end = self.last.as_ref().map_or(0, |last| last.index.saturating_add(1));
        self.first..end.max(self.first)
    }
}

impl<C: RaftTypeConfig> Encode for Meta<C> {
    fn encode<W: Write>(&self, w: W) -> io::Result<usize> {
        MessagePack::write(self, w)
    }
}

impl<C: RaftTypeConfig> Decode for Meta<C> {
    fn decode<R: Read>(r: R) -> io::Result<Self> {
        MessagePack::read(r)
    }
}

/// openraft's callback for durable entries, as a callback of the log.
pub struct Flushed<C: RaftTypeConfig>(pub(crate) LogFlushed<C>);

impl<C: RaftTypeConfig> Callback for Flushed<C> {
    fn complete(self, result: Result<(), Error>) {
        self.0.log_io_completed(result.map_err(io::Error::from));
    }
}

impl<C: RaftTypeConfig> std::fmt::Debug for Flushed<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flushed(..)")
    }
}
