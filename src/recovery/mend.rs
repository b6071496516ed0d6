//! Damage that loses nothing: a structure that the rest of the log proves is written anew.
//!
//! ```text
//!  | header x | frame | ...            one bit of a header: its own checksum says which, its first frame
//!                                      that the salt is right
//!  ... | frame | seal x |   | header | the seal of an older chunk: the next chunk's header says where the
//!                                      records end and what their checksum is
//! ```
//!
//! - A structure is mended only if every byte of it is proven. Nothing is guessed.
//! - A mend is one write inside the structure, and a sync. Whatever a crash keeps of it is again the damage
//!   that it mends, or mended.

use std::path::{Path, PathBuf};

use super::repair::REPAIR_READ;
use super::stages::{Stages, visit_rest};
use crate::chunk::ChunkWriter;
use crate::directory::{FileBytes, open_one_bit_flipped};
use crate::error::{Damage, Error, Proof, Result};
use crate::format::{DataCrc, Header, ReadAt, Scan, ScanEnd, Seal};
use crate::position::ChunkId;
use crate::storage::Storage;

/// Something damaged that was written anew when the log was opened, with
/// [`OpenOptions::mend`](crate::OpenOptions::mend).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mended {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// The chunk's file.
    pub path: PathBuf,
    /// The global offset of the damage.
    pub offset: u64,
    /// The kind of damage.
    pub damage: Damage,
}

/// Something damaged, and all that is needed to write it anew.
#[derive(Debug)]
pub(crate) struct Mend {
    path: PathBuf,
    header: Header,
    what: What,
}

#[derive(Debug)]
enum What {
    Header,
    Seal(Seal),
}

/// What can be mended in a chunk that is whole then.
#[derive(Debug)]
pub(crate) struct Mendable {
    pub(crate) mends: Vec<Mend>,
    pub(crate) header: Header,
    pub(crate) data_crc: DataCrc,
    pub(crate) records: u64,
    /// The global offset after the last record.
    pub(crate) data_end: u64,
}

impl Mend {
    pub(crate) fn mended(&self) -> Mended {
        let (offset, damage) = match self.what {
            What::Header => (self.header.chunk_id, Damage::HeaderBit),
            What::Seal(Seal { data_len, .. }) => (self.header.chunk_id + data_len, Damage::Seal),
        };
        Mended { chunk_id: ChunkId(self.header.chunk_id), path: self.path.clone(), offset, damage }
    }

    /// The error if mending was not asked for.
    pub(crate) fn error(&self) -> Error {
        let Mended { chunk_id, path, offset, damage } = self.mended();
        let proof = match self.what {
            What::Header => Proof::FinalName,
            What::Seal(_) => Proof::Successor,
        };
        Error::Corrupt { path, chunk_id, offset, damage, proof }
    }

    /// Writes it anew. It is on stable storage then.
    pub(crate) fn apply(&self, storage: &dyn Storage) -> Result<()> {
        let mut chunk = ChunkWriter::open(storage, &self.path, &self.header)?;
        match &self.what {
            What::Header => {
                chunk.write(&self.header.encode(), self.header.chunk_id)?;
                chunk.sync()
            }
            What::Seal(seal) => chunk.seal_and_cut(seal),
        }
    }
}

/// As [`open_one_bit_flipped`], with what is to be written anew.
pub(super) fn open_mendable(
    storage: &dyn Storage,
    path: &Path,
    id: ChunkId,
) -> Result<(Header, FileBytes, Option<Mend>)> {
    let (header, bytes, is_flipped) = open_one_bit_flipped(storage, path, id)?;
    Ok((header, bytes, is_flipped.then(|| Mend { path: path.to_owned(), header, what: What::Header })))
}

/// The seal of an older chunk that was scanned and ends without one, if the next chunk proves that no record
/// is missing.
pub(super) fn lost_seal<R: ReadAt>(
    storage: &dyn Storage,
    path: &Path,
    header: &Header,
    scan: &Scan<R>,
    successor: ChunkId,
) -> Option<Mend> {
    let Some(ScanEnd::Corrupt { at, proof: Proof::Successor, .. }) = scan.end() else { return None };
    let next_path = path.with_file_name(successor.file_name());
    let (next, _, _) = open_mendable(storage, &next_path, successor).ok()?;
    let data_crc = scan.data_crc();
    let is_proven =
        *at == successor.0 && next.log_id == header.log_id && next.previous_crc == data_crc.value();
    let seal = Seal { records: scan.records(), data_len: at - header.chunk_id, data_crc: data_crc.value() };
    is_proven.then(|| Mend { path: path.to_owned(), header: *header, what: What::Seal(seal) })
}

/// What can be mended in a chunk; `None` if nothing can, or it would not be whole then.
pub(crate) fn find_mends(
    storage: &dyn Storage,
    path: &Path,
    id: ChunkId,
    successor: Option<ChunkId>,
) -> Result<Option<Mendable>> {
    let (header, bytes, mend) = match open_mendable(storage, path, id) {
        Ok(opened) => opened,
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    let mut mends: Vec<Mend> = mend.into_iter().collect();
    let mut scan = Scan::new(&bytes, &header, successor.is_some(), REPAIR_READ);
    visit_rest(&mut scan, path, Stages::One, |_| Ok(()))?;
    let data_end = scan.last_segment().map_or(id.0, |(offset, size)| offset + size);
    if let Some(ScanEnd::Corrupt { .. } | ScanEnd::Unsupported { .. }) = scan.end() {
        match successor.and_then(|successor| lost_seal(storage, path, &header, &scan, successor)) {
            Some(mend) => mends.push(mend),
            None => return Ok(None),
        }
    }
    let (data_crc, records) = (scan.data_crc(), scan.records());
    Ok((!mends.is_empty()).then_some(Mendable { mends, header, data_crc, records, data_end }))
}
