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
mod sqlite;
mod wal_db;
pub(crate) mod walrus;

use crate::peer::Peer;

/// Why no other log takes part in S8.
const OURS_ALONE: &str = "measured for this crate alone, against itself";

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
    let others: [&'static dyn Peer; 10] = [
        &chunked_wal_02::ChunkedWal02,
        &okaywal::OkayWal,
        &raft_engine::RaftEngine,
        &open_wal::OpenWal,
        &wal_db::WalDb,
        &nodedb_wal::NodedbWal,
        &hiqlite_wal::HiqliteWal,
        &walrus::WalrusRust,
        &commitlog::Commitlog,
        &sqlite::Sqlite,
    ];
    all.extend(others);
    all
}
