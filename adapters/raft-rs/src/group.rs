//! [`GroupStore`]: raft-rs's `Storage` on one of the groups of a `GroupLog`.
//!
//! ```text
//! raft group g ─┬─► group 2g      entries, and as its state hard state, conf state, compaction point
//!               └─► group 2g + 1  no entries; its state is the snapshot, which is not written with each hard state
//! ```
//!
//! - A snapshot, the purge of the entries in it, and the new compaction point are one batch.
//! - Terms are in memory, one for each run of entries with the same term, because raft asks for them all the time.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::{fmt, io};

use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::{Callback, CallbackFn};
use chunked_wal_groups::{Error, GroupBatch, GroupLog, LogEntry};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::util::limit_size;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::ready::{ReadyPersisted, ReadyStore, other};
use crate::record::{decode_message, encode_message};

/// The log of all groups.
pub type Groups = GroupLog<GroupEntry>;

/// raft-rs's entry, as an entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupEntry(pub Entry);

impl LogEntry for GroupEntry {
    type State = GroupState;

    fn index(&self) -> u64 {
        self.0.index
    }
}

impl Encode for GroupEntry {
    fn encode<W: Write>(&self, w: W) -> io::Result<usize> {
        encode_message(&self.0, w)
    }
}

impl Decode for GroupEntry {
    fn decode<R: Read>(r: R) -> io::Result<Self> {
        decode_message(r).map(GroupEntry)
    }
}

/// The state of a group of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupState {
    /// Beside the entries.
    Meta(GroupMeta),
    /// In a group of its own.
    Snapshot(Snapshot),
}

/// Raft's state without entries and snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupMeta {
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// The members.
    pub conf_state: ConfState,
    /// Index and term of the last entry in the snapshot; (0, 0) before there is one.
    pub compacted: (u64, u64),
}

impl Encode for GroupState {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        match self {
            GroupState::Meta(meta) => {
                let numbers = (1_u8, meta.compacted).encode(&mut w)?;
                let hard_state = encode_message(&meta.hard_state, &mut w)?;
                Ok(numbers + hard_state + encode_message(&meta.conf_state, w)?)
            }
            GroupState::Snapshot(snapshot) => Ok(2_u8.encode(&mut w)? + encode_message(snapshot, w)?),
        }
    }
}

impl Decode for GroupState {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        match u8::decode(&mut r)? {
            1 => {
                let compacted = Decode::decode(&mut r)?;
                let (hard_state, conf_state) = (decode_message(&mut r)?, decode_message(r)?);
                Ok(GroupState::Meta(GroupMeta { hard_state, conf_state, compacted }))
            }
            2 => Ok(GroupState::Snapshot(decode_message(r)?)),
            tag => Err(io::Error::new(io::ErrorKind::InvalidData, format!("no state {tag}"))),
        }
    }
}

/// The term of each entry.
#[derive(Debug, Clone, Default)]
struct Terms {
    /// The first index of each run of entries with the same term, and that term. The run of the compacted entry is
    /// there too.
    runs: BTreeMap<u64, u64>,
}

impl Terms {
    fn at(&self, index: u64) -> Option<u64> {
        self.runs.range(..=index).next_back().map(|(_, term)| *term)
    }

    fn push(&mut self, index: u64, term: u64) {
        self.runs.split_off(&index);
        if self.at(index) != Some(term) {
            self.runs.insert(index, term);
        }
    }

    /// Entries before `index` are gone.
    fn compact(&mut self, index: u64, term: u64) {
        self.runs = self.runs.split_off(&index);
        self.runs.insert(index, term);
    }
}

/// The raft log of one group. raft-rs's `RawNode` owns it, and reads it.
pub struct GroupStore {
    log: Groups,
    group: u64,
    meta: GroupMeta,
    terms: Terms,
    on_persisted: Arc<dyn Fn() + Send + Sync>,
}

impl GroupStore {
    /// Opens a group, or makes it; `voters` are the members of a new one. Reads all entries, for their terms.
    ///
    /// # Errors
    ///
    /// The log's errors.
    pub fn open(log: &Groups, group: u64, voters: &[u64]) -> Result<Self, Error> {
        let conf_state = ConfState { voters: voters.to_vec(), ..ConfState::default() };
        let meta = match log.state(2 * group)? {
            Some(GroupState::Meta(meta)) => meta,
            _ => GroupMeta { conf_state, ..GroupMeta::default() },
        };
        let mut terms = Terms::default();
        terms.push(meta.compacted.0, meta.compacted.1);
        let bounds = log.bounds(2 * group).unwrap_or(1..1);
        for GroupEntry(entry) in log.entries(2 * group, bounds, u64::MAX)? {
            terms.push(entry.index, entry.term);
        }
        Ok(GroupStore { log: log.clone(), group: 2 * group, meta, terms, on_persisted: Arc::new(|| ()) })
    }

