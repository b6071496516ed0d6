//! openraft's types as the log's: [`Openraft`], and the names of the records with it.

use std::marker::PhantomData;
use std::{fmt, io};

use chunked_wal::{Callback, Error};
use chunked_wal_raft::RaftTypes;
use openraft::RaftTypeConfig;
use openraft::entry::RaftEntry;
use openraft::storage::IOFlushed;
use openraft::type_config::alias::{LogIdOf, VoteOf};

/// The types of openraft, with a type config of yours.
#[derive(Debug, Clone, PartialEq)]
pub struct Openraft<C>(PhantomData<C>);

impl<C: RaftTypeConfig> RaftTypes for Openraft<C> {
    type LogId = LogIdOf<C>;
    type Vote = VoteOf<C>;
    type Entry = C::Entry;
    type Callback = Flushed<C>;

    fn index(log_id: &LogIdOf<C>) -> u64 {
        log_id.index
    }

    fn log_id(entry: &C::Entry) -> LogIdOf<C> {
        entry.log_id()
    }
}

/// The types of the [`ChunkedWal`](chunked_wal::ChunkedWal) of a type config, for programs that open one
/// themselves: to pass [options](crate::LogStore::open_with), or to
/// [dump](chunked_wal::ChunkedWal::dump_records) it.
pub type RaftWal<C> = chunked_wal_raft::RaftWal<Openraft<C>>;

/// A change of raft's state, in the types of a type config.
pub type Action<C> = chunked_wal_raft::Action<Openraft<C>>;

/// The checkpoint, in the types of a type config.
pub type Checkpoint<C> = chunked_wal_raft::Checkpoint<Openraft<C>>;

/// Raft's state without the entries themselves, in the types of a type config.
pub type Meta<C> = chunked_wal_raft::Meta<Openraft<C>>;

/// openraft's callback for durable entries, as a callback of the log.
pub struct Flushed<C: RaftTypeConfig>(pub(crate) IOFlushed<C>);

impl<C: RaftTypeConfig> Callback for Flushed<C> {
    fn complete(self, result: Result<(), Error>) {
        self.0.io_completed(result.map_err(io::Error::from));
    }
}

impl<C: RaftTypeConfig> fmt::Debug for Flushed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flushed(..)")
    }
}
