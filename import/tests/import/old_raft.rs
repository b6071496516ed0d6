//! A raft-log with openraft 0.10's types in MessagePack, as openraft's example log-wal uses it.

use std::collections::BTreeMap;
use std::io;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use chunked_wal_import::raft_log;
use codeq::{Decode, Encode};
use openraft_0_10::impls::leader_id_adv::LeaderId;
use openraft_0_10::{BasicNode, EntryPayload, Membership};
use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::{Config, RaftLog, Types};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::once_unlocked;

pub(crate) type OldLogId = openraft_0_10::LogId<LeaderId<u64, u64>>;
pub(crate) type OldVote = openraft_0_10::Vote<LeaderId<u64, u64>>;
pub(crate) type OldPayload = EntryPayload<String, u64, BasicNode>;
pub(crate) type OldEntry = openraft_0_10::Entry<LeaderId<u64, u64>, OldPayload>;

/// A value in MessagePack with names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named<T>(pub(crate) T);

impl<T: Serialize> Encode for Named<T> {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        let bytes = rmp_serde::to_vec_named(&self.0).map_err(io::Error::other)?;
        writer.write_all(&bytes)?;
        Ok(bytes.len())
    }
}

impl<T: DeserializeOwned> Decode for Named<T> {
    fn decode<R: Read>(reader: R) -> io::Result<Self> {
        use rmp_serde::decode::Error;
        rmp_serde::from_read(reader).map(Named).map_err(|error| match error {
            Error::InvalidMarkerRead(error) | Error::InvalidDataRead(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Example;

impl Types for Example {
    type LogId = Named<OldLogId>;
    type LogPayload = Named<OldEntry>;
    type Vote = Named<OldVote>;
    type Callback = SyncSender<io::Result<()>>;
    type UserData = Named<LeaderId<u64, u64>>;

    fn log_index(log_id: &Self::LogId) -> u64 {
        log_id.0.index
    }

    fn payload_size(_: &Self::LogPayload) -> u64 {
        100
    }
}

pub(crate) fn leader(term: u64) -> LeaderId<u64, u64> {
    LeaderId { term, node_id: 2 }
}

pub(crate) fn log_id(term: u64, index: u64) -> OldLogId {
    OldLogId { leader_id: leader(term), index }
}

pub(crate) fn text(term: u64, index: u64) -> OldPayload {
    EntryPayload::Normal(format!("entry {index} of term {term}"))
}

fn members() -> OldPayload {
    let nodes: BTreeMap<u64, BasicNode> =
        (1..4).map(|id| (id, BasicNode::new(format!("node-{id}:80")))).collect();
    EntryPayload::Membership(Membership::new(vec![(1..4).collect()], nodes).unwrap())
}

/// A raft-log that is written to.
pub(crate) struct OldLog(pub(crate) RaftLog<Example>);

impl OldLog {
    /// Opens a log whose chunks have a few records.
    pub(crate) fn open(dir: &Path, records_in_a_chunk: usize) -> Self {
        let mut config = Config::new(dir.display());
        config.wal.chunk_max_records = Some(records_in_a_chunk);
        let config = Arc::new(config);
        OldLog(once_unlocked(|| RaftLog::open(config.clone())))
    }

    pub(crate) fn vote(&mut self, term: u64) {
        let vote = OldVote { leader_id: leader(term), committed: term.is_multiple_of(2) };
        self.0.save_vote(Named(vote)).unwrap();
    }

    pub(crate) fn append(&mut self, term: u64, index: u64, payload: OldPayload) {
        let log_id = log_id(term, index);
        self.0.append([(Named(log_id), Named(OldEntry { log_id, payload }))]).unwrap();
    }

    pub(crate) fn append_texts(&mut self, term: u64, indexes: std::ops::Range<u64>) {
        indexes.for_each(|index| self.append(term, index, text(term, index)));
    }

    pub(crate) fn commit(&mut self, term: u64, index: u64) {
        self.0.commit(Named(log_id(term, index))).unwrap();
    }

    /// Saves a leader's id as the user data.
    pub(crate) fn save_user_data(&mut self, term: Option<u64>) {
        self.0.save_user_data(term.map(|term| Named(leader(term)))).unwrap();
    }

    pub(crate) fn purge(&mut self, term: u64, index: u64) {
        self.0.purge(Named(log_id(term, index))).unwrap();
        self.sync();
    }

    pub(crate) fn sync(&mut self) {
        let (sender, receiver) = sync_channel(1);
        self.0.flush(true, Some(sender)).unwrap();
        receiver.recv().unwrap().unwrap();
    }
}

/// Writes a log with records of every kind, over several chunks: some removed by a purge, entries voided, reopened.
pub(crate) fn write_all_kinds(dir: &Path) {
    let mut log = OldLog::open(dir, 6);
    log.vote(1);
    log.append(1, 0, members());
    log.append(1, 1, EntryPayload::Blank);
    log.append_texts(1, 2..20);
    log.commit(1, 9);
    log.sync();
    log.0.truncate(15).unwrap();
    log.vote(4);
    log.append_texts(4, 15..30);
    log.commit(4, 20);
    log.purge(1, 11);
    drop(log);
    let mut log = OldLog::open(dir, 6);
    log.append(4, 30, members());
    log.append_texts(4, 31..35);
    log.commit(4, 33);
    log.sync();
}

/// All that raft sees of a log.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) vote: String,
    pub(crate) committed: String,
    pub(crate) purged: String,
    pub(crate) last: String,
    pub(crate) user_data: Option<Vec<u8>>,
    pub(crate) entries: Vec<String>,
}

/// A value as JSON: openraft's two versions have different types, of the same shape.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// What raft sees of an old log; opens it, which may change it.
pub(crate) fn seen(dir: &Path) -> Seen {
    let log = OldLog::open(dir, 1_000).0;
    let entries = log.read(0, u64::MAX).map(|entry| json(&entry.unwrap().1.0)).collect();
    let state = log.log_state();
    let of = |log_id: Option<&Named<OldLogId>>| json(&log_id.map(|log_id| &log_id.0));
    Seen {
        vote: json(&state.vote().map(|vote| &vote.0)),
        committed: of(state.committed()),
        purged: of(state.purged()),
        last: of(state.last()),
        user_data: state.user_data.as_ref().map(|data| rmp_serde::to_vec_named(&data.0).unwrap()),
        entries,
    }
}
