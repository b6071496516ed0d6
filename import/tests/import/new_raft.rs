//! What raft sees of a new log, with the adapters for both versions of openraft.

use std::path::Path;

use chunked_wal::{ChunkedWal, Config};

use crate::old_raft::{Seen, json};

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Opens the log with both adapters, with as little reading as possible and by reading all of it, and returns what
/// all of them see.
pub(crate) fn seen(dir: &Path) -> Seen {
    let seen = with_0_9::seen(dir);
    assert_eq!(with_0_10::seen(dir), seen);
    // Only this compares the index in each checkpoint with the records.
    let options = ChunkedWal::options(Config::new(dir));
    drop(with_0_9::LogStore::<with_0_9::Texts>::open_verified(options, Default::default()).unwrap());
    seen
}

/// The two modules differ in their types alone.
macro_rules! seen_with {
    () => {
        pub(crate) fn seen(dir: &Path) -> Seen {
            run(async {
                let mut store = LogStore::<Texts>::open(Config::new(dir)).unwrap();
                let state = store.get_log_state().await.unwrap();
                let entries = store.try_get_log_entries(..).await.unwrap();
                Seen {
                    vote: json(&store.read_vote().await.unwrap()),
                    committed: json(&store.read_committed().await.unwrap()),
                    purged: json(&state.last_purged_log_id),
                    last: json(&state.last_log_id),
                    user_data: store.user_data(),
                    entries: entries.iter().map(json).collect(),
                }
            })
        }
    };
}

pub(crate) mod with_0_9 {
    use std::io::Cursor;
    use std::path::Path;

    use chunked_wal::Config;
    pub(crate) use chunked_wal_openraft::LogStore;
    use openraft::RaftLogReader;
    use openraft::storage::RaftLogStorage;

    use super::{Seen, json, run};

    openraft::declare_raft_types!(
        /// Commands are texts.
        pub(crate) Texts: D = String, R = ()
    );

    seen_with!();
}

pub(crate) mod with_0_10 {
    use std::path::Path;

    use chunked_wal::Config;
    pub(crate) use chunked_wal_openraft_0_10::LogStore;
    use openraft::RaftLogReader;
    use openraft::storage::RaftLogStorage;
    use openraft_0_10 as openraft;

    use super::{Seen, json, run};

    openraft::declare_raft_types!(
        /// Commands are texts.
        pub(crate) Texts: D = String, R = String
    );

    seen_with!();
}
