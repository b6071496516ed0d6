//! The logs that take part, each in a file of its own.

mod bytes;
mod chunked_wal_02;
mod commitlog;
mod hiqlite_wal;
mod nodedb_wal;
mod okaywal;
mod open_wal;
pub(crate) mod ours;
mod raft_engine;
mod spacetimedb;
mod sqlite;
mod wal_db;
pub(crate) mod walrus;

use crate::peer::Peer;

/// Why another way to use a log takes no part in a workload.
pub(crate) const AS_THE_FIRST: &str = "as the first way to use it";

/// The peer of this name.
pub(crate) fn by_name(name: &str) -> Option<&'static dyn Peer> {
    all().into_iter().find(|peer| peer.name() == name)
}

/// The names of all of them.
pub(crate) fn names() -> Vec<&'static str> {
    all().into_iter().map(|peer| peer.name()).collect()
}

/// All of them, in the order of turns and tables.
pub(crate) fn all() -> Vec<&'static dyn Peer> {
    let mut all: Vec<&'static dyn Peer> = ours::ALL.iter().map(|peer| peer as &dyn Peer).collect();
    let others: [&'static dyn Peer; 16] = [
        &chunked_wal_02::ChunkedWal02::Plain,
        &chunked_wal_02::ChunkedWal02::Wait50,
        &okaywal::OkayWal::Plain,
        &okaywal::OkayWal::Checkpoints,
        &okaywal::OkayWal::SmallEntries,
        &okaywal::OkayWal::Defaults,
        &raft_engine::RaftEngine,
        &open_wal::OpenWal,
        &wal_db::WalDb,
        &nodedb_wal::NodedbWal::Plain,
        &nodedb_wal::NodedbWal::WrittenOnce,
        &hiqlite_wal::HiqliteWal,
        &walrus::WalrusRust,
        &commitlog::Commitlog,
        &spacetimedb::Spacetimedb,
        &sqlite::Sqlite,
    ];
    all.extend(others);
    all
}
