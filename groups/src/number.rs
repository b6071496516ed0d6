//! Numbers as LEB128: seven bits in each byte, the lowest first.

use std::io;
use std::io::Read;

/// The most bytes of a number.
pub(crate) const NUMBER_MAX: usize = 10;

pub(crate) fn push_number(bytes: &mut Vec<u8>, number: u64) {
    let mut buffer = [0; NUMBER_MAX];
    let len = write_number(&mut buffer, number);
    bytes.extend_from_slice(&buffer[..len]);
}

/// Writes a number to the front; returns its length. The buffer has room for the longest one.
pub(crate) fn write_number(buffer: &mut [u8], mut number: u64) -> usize {
    let mut len = 0;
    while number >= 0x80 {
        buffer[len] = number as u8 | 0x80;
        number >>= 7;
        len += 1;
    }
    buffer[len] = number as u8;
    len + 1
}

/// Takes a number from the front; `None` if there is none that fits a `u64`.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// As [`take_number`], from a reader, byte by byte.
pub(crate) fn read_number(reader: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; NUMBER_MAX];
    for len in 1..=bytes.len() {
        reader.read_exact(&mut bytes[len - 1..len])?;
        if bytes[len - 1] & 0x80 == 0 {
            return take_number(&mut &bytes[..len]).ok_or_else(too_large);
        }
    }
    Err(too_large())
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a number has more than 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_they_were() {
        for number in (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            push_number(&mut bytes, number);
            assert_eq!(take_number(&mut &bytes[..]), Some(number));
            assert_eq!(read_number(&mut &bytes[..]).unwrap(), number);
            bytes.pop();
            assert_eq!(take_number(&mut &bytes[..]), None);
        }
        assert_eq!(take_number(&mut &[0xff; 10][..]), None, "more than 64 bits");
        assert!(read_number(&mut &[0x80; 11][..]).is_err());
    }
}
