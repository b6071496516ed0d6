//! MessagePack values as bytes: finds where a value ends, and reads its parts.
//!
//! A value describes itself, so this needs none of the types in it. A length is believed only as far as there are
//! bytes, and nesting takes no stack.

use std::io::{Read, Write};
use std::ops::Range;
use std::{fmt, io};

use codeq::{Decode, Encode};

/// One MessagePack value, as bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MsgPack(Vec<u8>);

impl MsgPack {
    /// Returns the value's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MsgPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Encode for MsgPack {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        writer.write_all(&self.0)?;
        Ok(self.0.len())
    }
}

impl Decode for MsgPack {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let mut values = 1_u64;
        while values > 0 {
            let parts = match next_part(&mut reader, &mut bytes)? {
                Part::Array(len) => len,
                Part::Map(len) => 2 * len,
                _ => 0,
            };
            values = (values - 1).saturating_add(parts);
        }
        Ok(MsgPack(bytes))
    }
}

/// A part of a value: all of it, or what an array or a map starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Nil,
    Bool(bool),
    Int(i128),
    /// The content of a string, of bytes or of an extension, or a floating-point number.
    Bytes(Range<usize>),
    Array(u64),
    /// The number of pairs.
    Map(u64),
}

/// Reads the next part, and appends its bytes to `bytes`.
pub(crate) fn next_part(reader: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<Part> {
    let marker = number(reader, bytes, 1)? as u8;
    Ok(match marker {
        0x00..=0x7f => Part::Int(marker.into()),
        0x80..=0x8f => Part::Map((marker & 0x0f).into()),
        0x90..=0x9f => Part::Array((marker & 0x0f).into()),
        0xa0..=0xbf => content(reader, bytes, (marker & 0x1f).into())?,
        0xc0 => Part::Nil,
        0xc1 => return Err(invalid("0xc1 starts no value of MessagePack")),
        0xc2 | 0xc3 => Part::Bool(marker == 0xc3),
        0xc4..=0xc6 => with_length(reader, bytes, marker - 0xc4, 0)?,
        // The type of an extension is 1 byte before its content.
        0xc7..=0xc9 => with_length(reader, bytes, marker - 0xc7, 1)?,
        0xca | 0xcb => content(reader, bytes, 4 << (marker - 0xca))?,
        0xcc..=0xcf => Part::Int(number(reader, bytes, 1 << (marker - 0xcc))?.into()),
        0xd0..=0xd3 => {
            let len = 1 << (marker - 0xd0);
            let unsigned = number(reader, bytes, len)?;
            let shift = 64 - 8 * len;
            Part::Int(((unsigned << shift) as i64 >> shift).into())
        }
        0xd4..=0xd8 => content(reader, bytes, 1 + (1 << (marker - 0xd4)))?,
        0xd9..=0xdb => with_length(reader, bytes, marker - 0xd9, 0)?,
        0xdc | 0xdd => Part::Array(number(reader, bytes, 2 << (marker - 0xdc))?),
        0xde | 0xdf => Part::Map(number(reader, bytes, 2 << (marker - 0xde))?),
        0xe0..=0xff => Part::Int((marker as i8).into()),
    })
}

/// A big-endian number of `len` bytes, at most 8.
fn number(reader: &mut impl Read, bytes: &mut Vec<u8>, len: usize) -> io::Result<u64> {
    let mut number = [0; 8];
    reader.read_exact(&mut number[8 - len..])?;
    bytes.extend_from_slice(&number[8 - len..]);
    Ok(u64::from_be_bytes(number))
}

/// A content whose length is in 1, 2 or 4 bytes before it.
fn with_length(reader: &mut impl Read, bytes: &mut Vec<u8>, size: u8, more: u64) -> io::Result<Part> {
    let len = number(reader, bytes, 1 << size)?;
    content(reader, bytes, len + more)
}

fn content(reader: &mut impl Read, bytes: &mut Vec<u8>, len: u64) -> io::Result<Part> {
    let start = bytes.len();
    if reader.take(len).read_to_end(bytes)? as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Part::Bytes(start..bytes.len()))
}

