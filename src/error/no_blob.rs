//! Why a blob reference leads nowhere.

use std::fmt;

/// How a blob reference was seen to lead nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoBlob {
    /// The store had such a chunk; it was removed.
    Removed,
    /// The store never had such a chunk.
    UnknownChunk,
    /// The chunk has no such bytes.
    OutOfRange,
    /// The chunk is there, but no blob of this length begins at this place.
    NotThere,
}

impl fmt::Display for NoBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoBlob::Removed => "the chunk was removed",
            NoBlob::UnknownChunk => "the store never had such a chunk; is the reference another store's?",
            NoBlob::OutOfRange => "the chunk has no such bytes; is the reference another store's?",
            NoBlob::NotThere => {
                "no blob of this length begins there; is the reference another store's, or the file damaged?"
            }
        })
    }
}
