//! Big payloads in files beside the log, so that the log stays small (feature `blob`).
//!
//! ```text
//! payload ─► BlobStore::append ─► BlobRef, 20 bytes ─► an action ─► ChunkedWal::append
//!            └─ a log of its own, ─┘                   └─ only once the blob is durable: BlobWal ─┘
//!               in its own directory
//! ```
//!
//! A [`BlobStore`] is a chunked log whose records are the payloads: it has chunk files of 64 MiB, one
//! background worker and shared syncs; it repairs a torn tail, reports damage and survives a full disk.
//! This module adds references that fit into an action, a cache of blobs that were read, and
//! [`BlobWal`], which joins the store to a log.
//!
//! ```
//! use chunked_wal::blob::{BlobConfig, BlobRef, BlobStore, BlobWal};
//! use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, WalTypes};
//!
//! struct Photos;
//! impl WalTypes for Photos {
//!     type Action = BlobRef; // or any codec type that contains a `BlobRef`
//!     type Checkpoint = ();
//!     type Callback = ();
//! }
//!
//! #[derive(Default)]
//! struct Album(Vec<BlobRef>);
//! impl StateMachine<Photos> for Album {
//!     type Error = std::convert::Infallible;
//!     fn apply(&mut self, record: &WalRecord<Photos>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
//!         if let WalRecord::Action(photo) = record {
//!             self.0.push(*photo);
//!         }
//!         Ok(())
//!     }
//!     fn checkpoint(&self) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let mut album = Album::default();
//! let blobs = BlobStore::open(BlobConfig::new(dir.path().join("blobs")))?;
//! let wal = ChunkedWal::<Photos>::open(Config::new(dir.path().join("log")), &mut album)?;
//! let mut photos = BlobWal::new(wal, blobs);
//!
//! let photo = photos.append_blob(&[7; 1_000_000])?;
//! // The log is lent once the blob is durable, so no record can name a blob that isn't.
//! photos.wal()?.append_and_apply(photo, &mut album)?;
//! photos.wal()?.sync()?; // one completion for both
//!
//! assert_eq!(photos.blobs().read(album.0[0])?.len(), 1_000_000);
//! # Ok(())
//! # }
//! ```
//!
//! `docs/features/blob.md` in the repository explains references, order, retention, how wrong references are
//! detected, and why no blob is read through a memory map.

mod blocks;
mod cache;
mod join;
mod payload;
mod read;
mod reference;
mod store;

pub use self::join::BlobWal;
pub use self::read::{Blob, BlobReader};
pub use self::reference::BlobRef;
pub use self::store::{BlobChunk, BlobConfig, BlobStore};
