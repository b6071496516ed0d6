//! A log's directory: the names in it, the lock, a chunk's file by its name, and a directory that another process is
//! changing.
//!
//! ```text
//! names      r-00_..._000.wal   a chunk                  LOCK               the lock
//!            subscribers/       places of subscribers
//!            r-00_....wal.away  a chunk being renamed    spare-….tmp        a file to use again
//!
//! writer     lock ─► list ─► put_back ─► adopt ─► open_chunk, rename_anew
//! reader     list_changing ─► open_chunk ─┐ an error that may pass?
//!                  ▲                      └─► Looks: pause, look again ─┐
//!                  └───────────────────────────────────────────────────┘
//! ```
//!
//! - Only this module knows how a file is named. [`Listing`] sorts the names, once for all rooms.
//! - Without the lock one look proves nothing: [`list_changing`] lists until two listings agree, and [`Looks`] repeats
//!   a look that failed in a way that a change under way explains.

mod adopt;
mod bytes;
mod changing;
mod chunk_file;
mod listing;
mod lock;
mod names;

#[cfg(feature = "cli")]
pub(crate) use adopt::Unnamed;
pub(crate) use adopt::{adopt, put_aside};
pub(crate) use bytes::FileBytes;
pub(crate) use changing::{Looks, list_changing, settled};
pub(crate) use chunk_file::{
    log_id_of_most, open_chunk, open_chunk_file, open_one_bit_flipped, read_header, rename_anew, sync_dir,
};
pub(crate) use listing::list;
pub use listing::{ChunkPlace, Listing};
pub use lock::WalLock;
#[cfg(feature = "cli")]
pub(crate) use names::LOCK_NAME;
#[cfg(any(test, feature = "testing"))]
pub(crate) use names::away_name;
pub(crate) use names::{SUBSCRIBERS_NAME, spare_name};
