//! [`BytesPayload`]: an action or checkpoint that is nothing but bytes.

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Deref;

use bytes::Bytes;
use codeq::{Decode, Encode};

/// An action or a checkpoint that is bytes of the program's own (feature `bytes`): the payload is these bytes, without
/// a length or anything else around them.
///
/// Appending copies them once, into the log's buffer. Reading and replay copy them once, into memory that the
/// [`Bytes`] owns alone; from there on clones and slices share it. A log whose [`WalTypes::decode_action`] calls
/// [`PayloadRef::share`] has slices of the read buffer instead, without that copy.
///
/// [`WalTypes::decode_action`]: crate::WalTypes::decode_action
/// [`PayloadRef::share`]: crate::PayloadRef::share
///
/// ```
/// use bytes::Bytes;
/// use chunked_wal::{BytesPayload, WalTypes};
///
/// struct Packets;
/// impl WalTypes for Packets {
///     type Action = BytesPayload;
///     type Checkpoint = u64;
///     type Callback = ();
/// }
///
/// let action = BytesPayload::from(Bytes::from_static(b"a packet"));
/// assert_eq!(&action[2..], b"packet");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BytesPayload(
    /// The bytes.
    pub Bytes,
);

impl BytesPayload {
    /// Returns the same bytes in memory of their own: a copy that keeps no read buffer alive.
    ///
    /// ```
    /// use chunked_wal::BytesPayload;
    ///
    /// let buffer = bytes::Bytes::from(vec![7; 1 << 20]);
    /// let payload = BytesPayload::from(buffer.slice(10..20));
    /// let kept = payload.to_own_memory();
    /// drop((buffer, payload)); // frees the buffer
    /// assert_eq!(&kept[..], [7; 10]);
    /// ```
    pub fn to_own_memory(&self) -> Self {
        BytesPayload(Bytes::copy_from_slice(&self.0))
    }
}

impl Encode for BytesPayload {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        writer.write_all(&self.0)?;
        Ok(self.0.len())
    }
}

impl Decode for BytesPayload {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        // The log's reader is a slice, for which this takes one allocation of the right size.
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(BytesPayload(bytes.into()))
    }
}

impl Deref for BytesPayload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<B: Into<Bytes>> From<B> for BytesPayload {
    fn from(bytes: B) -> Self {
        BytesPayload(bytes.into())
    }
}

impl fmt::Debug for BytesPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
