//! Whole logs through the public API: opening, appending, types of a user's own, files and their names.
mod any_storage;
mod backup;
mod basics;
mod batches;
mod budget;
mod codecs;
#[path = "../common/mod.rs"]
mod common;
mod edges;
mod encoded;
mod fixtures;
mod model;
mod payloads;
mod pins;
mod pins_in_trouble;
mod said;
mod shared;
mod shared_waits;
mod snapshots;
mod stress;
mod users;
