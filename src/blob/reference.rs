//! [`BlobRef`]: where a blob is.

use std::io;
use std::io::{Read, Write};

use codeq::{Decode, Encode};

use crate::error::{Error, NoBlob};

/// Where a blob is: what [`append`](super::BlobStore::append) gives back and
/// [`read`](super::BlobStore::read) takes. 20 bytes as a codec, to be put into an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobRef {
    /// The chunk's number. A store's chunks are numbered one by one from a random number on, so that a
    /// reference of another store names, as a rule, a chunk that isn't there.
    pub chunk_id: u32,
    /// Where the blob's frame begins in the chunk's file.
    pub offset: u64,
    /// The blob's bytes.
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
