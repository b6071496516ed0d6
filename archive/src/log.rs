//! [`Log`]: the durable bytes of a log in its directory, as parts to be uploaded.
//!
//! ```text
//! chunk | header | frames ... | frames ... | seal |      chunk | header | frames ...        durable end
//!       └─── part ───────────┘└── part ──────────┘             └─── part ──────────────────┘
//! ```
//!
//! - Only durable bytes are returned: no crash takes back what the archive has.
//! - A chunk's seal is durable once a byte of the next chunk is.
//! - A chunk loses its name before its file is reused. So bytes belong to a chunk if the header under its name is still
//!   the same after they were read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use chunked_wal::raw::{Raw, RawChunk};
use chunked_wal::storage::{Access, DiskStorage, Storage, StorageFile};
use chunked_wal::{ChunkId, Error as WalError, ProgressHandle, WalReader};

use crate::chain::now_ms;
use crate::error::{Error, Result};
use crate::manifest::{Object, hex, sha256};

const HEADER_LEN: usize = 64;
/// How often a listing is repeated that lacks a chunk.
const LISTINGS: usize = 4;
/// A seal's frame.
const SEAL_LEN: u64 = 40;

/// Where a log is, and how its durable end is known.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) storage: Arc<dyn Storage>,
    /// Of a log that is open in this process; else the files say how far the log is durable.
    pub(crate) progress: Option<ProgressHandle>,
}

impl Place {
    pub(crate) fn new(dir: &Path) -> Self {
        Place { dir: dir.to_owned(), storage: Arc::new(DiskStorage), progress: None }
    }
}

/// Bytes to be uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) object: Object,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Log {
    place: Place,
    reader: Option<WalReader<Raw>>,
}

/// What is to be read of one chunk.
struct Wanted {
    id: ChunkId,
    from: u64,
    until: u64,
    /// The next chunk, if this one is sealed.
    successor: Option<ChunkId>,
}

impl Log {
    pub(crate) fn new(place: Place) -> Self {
        Log { place, reader: None }
    }

