//! A chunked write-ahead log with a background flush worker, for programs that keep their own state:
//! raft stores, embedded databases, durable state machines.
//!
//! The program appends typed records in memory, a background thread writes them to the disk, and opening
//! the log replays them into a state machine. The log is a sequence of chunks. Each chunk is a file that
//! starts with a checkpoint of everything before it, so old chunks can be removed as whole files.
//!
//! ```text
//! append ─► buffer ─► bounded queue ─► write ─► one sync for all flushes ───► progress ─► callbacks
//! └─ your thread, no I/O ─┘            └──────────── the log's thread ─────────────────────────────┘
//!
//! open ─► every frame checked ─► StateMachine::apply ─► verdict on the end ─► repair ─► ChunkedWal
//! ```
//!
//! # A first log
//!
//! ```
//! use chunked_wal::{ChunkId, ChunkedWal, Config, Flush, Segment, StateMachine, WalRecord, WalTypes};
//!
//! /// The types of the log: lines of a diary. The checkpoint is the number of lines so far.
//! struct Diary;
//! impl WalTypes for Diary {
//!     type Action = String;
//!     type Checkpoint = u64;
//!     type Callback = ();
//! }
//!
//! /// What the log is replayed into: where each line is.
//! #[derive(Default)]
//! struct Lines {
//!     count: u64,
//!     places: Vec<Segment>,
//! }
//!
//! impl StateMachine<Diary> for Lines {
//!     type Error = std::convert::Infallible;
//!
//!     fn apply(&mut self, record: &WalRecord<Diary>, _: ChunkId, place: Segment) -> Result<(), Self::Error> {
//!         match record {
//!             WalRecord::Action(_) => {
//!                 self.count += 1;
//!                 self.places.push(place);
//!             }
//!             WalRecord::Checkpoint(count) => self.count = *count,
//!         }
//!         Ok(())
//!     }
//!
//!     fn checkpoint(&self) -> u64 {
//!         self.count
//!     }
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! let config = Config::new(dir.path().join("diary"));
//! let mut lines = Lines::default();
//! let mut wal = ChunkedWal::<Diary>::open(config.clone(), &mut lines)?;
//!
//! wal.append_and_apply("it rained".to_string(), &mut lines)?;
//! wal.append_and_apply("it still rains".to_string(), &mut lines)?;
//! let ticket = wal.flush_ticket(Flush::Sync)?; // on its way to the disk
//! wal.append_and_apply("the sun".to_string(), &mut lines)?; // meanwhile
//! ticket.wait()?; // the first two are durable
//! wal.close()?; // the third is, too
//!
//! let mut lines = Lines::default();
//! let wal = ChunkedWal::<Diary>::open(config, &mut lines)?;
//! assert_eq!(lines.count, 3);
//! assert_eq!(wal.read_record(lines.places[2])?, WalRecord::Action("the sun".to_string()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to go next
//!
//! - [`ChunkedWal`] is the log: appending, flushing, rotating, removing, reading.
//! - [`SharedWal`] shares a log and its state machine between any number of threads and tasks.
//! - A program implements [`WalTypes`], [`StateMachine`] and [`Callback`]; any [`codeq`] codec works.
//! - [`Config`] has the settings, [`OpenOptions`] the options of an open, [`RecoveryReport`] its findings.
//! - [`FlushTicket`] waits for one flush, [`ProgressHandle`] waits for an offset, and [`WalReader`] reads records;
//!   each works on any thread.
//! - [`PinnedReader`] reads the log as it was at one moment; chunks that it may read are not removed.
//! - [`WalPin`] and [`Subscriber`] keep the log from an offset on, and [`ChunkedWal::holders`] shows who keeps it;
//!   [`Config::soft_budget`] and [`Config::hard_budget`] bound what it takes of the disk.
//! - [`Error`] has every failure. After a failed write or sync, a log returns [`Poisoned`](Error::Poisoned) until it is
//!   opened again. On a full disk, a log returns [`StorageFull`](Error::StorageFull), and works again once there is
//!   space.
//! - [`snapshot::Snapshots`] keeps the whole state in snapshot files beside the log, opens the log from the newest
//!   snapshot, and removes the chunks that no snapshot needs.
//! - [`WalReader::open_read_only`] reads a log that another process has open, and [`Follow`] returns its records as
//!   they become durable.
//! - [`raw`] reads any log without its types; [`storage`] is the interface to the disk.
//!
//! In the repository, `docs/` explains how to embed the log in a raft store, what is durable when, the bytes on the
//! disk, and the design.
//!
//! # Features
//!
//! No feature is on by default; each feature only adds items.
//!
//! - `cli`: the command `chunked-wal`, which inspects, verifies, dumps, follows and repairs any log,
//!   and measures a disk; and `tools`, the same command for your own binary, which shows decoded records.
//! - `blob`: `blob::BlobStore`, large payloads in files beside the log, and `blob::BlobWal`, which makes
//!   payloads durable before the records that name them.
//! - `embedded`: `embedded::EmbeddedWal`, a log in a fixed region of a file, for a database that is one
//!   file.
//! - `lz4`: `Compression::Lz4`, payloads compressed if that makes them smaller.
//! - `testing`: `testing::CrashTest`, crash tests of your own state machine, and
//!   `storage::MemoryStorage`, the disk in memory that crashes and fails on request.
//! - `monitor`: `monitor::WalMonitor`, which follows a log, or an SQLite WAL file, as it grows.
//! - `metrics`: counters, gauges and histograms of each log through the `metrics` facade.
//! - `mmap`: `ClosedReads::Mapped`, records of closed chunks read from memory maps.
//! - `serde`: `codec`, your own types as actions and checkpoints, and `serde_codec!`.
//! - `stream`: `futures_core::Stream` for [`Follow`]. Without the feature, records can be awaited one by one.
//! - `bytes`: `BytesPayload`, actions that are `bytes::Bytes`, and `PayloadRef::share`, actions that are slices of the
//!   read buffer.
//! - `tokio`: [`Callback`] for `tokio::sync::oneshot::Sender`. A [`FlushTicket`] can be awaited without this feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "blob")]
pub mod blob;
mod chunk;
mod clock;
#[cfg(feature = "serde")]
pub mod codec;
mod config;
mod directory;
mod dump;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
mod flush;
mod format;
#[cfg(feature = "monitor")]
pub mod monitor;
mod panics;
mod payload;
mod pin;
mod position;
mod random;
pub mod raw;
mod reader;
mod record;
mod recovery;
mod shared;
pub mod snapshot;
pub mod storage;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "cli")]
pub mod tools;
mod wal;