pub(crate) fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A map from names of at most 31 bytes to values, of at most 15 pairs.
pub(crate) fn map(pairs: Vec<(&str, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = vec![0x80 | pairs.len() as u8];
    for (name, value) in pairs {
        bytes.push(0xa0 | name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend(value);
    }
    bytes
}

/// Nothing: `None`.
pub(crate) fn nil() -> Vec<u8> {
    vec![0xc0]
}

pub(crate) fn uint(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_uint(&mut bytes, number);
    bytes
}

/// Bytes, which must be fewer than 4 GiB.
pub(crate) fn bin(content: &[u8]) -> Vec<u8> {
    let len = content.len() as u32;
    let mut bytes = match u8::try_from(len) {
        Ok(len) => vec![0xc4, len],
        Err(_) => [&[0xc6], &len.to_be_bytes()[..]].concat(),
    };
    bytes.extend_from_slice(content);
    bytes
}

/// Appends an unsigned number.
pub(crate) fn push_uint(bytes: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(small @ 0..=0x7f) => bytes.push(small),
        _ => {
            bytes.push(0xcf);
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use codeq::Decode;
    use serde::Serialize;

    use super::MsgPack;

    #[derive(Serialize)]
    struct Everything {
        numbers: Vec<i64>,
        unsigned: Vec<u64>,
        floats: (f32, f64),
        short: String,
        long: Vec<String>,
        bytes: serde_bytes_like::Bytes,
        nested: BTreeMap<String, Vec<Option<bool>>>,
        many: Vec<u8>,
        unit: (),
    }

    /// Serializes as bytes, not as an array.
    mod serde_bytes_like {
        #[derive(Clone)]
        pub(super) struct Bytes(pub(super) Vec<u8>);

        impl serde::Serialize for Bytes {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }
    }

    fn everything(bytes: usize) -> Vec<u8> {
        let value = Everything {
            numbers: vec![0, -1, -32, -33, 127, 128, i64::MIN, i64::MAX, -129, -32_769],
            unsigned: vec![255, 256, 65_536, u64::MAX],
            floats: (1.5, -2.5),
            short: "short".into(),
            long: vec!["x".repeat(31), "x".repeat(32), "x".repeat(300), "x".repeat(70_000)],
            bytes: serde_bytes_like::Bytes(vec![7; bytes]),
            nested: (0..20).map(|i| (i.to_string(), vec![None, Some(true), Some(false)])).collect(),
            many: vec![200; 70_000],
            unit: (),
        };
        rmp_serde::to_vec_named(&value).unwrap()
    }

    #[test]
    fn exactly_one_value_is_read() {
        for bytes in [0, 255, 256, 65_536] {
            let value = everything(bytes);
            let mut two = value.clone();
            two.extend_from_slice(b"what follows");
            let mut reader = &two[..];
            assert_eq!(MsgPack::decode(&mut reader).unwrap().as_bytes(), value);
            assert_eq!(reader, b"what follows");
        }
    }

    #[test]
    fn a_value_that_is_cut_short_ends_unexpectedly() {
        let value =
            rmp_serde::to_vec_named(&(1_u8, "text", Some(-5_000), vec![0.5], "x".repeat(300))).unwrap();
        for len in 0..value.len() {
            let error = MsgPack::decode(&value[..len]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{len}");
        }
    }

    #[test]
    fn hostile_lengths_take_no_memory_and_nesting_no_stack() {
        for bytes in [&b"\xdb\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff\x01"] {
            assert!(MsgPack::decode(bytes).is_err());
        }
        let mut nested = vec![0x91; 1 << 20];
        nested.push(0xc0);
        assert_eq!(MsgPack::decode(&nested[..]).unwrap().as_bytes(), nested);
    }
}
