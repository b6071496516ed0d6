//! From a directory to a log that can be written: read, judge, replay; then, and only then, repair.
//!
//! ```text
//! list ────► replay, chunk by chunk ──► Recovered ──► repair ──► Repaired ──► ChunkedWal
//!  names       headers, frames, seals     verdict       writes
//! ```
//!
//! - Before the last verdict is in, nothing is written, so an error leaves the directory as it was.
//! - Only the newest chunk may end without a seal; bytes that a later frame proves to be durable are never cut.
//! - After `repair` everything replayed is on stable storage: records without proof are written once more and synced.
//!   Reading them back would prove nothing, because they may be in the page cache only.

mod mend;
mod repair;
mod report;
mod stages;
#[cfg(test)]
mod tests;
mod void;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::chunk::{ChunkFile, ClosedChunk};
use crate::config::Config;
use crate::directory::{FileBytes, Listing, log_id_of_most, open_chunk};
use crate::error::{Damage, Error, Foreign, Proof, Result, Undecodable};
use crate::format::{DataCrc, Frame, Header, Mark, Scan, ScanEnd, Seal, find_seal};
use crate::position::{ChunkId, Segment};
use crate::record::{ChunkPersisted, OnChunkPersisted, StateMachine, WalRecord, WalTypes, apply};
use crate::storage::Storage;

pub use mend::Mended;
pub(crate) use mend::{Mend, Mendable, find_mends};
use mend::{lost_seal, open_mendable};
use repair::MissedCut;
pub(crate) use repair::{Repaired, RepairedChunk, cut_chunk};
pub use report::{RecoveryReport, TornTail};
use stages::{Stages, visit_rest};
pub(crate) use void::void_record;

/// Which records are applied when a log is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    /// Every record of every chunk kept.
    #[default]
    All,
    /// The newest chunk's first checkpoint and the records after it. Of older chunks only header, seal and first
    /// record are read: a few small reads for each, independent of its size. Damage in other bytes goes unnoticed until they
    /// are read.
    FromLastCheckpoint,
}

/// How to replay.
pub(crate) struct ReplayOptions<W: WalTypes> {
    pub(crate) replay: Replay,
    pub(crate) on_chunk_persisted: Option<OnChunkPersisted<W>>,
    pub(crate) mending: Mending,
    pub(crate) unreadable: Unreadable,
    stages: Stages,
}

/// What to do with a sector at the end of the newest chunk that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is an error.
    Refuse,
    /// It is torn, unless a later frame proves that it was durable.
    Cut,
}

/// Whether to mend damage that loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mending {
    /// It is an error like other damage.
    Refuse,
    Mend,
}

impl<W: WalTypes> ReplayOptions<W> {
    pub(crate) fn new(replay: Replay, on_chunk_persisted: Option<OnChunkPersisted<W>>) -> Self {
        let (mending, unreadable) = (Mending::Refuse, Unreadable::Refuse);
        ReplayOptions { replay, on_chunk_persisted, mending, unreadable, stages: Stages::Timed }
    }
}

/// A log that has been read and judged, and not touched.
pub(crate) struct Recovered<W: WalTypes> {
    closed: Vec<ClosedChunk<W::Checkpoint>>,
    newest: Option<Newest<W::Checkpoint>>,
    /// The state after the last record, where a new chunk has to begin with it.
    begin_with: Option<W::Checkpoint>,
    mends: Vec<Mend>,
    cuts: Vec<MissedCut>,
    report: RecoveryReport,
    listing: Listing,
}

/// The newest chunk and the verdict on it.
#[derive(Debug)]
pub(crate) struct Newest<C> {
    pub(crate) header: Header,
    pub(crate) path: PathBuf,
    /// The global offset after its last record.
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) data_crc: DataCrc,
    pub(crate) last_segment: Segment,
    /// The checkpoint of its predecessor, if that is kept.
    pub(crate) checkpoint: Option<C>,
    /// All below is known to be durable.
    proven: u64,
    pub(crate) verdict: Verdict,
    /// The torn write after `end`, which is cut off.
    torn: Option<TornTail>,
    /// A sector after `end` can't be read: it is cut off before anything is written there.
    cut_first: bool,
}

