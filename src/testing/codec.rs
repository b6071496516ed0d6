//! [`check_codec`]: whether a codec decodes the value that it encoded.

use std::{fmt, io};

use codeq::Codec;

use crate::payload::PayloadRef;

/// Encodes a value and decodes it again, as the log does: the codec must read all of its bytes, and no
/// more.
///
/// A record that its codec can't decode keeps a log from opening, so test every kind of value that you
/// append: empty ones, the largest, each variant.
///
/// ```
/// use std::io::{Error, Read, Write};
/// use chunked_wal::codeq;
///
/// #[derive(Debug, PartialEq)]
/// struct Point { x: u32, y: u32 }
///
/// impl codeq::Encode for Point {
///     fn encode<W: Write>(&self, mut w: W) -> Result<usize, Error> {
///         Ok(self.x.encode(&mut w)? + self.y.encode(&mut w)?)
///     }
/// }
/// impl codeq::Decode for Point {
///     fn decode<R: Read>(mut r: R) -> Result<Self, Error> {
///         // Fields are decoded in the order written here, so x gets y.
///         Ok(Point { y: u32::decode(&mut r)?, x: u32::decode(&mut r)? })
///     }
/// }
///
/// chunked_wal::testing::check_codec(&Point { x: 1, y: 1 })?;
/// assert!(chunked_wal::testing::check_codec(&Point { x: 1, y: 2 }).is_err());
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// The codec's error, or its fault: it claims another length than it wrote, leaves bytes unread, or
/// decodes another value.
pub fn check_codec<T: Codec + PartialEq + fmt::Debug>(value: &T) -> io::Result<()> {
    let wrong = |why: String| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let mut bytes = Vec::new();
    let claimed = value.encode(&mut bytes)?;
    if claimed != bytes.len() {
        return wrong(format!("the codec returned {claimed} bytes but wrote {}", bytes.len()));
    }
    let decoded: T = PayloadRef::from(&bytes[..]).decode()?;
    if decoded == *value { Ok(()) } else { wrong(format!("{value:?} was decoded as {decoded:?}")) }
}
