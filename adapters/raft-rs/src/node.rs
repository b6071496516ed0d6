//! [`Node`]: raft-rs's loop, with persistence reported from the log's thread.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc;
use std::sync::mpsc::{Receiver, Sender};

use chunked_wal::Error;
use raft::eraftpb::Message;
use raft::{RawNode, StateRole};

use crate::record::ReadyPersisted;
use crate::store::LogStore;

/// A member. Its methods never wait for the disk.
pub struct Node {
    raft: RawNode<LogStore>,
    persisted: Receiver<Result<u64, Error>>,
    to_persisted: Sender<Result<u64, Error>>,
    /// Messages that may be sent once the ready of this number is persistent.
    waiting: VecDeque<(u64, Vec<Message>)>,
    /// The committed data, in order: this example's state machine.
    applied: Vec<Vec<u8>>,
}

impl Node {
    /// Makes a member with this id, on its log.
    ///
    /// # Errors
    ///
    /// Raft's errors.
    pub fn new(id: u64, store: LogStore) -> raft::Result<Self> {
        let config = raft::Config { id, election_tick: 10, heartbeat_tick: 3, ..raft::Config::default() };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&config, store, &logger)?;
        let (to_persisted, persisted) = mpsc::channel();
        Ok(Node { raft, persisted, to_persisted, waiting: VecDeque::new(), applied: Vec::new() })
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

    /// Whether this member leads.
    pub fn leads(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// Returns the data committed so far.
    pub fn applied(&self) -> &[Vec<u8>] {
        &self.applied
    }

    /// Returns the member's log.
    pub fn store(&mut self) -> &mut LogStore {
        self.raft.mut_store()
    }

    /// Does all pending work, and returns the messages to send.
    ///
    /// # Errors
    ///
    /// The log's errors. The member must stop then: it can't answer for entries that it can't store.
    pub fn run(&mut self) -> Result<Vec<Message>, Error> {
        let mut messages = Vec::new();
        loop {
            while let Ok(persisted) = self.persisted.try_recv() {
                let number = persisted?;
                self.raft.on_persist_ready(number);
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

    fn on_ready(&mut self, messages: &mut Vec<Message>) -> Result<(), Error> {
        let mut ready = self.raft.ready();
        messages.extend(ready.take_messages());
        for entry in ready.take_committed_entries() {
            // A new leader's first entry is empty.
            if !entry.data.is_empty() {
                self.applied.push(entry.data.to_vec());
            }
        }
        self.waiting.push_back((ready.number(), ready.take_persisted_messages()));
        let persisted = ReadyPersisted { number: ready.number(), to: self.to_persisted.clone() };
        let entries = ready.take_entries();
        self.raft.mut_store().append(entries, ready.hs(), persisted)?;
        // The stored records can be read, and are on their way to the disk. Raft asks for no more here.
        self.raft.advance_append_async(ready);
        self.raft.advance_apply();
        Ok(())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("store", self.raft.store()).finish_non_exhaustive()
    }
}