/// How the newest chunk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is whole: records are appended to it.
    Continue { mark: Option<Mark> },
    /// It takes no more records: its seal is written (again), and a new chunk begins.
    Seal,
}

/// Reads the log in a resolved directory, applies it, and judges it; writes nothing.
pub(crate) fn recover<W: WalTypes, SM: StateMachine<W>>(
    storage: &Arc<dyn Storage>,
    config: &Config,
    listing: Listing,
    options: &ReplayOptions<W>,
    state_machine: &mut SM,
) -> Result<Recovered<W>> {
    let mut replayer = Replayer {
        storage,
        config,
        chunks: &listing.chunks,
        options,
        state_machine: &mut *state_machine,
        closed: Vec::new(),
        previous: None,
        log_id: None,
        mends: Vec::new(),
        cuts: Vec::new(),
        records: 0,
    };
    let mut newest: Option<Newest<W::Checkpoint>> = None;
    for (i, id) in listing.chunks.iter().enumerate() {
        match listing.chunks.get(i + 1) {
            Some(successor) => replayer.closed_chunk(*id, *successor)?,
            None => newest = Some(replayer.newest_chunk(*id)?),
        }
    }
    let start = listing.chunks.first().map_or(0, |id| id.0);
    let report = RecoveryReport {
        chunks: listing.chunks.len() as u64,
        records: replayer.records,
        bytes: newest.as_ref().map_or(0, |newest| newest.end - start),
        torn_tail: newest.as_ref().and_then(|newest| newest.torn),
        mended: replayer.mends.iter().map(Mend::mended).collect(),
        foreign_names: listing.foreign.clone(),
        elapsed: Duration::ZERO,
    };
    let (mut closed, mends, cuts) = (replayer.closed, replayer.mends, replayer.cuts);
    let begin_with = match &newest {
        Some(Newest { verdict: Verdict::Continue { .. }, .. }) => None,
        _ => Some(state_machine.checkpoint()),
    };
    if let (Some(newest), Some(checkpoint)) = (&newest, &begin_with) {
        let file = Arc::new(ChunkFile::shut(newest.header));
        let (end, records) = (newest.end, newest.records);
        closed.push(ClosedChunk::new(file, end, records, checkpoint.clone()));
    }
    Ok(Recovered { closed, newest, begin_with, mends, cuts, report, listing })
}

/// Goes through the chunks, oldest first.
struct Replayer<'a, W: WalTypes, SM> {
    storage: &'a Arc<dyn Storage>,
    config: &'a Config,
    /// All that there are, oldest first.
    chunks: &'a [ChunkId],
    options: &'a ReplayOptions<W>,
    state_machine: &'a mut SM,
    closed: Vec<ClosedChunk<W::Checkpoint>>,
    /// The chunk before the current one: closed, its checkpoint still to come.
    previous: Option<Previous>,
    log_id: Option<[u8; 16]>,
    /// What is to be written anew.
    mends: Vec<Mend>,
    /// Where a crash came before the cut.
    cuts: Vec<MissedCut>,
    records: u64,
}

/// A closed chunk whose checkpoint is the first record of the current chunk.
struct Previous {
    file: ChunkFile,
    end: u64,
    records: u64,
    data_crc: u32,
}

/// The chunk that is being read.
struct OpenedChunk {
    id: ChunkId,
    path: PathBuf,
    header: Header,
    bytes: FileBytes,
}

