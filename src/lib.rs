//! A chunked write-ahead log with a background flush worker.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod chunk;
mod config;
mod dump;
mod error;
mod flush;
mod format;
mod lock;
mod position;
mod random;
mod reader;
mod record;
mod recovery;
pub mod storage;
mod wal;

pub use codeq;

pub use crate::chunk::ChunkStat;
pub use crate::config::Config;
pub use crate::error::Damage;
pub use crate::error::Error;
pub use crate::error::Foreign;
pub use crate::error::Proof;
pub use crate::error::Result;
pub use crate::flush::Flush;
pub use crate::flush::FlushMetrics;
pub use crate::flush::FlushSender;
pub use crate::flush::FlushTicket;
pub use crate::flush::Latency;
pub use crate::flush::Progress;
pub use crate::flush::ProgressHandle;
pub use crate::lock::WalLock;
pub use crate::position::ChunkId;
pub use crate::position::Segment;
pub use crate::reader::Records;
pub use crate::reader::WalReader;
pub use crate::record::Callback;
pub use crate::record::CallbackFn;
pub use crate::record::ChunkPersisted;
pub use crate::record::StateMachine;
pub use crate::record::WalRecord;
pub use crate::record::WalTypes;
pub use crate::recovery::RecoveryReport;
pub use crate::recovery::Replay;
pub use crate::recovery::TornTail;
pub use crate::storage::Storage;
pub use crate::storage::StorageFile;
pub use crate::wal::ChunkedWal;
pub use crate::wal::OpenOptions;
pub use crate::wal::TryFlushError;
