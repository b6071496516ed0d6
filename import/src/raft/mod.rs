//! raft-log's records as those of the adapters for openraft.
//!
//! ```text
//! raft-log                              the adapters' log
//! SaveVote(vote)                        1 | vote
//! Commit(log id)                        2 | log id
//! Append(log id, entry)                 3 | entry
//! TruncateAfter(log id)                 4 | [index after it, log id]
//! PurgeUpto(log id)                     5 | log id
//! state, at a chunk's start             vote, committed, purged, last, first, user data; index of the chunk before it
//! state, elsewhere                      what makes the one state the other: 6 | user data, or those above
//! ```
//!
//! The right side is MessagePack with the names of fields, except the index. The bytes of votes, log ids and entries are
//! those that [`OpenraftTypes`] returns; user data are the bytes that their codec wrote.

mod log_wal;
mod state;

use std::collections::VecDeque;
use std::{fmt, io};

use chunked_wal::codeq::Encode;
use chunked_wal::raw::{Payload, Raw};
use chunked_wal::{ChunkId, Segment, WalRecord};
use chunked_wal_02::{WALRecord as OldRecord, WalTypes as OldTypes};
use chunked_wal_raft::{Change, Indexer};
use raft_log::{RaftLogAction, RaftWalTypes};
use serde_json::{Map, Value};

use self::state::State;
use crate::convert::{Convert, OldFormat};
use crate::error::BoxError;
use crate::msgpack::{bin, map, nil, push_uint, uint};

pub use self::log_wal::{LogId, LogWal, Vote};

/// What raft-log's state is in the log: its checkpoint.
type OldState<T> = <RaftWalTypes<T> as OldTypes>::Checkpoint;

// The tags of the adapters' actions.
const VOTE: u8 = 1;
const COMMITTED: u8 = 2;
const ENTRY: u8 = 3;
const TRUNCATE: u8 = 4;
const PURGE: u8 = 5;
const USER_DATA: u8 = 6;

/// Types of raft-log that have the contents of openraft's types.
///
/// Each function returns a value in MessagePack with the names of fields, as
/// [`rmp_serde::to_vec_named`](https://docs.rs/rmp-serde/latest/rmp_serde/fn.to_vec_named.html) writes it.
pub trait OpenraftTypes: raft_log::Types {
    /// The types in words, as in "a log, but not of …".
    const IN_WORDS: &'static str;

    /// Returns openraft's `LogId`.
    ///
    /// # Errors
    ///
    /// Any, if there is no such value; it stops the import.
    fn log_id(log_id: &Self::LogId) -> io::Result<Vec<u8>>;

    /// Returns openraft's `Vote`.
    ///
    /// # Errors
    ///
    /// As [`log_id`](Self::log_id).
    fn vote(vote: &Self::Vote) -> io::Result<Vec<u8>>;

    /// Returns openraft's `Entry`, with its log id and payload.
    ///
    /// # Errors
    ///
    /// As [`log_id`](Self::log_id).
    fn entry(log_id: &Self::LogId, payload: &Self::LogPayload) -> io::Result<Vec<u8>>;
}

/// Converts a raft-log into a log that the adapters for openraft open.
///
/// ```no_run
/// use chunked_wal_import::{Import, LogWal, ToOpenraft};
///
/// let report = Import::new("raft.old", "raft").run(ToOpenraft::<LogWal>::new)?;
/// println!("{report}");
/// # Ok::<(), chunked_wal_import::Error>(())
/// ```
///
/// raft-log's user data become those of the new log, as the bytes that their codec wrote.
pub struct ToOpenraft<T: OpenraftTypes> {
    state: State<T>,
    counts: Counts,
    /// What the new records do whose places are not known yet.
    unplaced: VecDeque<Change>,
    indexer: Indexer,
}

/// How many records of each kind there were.
#[derive(Debug, Default)]
struct Counts {
    votes: u64,
    entries: u64,
    commits: u64,
    truncations: u64,
    purges: u64,
    states: u64,
}

