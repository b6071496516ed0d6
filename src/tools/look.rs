//! Reads a whole chunk and classifies it, even while the chunk is written or removed.
//!
//! An unfinished write looks torn; a window read before a write and the next one after it may even look
//! damaged. So a fault counts only once two looks have found the same.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::outcome::is_damage;
use super::{Tool, print};
use crate::directory::Unnamed;
use crate::error::{Error, Foreign, Undecodable};
use crate::position::ChunkId;
use crate::raw;
use crate::raw::{ChunkEnd, ChunkPlace, Listing, RawChunk, RawRecord};

/// How often to look at a chunk that changes all the time.
const LOOKS_MAX: u32 = 20;

/// The pause between two looks at a fault.
const PAUSE: Duration = Duration::from_millis(20);

/// The result of looking at a whole chunk.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) records: u64,
    /// The global offset after the last sound record; the chunk's id if there is none.
    pub(super) data_end: u64,
    /// The payload bytes, as stored. The next field counts the compressed ones.
    pub(super) payload: u64,
    pub(super) compressed: u64,
    pub(super) checkpoint: Option<u64>,
    pub(super) log_id: Option<[u8; 16]>,
    /// The checksum over the records of the previous chunk, then the one over this chunk's. The first
    /// must equal the second one of the previous chunk.
    pub(super) predecessor_checksum: u32,
    pub(super) data_checksum: u32,
    pub(super) state: State,
    /// Only header, seal and first record were read, because the chunk is sealed.
    pub(super) is_partial: bool,
    /// The rest of the log proves the damaged bytes: they can be written again.
    pub(super) is_mendable: bool,
    /// The chunk doesn't follow the one before it: it starts elsewhere, or after other records.
    pub(super) misplaced: Option<Error>,
    /// The first record that its types can't decode, and how many there are.
    pub(super) undecodable: Option<(Error, u64)>,
}

/// How a chunk ends.
#[derive(Debug, Default)]
pub(super) enum State {
    Sealed,
    Open {
        marked: bool,
    },
    Torn {
        lost: u64,
        /// The size of the file, if the file ends within the torn write.
        cut_at: Option<u64>,
    },
    Damaged(Error),
    /// The chunk was removed before it was read to its end.
    #[default]
    Removed,
}

/// Reads a chunk. Calls `read` with the number of bytes as they are read, only during the first look.
pub(super) fn look(
    tool: &Tool,
    dir: &Path,
    id: ChunkId,
    place: ChunkPlace,
    read: &mut dyn FnMut(u64),
) -> Result<Look, Error> {
    let mut found = look_once(tool, dir, id, place, read);
    for _ in 1..LOOKS_MAX {
        if matches!(&found, Ok(look) if !look.is_wrong()) {
            break;
        }
        std::thread::sleep(PAUSE);
        let again = look_once(tool, dir, id, place, &mut |_| {});
        let same = describe(&found) == describe(&again);
        found = again;
        if same {
            break;
        }
    }
    found
}

impl Look {
    /// Returns the faults of the chunk's place in the log and of the chunk, in the order of the log.
    pub(super) fn damage(&self) -> impl Iterator<Item = &Error> {
        let inside = match &self.state {
            State::Damaged(error) => Some(error),
            _ => None,
        };
        self.misplaced.iter().chain(inside)
    }

    /// Whether there is a fault that loses records.
    pub(super) fn is_bad(&self) -> bool {
        self.misplaced.is_some() || !self.is_whole()
    }

    /// Whether all its records are there.
    pub(super) fn is_whole(&self) -> bool {
        self.is_mendable || !matches!(self.state, State::Damaged(_))
    }

    /// Returns the fault of the place of this chunk, `id`, right after a whole one.
    fn misplaced_after(&self, before: &Look, dir: &Path, id: ChunkId) -> Option<Error> {
        let path = dir.join(id.file_name());
        if before.data_end != id.0 {
            return Some(Error::Gap { path, expected: before.data_end, found: id.0 });
        }
        let (expected, found) = (self.predecessor_checksum, before.data_checksum);
        // Without a known log id the header itself may be damaged.
        (self.log_id.is_some() && expected != found)
            .then_some(Error::ForeignChunk { path, reason: Foreign::Predecessor { expected, found } })
    }

