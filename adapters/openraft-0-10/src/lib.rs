#![doc = include_str!("../README.md")]

mod reader;
mod record;
mod storage;
mod store;

pub use chunked_wal_raft::{CacheStats, ChunkIndex, Limits, OpenError, Stats};
pub use reader::LogReader;
pub use record::{Action, Checkpoint, Flushed, Meta, Openraft, RaftWal};
pub use store::LogStore;
