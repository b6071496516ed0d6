//! The least that a record needs around it: a length and a checksum.
//!
//! ```text
//! | len: u32 | crc of the payload: u32 | payload |
//! ```

use super::crc::crc32c;

pub(crate) const HEADER: usize = 8;

/// Appends a frame.
#[inline]
pub(crate) fn push(buffer: &mut Vec<u8>, payload: &[u8]) {
    buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&crc32c(payload).to_le_bytes());
    buffer.extend_from_slice(payload);
}

/// Checks the frames from the start of `bytes`; returns the number of valid ones, and where the last of
/// them ends. Stops at the first invalid frame.
pub(crate) fn walk(bytes: &[u8]) -> (u64, usize) {
    let mut count = 0;
    let mut rest = bytes;
    while let Some((header, body)) = rest.split_first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let crc = u32::from_le_bytes([c0, c1, c2, c3]);
        let Some(payload) = body.get(..len) else { break };
        if len == 0 || crc32c(payload) != crc {
            break;
        }
        rest = &body[len..];
        count += 1;
    }
    (count, bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_ends_at_what_is_no_frame() {
        let mut bytes = Vec::new();
        push(&mut bytes, b"abc");
        push(&mut bytes, b"defghi");
        let end = bytes.len();
        assert_eq!(walk(&bytes), (2, end));
        assert_eq!(walk(&bytes[..end - 1]), (1, HEADER + 3));
        bytes[end - 1] ^= 1;
        assert_eq!(walk(&bytes), (1, HEADER + 3));
        assert_eq!(walk(&[0; 64]), (0, 0));
    }
}
