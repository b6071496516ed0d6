//! [`LogStore`]: raft-rs's `Storage` on a `ChunkedWal`.

use std::collections::VecDeque;
use std::io;

use chunked_wal::{ChunkId, ChunkedWal, Error, Flush, OpenOptions, Segment, StateMachine, WalRecord};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::util::limit_size;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::ready::{ReadyPersisted, ReadyStore, other};
use crate::record::{Action, Meta, RaftLog};

/// The state that the log is replayed into.
#[derive(Debug, Default)]
struct State {
    meta: Meta,
    /// Position and term of each entry, up to `meta.last`. During replay some of the first may be
    /// missing, because their chunks are gone and a later record voids them.
    entries: VecDeque<(Segment, u64)>,
}

impl State {
    fn first(&self) -> u64 {
        self.meta.compacted.0 + 1
    }

    fn entry(&self, index: u64) -> Option<(Segment, u64)> {
        let after = usize::try_from(self.meta.last.checked_sub(index)?).ok()?;
        self.entries.get(self.entries.len().checked_sub(after + 1)?).copied()
    }

    /// Voids the entries after `last`.
    fn end_at(&mut self, last: u64) {
        let void = usize::try_from(self.meta.last.saturating_sub(last)).unwrap_or(usize::MAX);
        self.entries.truncate(self.entries.len().saturating_sub(void));
        self.meta.last = last;
    }
}

impl StateMachine<RaftLog> for State {
    type Error = String;

    fn apply(&mut self, record: &WalRecord<RaftLog>, _: ChunkId, place: Segment) -> Result<(), String> {
        match record {
            WalRecord::Checkpoint(meta) => self.meta = meta.clone(),
            WalRecord::Action(Action::Entry(entry)) => {
                if entry.index < self.first() || entry.index > self.meta.last.saturating_add(1) {
                    return Err(format!("entry {} after {}: a hole", entry.index, self.meta.last));
                }
                self.end_at(entry.index - 1);
                self.entries.push_back((place, entry.term));
                self.meta.last = entry.index;
            }
            WalRecord::Action(Action::HardState(state)) => self.meta.hard_state = state.clone(),
            WalRecord::Action(Action::ConfState(state)) => self.meta.conf_state = state.clone(),
            WalRecord::Action(Action::Compact { index, term }) => {
                if *index < self.meta.compacted.0 || *index == u64::MAX {
                    return Err(format!("compaction up to {index} after {:?}", self.meta.compacted));
                }
                self.meta.compacted = (*index, *term);
                self.meta.last = self.meta.last.max(*index);
                let left = usize::try_from(self.meta.last - index).unwrap_or(usize::MAX);
                self.entries.drain(..self.entries.len().saturating_sub(left));
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> Meta {
        self.meta.clone()
    }
}

/// A raft log. raft-rs's `RawNode` owns it, and reads it.
#[derive(Debug)]
pub struct LogStore {
    wal: ChunkedWal<RaftLog>,
    state: State,
}

impl LogStore {
    /// Opens the log, or makes it; `voters` are the members of a new one.
    ///
    /// # Errors
    ///
    /// The log's errors; an [`Error::Io`] if the first of its entries are gone.
    pub fn open(options: OpenOptions<RaftLog>, voters: &[u64]) -> Result<Self, Error> {
        let mut state = State::default();
        let wal = options.open(&mut state)?;
        let mut store = LogStore { wal, state };
        if store.state.entries.len() as u64
            != store.state.meta.last.saturating_sub(store.state.meta.compacted.0)
        {
            let source = io::Error::new(io::ErrorKind::NotFound, "the oldest entries are gone").into();
            return Err(Error::Io { op: "open the raft log in", path: "".into(), source });
        }
        if store.state.meta == Meta::default() {
            store.record(Action::ConfState(ConfState { voters: voters.to_vec(), ..ConfState::default() }))?;
            store.wal.sync()?;
        }
        Ok(store)
    }

    fn record(&mut self, action: Action) -> Result<(), Error> {
        // Only entries are refused: raft can't go on without the other records, and a compaction gives space back.
        self.wal.ignore_budget(!matches!(action, Action::Entry(_)));
        self.wal.append_and_apply(action, &mut self.state).map(drop)
    }

    /// Stores the records of a ready; raft can read them from now on. `persisted` is called when they
    /// are durable.
    ///
    /// # Errors
    ///
    /// The log's errors. `persisted` has been called with the error then.
    pub fn append(
        &mut self,
        entries: Vec<Entry>,
        hard_state: Option<&HardState>,
        persisted: ReadyPersisted,
    ) -> Result<(), Error> {
        let actions = entries.into_iter().map(Action::Entry);
        for action in actions.chain(hard_state.cloned().map(Action::HardState)) {
            if let Err(error) = self.record(action) {
                chunked_wal::Callback::complete(persisted, Err(error.clone()));
                return Err(error);
            }
        }
        self.wal.flush(Flush::Sync, Some(persisted))
    }

    /// Gives up entries up to `index`, which are in a snapshot, and removes chunks that have no others.
    ///
    /// # Errors
    ///
    /// The log's errors.
    pub fn compact(&mut self, index: u64) -> Result<(), Error> {
        let Some((_, term)) = self.state.entry(index) else { return Ok(()) };
        self.record(Action::Compact { index, term })?;
        let oldest = self.state.entries.front().map_or(u64::MAX, |(place, _)| place.offset);
        let mut ends: VecDeque<u64> =
            self.wal.closed_chunk_stats().iter().map(|stat| stat.global_end).collect();
        let dead = self.wal.drain_closed_chunks_while(|_| ends.pop_front().is_some_and(|end| end <= oldest));
        self.wal.remove_chunks(dead)
    }

    /// Returns the log below.
    pub fn wal(&self) -> &ChunkedWal<RaftLog> {
        &self.wal
    }
}

impl ReadyStore for LogStore {
    fn append(
        &mut self,
        snapshot: &Snapshot,
        entries: Vec<Entry>,
        hard_state: Option<&HardState>,
        persisted: ReadyPersisted,
    ) -> raft::Result<()> {
        if !snapshot.is_empty() {
            // None comes from a member that has such a store.
            return Err(other("this store holds no snapshots"));
        }
        LogStore::append(self, entries, hard_state, persisted).map_err(other)
    }

    fn last_snapshot(&self) -> raft::Result<Option<Snapshot>> {
        Ok(None)
    }
}

impl Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.state.meta.hard_state.clone(), self.state.meta.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.state.first() {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let max_size = max_size.into();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for index in low..high {
            let (place, _) = self.state.entry(index).ok_or(raft::Error::Store(StorageError::Unavailable))?;
            bytes += place.size;
            if max_size.is_some_and(|max| bytes > max) && !entries.is_empty() {
                break;
            }
            match self.wal.read_record(place).map_err(other)? {
                WalRecord::Action(Action::Entry(entry)) => entries.push(entry),
                _ => return Err(raft::Error::Store(StorageError::Unavailable)),
            }
        }
        limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let (compacted, term) = self.state.meta.compacted;
        match self.state.entry(index) {
            _ if index == compacted => Ok(term),
            Some((_, term)) => Ok(term),
            None if index < compacted => Err(raft::Error::Store(StorageError::Compacted)),
            None => Err(raft::Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.state.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.state.meta.last)
    }

    fn snapshot(&self, _: u64, _: u64) -> raft::Result<Snapshot> {
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
