//! Readers: of a log that is open here, of a directory, and followers.
mod by_event;
#[path = "../common/mod.rs"]
mod common;
mod followers;
mod mapped;
mod pinned;
mod read_only;
mod reads;
