//! What each feature adds, and what a build without one says.
mod blob;
#[path = "../common/mod.rs"]
mod common;
mod embedded;
mod fixtures;
mod lz4;
mod metrics;
mod monitor;
mod monitoring;
mod no_lz4;
mod own_types;
mod raw_bytes;
mod shared_bytes;
