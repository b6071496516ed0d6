//! A chunk's file by its name: opened and checked against it, or given its name once more.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::FileBytes;
use super::names::away_name;
use crate::error::{Damage, Error, Foreign, Proof, Result};
use crate::format::{HEADER_LEN, Header, HeaderError, ReadAt, Scan};
use crate::position::ChunkId;
use crate::storage::{Access, Storage, StorageFile, read_full_at};

/// A file's header, if it looks like a chunk.
pub(crate) fn read_header(storage: &dyn Storage, path: &Path) -> Option<Header> {
    Header::decode(&first_bytes(storage, path)?).ok()
}

/// As many of a file's first bytes as a header has.
pub(super) fn first_bytes(storage: &dyn Storage, path: &Path) -> Option<Vec<u8>> {
    let mut buf = vec![0; HEADER_LEN as usize];
    let read = storage.open(path, Access::Read).and_then(|file| read_full_at(&*file, &mut buf, 0));
    buf.truncate(read.ok()?);
    Some(buf)
}

/// Renames a chunk away and back, so that the next sync of the directory covers its name. After a failed sync, a
/// second one that succeeds proves nothing about changes made before the first.
pub(crate) fn rename_anew(storage: &dyn Storage, dir: &Path, id: ChunkId) -> Result<()> {
    let (away, path) = (dir.join(away_name(id)), dir.join(id.file_name()));
    let renamed = storage.rename_new(&path, &away).and_then(|()| storage.rename_new(&away, &path));
    renamed.map_err(|e| Error::no_space("rename", path, 0, e))
}

/// Makes the directory's names durable.
pub(crate) fn sync_dir(storage: &dyn Storage, dir: &Path) -> Result<()> {
    storage.sync_dir(dir).map_err(|e| Error::io("sync directory", dir, e))
}

/// Opens a chunk for reading and checks its header against its name.
pub(crate) fn open_chunk(storage: &dyn Storage, path: &Path, id: ChunkId) -> Result<(Header, FileBytes)> {
    open_chunk_file(storage, path, Some(id))
}

/// Opens a chunk for reading, and checks its header against `id` if it has to be that chunk.
pub(crate) fn open_chunk_file(
    storage: &dyn Storage,
    path: &Path,
    id: Option<ChunkId>,
) -> Result<(Header, FileBytes)> {
    let file = open_by_either_name(storage, path, id).map_err(|e| Error::io("open", path, e))?;
    let len = file.len().map_err(|e| Error::io("measure", path, e))?;
    let bytes = FileBytes::new(file, len);
    let mut buf = [0; HEADER_LEN as usize];
    let n = bytes.read_at(&mut buf, 0).map_err(|e| Error::io("read", path, e))?;
    let header =
        Header::decode(&buf[..n]).map_err(|error| header_error(error, path, id.unwrap_or_default()))?;
    if let Some(id) = id.filter(|id| id.0 != header.chunk_id) {
        let reason = Foreign::Name { named: id, header: ChunkId(header.chunk_id) };
        return Err(Error::ForeignChunk { path: path.to_owned(), reason });
    }
    Ok((header, bytes))
}

/// As [`open_chunk`], also where one bit of the header is flipped: then `true` is returned with what the header was.
pub(crate) fn open_one_bit_flipped(
    storage: &dyn Storage,
    path: &Path,
    id: ChunkId,
) -> Result<(Header, FileBytes, bool)> {
    let error = match open_chunk(storage, path, id) {
        Ok((header, bytes)) => return Ok((header, bytes, false)),
        Err(error) => error,
    };
    match error {
        Error::NotAChunk { .. } | Error::Unsupported { .. } | Error::Corrupt { .. } => {}
        _ => return Err(error),
    }
    match mended_header(storage, path, id).map_err(|e| Error::from_read(path, e))? {
        Some((header, bytes)) => Ok((header, bytes, true)),
        None => Err(error),
    }
}

/// The header of a chunk in which one bit is flipped, if the file's name and first frame agree with it.
fn mended_header(storage: &dyn Storage, path: &Path, id: ChunkId) -> io::Result<Option<(Header, FileBytes)>> {
    let bytes = FileBytes::open(storage, path)?;
    let mut buf = [0; HEADER_LEN as usize];
    if bytes.read_at(&mut buf, 0)? < buf.len() {
        return Ok(None);
    }
    let Some(header) = Header::decode_with_one_bit_flipped(&buf).filter(|header| header.chunk_id == id.0)
    else {
        return Ok(None);
    };
    let has_first_frame = Scan::new(&bytes, &header, true, HEADER_LEN as usize).next()?.is_some();
    Ok(has_first_frame.then_some((header, bytes)))
}

/// The log that most of the chunks are of, the oldest of them where that is undecided; `None` if no header can be
/// read. A chunk that was copied in may be the oldest.
pub(crate) fn log_id_of_most(storage: &dyn Storage, dir: &Path, chunks: &[ChunkId]) -> Option<[u8; 16]> {
    let open = |id: &ChunkId| open_chunk(storage, &dir.join(id.file_name()), *id).ok();
    let ids: Vec<_> = chunks.iter().filter_map(open).map(|(header, _)| header.log_id).collect();
    let mut counts = BTreeMap::new();
    ids.iter().for_each(|id| *counts.entry(id).or_insert(0_u64) += 1);
    // Of several that are the most, `max_by_key` takes the last.
    ids.iter().rev().max_by_key(|id| counts.get(id)).copied()
}

/// Opens a chunk's file, also under the name that it has after a process was killed in [`rename_anew`]: a reader
/// can't give the chunk its own name back.
pub(super) fn open_by_either_name(
    storage: &dyn Storage,
    path: &Path,
    id: Option<ChunkId>,
) -> io::Result<Arc<dyn StorageFile>> {
    match (storage.open(path, Access::Read), id) {
        (Err(e), Some(id)) if e.kind() == io::ErrorKind::NotFound => {
            let away = path.with_file_name(away_name(id));
            storage.open(&away, Access::Read).map_err(|_| e)
        }
        (opened, _) => opened,
    }
}

pub(super) fn header_error(error: HeaderError, path: &Path, chunk_id: ChunkId) -> Error {
    let path = path.to_owned();
    match error {
        HeaderError::NotAChunk { found } => Error::NotAChunk { path, found },
        HeaderError::Unsupported { what, found, known } => {
            Error::Unsupported { path, offset: chunk_id.0, what, found, known }
        }
        HeaderError::Corrupt => Error::Corrupt {
            path,
            chunk_id,
            offset: chunk_id.0,
            damage: Damage::Header,
            proof: Proof::FinalName,
        },
    }
}
