#![doc = include_str!("../README.md")]

mod reader;
mod record;
mod storage;
mod store;

pub use reader::LogReader;
pub use record::{RaftEntry, RaftGroups, State};
pub use store::LogStore;
