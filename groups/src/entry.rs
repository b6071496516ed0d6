//! [`LogEntry`]: what a group's log is made of.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use chunked_wal::Segment;
use chunked_wal::codeq::{Decode, Encode};

use crate::error::{Error, Result};

/// An entry of a group's log, and the state beside it.
///
/// ```
/// use chunked_wal_groups::LogEntry;
///
/// #[derive(Debug, Clone, PartialEq)]
/// struct Entry { index: u64, term: u64, command: String }
///
/// # use chunked_wal::codeq::{Decode, Encode};
/// # impl Encode for Entry {
/// #     fn encode<W: std::io::Write>(&self, mut w: W) -> std::io::Result<usize> {
/// #         Ok(self.index.encode(&mut w)? + self.term.encode(&mut w)? + self.command.encode(&mut w)?)
/// #     }
/// # }
/// # impl Decode for Entry {
/// #     fn decode<R: std::io::Read>(mut r: R) -> std::io::Result<Self> {
/// #         let (index, term) = (u64::decode(&mut r)?, u64::decode(&mut r)?);
/// #         Ok(Entry { index, term, command: String::decode(&mut r)? })
/// #     }
/// # }
/// impl LogEntry for Entry {
///     /// The term, and the vote in it.
///     type State = (u64, u64);
///
///     fn index(&self) -> u64 {
///         self.index
///     }
/// }
/// ```
pub trait LogEntry: Encode + Decode + Debug + Send + 'static {
    /// What a group keeps beside its entries, as a whole: raft's hard state. A group has one or none.
    type State: Encode + Decode + Debug + Send + 'static;

    /// The entry's index in its group: one more than that of the entry before it.
    fn index(&self) -> u64;
}

pub(crate) fn encode(group: u64, value: &impl Encode) -> Result<Vec<u8>> {
    // Most entries fit, and grow no further.
    let mut bytes = Vec::with_capacity(512);
    match value.encode(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(Error::Encode { group, source: Arc::new(source) }),
    }
}

/// Decodes a payload, all of it.
pub(crate) fn decode<T: Decode>(group: u64, at: Segment, mut payload: &[u8]) -> Result<T> {
    let decoded = T::decode(&mut payload).and_then(|value| match payload.len() {
        0 => Ok(value),
        more => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{more} bytes are left over"))),
    });
    decoded.map_err(|source| Error::Decode { group, offset: at.offset, source: Arc::new(source) })
}
