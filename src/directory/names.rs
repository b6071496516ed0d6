//! The names of a log's files, but for [`ChunkId::file_name`], which is public.

use std::ffi::OsStr;

use crate::position::ChunkId;
use crate::random::random_u64;

/// The file that is locked.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// The directory of the subscribers' places.
pub(crate) const SUBSCRIBERS_NAME: &str = "subscribers";

const AWAY_SUFFIX: &str = ".away";
const SPARE_PREFIX: &str = "spare-";
const SPARE_SUFFIX: &str = ".tmp";

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileName {
    Chunk(ChunkId),
    /// A chunk whose name an open was making anew when it stopped.
    Away(ChunkId),
    Spare,
    Lock,
    Subscribers,
}

impl FileName {
    /// `None` for a name that the log doesn't make.
    pub(super) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        if name == LOCK_NAME {
            return Some(FileName::Lock);
        }
        // The name of a directory.
        if name.strip_suffix('/') == Some(SUBSCRIBERS_NAME) {
            return Some(FileName::Subscribers);
        }
        if is_spare(name) {
            return Some(FileName::Spare);
        }
        match name.strip_suffix(AWAY_SUFFIX) {
            Some(name) => ChunkId::parse_file_name(name).map(FileName::Away),
            None => ChunkId::parse_file_name(name).map(FileName::Chunk),
        }
    }
}

/// The name that a chunk's file has for a moment while its own is made anew.
pub(crate) fn away_name(id: ChunkId) -> String {
    format!("{}{AWAY_SUFFIX}", id.file_name())
}

/// A name for a spare that no other file has.
pub(crate) fn spare_name() -> String {
    format!("{SPARE_PREFIX}{:016x}{SPARE_SUFFIX}", random_u64())
}

fn is_spare(name: &str) -> bool {
    name.strip_prefix(SPARE_PREFIX)
        .and_then(|rest| rest.strip_suffix(SPARE_SUFFIX))
        .is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_that_is_made_is_known_again_and_no_other() {
        let parse = |name: &str| FileName::parse(OsStr::new(name));
        assert_eq!(parse(&ChunkId(8).file_name()), Some(FileName::Chunk(ChunkId(8))));
        assert_eq!(parse(&away_name(ChunkId(8))), Some(FileName::Away(ChunkId(8))));
        assert_eq!(parse(&spare_name()), Some(FileName::Spare));
        assert_eq!(parse(LOCK_NAME), Some(FileName::Lock));
        assert_eq!(parse("subscribers/"), Some(FileName::Subscribers));
        for name in [
            "",
            "LOCK.away",
            "subscribers",
            "spare-0.tmp",
            "spare-00000000000000g0.tmp",
            "spare-.tmp",
            "r-.wal.away",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
