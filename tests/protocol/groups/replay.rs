//! Takes what is seen of a log for a way through the model, and rejects the first thing that no step explains.

use std::collections::{BTreeMap, VecDeque};

use chunked_wal_protocol::explore::Model;
use chunked_wal_protocol::groups::{Bounds, Change, Record, State};

use crate::look::{Look, Seen};

/// Why something is rejected.
pub(crate) type Rejected = String;

/// A commit that the program has made.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) changes: Vec<(usize, Change)>,
    pub(crate) id: usize,
}

/// Replays a run.
pub(crate) struct Replay {
    pub(crate) state: State,
    /// Where each record ends, by its place from 1, and the chunks by their numbers from 1.
    ends: Vec<u64>,
    chunks: Vec<u64>,
    /// Commits that haven't been seen in the log yet.
    pub(crate) commits: VecDeque<Commit>,
    pub(crate) actions: BTreeMap<&'static str, usize>,
}

impl Replay {
    pub(crate) fn new(groups: usize, indexes: usize) -> Self {
        Replay {
            state: State::new(groups, indexes),
            ends: Vec::new(),
            chunks: Vec::new(),
            commits: VecDeque::new(),
            actions: BTreeMap::new(),
        }
    }

    /// Takes a step of the model, and looks whether the promises hold after it.
    fn step(&mut self, action: &'static str, next: Option<State>) -> Result<(), Rejected> {
        let next = next.ok_or_else(|| format!("{action} is no step from {:?}", self.state))?;
        *self.actions.entry(action).or_default() += 1;
        self.state = next;
        match Bounds::broken(&self.state) {
            Some(promise) => Err(format!("{action} breaks {promise}: {:?}", self.state)),
            None => Ok(()),
        }
    }

    /// The log has these records now, and they are durable up to this offset.
    pub(crate) fn look(&mut self, look: &Look, synced: u64) -> Result<(), Rejected> {
        let known = self.ends.last().copied().unwrap_or(0);
        let new: Vec<Seen> = look.records.iter().copied().filter(|seen| seen.at.offset >= known).collect();
        let mut left = &new[..];
        self.let_go(look.oldest)?;
        while !left.is_empty() {
            let count = self.appended(left)?;
            left = &left[count..];
            self.let_go(look.oldest)?;
        }
        self.all_let_go(look.oldest)?;
        self.synced(self.ends.partition_point(|end| *end <= synced))
    }

    fn synced(&mut self, upto: usize) -> Result<(), Rejected> {
        if upto > self.state.durable {
            self.step("Sync", self.state.clone().sync(upto))?;
        }
        Ok(())
    }

    /// Explains the next records, by a commit or by the thread that reclaims space; returns how many.
    fn appended(&mut self, new: &[Seen]) -> Result<usize, Rejected> {
        let chunk = self.chunk(new[0].chunk);
        if let Some(Commit { changes, id }) = self.commits.front() {
            let next = self.state.clone().commit(changes, *id, chunk);
            let count = next.as_ref().map_or(0, |next| next.records.len() - self.state.records.len());
            if next.as_ref().is_some_and(|next| self.is_seen(next, new)) {
                let action = if changes.len() == 1 { "Commit" } else { "CommitBatch" };
                self.commits.pop_front();
                self.note(&new[..count]);
                self.step(action, next)?;
                return Ok(count);
            }
        }
        // The thread is at a later chunk, and the oldest one is still there until its removal is done.
        while self.state.clone().read_alive().is_none()
            && let Some(next) = self.state.clone().let_go()
        {
            self.step("LetGo", Some(next))?;
        }
        self.step("ReadAlive", self.state.clone().read_alive())
            .map_err(|why| format!("{:?}: {why}", new[0]))?;
        let next = self.state.clone().move_alive(chunk);
        if !next.as_ref().is_some_and(|next| self.is_seen(next, new)) {
            let next = next.and_then(|next| next.records.last().copied());
            return Err(format!("{:?} is neither of {:?} nor {next:?}", new[0], self.commits.front()));
        }
        self.note(&new[..1]);
        self.step("MoveAlive", next)?;
        Ok(1)
    }

    /// Whether the records that the model has appended are the next ones that were seen.
    fn is_seen(&self, next: &State, seen: &[Seen]) -> bool {
        let appended = &next.records[self.state.records.len()..];
        let is_same = |(record, seen): (&Record, &Seen)| {
            (record.group, record.kind, self.chunks[record.chunk - 1]) == (seen.group, seen.kind, seen.chunk)
        };
        !appended.is_empty() && appended.len() <= seen.len() && appended.iter().zip(seen).all(is_same)
    }

    fn note(&mut self, seen: &[Seen]) {
        self.ends.extend(seen.iter().map(|seen| seen.at.offset + seen.at.size));
    }

    fn chunk(&mut self, id: u64) -> usize {
        if self.chunks.last().is_none_or(|last| *last < id) {
            self.chunks.push(id);
        }
        self.chunks.len()
    }

    /// Lets the chunks before the oldest one go, as far as nothing in them is alive yet.
    fn let_go(&mut self, oldest: Option<u64>) -> Result<(), Rejected> {
        while let Some(chunk) = self.state.oldest()
            && Some(self.chunks[chunk - 1]) < oldest
            && let Some(next) = self.state.clone().let_go()
        {
            self.step("LetGo", Some(next))?;
        }
        Ok(())
    }

    fn all_let_go(&self, oldest: Option<u64>) -> Result<(), Rejected> {
        match self.state.oldest() {
            Some(chunk) if Some(self.chunks[chunk - 1]) < oldest => Err(format!(
                "chunk {} is gone, and not all in it was dead: {:?}",
                self.chunks[chunk - 1],
                self.state
            )),
            _ => Ok(()),
        }
    }

    /// The process has ended, and left this log.
    pub(crate) fn crashed(&mut self, left: &Look) -> Result<(), Rejected> {
        let end = match left.records.last() {
            Some(last) => self.ends.partition_point(|end| *end <= last.at.offset + last.at.size),
            None => 0,
        };
        let is_gone = |(chunk, _): &(usize, usize)| Some(self.chunks[chunk - 1]) < left.oldest;
        let gone = self.state.m.removals.iter().take_while(|removal| is_gone(removal)).count();
        if gone > 0 {
            // What is left after the crash was durable, and nothing else counts for a removal.
            self.synced(end)?;
        }
        for _ in 0..gone {
            self.step("Remove", self.state.clone().remove())?;
        }
        self.step("Crash", self.state.clone().crash(end))?;
        self.ends.truncate(end);
        self.chunks.truncate(self.state.records.last().map_or(0, |record| record.chunk));
        self.commits.clear();
        self.step("Open", self.state.clone().open())
    }

    /// Whether a group is what the model finds: its bounds, the ids of its entries, and its state.
    pub(crate) fn expect(&self, group: usize, found: &Found) -> Result<(), Rejected> {
        let expected = &self.state.truth()[group];
        let ids: Vec<usize> = expected.ids.iter().copied().filter(|id| *id != 0).collect();
        let bounds = expected.has.then_some((expected.first, expected.next));
        let state = (expected.state != 0).then_some(expected.state);
        if (bounds, &ids, state) == (found.bounds, &found.ids, found.state) {
            return Ok(());
        }
        Err(format!("group {group} has {found:?}, and not {bounds:?}, {ids:?}, {state:?}"))
    }
}

/// What the log has of a group.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) bounds: Option<(usize, usize)>,
    pub(crate) ids: Vec<usize>,
    pub(crate) state: Option<usize>,
}
