#![doc = include_str!("../README.md")]

mod batch;
mod callback;
mod changes;
mod config;
mod entry;
mod error;
mod holders;
mod index;
mod inspect;
mod number;
mod open;
mod reclaim;
mod record;
mod reserve;
mod shared;
mod store;
mod wake;

pub use batch::GroupBatch;
pub use config::Config;
pub use entry::LogEntry;
pub use error::Error;
pub use holders::{Holder, SpaceStats};
pub use inspect::{Inspection, inspect};
pub use record::{GroupCallback, GroupWal, NoState, Record};
pub use store::GroupLog;
