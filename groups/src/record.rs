//! [`Record`]: the contents of the log.
//!
//! ```text
//! payload   tag, 1 byte │ group │ indexes, where there are any │ the user's bytes, where there are any
//! ```
//!
//! - Numbers are LEB128. An entry and a state are bytes here, so that reclaiming needs no codec.
//! - A tag is never reused for anything else, because records from years ago will be replayed.

use std::io::{Read, Write};
use std::{fmt, io};

use chunked_wal::codeq::{Decode, Encode};
use chunked_wal::{CallbackFn, Error, WalTypes};

use crate::number::{NUMBER_MAX, read_number, write_number};

/// The types of the log below, for programs that look into it:
/// [`dump_records`](chunked_wal::ChunkedWal::dump_records).
#[derive(Debug)]
pub struct GroupWal;

impl WalTypes for GroupWal {
    type Action = Record;
    type Checkpoint = NoState;
    type Callback = GroupCallback;
}

/// Any callback, in a box.
pub type GroupCallback = CallbackFn<Box<dyn FnOnce(Result<(), Error>) + Send>>;

/// The checkpoint with which each chunk starts: nothing, because all that is alive is a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoState;

impl Encode for NoState {
    fn encode<W: Write>(&self, _: W) -> io::Result<usize> {
        Ok(0)
    }
}

impl Decode for NoState {
    fn decode<R: Read>(_: R) -> io::Result<Self> {
        Ok(NoState)
    }
}

/// A change of one group.
#[derive(Clone, PartialEq, Eq)]
pub enum Record {
    /// The group's next entry.
    Entry {
        /// The group.
        group: u64,
        /// The entry's index.
        index: u64,
        /// The encoded entry.
        payload: Vec<u8>,
    },
    /// An entry of the group as it is, at a new place: its chunk is about to go. Voids no later entry.
    Moved {
        /// The group.
        group: u64,
        /// The entry's index.
        index: u64,
        /// The encoded entry.
        payload: Vec<u8>,
    },
    /// The group's state.
    State {
        /// The group.
        group: u64,
        /// The encoded state.
        payload: Vec<u8>,
    },
    /// The group has the entries from `first` to before `next`: those before are purged.
    Bounds {
        /// The group.
        group: u64,
        /// The index of the first entry, whether there is one or not.
        first: u64,
        /// The index of the next entry.
        next: u64,
    },
    /// Entries from this index on are void.
    Truncate {
        /// The group.
        group: u64,
        /// The index of the first void entry.
        index: u64,
    },
    /// The group, its entries and its state are void.
    Destroy {
        /// The group.
        group: u64,
    },
}

const ENTRY: u8 = 1;
const MOVED: u8 = 2;
const STATE: u8 = 3;
const BOUNDS: u8 = 4;
const TRUNCATE: u8 = 5;
const DESTROY: u8 = 6;

impl Record {
    /// The group that it changes.
    pub fn group(&self) -> u64 {
        match self {
            Record::Entry { group, .. }
            | Record::Moved { group, .. }
            | Record::State { group, .. }
            | Record::Bounds { group, .. }
            | Record::Truncate { group, .. }
            | Record::Destroy { group } => *group,
        }
    }

    /// The record for the index, which needs no payload.
    pub(crate) fn without_payload(mut self) -> Self {
        if let Record::Entry { payload, .. } | Record::Moved { payload, .. } | Record::State { payload, .. } =
            &mut self
        {
            *payload = Vec::new();
        }
        self
    }

    /// The user's bytes.
    pub(crate) fn payload(&self) -> &[u8] {
        match self {
            Record::Entry { payload, .. } | Record::Moved { payload, .. } | Record::State { payload, .. } => {
                payload
            }
            Record::Bounds { .. } | Record::Truncate { .. } | Record::Destroy { .. } => &[],
        }
    }
}

impl Encode for Record {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let (tag, numbers): (u8, &[u64]) = match self {
            Record::Entry { group, index, .. } => (ENTRY, &[*group, *index]),
            Record::Moved { group, index, .. } => (MOVED, &[*group, *index]),
            Record::State { group, .. } => (STATE, &[*group]),
            Record::Bounds { group, first, next } => (BOUNDS, &[*group, *first, *next]),
            Record::Truncate { group, index } => (TRUNCATE, &[*group, *index]),
            Record::Destroy { group } => (DESTROY, &[*group]),
        };
        let mut head = [tag; 1 + 3 * NUMBER_MAX];
        let len = numbers.iter().fold(1, |at, number| at + write_number(&mut head[at..], *number));
        w.write_all(&head[..len])?;
        w.write_all(self.payload())?;
        Ok(len + self.payload().len())
    }
}

impl Decode for Record {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let tag = u8::decode(&mut r)?;
        let group = read_number(&mut r)?;
        Ok(match tag {
            ENTRY => Record::Entry { group, index: read_number(&mut r)?, payload: rest(r)? },
            MOVED => Record::Moved { group, index: read_number(&mut r)?, payload: rest(r)? },
            STATE => Record::State { group, payload: rest(r)? },
            BOUNDS => Record::Bounds { group, first: read_number(&mut r)?, next: read_number(&mut r)? },
            TRUNCATE => Record::Truncate { group, index: read_number(&mut r)? },
            DESTROY => Record::Destroy { group },
            tag => {
                let why = format!("no record of a log of groups has the tag {tag}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        })
    }
}

fn rest(mut r: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    r.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Without the user's bytes.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.payload().len();
        match self {
            Record::Entry { group, index, .. } => write!(f, "Entry {index} of {group}, {bytes} bytes"),
            Record::Moved { group, index, .. } => write!(f, "Moved {index} of {group}, {bytes} bytes"),
            Record::State { group, .. } => write!(f, "State of {group}, {bytes} bytes"),
            Record::Bounds { group, first, next } => write!(f, "Bounds of {group}: {first} to before {next}"),
            Record::Truncate { group, index } => write!(f, "Truncate {group} from {index} on"),
            Record::Destroy { group } => write!(f, "Destroy {group}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_what_they_were() {
        let (group, index) = (1 << 40, u64::MAX);
        let payload = vec![0, 1, 2];
        for record in [
            Record::Entry { group, index, payload: payload.clone() },
            Record::Moved { group, index: 0, payload: Vec::new() },
            Record::State { group: 0, payload },
            Record::Bounds { group, first: 0, next: index },
            Record::Truncate { group, index },
            Record::Destroy { group: u64::MAX },
        ] {
            let mut bytes = Vec::new();
            assert_eq!(record.encode(&mut bytes).unwrap(), bytes.len());
            assert_eq!(Record::decode(&bytes[..]).unwrap(), record);
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_refused() {
        assert!(Record::decode(&[][..]).is_err());
        assert!(Record::decode(&[ENTRY, 0x80][..]).is_err());
        let error = Record::decode(&[9, 0][..]).unwrap_err();
        assert!(error.to_string().contains("tag 9"), "{error}");
    }
}
