//! Why a blob reference leads nowhere.

use std::fmt;

/// Why a blob reference leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoBlob {
    /// The chunk was removed.
    Removed,
    /// The store never had such a chunk.
    UnknownChunk,
    /// The chunk has no such bytes.
    OutOfRange,
    /// The chunk is there, but no blob of this length starts at this position.
    NotThere,
}

impl fmt::Display for NoBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoBlob::Removed => "the chunk was removed",
            NoBlob::UnknownChunk => "the store never had such a chunk; is the reference from another store?",
            NoBlob::OutOfRange => "the chunk has no such bytes; is the reference from another store?",
            NoBlob::NotThere => {
                "no blob of this length starts there; is the reference from another store, or the file damaged?"
            }
        })
    }
}
