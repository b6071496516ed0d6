//! Takes one record out of a chunk's file.

use std::io::IoSlice;
use std::path::Path;

use super::repair::REPAIR_READ;
use super::scan_error;
use crate::directory::open_chunk_file;
use crate::error::{Error, Result};
use crate::format::{HEADER_LEN, ReadAt, Salt, Scan, ScanEnd, is_void_at, void_frame};
use crate::position::{ChunkId, Segment};
use crate::storage::{Access, Storage, read_full_at, write_all_at};

/// Puts a void frame in the place of the record at `offset`, and syncs the file. Done already is done.
///
/// The write is not atomic, so the file is to be a copy that gets the chunk's name afterwards.
pub(crate) fn void_record(storage: &dyn Storage, path: &Path, offset: u64) -> Result<()> {
    let (header, bytes) = open_chunk_file(storage, path, None)?;
    let read = |e| Error::from_read(path, e);
    let mut scan = Scan::new(&bytes, &header, false, REPAIR_READ);
    let not_voidable = |why| Error::NotVoidable { path: path.to_owned(), offset, why };
    let found = loop {
        match scan.next().map_err(read)? {
            Some(frame) if frame.offset + frame.size > offset => break frame,
            Some(_) => {}
            None if is_void_at(&bytes, &header, offset).map_err(read)? => return Ok(()),
            None => return Err(not_there(&scan, path, header.chunk_id, offset)),
        }
    };
    let found = Segment::new(found.offset, found.size);
    if found.offset > offset && is_void_at(&bytes, &header, offset).map_err(read)? {
        return Ok(());
    }
    if found.offset != offset {
        return Err(Error::NoSuchRecord { offset, size: 0, found });
    }
    if offset == header.chunk_id + HEADER_LEN {
        return Err(not_voidable(
            "it is the checkpoint with which its chunk begins, and a chunk must have one",
        ));
    }
    let handle = storage.open(path, Access::ReadWrite).map_err(|e| Error::io("open for writing", path, e))?;
    let position = offset - header.chunk_id;
    let mut frame = vec![0; usize::try_from(found.size).unwrap_or(usize::MAX)];
    read_full_at(&*handle, &mut frame, position).map_err(|e| Error::io("read", path, e))?;
    let void = void_frame(&frame, offset, &Salt::new(header.salt));
    let void =
        void.ok_or_else(|| not_voidable("it has no payload, so its frame has no room for the mark"))?;
    write_all_at(&*handle, &mut [IoSlice::new(&void)], position).map_err(|e| Error::io("write", path, e))?;
    handle.sync().map_err(|e| Error::io("sync", path, e))
}

/// Why the records ended before the one that is to go.
fn not_there<R: ReadAt>(scan: &Scan<R>, path: &Path, id: u64, offset: u64) -> Error {
    match scan.end() {
        Some(ScanEnd::Corrupt { .. } | ScanEnd::Unsupported { .. }) => {
            scan_error(scan.end(), ChunkId(id), path)
        }
        _ => Error::NotInLog { offset, size: 0, start: id, end: scan.offset() },
    }
}
