//! How to use tikv's [`raft`] on [`chunked_wal`]: a `Storage`, and a `Ready` whose persistence the
//! log's callback reports. A small, whole example to copy from; it is not published.
//!
//! ```text
//! RawNode::ready ─► messages                    sent at once
//!               ├─► committed entries           applied
//!               ├─► entries, hard state ─► LogStore::append ─► flush ─┐
//!               └─► persisted messages          wait                  │ the log's thread
//! advance_append_async                                                ▼
//! RawNode::on_persist_ready ◄── channel ◄── the number of the ready ◄─┘
//!               └─► persisted messages          sent
//! ```
//!
//! No thread waits for the disk: while one ready is being written, the next is gathered, and the log
//! syncs once for all that have come by then.
//!
//! | raft asks for | here |
//! | --- | --- |
//! | entries that replace others | an entry with an index that is there already voids those from it on |
//! | hard state, conf state | actions |
//! | a persistent ready | the callback of `flush(Sync)`, with the ready's number |
//! | first index, term of the one before | a compaction is an action, and in every checkpoint |
//! | a snapshot | not stored by [`LogStore`]. Install a snapshot, then `compact` up to it. [`GroupStore`] stores it |
//!
//! [`GroupStore`] is the same for one of many groups that share a log of `chunked-wal-groups`, and stores snapshots
//! too. The example `groups` runs a thousand of them in each of three processes.

mod group;
mod node;
mod ready;
mod record;
mod store;

pub use group::{GroupEntry, GroupMeta, GroupState, GroupStore, Groups};
pub use node::Node;
pub use ready::{ReadyPersisted, ReadyStore};
pub use record::{Action, Meta, RaftLog};
pub use store::LogStore;