    /// Calls `hook` on the log's thread after each [`ReadyPersisted`], so that the thread that runs the group's member
    /// is woken.
    pub fn on_persisted(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_persisted = Arc::new(hook);
        self
    }

    /// Returns the log of all groups.
    pub fn log(&self) -> &Groups {
        &self.log
    }

    /// Saves the snapshot of what is applied up to `index`, and gives up the entries in it. The next sync of any group
    /// makes that durable.
    ///
    /// # Errors
    ///
    /// Those of [`Storage::term`]; the log's errors.
    pub fn save_snapshot(&mut self, index: u64, data: Vec<u8>) -> raft::Result<()> {
        let mut snapshot = Snapshot { data: data.into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (index, self.term(index)?);
        metadata.set_conf_state(self.meta.conf_state.clone());
        self.commit(&snapshot, Vec::new(), None, |batch| batch.write()).map_err(other)
    }

    /// Commits all of it in one batch, and then changes what is in memory.
    fn commit(
        &mut self,
        snapshot: &Snapshot,
        entries: Vec<Entry>,
        hard_state: Option<&HardState>,
        commit: impl FnOnce(GroupBatch<'_, GroupEntry>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut batch = self.log.batch();
        let (mut meta, mut terms) = (self.meta.clone(), self.terms.clone());
        if !snapshot.is_empty() {
            let metadata = snapshot.get_metadata();
            if self.term(metadata.index).ok() != Some(metadata.term) {
                // Of another member: the entries here may be no part of the committed log.
                batch.truncate_from(self.group, self.meta.compacted.0 + 1);
                terms = Terms::default();
            }
            batch.set_state(self.group + 1, &GroupState::Snapshot(snapshot.clone()))?;
            batch.purge(self.group, metadata.index)?;
            meta.conf_state = metadata.get_conf_state().clone();
            meta.compacted = (metadata.index, metadata.term);
            terms.compact(metadata.index, metadata.term);
        }
        if let Some(first) = entries.first() {
            batch.truncate_from(self.group, first.index);
        }
        entries.iter().for_each(|entry| terms.push(entry.index, entry.term));
        batch.append(self.group, entries.into_iter().map(GroupEntry).collect::<Vec<_>>().iter())?;
        if let Some(hard_state) = hard_state {
            meta.hard_state = hard_state.clone();
        }
        if meta != self.meta {
            batch.set_state(self.group, &GroupState::Meta(meta.clone()))?;
        }
        commit(batch)?;
        (self.meta, self.terms) = (meta, terms);
        Ok(())
    }
}

impl ReadyStore for GroupStore {
    fn append(
        &mut self,
        snapshot: &Snapshot,
        entries: Vec<Entry>,
        hard_state: Option<&HardState>,
        persisted: ReadyPersisted,
    ) -> raft::Result<()> {
        let hook = self.on_persisted.clone();
        let persisted = CallbackFn(move |result| {
            persisted.complete(result);
            hook();
        });
        self.commit(snapshot, entries, hard_state, |batch| batch.commit(persisted)).map_err(other)
    }

    fn last_snapshot(&self) -> raft::Result<Option<Snapshot>> {
        match self.log.state(self.group + 1).map_err(other)? {
            Some(GroupState::Snapshot(snapshot)) => Ok(Some(snapshot)),
            _ => Ok(None),
        }
    }
}

impl Storage for GroupStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.meta.hard_state.clone(), self.meta.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let max_size = max_size.into();
        let entries = match self.log.entries(self.group, low..high, max_size.unwrap_or(u64::MAX)) {
            Ok(entries) => entries,
            Err(Error::Purged { .. }) => return Err(raft::Error::Store(StorageError::Compacted)),
            Err(error) => return Err(other(error)),
        };
        if entries.is_empty() && low < high {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let mut entries = entries.into_iter().map(|entry| entry.0).collect();
        limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.meta.compacted.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let term = self.terms.at(index).filter(|_| index < self.log.bounds(self.group).map_or(1, |b| b.end));
        term.ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.meta.compacted.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.bounds(self.group).map_or(0, |bounds| bounds.end - 1))
    }

    fn snapshot(&self, request_index: u64, _: u64) -> raft::Result<Snapshot> {
        let snapshot =
            self.last_snapshot()?.filter(|snapshot| snapshot.get_metadata().index >= request_index);
        snapshot.ok_or(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

impl fmt::Debug for GroupStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupStore")
            .field("group", &(self.group / 2))
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}
