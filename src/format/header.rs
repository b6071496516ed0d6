//! The first 64 bytes of a chunk file.
//!
//! ```text
//! 0       8         10           12         16         24     32       48        56         60
//! | magic | version | header_len | features | chunk_id | salt | log_id | created | before | crc |
//! ```
//!
//! The fields that refuse a reader are checked before the checksum: magic, then version and
//! features, then the CRC. A chunk of a later version may be checksummed in another way.

use super::{Crc, FEATURE_LZ4, FLAG_LZ4, FLAG_MORE, PAYLOAD_FEATURES, Transform, array_at};

/// Bytes of a chunk header; the first frame follows.
pub(crate) const HEADER_LEN: u64 = 64;

/// The version of the format that this build writes and reads.
pub(crate) const VERSION: u16 = 1;

/// The file had an earlier life: bytes of that life may be after the end.
pub(crate) const FEATURE_EARLIER_LIFE: u32 = 2;

/// The features that this build can read.
pub(crate) const KNOWN_FEATURES: u32 = PAYLOAD_FEATURES | FEATURE_EARLIER_LIFE;

const LEN: usize = HEADER_LEN as usize;
const CRC_AT: usize = LEN - 4;

/// A text-mode copy, which changes line ends, breaks it visibly.
const MAGIC: [u8; 8] = *b"CHNKWAL\n";

/// A chunk's description of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The global offset of the chunk's first byte.
    pub(crate) chunk_id: u64,
    /// What a reader must know to read the chunk: `FEATURE_*` bits.
    pub(crate) features: u32,
    /// Random, new for each life of a file; enters every frame's check and CRC.
    pub(crate) salt: u64,
    /// Random, the same in all chunks of a log.
    pub(crate) log_id: [u8; 16],
    /// When the chunk was made, in milliseconds of Unix time; for people only.
    pub(crate) created_ms: u64,
    /// The [`DataCrc`](super::DataCrc) of the chunk before this one, as its seal has it; 0 in a log's
    /// first chunk. It distinguishes the predecessor from a chunk of another history with the same length.
    pub(crate) previous_crc: u32,
}

/// Why bytes are no header that this build can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The magic is missing; the first bytes, at most 8.
    NotAChunk { found: Vec<u8> },
    /// A later format, or one of another build.
    Unsupported { what: &'static str, found: u64, known: u64 },
    /// Cut short, or the CRC fails.
    Corrupt,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&(LEN as u16).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.features.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.chunk_id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.log_id);
        bytes[48..56].copy_from_slice(&self.created_ms.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.previous_crc.to_le_bytes());
        let crc = crc_of_header(&bytes);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header that `bytes` begin with.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        Self::decode_with_features(bytes, KNOWN_FEATURES)
    }

    /// The same, whatever the chunk's features are: the layout and the checksum of a header don't depend on them.
    pub(crate) fn decode_of_any_features(bytes: &[u8]) -> Result<Self, HeaderError> {
        Self::decode_with_features(bytes, u32::MAX)
    }

    fn decode_with_features(bytes: &[u8], known: u32) -> Result<Self, HeaderError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::NotAChunk { found: bytes[..bytes.len().min(MAGIC.len())].to_vec() });
        }
        let bytes: &[u8; LEN] = bytes.first_chunk().ok_or(HeaderError::Corrupt)?;
        let version = u16::from_le_bytes(array_at(bytes, 8));
        let header_len = u16::from_le_bytes(array_at(bytes, 10));
        let features = u32::from_le_bytes(array_at(bytes, 12));

        let unsupported = |what, found, known| Err(HeaderError::Unsupported { what, found, known });
        if version != VERSION {
            return unsupported("format version", version.into(), VERSION.into());
        }
        match features & !known {
            0 => {}
            // The one that another build of this version knows.
            FEATURE_LZ4 => {
                return unsupported("features (cargo feature `lz4`)", features.into(), KNOWN_FEATURES.into());
            }
            _ => return unsupported("features", features.into(), KNOWN_FEATURES.into()),
        }
        if u32::from_le_bytes(array_at(bytes, CRC_AT)) != crc_of_header(bytes) {
            return Err(HeaderError::Corrupt);
        }
        if u64::from(header_len) != HEADER_LEN {
            return unsupported("header length", header_len.into(), HEADER_LEN);
        }
        Ok(Self {
            chunk_id: u64::from_le_bytes(array_at(bytes, 16)),
            features,
            salt: u64::from_le_bytes(array_at(bytes, 24)),
            log_id: array_at(bytes, 32),
            created_ms: u64::from_le_bytes(array_at(bytes, 48)),
            previous_crc: u32::from_le_bytes(array_at(bytes, 56)),
        })
    }

    /// Reads a header in which one bit is flipped, wherever that is: with 60 bytes under a CRC-32C, no four
    /// flipped bits look like one. `None` for any other bytes, sound ones too.
    pub(crate) fn decode_with_one_bit_flipped(bytes: &[u8; LEN]) -> Option<Self> {
        let is_sound =
            |bytes: &[u8; LEN]| u32::from_le_bytes(array_at(bytes, CRC_AT)) == crc_of_header(bytes);
        if is_sound(bytes) {
            return None;
        }
        let mut mended = *bytes;
        for bit in 0..LEN * 8 {
            mended[bit / 8] ^= 1 << (bit % 8);
            if is_sound(&mended) {
                return Self::decode(&mended).ok();
            }
            mended[bit / 8] ^= 1 << (bit % 8);
        }
        None
    }

    /// Whether payloads of the chunk may be transformed so.
    pub(crate) fn allows(&self, transform: &Transform) -> bool {
        self.features & transform.feature() != 0
    }

    /// Whether frames of the chunk may be compressed.
    pub(crate) fn may_be_compressed(&self) -> bool {
        self.features & FEATURE_LZ4 != 0
    }

    /// The flags that a record of the chunk may have.
    pub(crate) fn record_flags(&self) -> u8 {
        if self.may_be_compressed() { FLAG_MORE | FLAG_LZ4 } else { FLAG_MORE }
    }

    /// Whether bytes of an earlier life of the file may be after the end.
    pub(crate) fn earlier_life(&self) -> bool {
        self.features & FEATURE_EARLIER_LIFE != 0
    }
}

fn crc_of_header(bytes: &[u8; LEN]) -> u32 {
    Crc::of(&bytes[..CRC_AT])
}
