//! [`BlobRef`]: the place of a blob.

use std::io;
use std::io::{Read, Write};

use codeq::{Decode, Encode};

use crate::error::{Error, NoBlob};

/// The place of a blob: [`append`](super::BlobStore::append) returns it and
/// [`read`](super::BlobStore::read) takes it. As a codec it has 20 bytes, to be put into an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobRef {
    /// The chunk's number. A store numbers its chunks one by one, starting at a random number, so that
    /// a reference from another store nearly always names a chunk that isn't there.
    pub chunk_id: u32,
    /// The position of the blob's frame in the chunk's file.
    pub offset: u64,
    /// The blob's length in bytes.
    pub length: u64,
}

impl BlobRef {
    pub(super) fn leads_nowhere(self, reason: NoBlob) -> Error {
        let BlobRef { chunk_id, offset, length } = self;
        Error::NotABlob { chunk_id, offset, length, reason }
    }
}

impl Encode for BlobRef {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        Ok(self.chunk_id.encode(&mut w)? + self.offset.encode(&mut w)? + self.length.encode(&mut w)?)
    }
}

impl Decode for BlobRef {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        Ok(BlobRef {
            chunk_id: u32::decode(&mut r)?,
            offset: u64::decode(&mut r)?,
            length: u64::decode(&mut r)?,
        })
    }
}
