//! The contents of the log: a tag and a protobuf message for an action, a few numbers and messages for
//! a checkpoint.

use std::io;
use std::io::{Read, Write};

use chunked_wal::WalTypes;
use chunked_wal::codeq::{Decode, Encode};
use protobuf::Message;
use raft::eraftpb::{ConfState, Entry, HardState};

use crate::ready::ReadyPersisted;

/// The types of the log.
#[derive(Debug)]
pub struct RaftLog;

impl WalTypes for RaftLog {
    type Action = Action;
    type Checkpoint = Meta;
    type Callback = ReadyPersisted;
}

/// A change of raft's state.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// An entry, which voids the entries with its index and above.
    Entry(Entry),
    /// Term, vote and commit.
    HardState(HardState),
    /// The members.
    ConfState(ConfState),
    /// Entries up to this one are in a snapshot.
    Compact {
        /// The index of the last one.
        index: u64,
        /// The term of the last one.
        term: u64,
    },
}

impl Encode for Action {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        match self {
            Action::Entry(entry) => Ok(1_u8.encode(&mut w)? + encode_message(entry, w)?),
            Action::HardState(state) => Ok(2_u8.encode(&mut w)? + encode_message(state, w)?),
            Action::ConfState(state) => Ok(3_u8.encode(&mut w)? + encode_message(state, w)?),
            Action::Compact { index, term } => (4_u8, (*index, *term)).encode(w),
        }
    }
}

impl Decode for Action {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        Ok(match u8::decode(&mut r)? {
            1 => Action::Entry(decode_message(r)?),
            2 => Action::HardState(decode_message(r)?),
            3 => Action::ConfState(decode_message(r)?),
            4 => {
                let (index, term) = Decode::decode(r)?;
                Action::Compact { index, term }
            }
            tag => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no action {tag}"))),
        })
    }
}

/// A message needs its length to be found again.
pub(crate) fn encode_message(message: &impl Message, w: impl Write) -> io::Result<usize> {
    message.write_to_bytes()?.encode(w)
}

pub(crate) fn decode_message<M: Message>(r: impl Read) -> io::Result<M> {
    Ok(M::parse_from_bytes(&Vec::<u8>::decode(r)?)?)
}

/// The checkpoint: raft's state without the entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meta {
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// The members.
    pub conf_state: ConfState,
    /// Index and term of the last entry in a snapshot; (0, 0) before there is one.
    pub compacted: (u64, u64),
    /// The index of the last entry.
    pub last: u64,
}

impl Encode for Meta {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let numbers = (self.compacted, self.last).encode(&mut w)?;
        Ok(numbers + encode_message(&self.hard_state, &mut w)? + encode_message(&self.conf_state, w)?)
    }
}

impl Decode for Meta {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let (compacted, last) = Decode::decode(&mut r)?;
        let (hard_state, conf_state) = (decode_message(&mut r)?, decode_message(r)?);
        Ok(Meta { hard_state, conf_state, compacted, last })
    }
}
