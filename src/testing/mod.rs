//! Crash tests of this log and of your own state machine; and [`check_codec`], for your codecs.
//!
//! ```text
//! script ─► log on a disk in memory ─► before every operation of the disk: a cut
//!                                             │
//!         for each cut, the disks that a power loss or a kill may leave there
//!                                             │
//!                   open ─► compare with the appended records ─► go on ─► crash again
//! ```
//!
//! You write a [`Subject`]: a state machine and actions for it. A [`CrashTest`] runs workloads with
//! them, cuts each workload at every operation of the storage, and opens every disk that it draws
//! there. It checks the promises of the log and of your state machine:
//!
//! - Acknowledged records are there, in order, byte for byte; no record is invented, replayed twice or
//!   left out; removed chunks stay removed, and nothing else is missing.
//! - The recovered state is that of a state machine that got the same actions and was never closed: so
//!   [`checkpoint`](crate::StateMachine::checkpoint) must forget nothing, and `apply` must be
//!   deterministic and do all or nothing.
//! - The log goes on after recovery: records appended then are there after the next crash, even if that
//!   crash comes in the middle of the recovery.
//!
//! ```
//! use chunked_wal::testing::{CrashTest, Subject};
//! use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord, WalTypes};
//!
//! struct Sums;
//! impl WalTypes for Sums {
//!     type Action = u64;
//!     type Checkpoint = u64;
//!     type Callback = ();
//! }
//!
//! struct Sum(u64);
//! impl StateMachine<Sums> for Sum {
//!     type Error = std::convert::Infallible;
//!     fn apply(&mut self, record: &WalRecord<Sums>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
//!         match record {
//!             WalRecord::Action(n) => self.0 += n,
//!             WalRecord::Checkpoint(sum) => self.0 = *sum,
//!         }
//!         Ok(())
//!     }
//!     fn checkpoint(&self) -> u64 {
//!         self.0
//!     }
//! }
//!
//! struct TheSum;
//! impl Subject for TheSum {
//!     type Types = Sums;
//!     type StateMachine = Sum;
//!     fn state_machine(&self) -> Sum {
//!         Sum(0)
//!     }
//!     fn action(&self, n: u64) -> u64 {
//!         n
//!     }
//! }
//!
//! let report = CrashTest::new(TheSum).states(200).run()?;
//! assert!(report.states >= 200);
//! # Ok::<(), Box<chunked_wal::testing::CrashFailure>>(())
//! ```

// Each folder uses only the ones before it:
//
// script   what a workload does, drawn or parsed
// check    opens a disk and compares it with the model of the log
// record   runs a script, with a copy of the disk before each of its operations
// explore  opens the disks that a crash may leave there; `CrashTest`, and how it reports a failure
mod check;
mod codec;
mod crash;
mod dice;
mod explore;
mod record;
mod script;

pub use codec::check_codec;
pub use explore::{CrashFailure, CrashReport, CrashTest};
pub use script::{Pace, Script, Step};

use crate::record::{StateMachine, WalTypes};

/// The subject of a [`CrashTest`]: a state machine, and actions for it.
pub trait Subject: Sync {
    /// The types of the log. The callback is not used.
    type Types: WalTypes;

    /// The state machine.
    type StateMachine: StateMachine<Self::Types>;

    /// Returns a fresh state machine, as for a new log.
    fn state_machine(&self) -> Self::StateMachine;

    /// Returns the action of this number, the same each time. Numbers are below a little more than a
    /// million, and come in any order. Vary the actions' sizes; now and then an action should be larger
    /// than a chunk (a test's chunks have from 64 bytes to 6 KiB).
    ///
    /// An action that the state machine refuses is not appended; that is no failure.
    fn action(&self, n: u64) -> <Self::Types as WalTypes>::Action;

    /// Compares more than the checkpoints, which are compared anyway: `expected` got the same actions
    /// as `recovered`, and was never closed. May also check your own invariants.
    ///
    /// # Errors
    ///
    /// A description of the failure; the test fails with it.
    fn check(&self, recovered: &Self::StateMachine, expected: &Self::StateMachine) -> Result<(), String> {
        let (_, _) = (recovered, expected);
        Ok(())
    }
}