    /// Checks that the types of the log can decode a record.
    fn decode(&mut self, tool: &Tool, chunk: &RawChunk, record: &RawRecord<'_>) {
        let Some(Err(why)) = tool.types.map(|types| types.check(record.kind, record.payload)) else { return };
        match &mut self.undecodable {
            Some((_, count)) => *count += 1,
            None => {
                let why = Undecodable::Codec(why);
                self.undecodable =
                    Some((Error::undecodable(chunk.path(), chunk.id(), record.offset, why), 1));
            }
        }
    }

    fn is_wrong(&self) -> bool {
        matches!(self.state, State::Torn { .. } | State::Damaged(_))
    }
}

impl Look {
    /// Finds out whether the damaged bytes can be written again, from the chunk and its successor.
    fn find_mendable(&mut self, tool: &Tool, dir: &Path, id: ChunkId, successor: Option<ChunkId>) {
        if !matches!(self.state, State::Damaged(_)) {
            return;
        }
        // If the bytes can't be read now, the damage stays as found.
        let Ok(Some(mendable)) = raw::mendable_on(&*tool.storage, dir, id, successor) else { return };
        let Some(damage) = mendable.damage.into_iter().next() else { return };
        self.state = State::Damaged(damage);
        self.is_mendable = true;
        self.log_id = Some(mendable.log_id);
        self.predecessor_checksum = mendable.predecessor_checksum;
        self.data_checksum = mendable.data_checksum;
        (self.records, self.data_end) = (mendable.records, mendable.data_end);
    }
}

/// Describes a result, so that two looks can be compared.
fn describe(look: &Result<Look, Error>) -> String {
    match look {
        Ok(Look { state: State::Damaged(error), data_end, .. }) => format!("{data_end} {error:?}"),
        Ok(look) => format!("{} {:?}", look.data_end, look.state),
        Err(error) => error.to_string(),
    }
}

fn look_once(
    tool: &Tool,
    dir: &Path,
    id: ChunkId,
    place: ChunkPlace,
    read: &mut dyn FnMut(u64),
) -> Result<Look, Error> {
    let chunk = match RawChunk::open_on(&*tool.storage, dir, id) {
        Ok(chunk) => chunk,
        Err(error) if is_gone(&error) => return Ok(Look::default()),
        Err(error) if is_damage(&error) => {
            return Ok(Look { data_end: id.0, state: State::Damaged(error), ..Look::default() });
        }
        Err(error) => return Err(error),
    };
    let mut look = Look {
        log_id: Some(chunk.log_id()),
        predecessor_checksum: chunk.predecessor_checksum(),
        ..Look::default()
    };
    let mut records = chunk.records(place);
    let mut reported = id.0;
    while let Some(record) = records.next()? {
        look.checkpoint = look.checkpoint.or(Some(record.payload.len() as u64));
        look.payload += record.stored_len;
        if record.is_compressed {
            look.compressed += record.stored_len;
        }
        look.decode(tool, &chunk, &record);
        let end = record.offset + record.size;
        if end - reported >= 1 << 20 {
            read(end - reported);
            reported = end;
        }
    }
    (look.records, look.data_end) = (records.count(), records.sound_end());
    look.data_checksum = records.data_checksum();
    look.state = match records.end() {
        Some(ChunkEnd::Sealed { .. }) => State::Sealed,
        Some(ChunkEnd::Clean { marked, .. }) => State::Open { marked },
        Some(ChunkEnd::Torn { data_end, lost }) => {
            let (len, reaches) = (chunk.file_len(), data_end + lost - id.0);
            State::Torn { lost, cut_at: (reaches >= len).then_some(len) }
        }
        Some(ChunkEnd::Damaged(error @ Error::Unsupported { .. })) => return Err(error),
        Some(ChunkEnd::Damaged(error)) => State::Damaged(error),
        _ => return Err(chunk_unread(&chunk)),
    };
    read((id.0 + chunk.file_len()).saturating_sub(reported));
    if matches!(look.state, State::Damaged(_)) && is_removed(tool, dir, id) {
        look.state = State::Removed;
    }
    Ok(look)
}

