//! The types of the log that a blob store is, and its small state.

use std::convert::Infallible;
use std::io;
use std::io::{Read, Write};

use codeq::{Decode, Encode};

use crate::position::{ChunkId, Segment};
use crate::random::random_u64;
use crate::record::{StateMachine, WalRecord, WalTypes};

/// The store's log: actions are payloads, a checkpoint is the number of the chunk that starts with it.
#[derive(Debug)]
pub(super) struct Blobs;

impl WalTypes for Blobs {
    type Action = Payload;
    type Checkpoint = Number;
    type Callback = ();
}

/// A blob [as it is stored](super::blocks).
#[derive(Debug, Clone, Default)]
pub(super) struct Payload(pub(super) Vec<u8>);

impl Encode for Payload {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        w.write_all(&self.0)?;
        Ok(self.0.len())
    }
}

impl Decode for Payload {
    /// Keeps nothing: blobs are decoded only while the log is opened, and their bytes are not needed
    /// then; reading takes the frames themselves. With debug assertions an append compares what it
    /// decodes.
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let mut bytes = Vec::new();
        if cfg!(debug_assertions) {
            r.read_to_end(&mut bytes)?;
        } else {
            io::copy(&mut r, &mut io::sink())?;
        }
        Ok(Payload(bytes))
    }
}

/// The version of what a store puts into its log.
const VERSION: u8 = 1;

/// A chunk's number, and the number of the store's first chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) first: u32,
    pub(super) number: u32,
}

impl Number {
    /// Returns the number of a new store's first chunk.
    pub(super) fn random() -> Self {
        let first = random_u64() as u32;
        Number { first, number: first }
    }

    /// Returns the next chunk's number; `None` once every number was used.
    pub(super) fn next(self) -> Option<Self> {
        let number = self.number.wrapping_add(1);
        (number != self.first).then_some(Number { number, ..self })
    }

    /// Returns how many chunks came before this one.
    pub(super) fn index(self) -> u32 {
        self.number.wrapping_sub(self.first)
    }
}

impl Encode for Number {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        Ok(VERSION.encode(&mut w)? + self.first.encode(&mut w)? + self.number.encode(&mut w)?)
    }
}

impl Decode for Number {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let version = u8::decode(&mut r)?;
        if version != VERSION {
            let what = format!("blob store of version {version}, this build knows {VERSION}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Number { first: u32::decode(&mut r)?, number: u32::decode(&mut r)? })
    }
}

/// The newest chunk's number, found while the log is opened.
#[derive(Debug)]
pub(super) struct Newest {
    /// The number of the next chunk, used if the log has no chunk yet.
    pub(super) next: Number,
    pub(super) found: Option<Number>,
}

impl StateMachine<Blobs> for Newest {
    type Error = Infallible;

    fn apply(&mut self, record: &WalRecord<Blobs>, _: ChunkId, _: Segment) -> Result<(), Infallible> {
        if let WalRecord::Checkpoint(number) = record {
            self.found = Some(*number);
            // After the last number the first comes again; `append` reports that the store is full.
            self.next = number.next().unwrap_or(*number);
        }
        Ok(())
    }

    fn checkpoint(&self) -> Number {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_its_version() {
        let number = Number { first: 7, number: 9 };
        let mut bytes = Vec::new();
        assert_eq!(number.encode(&mut bytes).unwrap(), 9);
        assert_eq!(Number::decode(&bytes[..]).unwrap(), number);
        bytes[0] = 2;
        let error = Number::decode(&bytes[..]).unwrap_err();
        assert!(error.to_string().contains("version 2, this build knows 1"), "{error}");
    }
}
