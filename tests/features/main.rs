//! What a feature adds, for features that need no binary of their own.
#[path = "../common/mod.rs"]
mod common;
mod lz4;
mod metrics;
mod monitor;
mod own_types;
