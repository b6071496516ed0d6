//! Hostile bytes on disk: invented ones, and the fuzzer's corpus.
#![allow(clippy::duplicate_mod, reason = "the fuzzer has the forge too, and is no part of this package")]

#[path = "../common/mod.rs"]
mod common;
mod corpus;
mod hostile;
#[path = "../../fuzz/src/run.rs"]
#[allow(dead_code, unreachable_pub, reason = "the fuzzer's, which needs all of it")]
mod run;