impl<T: OpenraftTypes> ToOpenraft<T> {
    /// Makes the converter.
    pub fn new() -> Self {
        ToOpenraft {
            state: State::default(),
            counts: Counts::default(),
            unplaced: VecDeque::new(),
            indexer: Indexer::default(),
        }
    }

    fn push(&mut self, tag: u8, value: Vec<u8>, change: Change, new: &mut Vec<WalRecord<Raw>>) {
        let mut payload = value;
        payload.insert(0, tag);
        new.push(WalRecord::Action(Payload(payload)));
        self.unplaced.push_back(change);
    }

    fn action(&mut self, action: RaftLogAction<T>, new: &mut Vec<WalRecord<Raw>>) -> Result<(), BoxError> {
        match action {
            RaftLogAction::SaveVote(vote) => {
                self.counts.votes += 1;
                self.vote(vote, new)?;
            }
            RaftLogAction::Append(log_id, payload) => {
                self.counts.entries += 1;
                let entry = T::entry(&log_id, &payload)?;
                self.push(ENTRY, entry, Change::Entry(T::log_index(&log_id)), new);
                self.state.append(log_id)?;
            }
            RaftLogAction::Commit(log_id) => {
                self.counts.commits += 1;
                self.commit(Some(log_id), new)?;
            }
            RaftLogAction::TruncateAfter(left) => {
                self.counts.truncations += 1;
                self.truncate_after(left, new)?;
            }
            RaftLogAction::PurgeUpto(log_id) => {
                self.counts.purges += 1;
                self.purge(log_id, new)?;
            }
        }
        Ok(())
    }

    fn vote(&mut self, vote: T::Vote, new: &mut Vec<WalRecord<Raw>>) -> Result<(), BoxError> {
        self.push(VOTE, T::vote(&vote)?, Change::Nothing, new);
        self.state.vote = Some(vote);
        Ok(())
    }

    fn commit(&mut self, committed: Option<T::LogId>, new: &mut Vec<WalRecord<Raw>>) -> Result<(), BoxError> {
        self.push(COMMITTED, optional::<T>(committed.as_ref())?, Change::Nothing, new);
        self.state.committed = committed;
        Ok(())
    }

    fn truncate_after(
        &mut self,
        left: Option<T::LogId>,
        new: &mut Vec<WalRecord<Raw>>,
    ) -> Result<(), BoxError> {
        // raft-log accepts a truncation beyond the last entry, and does nothing.
        if let Some(since) = self.state.truncate_after(left.clone())? {
            self.void_from(since, left, new)?;
        }
        Ok(())
    }

    /// Voids the entries from the index `since` on; `left` is the last one before them.
    fn void_from(
        &mut self,
        since: u64,
        left: Option<T::LogId>,
        new: &mut Vec<WalRecord<Raw>>,
    ) -> io::Result<()> {
        let mut pair = vec![0x92];
        push_uint(&mut pair, since);
        pair.extend(optional::<T>(left.as_ref())?);
        self.push(TRUNCATE, pair, Change::Truncate(since), new);
        Ok(())
    }

    fn purge(&mut self, upto: T::LogId, new: &mut Vec<WalRecord<Raw>>) -> Result<(), BoxError> {
        // A snapshot of a later leader replaces entries of an earlier one.
        if self.state.is_voided_by_purge(&upto) {
            self.void_from(self.state.first, self.state.purged.clone(), new)?;
            self.state.void_all();
        }
        self.push(PURGE, T::log_id(&upto)?, Change::Purge(T::log_index(&upto)), new);
        self.state.purge(upto)?;
        Ok(())
    }

    /// A state in mid-chunk: of new user data, or after the installation of a snapshot.
    fn become_state(&mut self, state: &OldState<T>, new: &mut Vec<WalRecord<Raw>>) -> Result<(), BoxError> {
        self.counts.states += 1;
        if let Some(vote) = state.vote().filter(|vote| self.state.vote.as_ref() != Some(*vote)) {
            self.vote(vote.clone(), new)?;
        }
        if let Some(purged) = state.purged().filter(|purged| self.state.purged.as_ref() != Some(*purged)) {
            self.purge(purged.clone(), new)?;
        }
        if self.state.committed.as_ref() != state.committed() {
            self.commit(state.committed().cloned(), new)?;
        }
        if self.state.user_data != state.user_data {
            self.state.user_data = state.user_data.clone();
            self.push(USER_DATA, self.user_data()?.unwrap_or_else(nil), Change::Nothing, new);
        }
        Ok(self.state.must_be(state)?)
    }

