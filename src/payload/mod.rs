//! The payload of a record as the log hands it to [`WalTypes::decode_action`]: [`PayloadRef`]; and an action that is
//! nothing but bytes.
//!
//! [`WalTypes::decode_action`]: crate::WalTypes::decode_action

#[cfg(feature = "bytes")]
mod bytes;

use std::fmt;
use std::io;
use std::ops::Deref;

#[cfg(feature = "bytes")]
use ::bytes::Bytes;
use codeq::Decode;

#[cfg(feature = "bytes")]
pub use self::bytes::BytesPayload;
use crate::format::Owner;

/// The payload of one record, while the log holds it: what the codec wrote, decompressed and checked.
///
/// It is borrowed from the log's read buffer. With the feature `bytes`, `share` returns it as [`bytes::Bytes`] that
/// may be kept.
///
/// [`bytes::Bytes`]: https://docs.rs/bytes/latest/bytes/struct.Bytes.html
///
/// ```
/// use chunked_wal::PayloadRef;
///
/// let payload = PayloadRef::from(&[0, 0, 0, 7, b'a', b'b'][..]);
/// let (id, name) = payload.split_at_checked(4).ok_or("too short")?;
/// assert_eq!(id.decode::<u32>()?, 7);
/// assert_eq!(&name[..], b"ab");
/// assert!(payload.decode::<u32>().is_err(), "two bytes are left over");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct PayloadRef<'a> {
    bytes: &'a [u8],
    owner: Owner<'a>,
}

impl<'a> PayloadRef<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], owner: Owner<'a>) -> Self {
        PayloadRef { bytes, owner }
    }

    /// Returns the bytes, for as long as the payload is borrowed.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Decodes a value that takes all of the payload.
    ///
    /// # Errors
    ///
    /// The codec's; [`InvalidData`](io::ErrorKind::InvalidData) if the codec leaves bytes unread.
    #[inline]
    pub fn decode<T: Decode>(&self) -> io::Result<T> {
        let mut rest = self.bytes;
        let value = T::decode(&mut rest)?;
        if rest.is_empty() { Ok(value) } else { Err(left_over(rest.len(), self.bytes.len())) }
    }

    /// Divides the payload in two at `middle`; `None` if it has fewer bytes.
    pub fn split_at_checked(&self, middle: usize) -> Option<(Self, Self)> {
        let (first, second) = self.bytes.split_at_checked(middle)?;
        Some((Self::new(first, self.owner), Self::new(second, self.owner)))
    }

    /// Returns the payload as [`Bytes`] (feature `bytes`): a slice of the log's read buffer, without a copy, where
    /// records are read one after the other (opening a log, `records`, followers). Where one record is read alone,
    /// or was compressed, the slice has memory of its own.
    ///
    /// **The slice keeps the whole read buffer alive** until the last slice of it is dropped. A read buffer has
    /// `Config::read_buffer_size` bytes (1 MiB unless set), twice as many at most; more for a record or a batch that is
    /// larger. So a program that keeps one short record out of each buffer holds the memory of the whole log. Share what
    /// is passed on, or what is most of the log; copy what is kept for long, with [`Bytes::copy_from_slice`] or
    /// [`BytesPayload::to_own_memory`]. The log reads into new
    /// memory while slices of the last buffer exist, and into the same memory again if none does.
    ///
    /// ```
    /// use std::io;
    ///
    /// use chunked_wal::{BytesPayload, PayloadRef, WalTypes};
    ///
    /// struct Packets;
    /// impl WalTypes for Packets {
    ///     type Action = BytesPayload;
    ///     type Checkpoint = u64;
    ///     type Callback = ();
    ///
    ///     #[inline]
    ///     fn decode_action(payload: PayloadRef<'_>) -> io::Result<BytesPayload> {
    ///         Ok(payload.share().into())
    ///     }
    /// }
    /// ```
    #[cfg(feature = "bytes")]
    #[inline]
    pub fn share(&self) -> Bytes {
        self.owner.share(self.bytes)
    }
}

#[cold]
fn left_over(bytes: usize, of: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the codec left {bytes} of {of} bytes unread"))
}

/// A payload that is not in a log, for tests of a `decode_action`.
impl<'a> From<&'a [u8]> for PayloadRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        PayloadRef { bytes, owner: Owner::none() }
    }
}

impl Deref for PayloadRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl fmt::Debug for PayloadRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadRef({} bytes)", self.bytes.len())
    }
}
