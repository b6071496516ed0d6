//! A chunk whose name a crash has taken back: found under its spare's name by what is in it, and named again.
//!
//! ```text
//! r-A.wal    | frames ... | seal |              spare-….tmp   | header | checkpoint | frames ...
//!                         ^ A's end, CRC of A   ═══════════►  chunk id, previous CRC
//! ```
//!
//! - The worker writes a chunk's head once the seal before it is durable, and renames the file once the head is: so a
//!   sound head that continues the newest chunk is that chunk's successor, whatever its file is called.
//! - A head that is torn was never acknowledged, and nothing after it was: the file is a spare like others.
//! - The newest chunk's name is made durable before its successor gets a name, so that a name never comes back alone.
//! - The head is written once more and synced before the rename, because after a kill it may be in the page cache only.

use std::io::{Error as IoError, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::FileBytes;
use super::chunk_file::{first_bytes, header_error, open_one_bit_flipped, rename_anew, sync_dir};
use super::listing::{Listing, list};
use crate::error::{Damage, Error, Foreign, Proof, Result};
use crate::format::{
    Block, HEADER_LEN, Header, HeaderError, Kind, ReadAt, Scan, ScanEnd, find_seal, seal_at,
};
use crate::position::ChunkId;
use crate::storage::{Access, Storage, StorageFile, write_all_at};

/// Reads of this size do for a head, and are quick enough for a chunk that has no seal at its file's end.
const READ: usize = 64 * 1024;

/// A spare that is the newest chunk's successor, and was not named or has lost its name.
#[derive(Debug)]
pub(crate) struct Unnamed {
    pub(crate) path: PathBuf,
    header: Header,
    /// Its first records, as they were read.
    head: Block,
    /// Why this build can't read it.
    refused: Option<Error>,
}

impl Unnamed {
    pub(crate) fn id(&self) -> ChunkId {
        ChunkId(self.header.chunk_id)
    }

    /// Finds the spare that continues the newest of the listed chunks; reads only.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Unsupported`] if a spare can't be read that may be the one; [`Error::ChunkExists`] if
    /// there are two; [`Error::Corrupt`], [`Error::Gap`] and [`Error::ForeignChunk`] if there is none, but a spare with a
    /// sound head proves that the newest chunk had another end: no crash leaves one.
    pub(crate) fn find(storage: &dyn Storage, dir: &Path, listing: &Listing) -> Result<Option<Self>> {
        let Some(newest) = listing.chunks.last().filter(|_| !listing.spares.is_empty()) else {
            return Ok(None);
        };
        let path = dir.join(newest.file_name());
        let (header, bytes) = match open_one_bit_flipped(storage, &path, *newest) {
            // If it is to be mended, recovery does it.
            Ok((header, bytes, _)) => (header, bytes),
            // Repaired first, it may have a successor here.
            Err(error) if is_any_later(storage, &listing.spares, *newest) => return Err(error),
            // It is for recovery to report.
            Err(_) => return Ok(None),
        };
        let mut newest = Newest { path, header, bytes, end: None };
        let (mut found, mut later, mut unread) = (None::<Self>, None, None);
        for path in &listing.spares {
            let spare = match Self::read(storage, path, &newest.header) {
                Ok(Some(spare)) => spare,
                Ok(None) => continue,
                Err(error) => {
                    unread = Some(error);
                    continue;
                }
            };
            match &found {
                _ if !newest.is_continued_by(&spare.header)? => later = Some(spare),
                None => found = Some(spare),
                // Both names of one file, by a crash in the middle of a rename; or older bytes of the disk, a part of what
                // was written, in a file whose space was never written. What was acknowledged is in the longer one.
                Some(other) if other.header == spare.header => {
                    if spare.sound_end(storage)? > other.sound_end(storage)? {
                        found = Some(spare);
                    }
                }
                Some(_) => return Err(Error::ChunkExists { path: spare.path }),
            }
        }
        match found {
            Some(Unnamed { refused: Some(error), .. }) => Err(error),
            Some(found) => Ok(Some(found)),
            None => newest.check_is_last(later, unread).map(|()| None),
        }
    }

    /// A file whose header is of the log of `newest` and comes after it, and whose first record is sound, unless this
    /// build can't tell.
    fn read(storage: &dyn Storage, path: &Path, newest: &Header) -> Result<Option<Self>> {
        let failed = |e| Error::io("read", path, e);
        // What can't be read after the first record is for recovery to judge.
        let bytes = FileBytes::open(storage, path).map_err(failed)?.filling();
        let unsound = || match bytes.filled_to() {
            Some(_) => Err(failed(Errno::IO.into())),
            None => Ok(None),
        };
        let mut buf = [0; HEADER_LEN as usize];
        let n = bytes.read_at(&mut buf, 0).map_err(failed)?;
        let header = match Header::decode_of_any_features(&buf[..n]) {
            Ok(header) if header.log_id == newest.log_id && header.chunk_id > newest.chunk_id => header,
            // A later version: its checksum may be another, but a write that was torn after the magic has no log id.
            Err(error @ HeaderError::Unsupported { .. }) if buf[32..48] == newest.log_id => {
                return Err(header_error(error, path, ChunkId::default()));
            }
            _ => return unsound(),
        };
        let id = ChunkId(header.chunk_id);
        let mut found = Unnamed { path: path.to_owned(), header, head: Block::default(), refused: None };
        if let Err(error) = Header::decode(&buf[..n]) {
            found.refused = Some(header_error(error, path, id));
            return Ok(Some(found));
        }
        let mut scan = Scan::new(&bytes, &header, false, READ);
        scan.next_block(&mut found.head).map_err(failed)?;
        let first = found.head.frames().next().map(|first| first.kind);
        if let (None, Some(&ScanEnd::Unsupported { at, what, found: value, known })) = (first, scan.end()) {
            found.refused =
                Some(Error::Unsupported { path: path.to_owned(), offset: at, what, found: value, known });
        }
        let is_sound = first == Some(Kind::Checkpoint) || found.refused.is_some();
        if is_sound { Ok(Some(found)) } else { unsound() }
    }

    /// The global offset up to which its records are sound.
    fn sound_end(&self, storage: &dyn Storage) -> Result<u64> {
        let failed = |e| Error::io("read", &self.path, e);
        let bytes = FileBytes::open(storage, &self.path).map_err(failed)?.filling();
        let mut scan = Scan::new(bytes, &self.header, false, READ);
        while scan.next().map_err(failed)?.is_some() {}
        Ok(scan.offset())
    }

    /// Gives the chunk its name, durably; `newest` is the chunk before it.
    fn name(&self, storage: &dyn Storage, dir: &Path, newest: ChunkId) -> Result<()> {
        rename_anew(storage, dir, newest)?;
        sync_dir(storage, dir)?;
        self.write_head(storage).map_err(|e| Error::io("write", &self.path, e))?;
        let path = dir.join(self.id().file_name());
        storage.rename_new(&self.path, &path).map_err(|e| Error::no_space("rename", &path, 0, e))?;
        sync_dir(storage, dir)
    }

    /// Writes what was read once more, in place, and syncs it.
    fn write_head(&self, storage: &dyn Storage) -> Result<(), IoError> {
        let file: Arc<dyn StorageFile> = storage.open(&self.path, Access::ReadWrite)?;
        let header = self.header.encode();
        write_all_at(&*file, &mut [IoSlice::new(&header), IoSlice::new(self.head.bytes())], 0)?;
        file.sync()
    }
}

/// Names the chunks that continue the newest one of a locked log; several may follow one another. Returns the
/// directory as it is then.
///
/// # Errors
///
/// As [`Unnamed::find`]; [`Error::Io`], and [`Error::StorageFull`] if the directory has no room for a name.
pub(crate) fn adopt(storage: &dyn Storage, dir: &Path, mut listing: Listing) -> Result<Listing> {
    while let (Some(newest), Some(unnamed)) =
        (listing.chunks.last().copied(), Unnamed::find(storage, dir, &listing)?)
    {
        unnamed.name(storage, dir, newest)?;
        log::warn!("{} had lost its name in a crash, and has it again", unnamed.id());
        listing = list(storage, dir)?;
    }
    Ok(listing)
}

/// Renames the spares that begin like chunks after `newest`, where a repair ends the log: none may be used again, nor
/// be taken for the successor of what is written next. Returns their new names.
pub(crate) fn put_aside(
    storage: &dyn Storage,
    dir: &Path,
    log_id: [u8; 16],
    newest: ChunkId,
) -> Result<Vec<PathBuf>> {
    let mut aside = Vec::new();
    for path in list(storage, dir)?.spares {
        let is_later = match first_bytes(storage, &path).map(|bytes| Header::decode_of_any_features(&bytes)) {
            Some(Ok(header)) => header.log_id == log_id && header.chunk_id > newest.0,
            // It may be one.
            Some(Err(HeaderError::Unsupported { .. })) => true,
            _ => false,
        };
        if is_later {
            let to = path.with_extension("tmp.broken");
            storage.rename_new(&path, &to).map_err(|e| Error::no_space("rename", &path, 0, e))?;
            aside.push(to);
        }
    }
    if !aside.is_empty() {
        sync_dir(storage, dir)?;
    }
    Ok(aside)
}

/// Whether one of the spares was once a chunk after `newest`.
fn is_any_later(storage: &dyn Storage, spares: &[PathBuf], newest: ChunkId) -> bool {
    let header = |path: &PathBuf| Header::decode_of_any_features(&first_bytes(storage, path)?).ok();
    spares.iter().filter_map(header).any(|header| header.chunk_id > newest.0)
}

/// The newest chunk that has its name.
struct Newest {
    path: PathBuf,
    header: Header,
    bytes: FileBytes,
    /// Once it is known.
    end: Option<End>,
}

/// How a chunk ends.
#[derive(Debug, Clone, Copy)]
struct End {
    offset: u64,
    /// The CRC of all its records.
    data_crc: u32,
    /// `None` if it is sealed.
    unsealed: Option<(Damage, Proof)>,
}

impl Newest {
    /// Whether a chunk with this header began right after this one's seal.
    fn is_continued_by(&mut self, next: &Header) -> Result<bool> {
        // First where the seal must be then: damage before it doesn't matter, and the rest need not be read.
        let position = next.chunk_id - self.header.chunk_id;
        if let Ok(Some(seal)) = seal_at(&self.bytes, &self.header, position)
            && seal.data_crc == next.previous_crc
        {
            return Ok(true);
        }
        let End { offset, data_crc, .. } = self.end()?;
        Ok((next.chunk_id, next.previous_crc) == (offset, data_crc))
    }

    /// Checks that neither a spare with the head of a `later` chunk nor one that is `unread` must have followed.
    fn check_is_last(&mut self, later: Option<Unnamed>, unread: Option<Error>) -> Result<()> {
        if later.is_none() && unread.is_none() {
            return Ok(());
        }
        let End { offset, data_crc, unsealed } = self.end()?;
        // A damaged seal looks like a torn write.
        let may_be_sealed = !matches!(unsealed, Some((Damage::NotSealed, _)));
        let later = later.filter(|later| later.header.chunk_id >= offset);
        match (unread, later) {
            (Some(error), later) if may_be_sealed || later.is_some() => Err(error),
            (_, Some(Unnamed { path, header, .. })) => Err(match unsealed {
                Some((damage, proof)) => {
                    let (path, chunk_id) = (self.path.clone(), ChunkId(self.header.chunk_id));
                    Error::Corrupt { path, chunk_id, offset, damage, proof }
                }
                None if header.chunk_id > offset => {
                    Error::Gap { path, expected: offset, found: header.chunk_id }
                }
                None => {
                    let reason = Foreign::Predecessor { expected: header.previous_crc, found: data_crc };
                    Error::ForeignChunk { path, reason }
                }
            }),
            _ => Ok(()),
        }
    }

    /// How it ends: by its seal, or else, where its file goes on, by a look at each frame.
    fn end(&mut self) -> Result<End> {
        let end = match self.end {
            Some(known) => known,
            None => end_of(&self.bytes, &self.header).map_err(|e| Error::from_read(&self.path, e))?,
        };
        Ok(*self.end.insert(end))
    }
}

fn end_of(bytes: &FileBytes, header: &Header) -> std::io::Result<End> {
    if let Some(seal) = find_seal(bytes, header)? {
        let offset = header.chunk_id + seal.data_len;
        return Ok(End { offset, data_crc: seal.data_crc, unsealed: None });
    }
    // As one that has a successor, which is what its end is asked for.
    let mut scan = Scan::new(bytes, header, true, READ);
    while scan.next()?.is_some() {}
    let unsealed = match scan.end() {
        Some(ScanEnd::Sealed { .. }) => None,
        Some(ScanEnd::Corrupt { damage, proof, .. }) => Some((*damage, *proof)),
        _ => Some((Damage::NotSealed, Proof::Successor)),
    };
    Ok(End { offset: scan.offset(), data_crc: scan.data_crc().value(), unsealed })
}
