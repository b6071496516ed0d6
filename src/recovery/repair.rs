//! The writes of an open: everything replayed becomes durable, and the newest chunk fit to go on.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Newest, Recovered, RecoveryReport, Verdict};
use crate::chunk::{ChunkWriter, ClosedChunk};
use crate::config::{Config, IdleMark};
use crate::directory::{
    FileBytes, Listing, open_chunk, put_aside, read_header, rename_anew, spare_name, sync_dir,
};
use crate::error::{Error, Result};
use crate::format::{Block, HEADER_LEN, Header, Mark, Scan, Seal};
use crate::position::ChunkId;
use crate::record::{ChunkPersisted, OnChunkPersisted, WalTypes};
use crate::storage::{Access, Storage};

/// A log all of which is on stable storage.
pub(crate) struct Repaired<W: WalTypes> {
    pub(crate) closed: Vec<ClosedChunk<W::Checkpoint>>,
    pub(crate) newest: Option<RepairedChunk<W::Checkpoint>>,
    /// The state after the last record, where a new chunk has to begin with it: the newest one, if
    /// there is one, is sealed then and among the closed.
    pub(crate) begin_with: Option<W::Checkpoint>,
    /// Spare files to be used again.
    pub(crate) spares: Vec<PathBuf>,
    pub(crate) report: RecoveryReport,
}

/// The newest chunk, all of it on stable storage.
#[derive(Debug)]
pub(crate) struct RepairedChunk<C> {
    pub(crate) chunk: Newest<C>,
    /// Its writer, whose file serves the chunk from now on.
    pub(crate) writer: ChunkWriter,
}

impl<W: WalTypes> Recovered<W> {
    /// The global offset at which the log ends; 0 for a log without chunks.
    pub(crate) fn end(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.end)
    }

    /// Makes the replayed records durable, and seals the newest chunk if it can't be continued.
    pub(crate) fn repair(
        self,
        storage: &dyn Storage,
        config: &Config,
        on_chunk_persisted: Option<&OnChunkPersisted<W>>,
    ) -> Result<Repaired<W>> {
        let Recovered { closed, newest, begin_with, mends, cuts, report, listing } = self;
        // Names come first: the newest chunk was found under its final name, which may not be durable
        // yet after a kill. A mark or a seal in it, which readers of other processes trust, must not
        // come before that. Nor may the name of a chunk that was removed be on the disk still.
        let spares = tidy_spares(storage, config, &listing)?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.has_doubtful_name()) {
            rename_anew(storage, &config.dir, ChunkId(newest.header.chunk_id))?;
        }
        sync_dir(storage, &config.dir)?;
        spares.surplus.iter().for_each(|path| warn_if_left(path, storage.remove(path)));
        mends.iter().try_for_each(|mend| mend.apply(storage))?;
        cuts.iter().for_each(|cut| cut.apply(storage));
        let newest = match newest {
            None => None,
            Some(newest) => {
                let writer = newest.repair(storage, config)?;
                Some(RepairedChunk { chunk: newest, writer })
            }
        };
        if let (Some(RepairedChunk { chunk, .. }), Some(notify)) = (&newest, on_chunk_persisted) {
            let id = ChunkId(chunk.header.chunk_id);
            let persisted = ChunkPersisted { chunk_id: id, start: id.0, synced: chunk.end };
            notify(persisted, chunk.checkpoint.as_ref());
        }
        Ok(Repaired { closed, newest, begin_with, spares: spares.kept, report })
    }
}

/// A closed chunk whose file goes on after the seal, because a crash came before the cut.
#[derive(Debug)]
pub(super) struct MissedCut {
    pub(super) path: PathBuf,
    /// The file's length.
    pub(super) len: u64,
}

impl MissedCut {
    /// Cuts the file. Only space and a look at each frame depend on it, so a failure is no error.
    fn apply(&self, storage: &dyn Storage) {
        let cut = storage.open(&self.path, Access::ReadWrite).and_then(|file| file.set_len(self.len));
        if let Err(error) = cut {
            log::warn!("'{}' can't be cut after its seal: {error}", self.path.display());
        }
    }
}

