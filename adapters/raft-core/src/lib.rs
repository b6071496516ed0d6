#![doc = include_str!("../README.md")]

pub mod blocking;
mod error;
mod indexer;
mod operations;
mod places;
mod reader;
mod recent;
mod record;
mod state;
mod stats;
mod store;
mod types;

pub use error::{AppendError, OpenError};
pub use indexer::{Change, Indexer};
pub use places::ChunkIndex;
pub use reader::LogReader;
pub use record::{Action, Checkpoint, Meta, RaftWal};
pub use stats::{CacheStats, Stats};
pub use store::{Limits, LogStore};
pub use types::RaftTypes;
