//! [`LogWal`]: the types with which openraft's example `log-wal` uses raft-log.
//!
//! The example stores everything as MessagePack with the names of fields, in which openraft 0.9 and 0.10 have the same
//! shapes. So a record is taken apart without the program's types, and its values are copied byte by byte.
//!
//! ```text
//! log id    { leader_id: any, index: number }
//! vote      { leader_id: any, committed: bool }
//! entry     { log_id: the log id, payload: any }
//! ```

use std::cmp::Ordering;
use std::io;
use std::io::{Read, Write};
use std::sync::mpsc::SyncSender;

use codeq::{Decode, Encode};
use raft_log::Types;

use super::OpenraftTypes;
use crate::msgpack::{MsgPack, Part, invalid, next_part};

/// The types of a raft-log that openraft's example `log-wal` wrote, whatever the types of its raft.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LogWal;

impl Types for LogWal {
    type LogId = LogId;
    type LogPayload = MsgPack;
    type Vote = Vote;
    type Callback = SyncSender<io::Result<()>>;
    type UserData = MsgPack;

    fn log_index(log_id: &LogId) -> u64 {
        log_id.index
    }

    fn payload_size(payload: &MsgPack) -> u64 {
        payload.as_bytes().len() as u64
    }
}

impl OpenraftTypes for LogWal {
    const IN_WORDS: &'static str =
        "raft-log with openraft's types in MessagePack, as openraft's example log-wal writes it";

    fn log_id(log_id: &LogId) -> io::Result<Vec<u8>> {
        Ok(log_id.value.as_bytes().to_vec())
    }

    fn vote(vote: &Vote) -> io::Result<Vec<u8>> {
        Ok(vote.0.as_bytes().to_vec())
    }

    fn entry(log_id: &LogId, payload: &MsgPack) -> io::Result<Vec<u8>> {
        let mut entry = Fields::of(payload);
        let is_entry =
            entry.is_map(2)? && entry.is_name("log_id")? && entry.value()? == log_id.value.as_bytes();
        if !is_entry || !entry.is_name("payload")? {
            return Err(invalid("an entry must have its log id, and a payload"));
        }
        Ok(payload.as_bytes().to_vec())
    }
}

/// openraft's log id: its bytes, and what orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogId {
    value: MsgPack,
    /// The parts of the leader's id, in the order of its fields.
    leader: Vec<Key>,
    index: u64,
}

/// A part of a leader's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Nil,
    Bool(bool),
    Int(i128),
    Bytes(Vec<u8>),
    Array(u64),
    Map(u64),
}

impl PartialOrd for LogId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LogId {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.leader, self.index).cmp(&(&other.leader, other.index))
    }
}

impl Encode for LogId {
    fn encode<W: Write>(&self, writer: W) -> io::Result<usize> {
        self.value.encode(writer)
    }
}

impl Decode for LogId {
    fn decode<R: Read>(reader: R) -> io::Result<Self> {
        let value = MsgPack::decode(reader)?;
        let no_log_id = || invalid("not a log id of openraft: a map of `leader_id` and `index`");
        let mut fields = Fields::of(&value);
        if !fields.is_map(2)? || !fields.is_name("leader_id")? {
            return Err(no_log_id());
        }
        let leader = keys(fields.value()?)?;
        if !fields.is_name("index")? {
            return Err(no_log_id());
        }
        let index = fields.uint()?.ok_or_else(no_log_id)?;
        Ok(LogId { value, leader, index })
    }
}

/// openraft's vote, as bytes. Votes aren't ordered here: only equal ones compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote(MsgPack);

impl PartialOrd for Vote {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Encode for Vote {
    fn encode<W: Write>(&self, writer: W) -> io::Result<usize> {
        self.0.encode(writer)
    }
}

impl Decode for Vote {
    fn decode<R: Read>(reader: R) -> io::Result<Self> {
        let value = MsgPack::decode(reader)?;
        let mut fields = Fields::of(&value);
        let is_vote = fields.is_map(2)? && fields.is_name("leader_id")? && !fields.value()?.is_empty();
        if !is_vote || !fields.is_name("committed")? {
            return Err(invalid("not a vote of openraft: a map of `leader_id` and `committed`"));
        }
        Ok(Vote(value))
    }
}

/// Reads the fields of a value in order.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(value: &'a MsgPack) -> Self {
        Fields { rest: value.as_bytes() }
    }

    fn is_map(&mut self, len: u64) -> io::Result<bool> {
        Ok(next_part(&mut self.rest, &mut Vec::new())? == Part::Map(len))
    }

    fn is_name(&mut self, name: &str) -> io::Result<bool> {
        let mut bytes = Vec::new();
        Ok(match next_part(&mut self.rest, &mut bytes)? {
            Part::Bytes(text) => bytes[text] == *name.as_bytes(),
            _ => false,
        })
    }

    fn uint(&mut self) -> io::Result<Option<u64>> {
        Ok(match next_part(&mut self.rest, &mut Vec::new())? {
            Part::Int(number) => u64::try_from(number).ok(),
            _ => None,
        })
    }

    /// The bytes of the next value.
    fn value(&mut self) -> io::Result<&'a [u8]> {
        let before = self.rest;
        let value = MsgPack::decode(&mut self.rest)?;
        Ok(&before[..value.as_bytes().len()])
    }
}

/// The parts of a value, which order it as the fields of a type do.
fn keys(mut value: &[u8]) -> io::Result<Vec<Key>> {
    let mut keys = Vec::new();
    while !value.is_empty() {
        let mut bytes = Vec::new();
        keys.push(match next_part(&mut value, &mut bytes)? {
            Part::Nil => Key::Nil,
            Part::Bool(bool) => Key::Bool(bool),
            Part::Int(number) => Key::Int(number),
            Part::Bytes(range) => Key::Bytes(bytes[range].to_vec()),
            Part::Array(len) => Key::Array(len),
            Part::Map(len) => Key::Map(len),
        });
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use codeq::Decode;
    use serde::Serialize;

    use super::{LogId, Vote};

    #[derive(Serialize)]
    struct Id<L> {
        leader_id: L,
        index: u64,
    }

    #[derive(Serialize)]
    struct Leader<N> {
        term: u64,
        node_id: N,
    }

    fn log_id(leader_id: impl Serialize, index: u64) -> LogId {
        let bytes = rmp_serde::to_vec_named(&Id { leader_id, index }).unwrap();
        LogId::decode(&bytes[..]).unwrap()
    }

    #[test]
    fn log_ids_are_ordered_by_leader_and_index() {
        let of = |term, node_id: u64, index| log_id(Leader { term, node_id }, index);
        let ascending =
            [of(1, 200, 9), of(1, 300, 1), of(1, 300, 2), of(127, 0, 0), of(128, 0, 0), of(70_000, 0, 0)];
        assert!(ascending.is_sorted());
        assert_ne!(ascending[0], ascending[1]);
        let named = |node_id: &'static str| log_id(Leader { term: 1, node_id }, 0);
        assert!(named("a") < named("b"));
        // The standard leader id of a log id is the term alone.
        assert!(log_id(9_u64, 7) < log_id(300_u64, 1));
    }

    #[test]
    fn other_values_are_no_log_ids_and_no_votes() {
        let pair = rmp_serde::to_vec_named(&(1, 2)).unwrap();
        let id = rmp_serde::to_vec_named(&Id { leader_id: 1, index: 2 }).unwrap();
        assert!(LogId::decode(&pair[..]).is_err());
        assert!(Vote::decode(&pair[..]).is_err());
        assert!(Vote::decode(&id[..]).is_err());
    }
}
