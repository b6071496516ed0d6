//! In the place of `lz4.rs`, in a build without the feature: nothing is compressed, and a chunk in which
//! something may be was refused by its header.

use std::io;

/// There is none.
#[derive(Debug)]
pub(crate) enum Compressor {}

impl Compressor {
    pub(crate) fn compress(&mut self, _buffer: &mut Vec<u8>, _start: usize) -> bool {
        match *self {}
    }
}

pub(super) fn decompress<'a>(_stored: &[u8], _scratch: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    let message = "the payload is compressed; it takes the cargo feature `lz4` to read it";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}
