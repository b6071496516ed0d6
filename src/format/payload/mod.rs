//! How the payload of a record is stored: as the codec wrote it, or transformed, as the chunk's header allows
//! and the frame's flags say.
//!
//! ```text
//! config ──► Transform ──► feature: a bit in the header of each new chunk
//!                    └───► apply: payload, in its place ──► shorter payload, flags of its frame
//! header ──► which flags a record may have ──► flags ──► decode: stored payload ──► payload
//! ```
//!
//! Another transformation adds a variant of [`Transform`], a feature, a flag and an arm of [`decode`] here, and
//! a setting in `config`. Checks, CRCs, lengths and offsets are of the stored bytes and do not change.

#[cfg(feature = "lz4")]
mod lz4;
#[cfg(not(feature = "lz4"))]
#[path = "no_lz4.rs"]
mod lz4;

pub(crate) use self::lz4::Compressor;
use self::lz4::decompress;

/// Frames with an LZ4 payload may occur.
pub(crate) const FEATURE_LZ4: u32 = 1;

/// The payload is compressed. Only records may be, and only in chunks with [`FEATURE_LZ4`].
pub(crate) const FLAG_LZ4: u8 = 1;

/// The features of payloads that this build can read.
pub(super) const PAYLOAD_FEATURES: u32 = if cfg!(feature = "lz4") { FEATURE_LZ4 } else { 0 };

/// A transformation of payloads on their way into the chunk.
#[derive(Debug)]
#[cfg_attr(not(feature = "lz4"), expect(dead_code, reason = "without the feature there is none"))]
pub(crate) enum Transform {
    Lz4(Compressor),
}

/// The length and the flags of a transformed payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) len: u32,
    pub(crate) flags: u8,
}

impl Transform {
    /// The bit that the header of a chunk with such payloads has.
    pub(crate) fn feature(&self) -> u32 {
        match self {
            Transform::Lz4(_) => FEATURE_LZ4,
        }
    }

    /// Transforms the payload in its place; `None` leaves the payload unchanged. The result is never longer.
    pub(crate) fn apply(&mut self, payload: &mut [u8]) -> Option<Stored> {
        match self {
            Transform::Lz4(compressor) => {
                compressor.compress(payload).map(|len| Stored { len: len as u32, flags: FLAG_LZ4 })
            }
        }
    }
}

/// The payload as the codec wrote it, from the bytes stored in a frame with these flags: the same bytes, or
/// what they hold, in `scratch`. `None` if they hold no payload.
#[inline]
pub(super) fn decode<'s>(flags: u8, stored: &'s [u8], scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    if flags & FLAG_LZ4 != 0 { decompress(stored, scratch) } else { Some(stored) }
}