/// Describes the losses of a damaged chunk and the records after them, one line for each gap.
pub(super) fn salvage(tool: &Tool, dir: &Path, id: ChunkId, place: ChunkPlace) -> Result<Vec<String>, Error> {
    let chunk = match RawChunk::open_on(&*tool.storage, dir, id) {
        Ok(chunk) => chunk,
        // Without its header nothing of a chunk can be checked.
        Err(error) if is_gone(&error) || is_damage(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut records = chunk.records(place);
    while records.next()?.is_some() {}
    let mut lines = Vec::new();
    while let Some(skipped) = records.skip_damage()? {
        let before = records.count();
        while records.next()?.is_some() {}
        let follow = print::count(records.count() - before, "sound record");
        lines.push(format!("{}: {}; {follow} after that", id.file_name(), print::skipped(&skipped)));
    }
    Ok(lines)
}

fn chunk_unread(chunk: &RawChunk) -> Error {
    let source = std::sync::Arc::new(io::Error::other("the chunk was not read to its end"));
    Error::Io { op: "read", path: chunk.path().to_owned(), source }
}

/// Whether a chunk was removed: then its file may hold another chunk.
pub(super) fn is_removed(tool: &Tool, dir: &Path, id: ChunkId) -> bool {
    matches!(RawChunk::open_on(&*tool.storage, dir, id), Err(error) if is_gone(&error))
}

pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// All chunks of a log, each by itself and as a chain.
#[derive(Debug)]
pub(super) struct LogLook {
    /// The log id of most chunks.
    pub(super) log_id: Option<[u8; 16]>,
    pub(super) chunks: Vec<(ChunkId, Look)>,
}

impl LogLook {
    /// Collects the results of each chunk of a listing, in order.
    pub(super) fn of(tool: &Tool, dir: &Path, looks: Vec<(ChunkId, Look)>) -> Self {
        let mut chunks: Vec<(ChunkId, Look)> = Vec::with_capacity(looks.len());
        let ids: Vec<ChunkId> = looks.iter().map(|(id, _)| *id).collect();
        let log_id = raw::log_id_on(&*tool.storage, dir, &ids);
        for (i, (id, mut look)) in looks.into_iter().enumerate() {
            look.find_mendable(tool, dir, id, ids.get(i + 1).copied());
            match look.state {
                // The oldest chunks are removed first: the ones before this chunk are gone by now, too,
                // and were read just in time. A missing chunk after others that are still there is a
                // gap.
                State::Removed => {
                    chunks.retain(|(before, _)| !is_removed(tool, dir, *before));
                    continue;
                }
                State::Damaged(_) if !look.is_mendable => {}
                _ => {
                    if let (Some(expected), Some(found)) = (log_id, look.log_id)
                        && expected != found
                    {
                        let reason = Foreign::LogId { expected, found };
                        let path = dir.join(id.file_name());
                        look.state = State::Damaged(Error::ForeignChunk { path, reason });
                        look.is_mendable = false;
                    }
                }
            }
            if let Some((_, before)) = chunks.last()
                && (matches!(before.state, State::Sealed) || before.is_mendable)
            {
                look.misplaced = look.misplaced_after(before, dir, id);
            }
            chunks.push((id, look));
        }
        LogLook { log_id, chunks }
    }
    /// Adds what a spare proves about the newest chunk of a log that no other process has open.
    pub(super) fn judge_spares(&mut self, tool: &Tool, dir: &Path) -> Result<(), Error> {
        let found = Unnamed::find(&*tool.storage, dir, &Listing::of_storage(&*tool.storage, dir)?);
        if let (Err(error @ (Error::Corrupt { .. } | Error::Gap { .. })), Some((_, look))) =
            (found, self.chunks.last_mut())
            && look.damage().next().is_none()
        {
            look.state = State::Damaged(error);
        }
        Ok(())
    }
}