    /// The log's id in hexadecimal digits; `None` if there is no chunk yet.
    pub(crate) fn id(&self) -> Result<Option<String>> {
        for id in self.chunks()? {
            match RawChunk::open_on(&*self.place.storage, &self.place.dir, id) {
                Ok(chunk) => return Ok(Some(hex(&chunk.log_id()))),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Reads the next durable bytes after the archive's last object: of one chunk, and at most `part_bytes`. `None` if
    /// all is archived.
    pub(crate) fn next(
        &mut self,
        last: Option<&Object>,
        part_bytes: u64,
        skip_missing: bool,
    ) -> Result<Option<Part>> {
        let Some(durable) = self.durable_end()? else { return Ok(None) };
        let chunks = self.chunks_after(last, durable)?;
        let Some(wanted) = wanted(last, &chunks, durable, skip_missing)? else { return Ok(None) };
        self.read_part(&wanted, part_bytes, last)
    }

    /// Whether the log still has the bytes of an archived object, or has removed the chunk. A log removes its oldest
    /// chunks only: one that is missing elsewhere is of another history.
    pub(crate) fn agrees(&self, object: &Object) -> Result<bool> {
        let (id, len) = (ChunkId(object.chunk), object.to - object.from);
        match self.read(id, object.from, len)? {
            Read::Bytes(bytes) => Ok(sha256(&bytes) == object.sha256),
            Read::Gone => Ok(self.chunks()?.first().is_some_and(|oldest| oldest.0 > object.chunk)),
            Read::Short => Ok(false),
        }
    }

    fn durable_end(&mut self) -> Result<Option<u64>> {
        if let Some(progress) = &self.place.progress {
            return Ok(Some(progress.progress().synced));
        }
        let reader = match &self.reader {
            Some(reader) => reader,
            None => {
                let options = WalReader::<Raw>::read_only_options(&self.place.dir);
                match options.storage(self.place.storage.clone()).open() {
                    Ok(reader) => self.reader.insert(reader),
                    // The log may be about to be made.
                    Err(WalError::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        Ok(Some(reader.refresh()?))
    }

    /// The chunks as of now. A listing may miss a name while names change: one that would be an error is repeated.
    fn chunks_after(&self, last: Option<&Object>, durable: u64) -> Result<Vec<ChunkId>> {
        for _ in 0..LISTINGS {
            let chunks = self.chunks()?;
            if wanted(last, &chunks, durable, false).is_ok() {
                return Ok(chunks);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.chunks()
    }

    fn chunks(&self) -> Result<Vec<ChunkId>> {
        let names = self.place.storage.list(&self.place.dir).map_err(Error::io("list", &self.place.dir))?;
        let ids = names.iter().filter_map(|name| ChunkId::parse_file_name(name.to_str()?));
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn read_part(&self, wanted: &Wanted, part_bytes: u64, last: Option<&Object>) -> Result<Option<Part>> {
        let &Wanted { id, from, until, successor } = wanted;
        let to = until.min(from + part_bytes);
        let Read::Bytes(bytes) = self.read(id, from, to - from)? else { return Ok(None) };
        let sealed = successor.is_some() && to == until;
        let end = successor.map_or(id.0 + to, |next| next.0.min(id.0 + to));
        let durable_ms = successor.and_then(|next| self.created_ms(next)).unwrap_or(u64::MAX).min(now_ms());
        let time_ms = last.map_or(durable_ms, |last| durable_ms.max(last.time_ms));
        let sha256 = sha256(&bytes);
        let object = Object { level: 0, chunk: id.0, from, to, end, sealed, time_ms, epoch: 0, sha256 };
        Ok(Some(Part { object, bytes }))
    }

    /// When a chunk was started: everything before was durable by then.
    fn created_ms(&self, id: ChunkId) -> Option<u64> {
        let chunk = RawChunk::open_on(&*self.place.storage, &self.place.dir, id).ok()?;
        let since = chunk.created().duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }

    fn read(&self, id: ChunkId, from: u64, len: u64) -> Result<Read> {
        let path = self.place.dir.join(id.file_name());
        let failed = || Error::io("read", &path);
        let Some((file, header)) = self.open(&path).map_err(failed())? else { return Ok(Read::Gone) };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let is_whole = read_full(&*file, &mut bytes, from).map_err(failed())?;
        let again = self.open(&path).map_err(failed())?;
        if again.is_none_or(|(_, again)| again != header) {
            return Ok(Read::Gone);
        }
        Ok(if is_whole { Read::Bytes(bytes) } else { Read::Short })
    }

    /// Opens the chunk that has this name now, and reads its header; `None` if there is none.
    fn open(&self, path: &Path) -> io::Result<Option<Opened>> {
        let mut header = [0; HEADER_LEN];
        match self.place.storage.open(path, Access::Read) {
            Ok(file) => Ok(read_full(&*file, &mut header, 0)?.then_some((file, header))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A chunk's file with its header.
type Opened = (Arc<dyn StorageFile>, [u8; HEADER_LEN]);

enum Read {
    Bytes(Vec<u8>),
    /// The chunk was removed.
    Gone,
    /// The file ends before these bytes.
    Short,
}

/// Fills the buffer; `false` if the file ends before.
fn read_full(file: &dyn StorageFile, mut buf: &mut [u8], mut position: u64) -> io::Result<bool> {
    while !buf.is_empty() {
        match file.read_at(buf, position) {
            Ok(0) => return Ok(false),
            Ok(n) => (buf, position) = (&mut buf[n..], position + n as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// What follows the last object: more of its chunk, or the next chunk.
fn wanted(
    last: Option<&Object>,
    chunks: &[ChunkId],
    durable: u64,
    skip_missing: bool,
) -> Result<Option<Wanted>> {
    let (mut id, mut from) = match last {
        None => (chunks.first().map_or(0, |id| id.0), 0),
        Some(last) if last.sealed => (last.end, 0),
        Some(last) => (last.chunk, last.to),
    };
    let mut at = chunks.iter().position(|chunk| chunk.0 >= id);
    if let Some(found) = at.map(|at| chunks[at].0).filter(|found| *found != id) {
        if !skip_missing {
            return Err(Error::Missing { from: last.map_or(id, |last| last.end), to: found });
        }
        (id, from) = (found, 0);
        at = chunks.iter().position(|chunk| chunk.0 == found);
    }
    let Some(at) = at else { return Ok(None) };
    let next = chunks.get(at + 1).copied();
    let successor = next.filter(|next| next.0 + (HEADER_LEN as u64) < durable);
    let until = match successor {
        Some(next) => next.0 - id + SEAL_LEN,
        // Without its first record a chunk is nothing.
        None if durable <= id + HEADER_LEN as u64 => return Ok(None),
        None => next.map_or(durable, |next| next.0.min(durable)) - id,
    };
    Ok((from < until).then_some(Wanted { id: ChunkId(id), from, until, successor }))
}

/// Whether a chunk was removed while it was looked at.
fn is_gone(error: &WalError) -> bool {
    matches!(error, WalError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