impl<W: WalTypes, SM: StateMachine<W>> Replayer<'_, W, SM> {
    /// A chunk that has a successor: it must be sealed and end where that begins.
    fn closed_chunk(&mut self, id: ChunkId, successor: ChunkId) -> Result<()> {
        let chunk = self.open(id)?;
        self.check_follows(&chunk)?;
        let found = find_seal(&chunk.bytes, &chunk.header).map_err(|e| Error::from_read(&chunk.path, e))?;
        // Its end is known before anything of it is applied: by the seal where it should be, or, where
        // a cut was lost and other bytes follow it, by a look at every frame.
        let Seal { records, data_len, data_crc } = match found {
            Some(seal) => seal,
            None => self.verify_sealed(&chunk, successor)?,
        };
        let end = id.0 + data_len;
        if end != successor.0 {
            // A successor that isn't of this log, or not under its own name, says more than the gap.
            let OpenedChunk { path, .. } = self.open(successor)?;
            return Err(Error::Gap { path, expected: end, found: successor.0 });
        }
        let mut scan = match self.options.replay {
            Replay::All => chunk.scan(true, self.config.read_buffer_size),
            Replay::FromLastCheckpoint => chunk.scan(true, SMALL_READ),
        };
        self.first_frame(&chunk, &mut scan, Some(end))?;
        if self.options.replay == Replay::All {
            self.apply_rest(&chunk, &mut scan)?;
            match scan.end() {
                Some(ScanEnd::Sealed { .. }) => {}
                // Every frame was seen before, and the seal is mended.
                Some(ScanEnd::Corrupt { at, .. }) if found.is_none() && *at == end => {}
                other => return Err(chunk.error(other)),
            }
        }
        // A seal may say anything where its chunk isn't read.
        self.records = self.records.saturating_add(records);
        self.previous = Some(Previous { file: ChunkFile::shut(chunk.header), end, records, data_crc });
        Ok(())
    }

    /// The chunk that may end in any way.
    fn newest_chunk(&mut self, id: ChunkId) -> Result<Newest<W::Checkpoint>> {
        let mut chunk = self.open(id)?;
        if self.options.unreadable == Unreadable::Cut {
            chunk.bytes = chunk.bytes.filling();
        }
        self.check_follows(&chunk)?;
        match self.newest_of(&chunk) {
            // What can't be read had been durable: it may be there the next time.
            Err(Error::Corrupt { path, .. }) if chunk.bytes.filled_to().is_some() => {
                Err(Error::io("read", path, Errno::IO.into()))
            }
            newest => newest,
        }
    }

    fn newest_of(&mut self, chunk: &OpenedChunk) -> Result<Newest<W::Checkpoint>> {
        let id = chunk.id;
        let mut scan = chunk.scan(false, self.config.read_buffer_size);
        let checkpoint = self.first_frame(chunk, &mut scan, None)?;
        self.apply_rest(chunk, &mut scan)?;
        chunk.forget_tail(&scan);
        let (end, mut verdict, mut torn) = match scan.end() {
            Some(ScanEnd::Sealed { data_end, .. }) => (*data_end, Verdict::Seal, None),
            Some(ScanEnd::Clean { data_end, mark }) => (*data_end, Verdict::Continue { mark: *mark }, None),
            // No mark, as after a kill, and old bytes: nothing says that there was another write.
            Some(ScanEnd::Torn { data_end, lost: 0 }) => (*data_end, Verdict::Seal, None),
            Some(ScanEnd::Torn { data_end, lost }) => {
                let torn = TornTail { chunk_id: id, data_end: *data_end, lost: *lost };
                (*data_end, Verdict::Seal, Some(torn))
            }
            other => return Err(chunk.error(other)),
        };
        if let Some(filled_to) = chunk.bytes.filled_to() {
            let lost = (id.0 + filled_to).saturating_sub(end).max(torn.map_or(0, |torn| torn.lost));
            verdict = Verdict::Seal;
            torn = Some(TornTail { chunk_id: id, data_end: end, lost });
        }
        if let Some(TornTail { data_end, lost, .. }) = torn
            && !self.config.truncate_torn_tail
        {
            return Err(Error::TornTail { path: chunk.path.clone(), chunk_id: id, data_end, lost });
        }
        self.records = self.records.saturating_add(scan.records());
        let last_segment = scan.last_segment().map(|(offset, size)| Segment::new(offset, size));
        Ok(Newest {
            end,
            records: scan.records(),
            data_crc: scan.data_crc(),
            last_segment: last_segment.unwrap_or_default(),
            checkpoint,
            proven: scan.proven().min(end),
            verdict,
            torn,
            cut_first: chunk.bytes.filled_to().is_some(),
            header: chunk.header,
            path: chunk.path.clone(),
        })
    }

    /// Opens a chunk and checks that it belongs here.
    fn open(&mut self, id: ChunkId) -> Result<OpenedChunk> {
        let path = self.config.chunk_path(id);
        let (header, bytes, mend) = open_mendable(&**self.storage, &path, id)?;
        mend.map_or(Ok(()), |mend| self.mend(mend))?;
        let expected = *self.log_id.get_or_insert(header.log_id);
        if header.log_id != expected {
            return Err(self.foreign(path, expected, header.log_id));
        }
        Ok(OpenedChunk { id, path, header, bytes })
    }

    /// The error for a chunk, at `path`, that is of the log `found`, where the oldest is of `first`: it goes by
    /// most of them, since the one that was copied in may be the oldest.
    fn foreign(&self, path: PathBuf, first: [u8; 16], found: [u8; 16]) -> Error {
        let most = log_id_of_most(&**self.storage, &self.config.dir, self.chunks);
        match self.chunks.first().filter(|_| most == Some(found)) {
            Some(oldest) => Error::ForeignChunk {
                path: self.config.chunk_path(*oldest),
                reason: Foreign::LogId { expected: found, found: first },
            },
            None => Error::ForeignChunk { path, reason: Foreign::LogId { expected: first, found } },
        }
    }

    /// Adds to the list of mends, or refuses.
    fn mend(&mut self, mend: Mend) -> Result<()> {
        if self.options.mending == Mending::Refuse {
            return Err(mend.error());
        }
        self.mends.push(mend);
        Ok(())
    }

    /// Checks that a chunk began after just the chunk that is there before it.
    fn check_follows(&self, chunk: &OpenedChunk) -> Result<()> {
        let (expected, found) = match &self.previous {
            Some(previous) => (chunk.header.previous_crc, previous.data_crc),
            None => return Ok(()),
        };
        if expected == found {
            return Ok(());
        }
        let reason = Foreign::Predecessor { expected, found };
        Err(Error::ForeignChunk { path: chunk.path.clone(), reason })
    }

    /// Reads every frame of a chunk that has no seal at its file's end, and finds the seal earlier, or derives it.
    fn verify_sealed(&mut self, chunk: &OpenedChunk, successor: ChunkId) -> Result<Seal> {
        let mut scan = chunk.scan(true, self.config.read_buffer_size);
        visit_rest(&mut scan, &chunk.path, Stages::One, |_| Ok(()))?;
        match scan.end() {
            Some(ScanEnd::Sealed { data_end, records, file_end }) => {
                self.cuts.push(MissedCut { path: chunk.path.clone(), len: *file_end - chunk.id.0 });
                let data_crc = scan.data_crc().value();
                Ok(Seal { records: *records, data_len: *data_end - chunk.id.0, data_crc })
            }
            other => {
                let lost = lost_seal(&**self.storage, &chunk.path, &chunk.header, &scan, successor);
                self.mend(lost.ok_or_else(|| self.unsealed(chunk, other, successor))?)?;
                let (records, data_crc) = (scan.records(), scan.data_crc().value());
                Ok(Seal { records, data_len: successor.0 - chunk.id.0, data_crc })
            }
        }
    }

    /// The error for a chunk without a seal that a successor seems to follow.
    fn unsealed(&self, chunk: &OpenedChunk, end: Option<&ScanEnd>, successor: ChunkId) -> Error {
        match open_chunk(&**self.storage, &self.config.chunk_path(successor), successor) {
            // A stray file has the name of a chunk: this one may be the newest, and sound.
            Err(error @ (Error::NotAChunk { .. } | Error::Io { .. })) => error,
            _ => chunk.error(end),
        }
    }

    /// Reads a chunk's first record, the checkpoint that also closes its predecessor; applies it where
    /// the chunk is replayed. `sealed_end` is given for a sealed chunk. Returns the checkpoint if there
    /// is a predecessor.
    fn first_frame(
        &mut self,
        chunk: &OpenedChunk,
        scan: &mut Scan<&FileBytes>,
        sealed_end: Option<u64>,
    ) -> Result<Option<W::Checkpoint>> {
        let Some(first) = scan.next().map_err(|e| Error::from_read(&chunk.path, e))? else {
            return Err(chunk.error(scan.end()));
        };
        let segment = first.segment();
        let record = WalRecord::<W>::decode(&first).map_err(|e| chunk.undecodable(&first, e))?;
        let WalRecord::Checkpoint(checkpoint) = &record else {
            let damaged = ScanEnd::Corrupt {
                at: segment.offset,
                damage: Damage::FirstFrameKind,
                proof: Proof::FinalName,
            };
            return Err(chunk.error(Some(&damaged)));
        };
        let previous = self.previous.take();
        let before = previous.as_ref().map(|_| checkpoint.clone());
        if let Some(Previous { file, end, records, .. }) = previous {
            let file = Arc::new(file);
            self.closed.push(ClosedChunk::new(file, end, records, checkpoint.clone()));
        }
        if let (Some(end), Some(notify)) = (sealed_end, &self.options.on_chunk_persisted) {
            let persisted = ChunkPersisted { chunk_id: chunk.id, start: chunk.id.0, synced: end };
            notify(persisted, before.as_ref());
        }
        if self.options.replay == Replay::All || sealed_end.is_none() {
            self.apply(chunk, segment, &record)?;
        }
        Ok(before)
    }

    fn apply_rest(&mut self, chunk: &OpenedChunk, scan: &mut Scan<&FileBytes>) -> Result<()> {
        visit_rest(scan, &chunk.path, self.options.stages, |frame| {
            WalRecord::decode_for(
                frame,
                |record| self.apply(chunk, frame.segment(), record),
                |e| Err(chunk.undecodable(frame, e)),
            )
        })
    }

    fn apply(&mut self, chunk: &OpenedChunk, segment: Segment, record: &WalRecord<W>) -> Result<()> {
        apply(self.state_machine, record, chunk.id, segment)
    }
}

