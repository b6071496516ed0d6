//! The contents of the log: [`Action`]s, and the [`Checkpoint`] with which each chunk starts.
//!
//! ```text
//! payload of an action      tag, 1 byte | MessagePack
//! payload of a checkpoint   MessagePack | tag, 1 byte | index of the chunk before it
//! ```
//!
//! - A tag is never reused for anything else, because records from years ago will be replayed.
//! - A checkpoint may end after its MessagePack: other programs that write such a log need not know where the log
//!   puts its entries.

use std::io;
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use chunked_wal::WalTypes;
use chunked_wal::codec::MessagePack;
use chunked_wal::codeq::{Decode, Encode};
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use crate::places::ChunkIndex;
use crate::types::RaftTypes;

/// The types of a raft log's [`ChunkedWal`](chunked_wal::ChunkedWal), for programs that open one
/// themselves: to pass [options](crate::LogStore::open_with), or to
/// [dump](chunked_wal::ChunkedWal::dump_records) it.
#[derive(Debug)]
pub struct RaftWal<R>(PhantomData<R>);

impl<R: RaftTypes> WalTypes for RaftWal<R> {
    type Action = Action<R>;
    type Checkpoint = Checkpoint<R>;
    type Callback = R::Callback;
}

/// A change of raft's state.
///
/// It is `Serialize` for people and other programs, as `chunked_wal::tools` shows it. The log has an encoding of
/// its own.
#[derive(Debug, Serialize)]
#[serde(bound = "")]
pub enum Action<R: RaftTypes> {
    /// The new vote.
    Vote(R::Vote),
    /// Everything up to this entry is committed.
    Committed(Option<R::LogId>),
    /// The next entry.
    Entry(#[serde(serialize_with = "serialize_entry")] Arc<R::Entry>),
    /// Entries from an index on are void.
    Truncate {
        /// The index of the first void entry.
        since: u64,
        /// The last entry that is left, or was purged. The record names it, because the entry's own
        /// record may be in a chunk that is gone when this record is replayed.
        last: Option<R::LogId>,
    },
    /// Entries up to this one are in a snapshot.
    Purge(R::LogId),
    /// The new user data.
    UserData(#[serde(with = "serde_bytes")] Option<Vec<u8>>),
}

// By hand, because a derive would require entries to be `Clone`.
impl<R: RaftTypes> Clone for Action<R> {
    fn clone(&self) -> Self {
        match self {
            Action::Vote(vote) => Action::Vote(vote.clone()),
            Action::Committed(committed) => Action::Committed(committed.clone()),
            Action::Entry(entry) => Action::Entry(entry.clone()),
            Action::Truncate { since, last } => Action::Truncate { since: *since, last: last.clone() },
            Action::Purge(upto) => Action::Purge(upto.clone()),
            Action::UserData(data) => Action::UserData(data.clone()),
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
const USER_DATA: u8 = 6;

impl<R: RaftTypes> Encode for Action<R> {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let tag = match self {
            Action::Vote(_) => VOTE,
            Action::Committed(_) => COMMITTED,
            Action::Entry(_) => ENTRY,
            Action::Truncate { .. } => TRUNCATE,
            Action::Purge(_) => PURGE,
            Action::UserData(_) => USER_DATA,
        };
        w.write_all(&[tag])?;
        let bytes = match self {
            Action::Vote(vote) => MessagePack::write(vote, w),
            Action::Committed(committed) => MessagePack::write(committed, w),
            Action::Entry(entry) => MessagePack::write(&**entry, w),
            Action::Truncate { since, last } => MessagePack::write(&(since, last), w),
            Action::Purge(upto) => MessagePack::write(upto, w),
            Action::UserData(data) => MessagePack::write(&data.as_deref().map(Bytes::new), w),
        };
        Ok(1 + bytes?)
    }
}

impl<R: RaftTypes> Decode for Action<R> {
    fn decode<T: Read>(mut r: T) -> io::Result<Self> {
        Ok(match u8::decode(&mut r)? {
            VOTE => Action::Vote(MessagePack::read(r)?),
            COMMITTED => Action::Committed(MessagePack::read(r)?),
            ENTRY => Action::Entry(Arc::new(MessagePack::read(r)?)),
            TRUNCATE => {
                let (since, last) = MessagePack::read(r)?;
                Action::Truncate { since, last }
            }
            PURGE => Action::Purge(MessagePack::read(r)?),
            USER_DATA => {
                let data: Option<ByteBuf> = MessagePack::read(r)?;
                Action::UserData(data.map(ByteBuf::into_vec))
            }
            tag => return Err(invalid(format!("no action of a raft log has the tag {tag}"))),
        })
    }
}

/// What each chunk starts with: raft's state, and where the entries of the chunk before are.
///
/// The entries of all chunks but the newest are found by the checkpoints after them, so these chunks need not be read
/// when the log is opened.
#[derive(Debug, Serialize)]
#[serde(bound = "")]
pub struct Checkpoint<R: RaftTypes> {
    /// Raft's state without the entries.
    #[serde(flatten)]
    pub meta: Meta<R>,
    /// The entries of the chunk of the last action, unless the checkpoint was written without. If a chunk has no
    /// action, the checkpoint after it repeats the one before it.
    #[serde(serialize_with = "serialize_index")]
    pub index: Option<Arc<ChunkIndex>>,
}

fn serialize_index<S: Serializer>(index: &Option<Arc<ChunkIndex>>, serializer: S) -> Result<S::Ok, S::Error> {
    index.as_deref().serialize(serializer)
}

// By hand, because a derive would require the types themselves to be `Clone` and `PartialEq`.
impl<R: RaftTypes> Clone for Checkpoint<R> {
    fn clone(&self) -> Self {
        Checkpoint { meta: self.meta.clone(), index: self.index.clone() }
    }
}

impl<R: RaftTypes> PartialEq for Checkpoint<R> {
    fn eq(&self, other: &Self) -> bool {
        self.meta == other.meta && self.index == other.index
    }
}

/// The tag of an index as [`ChunkIndex`] encodes it.
const INDEX: u8 = 1;

impl<R: RaftTypes> Encode for Checkpoint<R> {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let meta = self.meta.encode(&mut w)?;
        let Some(index) = &self.index else { return Ok(meta) };
        Ok(meta + write_index(index, w)?)
    }
}

/// Writes an index with its tag, and returns the length of both.
pub(crate) fn write_index(index: &ChunkIndex, mut w: impl Write) -> io::Result<usize> {
    w.write_all(&[INDEX])?;
    Ok(1 + index.write(w)?)
}

impl<R: RaftTypes> Decode for Checkpoint<R> {
    fn decode<T: Read>(mut r: T) -> io::Result<Self> {
        let meta = Meta::decode(&mut r)?;
        let mut rest = Vec::new();
        r.read_to_end(&mut rest)?;
        let index = match &rest[..] {
            [] => None,
            [INDEX, index @ ..] => Some(Arc::new(ChunkIndex::read(index).ok_or_else(not_an_index)?)),
            [tag, ..] => return Err(invalid(format!("no index of a raft log has the tag {tag}"))),
        };
        Ok(Checkpoint { meta, index })
    }
}

fn not_an_index() -> io::Error {
    invalid("the checkpoint's bytes after the state are no index of a chunk".to_string())
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Raft's state without the entries themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Meta<R: RaftTypes> {
    /// The last saved vote.
    pub vote: Option<R::Vote>,
    /// The last saved commit.
    pub committed: Option<R::LogId>,
    /// The last purged entry.
    pub purged: Option<R::LogId>,
    /// The last entry, or the last purged one if there is no entry.
    pub last: Option<R::LogId>,
    /// The index of the first entry, if there is one.
    pub first: u64,
    /// The last saved user data.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub user_data: Option<Vec<u8>>,
}

// By hand, because a derive would require votes and log ids to have a default.
impl<R: RaftTypes> Default for Meta<R> {
    fn default() -> Self {
        Meta { vote: None, committed: None, purged: None, last: None, first: 0, user_data: None }
    }
}

impl<R: RaftTypes> Meta<R> {
    /// The indexes of the entries.
    pub fn indexes(&self) -> Range<u64> {
        let end = self.last_index().map_or(0, |last| last.saturating_add(1));
        self.first..end.max(self.first)
    }

    pub(crate) fn last_index(&self) -> Option<u64> {
        self.last.as_ref().map(R::index)
    }

    pub(crate) fn purged_index(&self) -> Option<u64> {
        self.purged.as_ref().map(R::index)
    }
}

impl<R: RaftTypes> Encode for Meta<R> {
    fn encode<W: Write>(&self, w: W) -> io::Result<usize> {
        MessagePack::write(self, w)
    }
}

impl<R: RaftTypes> Decode for Meta<R> {
    fn decode<T: Read>(r: T) -> io::Result<Self> {
        MessagePack::read(r)
    }
}
