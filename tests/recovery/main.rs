//! Recovery: from any bytes to a log or to an error that names the damage; full disks and failed syncs.
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod dir_syncs;
mod full_disk;
mod recovery;
mod unnamed;
mod unreadable;
