//! From buffer to disk: a flush waits in the queue, the worker writes and syncs, callbacks and waiters hear of it.
//!
//! ```text
//!  appender                         worker thread                           housekeeper thread
//!  ────────                         ─────────────                           ──────────────────
//!  flush, rotate, remove ──► Queue ──► take ─► write ─► sync ─► publish ─► callbacks
//!                                       │                         │
//!                                       │ remove                  └─► Positions ──► those who wait
//!                                       ▼
//!                                    Housekeeper: removes old chunks, keeps spares ready ◄── rotate takes one
//! ```
//!
//! - One order: the queue's. Completion is the only arrow back.
//! - `appended ≥ written ≥ synced`, and none of them ever goes back.
//! - The first failure on the write path is final ([`Positions::poison`]).
//! - No lock is held while a callback runs or the disk is waited for, except the worker's own. No thread that the
//!   worker may wait for waits for that lock.

mod batch;
mod export;
mod hand_over;
mod housekeeper;
mod jobs;
mod metrics;
mod names;
mod pins;
mod progress;
mod queue;
mod reentry;
mod room;
mod rotate;
mod tasks;
mod ticket;
mod under_way;
#[cfg(test)]
mod wakes;
mod worker;

pub(crate) use batch::{ChunkBeginning, FlushRequest, NewFlush, Request, Rotation};
#[cfg(feature = "metrics")]
pub(crate) use export::Gauges;
#[cfg(feature = "metrics")]
pub(crate) use export::Registry;
pub(crate) use hand_over::HandOver;
pub(crate) use housekeeper::{Housekeeper, HousekeeperConfig, SpareAsked};
pub(crate) use jobs::Spare;
pub(crate) use metrics::Metrics;
pub use metrics::{FlushMetrics, Latency};
pub(crate) use names::Naming;
pub(crate) use pins::Pin;
pub(crate) use progress::{Positions, SyncTurn};
pub use progress::{Progress, ProgressHandle};
pub(crate) use queue::{BatchLimit, Entry, Queue, Refused};
pub(crate) use reentry::Inside;
pub(crate) use room::RoomWait;
pub(crate) use rotate::Unnamed;
pub(crate) use tasks::{TaskEntry, Tasks};
pub use ticket::{FlushSender, FlushTicket};
pub(crate) use under_way::{OnSlowSync, SlowSyncWatch};
pub(crate) use worker::{Pipeline, Quiet, Worker, spawn_worker};

/// How far a flush takes the appended records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flush {
    /// Handed to the operating system: survives the end of the process, not the loss of power.
    Write,
    /// On stable storage: survives the loss of power.
    Sync,
}