pub use codeq;

pub use crate::chunk::ChunkStat;
pub use crate::config::{ClosedReads, Compression, Config, IdleMark};
pub use crate::directory::WalLock;
#[cfg(feature = "blob")]
pub use crate::error::NoBlob;
pub use crate::error::{Damage, Error, Foreign, PinFault, Proof, Result, SnapshotFault};
pub use crate::flush::{Flush, FlushMetrics, FlushSender, FlushTicket, Latency, Progress, ProgressHandle};
#[cfg(feature = "monitor")]
pub use crate::monitor::WalMonitor;
#[cfg(feature = "bytes")]
pub use crate::payload::BytesPayload;
pub use crate::payload::PayloadRef;
pub use crate::pin::{Holder, HolderKind, PinOptions, PinState, SubscribeOptions, Subscriber, WalPin};
pub use crate::position::{ChunkId, Segment};
pub use crate::reader::{Follow, PinnedReader, ReadOnlyOptions, ReadUpTo, Records, WalReader};
pub use crate::record::{
    Batch, Callback, CallbackFn, ChunkPersisted, Encoded, StateMachine, WalRecord, WalTypes,
};
pub use crate::recovery::{Mended, RecoveryReport, Replay, TornTail};
pub use crate::shared::{Commit, SharedState, SharedWal};
pub use crate::storage::{Storage, StorageFile};
pub use crate::wal::{ChunkedWal, OpenOptions, TryFlushError};

/// Runs the examples of the documents as tests.
#[cfg(doctest)]
mod documents {
    // One of its examples is of serde.
    #[cfg(feature = "serde")]
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/design/architecture.md")]
    mod architecture {}
    #[doc = include_str!("../docs/design/durability.md")]
    mod durability {}
    #[cfg(feature = "blob")]
    #[doc = include_str!("../docs/features/blob.md")]
    mod blob {}
    #[cfg(feature = "embedded")]
    #[doc = include_str!("../docs/features/embedded.md")]
    mod embedded {}
    // It has an example of `PayloadRef::share`.
    #[cfg(feature = "bytes")]
    #[doc = include_str!("../docs/guide/embedding.md")]
    mod embedding {}
    #[doc = include_str!("../docs/design/format.md")]
    mod format {}
    #[doc = include_str!("../docs/guide/raft.md")]
    mod raft {}
    // It has an example of `tools`.
    #[cfg(feature = "cli")]
    #[doc = include_str!("../docs/guide/tools.md")]
    mod tools {}
    #[doc = include_str!("../docs/guide/tuning.md")]
    mod tuning {}
    #[cfg(feature = "lz4")]
    #[doc = include_str!("../docs/features/lz4.md")]
    mod lz4 {}
    #[cfg(feature = "monitor")]
    #[doc = include_str!("../docs/features/monitor.md")]
    mod monitor {}
}