/// The spares, all of them with new names that are not durable yet.
struct Spares {
    /// To be used again.
    kept: Vec<PathBuf>,
    /// To be removed once the new names are durable.
    surplus: Vec<PathBuf>,
}

/// Gives each spare another name, and chooses as many as wanted to be kept.
///
/// If the sync of a spare's removal or of its making failed, the disk may still have the old name, or none, and only a
/// change makes the next sync cover it. A chunk's records are acknowledged while it has only its spare's name for certain.
/// And a surplus spare must not go before the sync: if that failed and dropped the change, no name would be left to
/// change again, and a chunk that was removed could come back.
///
/// After a crash in the middle of a rename a file may have both names: it must not be overwritten as a spare while it
/// is a chunk, nor be two spares.
fn tidy_spares(storage: &dyn Storage, config: &Config, listing: &Listing) -> Result<Spares> {
    let wanted = usize::try_from(config.spare_chunks).unwrap_or(usize::MAX);
    let mut spares = Spares { kept: Vec::new(), surplus: Vec::new() };
    let mut lives: Vec<Option<u64>> = Vec::new();
    for path in &listing.spares {
        let header = read_header(storage, path);
        let is_a_chunk =
            header.is_some_and(|header| listing.chunks.binary_search(&ChunkId(header.chunk_id)).is_ok());
        // Of files without a header one is kept: two may be one.
        let life = header.map(|header| header.salt);
        let is_wanted = lives.len() < wanted && !is_a_chunk && !lives.contains(&life);
        let renamed = config.dir.join(spare_name());
        match storage.rename_new(path, &renamed) {
            Ok(()) if is_wanted => {
                lives.push(life);
                spares.kept.push(renamed);
            }
            Ok(()) => spares.surplus.push(renamed),
            Err(_) => remove_at_once(storage, path, header.is_some())?,
        }
    }
    Ok(spares)
}

/// Removes a spare for whose new name there may be no space. Under its old name a file that was a chunk's can't stay:
/// the disk may still have the name of the chunk.
fn remove_at_once(storage: &dyn Storage, path: &Path, was_a_chunk: bool) -> Result<()> {
    match storage.remove(path) {
        Err(e) if was_a_chunk && e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        removed => {
            warn_if_left(path, removed);
            Ok(())
        }
    }
}

fn warn_if_left(path: &Path, removed: io::Result<()>) {
    if let Err(error) = removed {
        log::warn!("a spare file can't be removed: '{}': {error}", path.display());
    }
}

impl<C> Newest<C> {
    /// Whether a failed sync of the directory may have left the name on no disk: records are acknowledged before it is
    /// durable, but no mark is written.
    fn has_doubtful_name(&self) -> bool {
        !matches!(self.verdict, Verdict::Continue { mark: Some(_) })
    }

    fn repair(&self, storage: &dyn Storage, config: &Config) -> Result<ChunkWriter> {
        let mut chunk = ChunkWriter::open(storage, &self.path, &self.header)?;
        if self.cut_first {
            // Don't keep space for the seal: to write part of a sector, the rest of it is read.
            chunk.cut(self.end)?;
        }
        if self.proven < self.end {
            let from = self.proven - self.header.chunk_id;
            let to = self.end - self.header.chunk_id;
            rewrite(&mut chunk, &self.header, from, to, config.read_buffer_size)?;
            chunk.sync()?;
        }
        match self.verdict {
            Verdict::Seal => chunk.seal_and_cut(&self.seal())?,
            Verdict::Continue { mark: Some(mark) } => match mark_anew(&mut chunk, self.end) {
                // A file system that needs space for it; an ordinary mark may stay.
                Err(Error::StorageFull { .. }) if mark == Mark::Idle => chunk.give_up_mark(),
                marked => marked?,
            },
            Verdict::Continue { mark: None } => match mark(&mut chunk, self.end) {
                // No space for it: the next record brings some, or waits for it.
                Err(Error::StorageFull { .. }) => chunk.give_up_mark(),
                Ok(()) if config.idle_mark == IdleMark::Synced => chunk.sync()?,
                marked => marked?,
            },
        }
        Ok(chunk)
    }