/// Reads of this size do where only a first frame is wanted.
const SMALL_READ: u64 = 4096;

impl OpenedChunk {
    fn scan(&self, successor: bool, read_buffer_size: u64) -> Scan<&FileBytes> {
        Scan::new(
            &self.bytes,
            &self.header,
            successor,
            usize::try_from(read_buffer_size).unwrap_or(usize::MAX),
        )
    }

    /// Drops the pages after the end from the cache. Reading ahead has filled them from space that was never written,
    /// and cached pages are no hole: the next scan would have to read all of them to find the end. The pages that
    /// this scan itself has read may stay.
    fn forget_tail(&self, scan: &Scan<&FileBytes>) {
        if let Some(ScanEnd::Clean { data_end, .. }) = scan.end()
            && !self.header.earlier_life()
        {
            self.bytes.file.forget_cached(data_end - self.id.0 + scan.read_size() as u64);
        }
    }

    fn undecodable(&self, frame: &Frame<'_>, why: Undecodable) -> Error {
        Error::undecodable(&self.path, self.id, frame.offset, why)
    }

    fn error(&self, end: Option<&ScanEnd>) -> Error {
        scan_error(end, self.id, &self.path)
    }
}

/// The error that a scan's end is, where it is not one that the caller can go on with.
pub(crate) fn scan_error(end: Option<&ScanEnd>, chunk_id: ChunkId, path: &std::path::Path) -> Error {
    let path = path.to_owned();
    match end {
        Some(ScanEnd::Corrupt { at, damage, proof }) => {
            Error::Corrupt { path, chunk_id, offset: *at, damage: *damage, proof: *proof }
        }
        Some(ScanEnd::Unsupported { at, what, found, known }) => {
            Error::Unsupported { path, offset: *at, what, found: *found, known: *known }
        }
        Some(ScanEnd::Torn { data_end, lost }) => {
            Error::TornTail { path, chunk_id, data_end: *data_end, lost: *lost }
        }
        // A scan of a chunk with a successor ends in none of these. Treat them as a missing seal.
        Some(ScanEnd::Clean { data_end, .. } | ScanEnd::Sealed { data_end, .. }) => Error::Corrupt {
            path,
            chunk_id,
            offset: *data_end,
            damage: Damage::NotSealed,
            proof: Proof::Successor,
        },
        None => Error::io("read", path, std::io::ErrorKind::UnexpectedEof.into()),
    }
}
