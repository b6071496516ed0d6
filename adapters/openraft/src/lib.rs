#![doc = include_str!("../README.md")]

mod error;
mod reader;
mod recent;
mod record;
mod state;
mod storage;
mod store;

pub use error::OpenError;
pub use reader::LogReader;
pub use record::{Action, Flushed, Meta, RaftWal};
pub use store::{Limits, LogStore};
