//! [`Node`]: raft-rs's loop, with persistence reported from the log's thread.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc;
use std::sync::mpsc::{Receiver, Sender};

use chunked_wal::Error;
use chunked_wal::codeq::{Decode, Encode};
use raft::eraftpb::{Message, MessageType, Snapshot};
use raft::{INVALID_ID, RawNode, SnapshotStatus, StateRole};

use crate::group::GroupStore;
use crate::ready::{ReadyPersisted, ReadyStore, other};

/// A member. Its methods never wait for the disk.
pub struct Node<S: ReadyStore> {
    raft: RawNode<S>,
    persisted: Receiver<Result<u64, Error>>,
    to_persisted: Sender<Result<u64, Error>>,
    /// Messages that may be sent once the ready of this number is persistent.
    waiting: VecDeque<(u64, Vec<Message>)>,
    /// The committed data, in order: this example's state machine.
    applied: Vec<Vec<u8>>,
    /// The number of the last ready that is persistent, and of the last one with a snapshot.
    persistent: u64,
    restored: u64,
}

impl<S: ReadyStore> Node<S> {
    /// Makes a member with this id, on its log. What is in the last snapshot is applied at once.
    ///
    /// # Errors
    ///
    /// Raft's errors.
    pub fn new(id: u64, store: S) -> raft::Result<Self> {
        let snapshot = store.last_snapshot()?.unwrap_or_default();
        let applied = snapshot.get_metadata().index;
        let config =
            raft::Config { id, applied, election_tick: 10, heartbeat_tick: 3, ..raft::Config::default() };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&config, store, &logger)?;
        let (to_persisted, persisted) = mpsc::channel();
        let (waiting, applied) = (VecDeque::new(), Vec::new());
        let mut node = Node { raft, persisted, to_persisted, waiting, applied, persistent: 0, restored: 0 };
        node.restore(&snapshot)?;
        Ok(node)
    }

    /// Advances the clock by one tick.
    pub fn tick(&mut self) {
        self.raft.tick();
    }

    /// Handles a message of another member.
    ///
    /// # Errors
    ///
    /// Raft's errors.
    pub fn step(&mut self, message: Message) -> raft::Result<()> {
        self.raft.step(message)
    }

    /// Proposes data, to be stored and applied by all members.
    ///
    /// # Errors
    ///
    /// Raft's errors, for example when there is no leader.
    pub fn propose(&mut self, data: Vec<u8>) -> raft::Result<()> {
        self.raft.propose(Vec::new(), data)
    }

    /// Asks for votes now, instead of after an election timeout.
    ///
    /// # Errors
    ///
    /// Raft's errors.
    pub fn campaign(&mut self) -> raft::Result<()> {
        self.raft.campaign()
    }

    /// Lets another member lead, once that one has all entries. Only for a leader.
    pub fn transfer_leader(&mut self, to: u64) {
        self.raft.transfer_leader(to);
    }

    /// Returns the member that leads, if one is known.
    pub fn leader(&self) -> Option<u64> {
        Some(self.raft.raft.leader_id).filter(|id| *id != INVALID_ID)
    }

    /// Returns the term; 0 before the group's first election.
    pub fn term(&self) -> u64 {
        self.raft.raft.term
    }

    /// Whether this member leads.
    pub fn leads(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// Returns the data committed so far.
    pub fn applied(&self) -> &[Vec<u8>] {
        &self.applied
    }

    /// Returns the member's log.
    pub fn store(&mut self) -> &mut S {
        self.raft.mut_store()
    }

    /// Does all pending work, and returns the messages to send.
    ///
    /// # Errors
    ///
    /// The log's errors. The member must stop then: it can't answer for entries that it can't store.
    pub fn run(&mut self) -> raft::Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            while let Ok(persisted) = self.persisted.try_recv() {
                let number = persisted.map_err(other)?;
                self.raft.on_persist_ready(number);
                self.persistent = number;
                if self.restored == number {
                    self.raft.advance_apply();
                }
                while self.waiting.front().is_some_and(|(waits_for, _)| *waits_for <= number) {
                    messages.extend(self.waiting.pop_front().into_iter().flat_map(|(_, messages)| messages));
                }
            }
            if !self.raft.has_ready() {
                return Ok(messages);
            }
            self.on_ready(&mut messages)?;
        }
    }

    fn on_ready(&mut self, messages: &mut Vec<Message>) -> raft::Result<()> {
        let mut ready = self.raft.ready();
        let sent = ready.take_messages();
        let snapshots = sent.iter().filter(|message| message.get_msg_type() == MessageType::MsgSnapshot);
        let snapshots: Vec<u64> = snapshots.map(|message| message.to).collect();
        messages.extend(sent);
        self.restore(ready.snapshot())?;
        for entry in ready.take_committed_entries() {
            // A new leader's first entry is empty.
            if !entry.data.is_empty() {
                self.applied.push(entry.data.to_vec());
            }
        }
        self.waiting.push_back((ready.number(), ready.take_persisted_messages()));
        let persisted = ReadyPersisted { number: ready.number(), to: self.to_persisted.clone() };
        let entries = ready.take_entries();
        self.raft.mut_store().append(ready.snapshot(), entries, ready.hs(), persisted)?;
        // The stored records can be read, and are on their way to the disk. Raft asks for no more here.
        if !ready.snapshot().is_empty() {
            self.restored = ready.number();
        }
        self.raft.advance_append_async(ready);
        if self.is_restored() {
            self.raft.advance_apply();
        }
        // Whether it arrives or not: raft asks the member what it has, and sends another snapshot if need be.
        snapshots.into_iter().for_each(|to| self.raft.report_snapshot(to, SnapshotStatus::Finish));
        Ok(())
    }

    /// Whether the last snapshot that came is persistent. Until then, raft doesn't count it as applied.
    fn is_restored(&self) -> bool {
        self.restored <= self.persistent
    }

    /// Replaces what is applied by what is in a snapshot, unless that is empty.
    fn restore(&mut self, snapshot: &Snapshot) -> raft::Result<()> {
        if snapshot.is_empty() {
            return Ok(());
        }
        let mut data = &snapshot.data[..];
        self.applied.clear();
        while !data.is_empty() {
            self.applied.push(Vec::decode(&mut data).map_err(other)?);
        }
        Ok(())
    }
}

/// A member whose store holds snapshots.
impl Node<GroupStore> {
    /// Saves a snapshot of what is applied, and gives up the entries in it. Does nothing while another member's
    /// snapshot is being stored.
    ///
    /// # Errors
    ///
    /// The log's errors.
    pub fn save_snapshot(&mut self) -> raft::Result<()> {
        if !self.is_restored() {
            return Ok(());
        }
        let mut data = Vec::new();
        let encoded = self.applied.iter().try_for_each(|applied| applied.encode(&mut data).map(drop));
        encoded.map_err(other)?;
        let index = self.raft.raft.raft_log.applied;
        self.raft.mut_store().save_snapshot(index, data)
    }
}

impl<S: ReadyStore> fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.raft.raft.id).finish_non_exhaustive()
    }
}
