//! What the log has at a moment: its records, and the chunks that they are in.

use std::sync::Arc;

use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord};
use chunked_wal_groups::{GroupWal, LogEntry, NoState, Record};
use chunked_wal_protocol::groups::Kind;

/// An entry, and the commit that it is of.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) index: u64,
    pub(crate) id: u64,
}

impl LogEntry for Entry {
    type State = u64;

    fn index(&self) -> u64 {
        self.index
    }
}

impl Encode for Entry {
    fn encode<W: std::io::Write>(&self, mut w: W) -> std::io::Result<usize> {
        Ok(self.index.encode(&mut w)? + self.id.encode(&mut w)?)
    }
}

impl Decode for Entry {
    fn decode<R: std::io::Read>(mut r: R) -> std::io::Result<Self> {
        Ok(Entry { index: u64::decode(&mut r)?, id: u64::decode(&mut r)? })
    }
}

/// A record of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) chunk: u64,
    pub(crate) at: Segment,
    pub(crate) group: usize,
    pub(crate) kind: Kind,
}

/// The log as it is on a disk.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The oldest chunk.
    pub(crate) oldest: Option<u64>,
    pub(crate) records: Vec<Seen>,
}

impl Look {
    /// Looks at a disk, which is not changed.
    pub(crate) fn at(disk: &MemoryStorage, config: &Config) -> Result<Self, String> {
        let mut look = Look::default();
        let copy = Arc::new(disk.kill());
        let wal = ChunkedWal::<GroupWal>::options(config.clone()).storage(copy).open(&mut look);
        let wal = wal.map_err(|error| format!("the log can't be opened: {error}"))?;
        let closed = wal.closed_chunk_stats();
        look.oldest = Some(closed.first().map_or(wal.open_chunk_id(), |chunk| chunk.chunk_id).0);
        Ok(look)
    }
}

impl StateMachine<GroupWal> for Look {
    type Error = std::io::Error;

    fn apply(
        &mut self,
        record: &WalRecord<GroupWal>,
        chunk: ChunkId,
        at: Segment,
    ) -> Result<(), Self::Error> {
        if let WalRecord::Action(record) = record {
            let (group, kind) = (record.group() as usize, kind(record)?);
            self.records.push(Seen { chunk: chunk.0, at, group, kind });
        }
        Ok(())
    }

    fn checkpoint(&self) -> NoState {
        NoState
    }
}

fn kind(record: &Record) -> std::io::Result<Kind> {
    let id = |payload: &[u8]| Entry::decode(payload).map(|entry| entry.id as usize);
    Ok(match record {
        Record::Entry { index, payload, .. } => Kind::Entry { index: *index as usize, id: id(payload)? },
        Record::Moved { index, payload, .. } => Kind::Moved { index: *index as usize, id: id(payload)? },
        Record::State { payload, .. } => Kind::State { id: u64::decode(&payload[..])? as usize },
        Record::Bounds { first, next, .. } => Kind::Bounds { first: *first as usize, next: *next as usize },
        Record::Truncate { index, .. } => Kind::Truncate { from: *index as usize },
        Record::Destroy { .. } => Kind::Destroy,
    })
}
