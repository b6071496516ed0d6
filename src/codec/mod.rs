//! Codecs for your own types through serde (feature `serde`): a derive and one line make a type an action or a
//! checkpoint.
//!
//! ```
//! use chunked_wal::WalTypes;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, Serialize, Deserialize)]
//! enum Command {
//!     Set { key: String, value: String },
//!     Delete { key: String },
//! }
//! chunked_wal::serde_codec!(Command as MessagePack);
//!
//! struct Log;
//! impl WalTypes for Log {
//!     type Action = Command;
//!     type Checkpoint = u64;
//!     type Callback = ();
//! }
//! ```
//!
//! For a type of another crate there are the newtypes [`MessagePack`], [`Postcard`] and [`Json`]:
//! `type Checkpoint = Json<BTreeMap<String, String>>`.
//!
//! # Which format
//!
//! A log outlives the program that wrote it, so choose by the changes that your types will see. "Yes" means that a
//! program with the changed type still reads the old records:
//!
//! | change to a type | [`MessagePack`] | [`Json`] | [`Postcard`] |
//! | --- | --- | --- | --- |
//! | add a variant at the end of an enum | yes | yes | yes |
//! | add a variant elsewhere, or reorder variants | yes | yes | **no**, and it may not be noticed |
//! | remove a variant that the log has records of | no: [`Error::Decode`](crate::Error::Decode) | no | no |
//! | add a field with `#[serde(default)]` | yes | yes | **no** |
//! | remove a field | yes | yes | **no**, and it may not be noticed |
//! | reorder fields | yes | yes | **no**, and it may not be noticed |
//! | rename a variant or field | with `#[serde(alias = "old")]` | with `alias` | yes |
//! | widen an integer | yes | yes | `u16` and above |
//! | add a field to a tuple, or to a variant without names | no | no | no |
//! | `flatten`, `untagged`, `skip_serializing_if` | yes | yes | **no**: it can't be read back |
//!
//! - [`MessagePack`] with the names of fields is the one to take unless you know better: it describes itself, and is
//!   compact next to JSON.
//! - [`Postcard`] is the smallest and fastest, for types that will never change or that carry a version themselves.
//! - [`Json`] can be read in `chunked-wal dump --format utf8`. It knows neither NaN nor infinities (both become
//!   `null`, which does not read back as a number), and the keys of its maps are strings.
//!
//! Going back to an older program is the same question with the roles changed: it reads the new records if the
//! change, undone, is a "yes".
//!
//! Keep a record of each kind as bytes in a test of yours, and decode it: that is the only way to see an accidental
//! change before the log does.

use std::io::{Read, Write};
use std::{fmt, io};

use codeq::{Decode, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Implements the log's codec for types of your own, through serde: `serde_codec!(Type as Format)`, with a format of
/// [`codec`](crate::codec) by its name. Several types may follow, with commas between.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// struct Move { from: (u8, u8), to: (u8, u8) }
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// struct Board(Vec<u8>);
///
/// chunked_wal::serde_codec!(Move as Postcard, Board as MessagePack);
/// # chunked_wal::testing::check_codec(&Move { from: (1, 2), to: (3, 4) })?;
/// # chunked_wal::testing::check_codec(&Board(vec![1, 2, 3]))?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[macro_export]
macro_rules! serde_codec {
    ($($type:ty as $format:ident),+ $(,)?) => {$(
        impl $crate::codeq::Encode for $type {
            fn encode<W: ::std::io::Write>(&self, writer: W) -> ::std::io::Result<usize> {
                $crate::codec::$format::<()>::write(self, writer)
            }
        }

        impl $crate::codeq::Decode for $type {
            fn decode<R: ::std::io::Read>(reader: R) -> ::std::io::Result<Self> {
                $crate::codec::$format::<()>::read(reader)
            }
        }
    )+};
}

/// A newtype for a format, with the codec that its functions `write` and `read` are.
macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<T>(
            /// The value.
            pub T,
        );

        impl<T: fmt::Debug> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<T> From<T> for $name<T> {
            fn from(value: T) -> Self {
                $name(value)
            }
        }

        impl<T: Serialize> Encode for $name<T> {
            fn encode<W: Write>(&self, writer: W) -> io::Result<usize> {
                $name::<()>::write(&self.0, writer)
            }
        }

        impl<T: DeserializeOwned> Decode for $name<T> {
            fn decode<R: Read>(reader: R) -> io::Result<Self> {
                $name::<()>::read(reader).map($name)
            }
        }
    };
}

