//! What a raft log holds, in the simplest words there are; and the records that lead there.

use std::collections::BTreeMap;

use openraft::storage::RaftLogStorage;
use openraft::{EntryPayload, RaftLogReader};

use crate::common::{LogId, Store, Vote, log_id};

/// All that can be read from a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    pub(crate) entries: BTreeMap<u64, (u64, String)>,
}

impl Model {
    /// What a store says. That indexes have no hole is part of it.
    pub(crate) async fn of(store: &mut Store) -> Result<Self, String> {
        let state = store.get_log_state().await.map_err(|e| e.to_string())?;
        let read = store.try_get_log_entries(0..).await.map_err(|e| e.to_string())?;
        let mut entries = BTreeMap::new();
        for entry in read {
            let index = entry.log_id.index;
            if entries.last_key_value().is_some_and(|(last, _)| last + 1 != index) {
                return Err(format!("entry {index} stands behind a hole"));
            }
            let EntryPayload::Normal(text) = entry.payload else { return Err("not a text".into()) };
            entries.insert(index, (entry.log_id.leader_id.term, text));
        }
        Ok(Model {
            vote: store.read_vote().await.map_err(|e| e.to_string())?,
            committed: store.read_committed().await.map_err(|e| e.to_string())?,
            purged: state.last_purged_log_id,
            last: state.last_log_id,
            entries,
        })
    }

    pub(crate) fn next(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }

    pub(crate) fn push(&mut self, term: u64, text: &str) {
        let index = self.next();
        self.entries.insert(index, (term, text.to_string()));
        self.last = Some(log_id(term, index));
    }

    pub(crate) fn truncate(&mut self, since: u64) {
        self.entries.retain(|index, _| *index < since);
        let last = self.entries.last_key_value();
        self.last = last.map(|(index, (term, _))| log_id(*term, *index)).or(self.purged);
    }

    pub(crate) fn purge(&mut self, upto: LogId) {
        self.entries.retain(|index, _| *index > upto.index);
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }
}
