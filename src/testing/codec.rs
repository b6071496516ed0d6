//! Whether a codec reads back what it writes.

use std::{fmt, io};

use codeq::Codec;

use crate::error::Undecodable;
use crate::record::decode_all;

/// Encodes a value and decodes it again, as the log does: all bytes, and no more.
///
/// A record that its codec can't decode keeps a log from opening, so give this every kind of value that you
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
///         // Evaluated in the order in which they are written: x would get y.
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
/// What the codec says, or what is wrong with it: it claims another length than it writes, leaves bytes over,
/// or decodes another value.
pub fn check_codec<T: Codec + PartialEq + fmt::Debug>(value: &T) -> io::Result<()> {
    let wrong = |why: String| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let mut bytes = Vec::new();
    let claimed = value.encode(&mut bytes)?;
    if claimed != bytes.len() {
        return wrong(format!("the codec returned {claimed} bytes but wrote {}", bytes.len()));
    }
    let decoded: T = match decode_all(&bytes) {
        Ok(decoded) => decoded,
        Err(Undecodable::Codec(error)) => return Err(error),
        Err(other) => return wrong(format!("{other:?}")),
    };
    if decoded == *value { Ok(()) } else { wrong(format!("{value:?} was decoded as {decoded:?}")) }
}