    /// The user data in MessagePack, if there are some.
    fn user_data(&self) -> io::Result<Option<Vec<u8>>> {
        let Some(user_data) = &self.state.user_data else { return Ok(None) };
        let mut bytes = Vec::new();
        user_data.encode(&mut bytes)?;
        Ok(Some(bin(&bytes)))
    }

    /// The adapters' checkpoint: the state, and the index of the chunk before it.
    fn new_checkpoint(&self) -> io::Result<Payload> {
        let mut payload = self.meta()?;
        self.indexer.write(&mut payload)?;
        Ok(Payload(payload))
    }

    fn meta(&self) -> io::Result<Vec<u8>> {
        let State { vote, committed, purged, last, first, .. } = &self.state;
        let vote = match vote {
            Some(vote) => T::vote(vote)?,
            None => nil(),
        };
        let committed = optional::<T>(committed.as_ref())?;
        let (purged, last) = (optional::<T>(purged.as_ref())?, optional::<T>(last.as_ref())?);
        let mut fields = vec![
            ("vote", vote),
            ("committed", committed),
            ("purged", purged),
            ("last", last),
            ("first", uint(*first)),
        ];
        fields.extend(self.user_data()?.map(|user_data| ("user_data", user_data)));
        Ok(map(fields))
    }
}

impl<T: OpenraftTypes> Default for ToOpenraft<T> {
    fn default() -> Self {
        ToOpenraft::new()
    }
}

impl<T: OpenraftTypes> fmt::Debug for ToOpenraft<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToOpenraft").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<T: OpenraftTypes> Convert for ToOpenraft<T> {
    type Old = RaftWalTypes<T>;
    type New = Raw;

    fn checkpoint(&mut self, old: OldState<T>, _: &[u8]) -> Result<Payload, BoxError> {
        if self.state.is_started {
            self.state.must_be(&old)?;
        } else {
            self.state = State::started(&old);
        }
        Ok(self.new_checkpoint()?)
    }

    fn record(
        &mut self,
        old: OldRecord<RaftWalTypes<T>>,
        _: &[u8],
        new: &mut Vec<WalRecord<Raw>>,
    ) -> Result<(), BoxError> {
        match old {
            OldRecord::Action(action) => self.action(action, new),
            OldRecord::Checkpoint(state) => self.become_state(&state, new),
        }
    }

    fn placed(&mut self, chunk_id: ChunkId, place: Segment) {
        if let Some(change) = self.unplaced.pop_front() {
            self.indexer.apply(change, chunk_id, place);
        }
    }

    fn finish(&mut self) -> Result<(), BoxError> {
        Ok(self.state.must_be_complete()?)
    }

    fn notes(&self) -> Map<String, Value> {
        let Counts { votes, entries, commits, truncations, purges, states } = &self.counts;
        let counts = [
            ("votes", votes),
            ("entries", entries),
            ("commits", commits),
            ("truncations", truncations),
            ("purges", purges),
            ("states", states),
        ];
        let mut notes: Map<_, _> =
            counts.into_iter().map(|(name, count)| (name.into(), (*count).into())).collect();
        let indexes = self.state.indexes();
        if !indexes.is_empty() {
            notes.insert("first_index".into(), indexes.start.into());
            notes.insert("last_index".into(), (indexes.end - 1).into());
        }
        notes
    }

    fn old_format(&self) -> OldFormat {
        // raft-log's actions have the types 0 to 4.
        OldFormat { types: T::IN_WORDS, checksummed: 0..=5 }
    }
}

fn optional<T: OpenraftTypes>(log_id: Option<&T::LogId>) -> io::Result<Vec<u8>> {
    log_id.map_or_else(|| Ok(nil()), T::log_id)
}
