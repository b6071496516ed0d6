//! The bytes of a chunk file: encoding, decoding, and the verdict of a scan.
//!
//! ```text
//!  position 0        64
//!           +--------+------------+--------+-----+-------------------+----------------------+
//!           | header | checkpoint | frame  | ... | sync mark or seal | zeros or old bytes   |
//!           | 64 B   | (first)    |        |     | 16 B      40 B    | (nothing after seal) |
//!           +--------+------------+--------+-----+-------------------+----------------------+
//!           ^ ChunkId, a global offset           ^ data_end
//!
//!  frame:   | crc 4 | len 4 | kind, flags 1 | unsynced 3 | check 4 | payload | zeros to 8 |
//!           flags say how the payload is stored: as it is, or as payload/ has it
//!
//!  ReadAt ──► Scan ──► Frame, Frame, ... ──► ScanEnd
//!               ├─ place: classifies one position; only this module decides whether a frame is sound
//!               └─ search: after an invalid frame, is there proof that the frame was durable once?
//!  ReadAt ──► Frontier: how far sound records go that another process writes, and which are durable
//! ```
//!
//! - Everything here is pure: bytes in, bytes out. No file is opened, nothing is logged, and no
//!   setting but a buffer size has a say, so that limits changed later can't turn records into
//!   garbage.
//! - Frames start at multiples of 8. Salt and global offset enter each frame's check and CRC, so a
//!   frame of an earlier life of the file, or one at a wrong place, is not a frame.
//! - No input, however hostile, panics, allocates more than the file holds (compressed payloads: more
//!   than they really expand to, at most doubled), or loops.

mod batch;
mod block;
mod bounds;
mod crc;
mod cursor;
mod frame;
mod frontier;
mod header;
mod memory;
mod payload;
mod place;
mod scan;
mod seal;
mod search;
mod void;
mod window;

#[cfg(test)]
mod tests;

use std::io;

pub(crate) use self::block::*;
pub(crate) use self::bounds::{PENDING_LIMIT, RECORD_SIZE_LIMIT, UNSYNCED_MAX};
pub(crate) use self::crc::Crc;
pub(crate) use self::cursor::*;
pub(crate) use self::frame::*;
pub(crate) use self::frontier::*;
pub(crate) use self::header::*;
pub(crate) use self::memory::{Memory, Owner};
#[cfg(feature = "lz4")]
pub(crate) use self::payload::Compressor;
pub(crate) use self::payload::Transform;
use self::payload::{FEATURE_LZ4, FLAG_LZ4, PAYLOAD_FEATURES};
#[cfg(feature = "embedded")]
pub(crate) use self::place::{Origin, Place, inspect};
pub(crate) use self::scan::*;
pub(crate) use self::seal::*;
#[cfg(feature = "embedded")]
pub(crate) use self::search::{Search, search};
pub(crate) use self::void::*;
#[cfg(feature = "embedded")]
pub(crate) use self::window::Window;

/// The bytes of one chunk file, by position in the file.
pub(crate) trait ReadAt {
    /// How many bytes there are.
    fn len(&self) -> u64;

    /// Fills `buf` from `position`, unless the end comes first; returns how much was read.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// The first position from `position` on that may hold anything but zeros, `None` for none.
    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        Ok(Some(position))
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let rest = usize::try_from(position).ok().and_then(|p| self.get(p..)).unwrap_or(&[]);
        let n = buf.len().min(rest.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        (**self).read_at(buf, position)
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        (**self).next_data(position)
    }
}

/// Fills `buf` from `position`. Coming up short is an error: the file had these bytes, and must not
/// seem to end in a torn write because another process cut it meanwhile.
fn read_exact_at<R: ReadAt + ?Sized>(source: &R, buf: &mut [u8], position: u64) -> io::Result<()> {
    let got = source.read_at(buf, position)?;
    if got == buf.len() {
        return Ok(());
    }
    let why =
        format!("the file became shorter while it was read: {got} of {} bytes at {position}", buf.len());
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, why))
}

/// `N` bytes from `at` on; the caller knows that they are there.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