    fn seal(&self) -> Seal {
        let data_len = self.end - self.header.chunk_id;
        Seal { records: self.records, data_len, data_crc: self.data_crc.value() }
    }
}

/// All is synced and nothing is under way: a log that stays idle from here on has its proof.
fn mark(chunk: &mut ChunkWriter, end: u64) -> Result<()> {
    // A crash may have taken back the space allocated after the last record.
    chunk.reserve_seal(end)?;
    chunk.mark(end)
}

/// Replaces a mark by an ordinary one. The mark there may be a closing mark, which says that nothing follows, and
/// soon records will; or it may be on the disk while the cache shows no mark, because an earlier open was killed
/// here or its sync failed.
fn mark_anew(chunk: &mut ChunkWriter, end: u64) -> Result<()> {
    chunk.mark(end)?;
    chunk.sync()
}

/// Ends a chunk at `end`, where one of its records ends that is not in the middle of a batch: keeps the records before it, seals them, and cuts the rest
/// off. On return the kept records are on stable storage.
pub(crate) fn cut_chunk(storage: &dyn Storage, path: &Path, id: ChunkId, end: u64) -> Result<()> {
    let (header, bytes) = open_chunk(storage, path, id)?;
    let mut chunk = ChunkWriter::open(storage, path, &header)?;
    let mut scan = Scan::new(&bytes, &header, false, REPAIR_READ);
    while scan.next().map_err(|e| Error::from_read(path, e))?.is_some() {
        let (records, data_crc) = (scan.records(), scan.data_crc().value());
        match scan.last_segment().map(|(offset, size)| offset + size) {
            Some(at) if at < end => {}
            Some(at) if at == end && !scan.is_in_batch() => {
                put_aside(storage, path.parent().unwrap_or(path), header.log_id, id)?;
                let data_len = end - id.0;
                rewrite(&mut chunk, &header, HEADER_LEN, data_len, REPAIR_READ as u64)?;
                chunk.sync()?;
                return chunk.seal_and_cut(&Seal { records, data_len, data_crc });
            }
            _ => break,
        }
    }
    let (start, size) = (id.0, 0);
    Err(Error::NotInLog { offset: end, size, start, end: scan.last_segment().map_or(start, |(o, s)| o + s) })
}

/// The reads with which a chunk is cut, mended, or has a record taken out.
pub(super) const REPAIR_READ: usize = 1 << 20;

/// Writes the frames between two file positions once more, in place, so that the next sync covers them. Each frame
/// is checked after it is read and before it is written, because since the replay the operating system may have
/// dropped a page that was still to be written (after a failed sync it calls such pages clean), and the read then
/// returns older bytes from the disk.
fn rewrite(chunk: &mut ChunkWriter, header: &Header, from: u64, to: u64, piece: u64) -> Result<()> {
    let source = FileBytes::new(chunk.file().clone(), to);
    let piece = usize::try_from(piece.min(to)).unwrap_or(usize::MAX);
    let mut scan = Scan::new(source, header, false, piece).beginning_at(from);
    let mut block = Block::default();
    let mut at = from;
    while at < to {
        block.clear(piece);
        scan.next_block(&mut block).map_err(|e| Error::from_read(chunk.path(), e))?;
        if block.is_empty() && at == from && from > HEADER_LEN {
            // What is proven may end inside a frame, by the word of a frame that this log didn't write.
            return rewrite(chunk, header, HEADER_LEN, to, piece as u64);
        }
        if block.is_empty() && scan.offset() >= header.chunk_id + to {
            // Void frames at the end, which a repair has synced.
            return Ok(());
        }
        if block.is_empty() {
            return Err(changed(chunk.path(), header.chunk_id + at));
        }
        chunk.write(block.bytes(), block.offset())?;
        at = block.offset() - header.chunk_id + block.bytes().len() as u64;
    }
    Ok(())
}

fn changed(path: &Path, offset: u64) -> Error {
    let why = format!(
        "the record at offset {offset} was whole a moment ago and is not any more: the disk has lost a write that it \
         had reported as failed; open the log again to go on from what the disk has"
    );
    Error::io("read again", path, std::io::Error::other(why))
}
