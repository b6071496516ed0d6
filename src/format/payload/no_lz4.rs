//! In the place of `lz4.rs`, in a build without the feature: nothing is compressed, and a chunk in which
//! something may be was refused by its header.

/// There is none.
#[derive(Debug)]
pub(crate) enum Compressor {}

impl Compressor {
    pub(crate) fn compress(&mut self, _payload: &mut [u8]) -> Option<usize> {
        match *self {}
    }
}

/// A frame that would need it was refused for its flags.
pub(super) fn decompress<'s>(_stored: &[u8], _scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    None
}
