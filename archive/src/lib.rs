#![doc = include_str!("../README.md")]

mod archive;
mod archiver;
mod chain;
mod command;
mod error;
mod log;
mod manifest;
mod progress;
mod restore;
mod runtime;
mod store;

pub use object_store;

pub use archive::{Archive, ArchiveStatus, Keep, PruneMode, Pruned, Verified, local_store};
pub use archiver::{Archiver, ArchiverOptions, ArchiverStatus, OnMissing};
pub use command::main;
pub use error::{Error, Result};
pub use progress::Progress;
pub use restore::{RestoreFrom, RestoreTo, Restored};
pub use store::Retry;
