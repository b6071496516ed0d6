#![doc = include_str!("../README.md")]

mod codec;
mod error;
mod reader;
mod recent;
mod record;
mod state;
mod storage;
mod store;

pub use error::OpenError;
pub use reader::LogReader;
pub use record::Action;
pub use record::Flushed;
pub use record::Meta;
pub use record::RaftWal;
pub use store::Limits;
pub use store::LogStore;
