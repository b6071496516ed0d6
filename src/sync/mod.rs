//! The locks, atomics and events of the code that a model checker runs: the appender's hand-over, the queue, the
//! worker's loop, progress and tickets.
//!
//! Those files import them only from here. `tests/model_check/` compiles the same files with its own
//! `sync`, made of a model checker's primitives, and so decides which thread runs when.

mod event;
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
#[cfg_attr(any(target_os = "linux", target_os = "android"), allow(unused, reason = "tested everywhere"))]
mod locked;

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};

pub(crate) use event::Event;
