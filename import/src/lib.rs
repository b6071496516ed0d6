#![doc = include_str!("../README.md")]

mod command;
mod convert;
mod error;
mod import;
mod msgpack;
mod raft;
mod report;
mod source;
mod staging;

pub use chunked_wal_02;
pub use raft_log;

pub use command::{ImportArgs, main, parse, run, statuses};
pub use convert::{AsIs, Convert, Each, OldFormat};
pub use error::{BoxError, Error, Result};
pub use import::Import;
pub use msgpack::MsgPack;
pub use raft::{LogId, LogWal, OpenraftTypes, ToOpenraft, Vote};
pub use report::Report;
pub use source::Torn;
