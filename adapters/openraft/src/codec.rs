//! MessagePack with the names of fields, through serde.
//!
//! Why MessagePack with names: the shape of a user's command is not this crate's to decide, and the log
//! outlives the program that wrote it. A self-describing format reads back flattened structs, untagged
//! enums and skipped fields; formats without names write those just as willingly, and can't read them
//! again. Names also allow a type to gain a field with a default, or to lose one, while old entries
//! stay readable.
//!
//! - A value is encoded straight into the log's buffer, and decoded straight from the frame.
//! - A claimed length is believed only as far as there are bytes; nesting has a limit.

use std::io;
use std::io::{Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes a value; returns the number of bytes.
pub(crate) fn encode(value: &impl Serialize, writer: impl Write) -> io::Result<usize> {
    let mut counting = Counting { writer, bytes: 0 };
    let mut serializer = rmp_serde::Serializer::new(&mut counting).with_struct_map();
    value.serialize(&mut serializer).map_err(invalid_data)?;
    Ok(counting.bytes)
}

/// Decodes a value, which must be followed by nothing.
pub(crate) fn decode<T: DeserializeOwned>(reader: impl Read) -> io::Result<T> {
    rmp_serde::from_read(reader).map_err(invalid_data)
}

pub(crate) fn invalid_data(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A writer that counts its bytes.
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
