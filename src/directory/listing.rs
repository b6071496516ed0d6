//! The names in a log's directory, sorted out.

use std::io;
use std::path::{Path, PathBuf};

use super::chunk_file::read_header;
use super::names::{FileName, away_name};
use crate::error::{Error, Result};
use crate::position::ChunkId;
use crate::storage::Storage;

/// The names in a log's directory, sorted out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The chunks, oldest first.
    pub chunks: Vec<ChunkId>,
    /// Files kept ready to become chunks.
    pub spares: Vec<PathBuf>,
    /// Files that are not the log's.
    pub foreign: Vec<PathBuf>,
    /// Chunks, listed above too, whose name an open was making anew when it stopped.
    away: Vec<ChunkId>,
}

impl Listing {
    /// Where the `i`th chunk is in the log.
    pub fn place(&self, i: usize) -> ChunkPlace {
        if i + 1 < self.chunks.len() { ChunkPlace::Older } else { ChunkPlace::Newest }
    }

    /// Gives chunks that a crash has caught in [`rename_anew`](super::rename_anew) their names back. The log is
    /// locked.
    pub(crate) fn put_back(&self, storage: &dyn Storage, dir: &Path) -> Result<()> {
        for id in &self.away {
            let (away, path) = (dir.join(away_name(*id)), dir.join(id.file_name()));
            let header = |path: &Path| read_header(storage, path);
            match storage.rename_new(&away, &path) {
                Ok(()) => {}
                // Both names of one file, by a crash in the middle of the rename.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    if header(&away).is_none() || header(&away) != header(&path) {
                        return Err(Error::ChunkExists { path: away });
                    }
                    storage.remove(&away).map_err(|e| Error::io("remove", away, e))?;
                }
                Err(e) => return Err(Error::no_space("rename", away, 0, e)),
            }
        }
        Ok(())
    }
}

/// Where a chunk is in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPlace {
    /// Another chunk follows, so it must end in a seal.
    Older,
    /// It may end in any way.
    Newest,
}

/// Lists a resolved directory once, which is enough while the log is locked.
pub(crate) fn list(storage: &dyn Storage, dir: &Path) -> Result<Listing> {
    let names = storage.list(dir).map_err(|e| Error::io("list", dir, e))?;
    let mut listing = Listing::default();
    for name in names {
        match FileName::parse(&name) {
            Some(FileName::Chunk(id)) => listing.chunks.push(id),
            Some(FileName::Away(id)) => listing.away.push(id),
            Some(FileName::Spare) => listing.spares.push(dir.join(name)),
            Some(FileName::Lock | FileName::Subscribers) => {}
            None => listing.foreign.push(dir.join(name)),
        }
    }
    // A chunk is part of the log under either name; `open_chunk` looks for both.
    listing.chunks.extend(&listing.away);
    listing.chunks.sort_unstable();
    listing.chunks.dedup();
    listing.spares.sort_unstable();
    listing.foreign.sort_unstable();
    Ok(listing)
}
