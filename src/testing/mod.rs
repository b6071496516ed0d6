//! Crash tests, of this log and of your own state machine on it; and [`check_codec`], for your codecs.
//!
//! ```text
//! script ─► log on a disk in memory ─► before every operation of the disk: a cut
//!                                             │
//!         for each cut, the disks that a power loss or a kill may leave there
//!                                             │
//!                   open ─► compare with what was appended ─► go on ─► crash again
//! ```
//!
//! You bring a [`Subject`]: a state machine and actions for it. A [`CrashTest`] runs workloads with
//! them, cuts each at every operation of the storage, and opens every disk that it draws there. It
//! holds the log to its promises, and your state machine to its own:
//!
//! - What was acknowledged is there, in order, byte for byte; nothing is invented; nothing is
//!   replayed twice or left out; removed chunks stay away, and nothing else is missing.
//! - The state recovered is that of a state machine that was given the same actions and was never
//!   closed: so [`checkpoint`](crate::StateMachine::checkpoint) must forget nothing, `apply` must be
//!   deterministic and do all or nothing.
//! - The log goes on after it: what is appended then is there after the next crash, also if that
//!   one comes in the middle of the recovery.
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

mod codec;
mod dice;
mod explore;
mod facts;
mod failure;
mod history;
mod judge;
mod ledger;
mod plan;
mod probe;
mod route;
mod run;
mod script;
mod spelling;
mod steps;
mod workload;

pub use codec::check_codec;
pub use failure::CrashFailure;
pub use run::{CrashReport, CrashTest};
pub use script::{Pace, Script, Step};

use crate::record::{StateMachine, WalTypes};

/// What a [`CrashTest`] tests: a state machine, and what to do to it.
pub trait Subject: Sync {
    /// The types of its log. The callback is not used.
    type Types: WalTypes;

    /// The state machine.
    type StateMachine: StateMachine<Self::Types>;

    /// A state machine to which nothing has happened yet, as for a log that is new.
    fn state_machine(&self) -> Self::StateMachine;

    /// The action of this number: the same each time it is asked for. Numbers are below a million and
    /// a little, and come in any order. Vary their sizes; now and then one should be larger than a
    /// chunk (those of a test have from 64 bytes to 6 KiB).
    ///
    /// An action that the state machine refuses is not appended, which is no fault.
    fn action(&self, n: u64) -> <Self::Types as WalTypes>::Action;

    /// Compares more than the checkpoints, which are compared anyway: `expected` was given the same
    /// actions as `recovered`, and was never closed. It may also look at invariants of your own.
    ///
    /// # Errors
    ///
    /// What is wrong: the test fails with it.
    fn check(&self, recovered: &Self::StateMachine, expected: &Self::StateMachine) -> Result<(), String> {
        let (_, _) = (recovered, expected);
        Ok(())
    }
}
