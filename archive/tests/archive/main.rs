//! Whole archives: faults of store and disk, two archivers, restores, prunes, and the command.

#![allow(clippy::unwrap_used, reason = "tests")]

mod command;
mod common;
mod crash;
mod faults;
mod holding;
mod kills;
mod prune;
mod restore;
mod writers;