newtype! {
    /// A value as [MessagePack](https://msgpack.org) with the names of fields and variants.
    ///
    /// A length that bytes claim is believed only as far as there are bytes; nesting has a limit.
    MessagePack
}

newtype! {
    /// A value in the [postcard](https://postcard.jamesmunns.com) wire format: fields in order, variants by number.
    ///
    /// A type whose fields or variants change in another way than the [module](self) allows is read as garbage, or
    /// not at all.
    Postcard
}

newtype! {
    /// A value as JSON.
    Json
}

impl MessagePack<()> {
    /// Writes a value; returns its length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the writer, and of the type's `Serialize`.
    pub fn write<T: Serialize + ?Sized>(value: &T, writer: impl Write) -> io::Result<usize> {
        let mut counting = Counting { writer, bytes: 0 };
        let mut serializer = rmp_serde::Serializer::new(&mut counting).with_struct_map();
        value.serialize(&mut serializer).map_err(invalid_data)?;
        Ok(counting.bytes)
    }

    /// Reads one value, and no byte after it.
    ///
    /// # Errors
    ///
    /// Those of the reader; [`InvalidData`](io::ErrorKind::InvalidData) for bytes that are no such value.
    pub fn read<T: DeserializeOwned>(reader: impl Read) -> io::Result<T> {
        rmp_serde::from_read(reader).map_err(invalid_data)
    }
}

impl Postcard<()> {
    /// Writes a value; returns its length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the writer, and of the type's `Serialize`.
    pub fn write<T: Serialize + ?Sized>(value: &T, writer: impl Write) -> io::Result<usize> {
        let mut counting = Counting { writer, bytes: 0 };
        postcard::to_io(value, &mut counting).map_err(invalid_data)?;
        Ok(counting.bytes)
    }

    /// Reads a value from all bytes of the reader.
    ///
    /// # Errors
    ///
    /// Those of the reader; [`InvalidData`](io::ErrorKind::InvalidData) for bytes that are no such value, or more
    /// than one.
    pub fn read<T: DeserializeOwned>(mut reader: impl Read) -> io::Result<T> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        match postcard::take_from_bytes(&bytes).map_err(invalid_data)? {
            (value, []) => Ok(value),
            (_, rest) => Err(invalid_data(format!("{} of {} bytes are left over", rest.len(), bytes.len()))),
        }
    }
}

impl Json<()> {
    /// Writes a value, without spaces or line breaks; returns its length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the writer, and of the type's `Serialize`.
    pub fn write<T: Serialize + ?Sized>(value: &T, writer: impl Write) -> io::Result<usize> {
        let mut counting = Counting { writer, bytes: 0 };
        serde_json::to_writer(&mut counting, value)?;
        Ok(counting.bytes)
    }

    /// Reads a value from all bytes of the reader.
    ///
    /// # Errors
    ///
    /// Those of the reader; [`InvalidData`](io::ErrorKind::InvalidData) for bytes that are no such value, or more
    /// than one.
    pub fn read<T: DeserializeOwned>(mut reader: impl Read) -> io::Result<T> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(invalid_data)
    }
}

fn invalid_data(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Counts the bytes that are written.
struct Counting<W> {
    writer: W,
    bytes: usize,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.writer.write(buf)?;
        self.bytes += n;
        Ok(n)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.writer.write_all(buf)?;
        self.bytes += buf.len();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
