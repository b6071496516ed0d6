//! Why a chunk is foreign.

use std::fmt;

use crate::position::ChunkId;

/// Why a chunk is foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Its log id is not that of the other chunks.
    LogId {
        /// The log id of most chunks; of the oldest chunk, if another id is as frequent.
        expected: [u8; 16],
        /// The log id of this chunk.
        found: [u8; 16],
    },
    /// The predecessor isn't the chunk that was there when this chunk was started: the predecessor is
    /// sealed and has the right length, but has other records.
    Predecessor {
        /// The checksum of the predecessor's records, as this chunk's header has it.
        expected: u32,
        /// The checksum in the seal of the chunk that is there.
        found: u32,
    },
    /// Its header and its file name have different ids.
    Name {
        /// The id in the file name.
        named: ChunkId,
        /// The id in the header.
        header: ChunkId,
    },
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreign::LogId { expected, found } => {
                write!(
                    f,
                    "it belongs to log {:032x}, the others to {:032x}",
                    u128::from_be_bytes(*found),
                    u128::from_be_bytes(*expected)
                )
            }
            Foreign::Predecessor { expected, found } => write!(
                f,
                "it follows a chunk with the checksum {expected:08x}, but the chunk before it has {found:08x}; one of the two is from another history of this log"
            ),
            Foreign::Name { named, header } => write!(f, "its name says {named}, its header {header}"),
        }
    }
}
