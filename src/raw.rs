//! Looks at any log, without its types, even while a process has it open: names, headers, records as bytes, and
//! how each chunk ends.
//!
//! ```text
//! Listing::of(dir) ─► RawChunk::open ─► header, seal
//!                         └─► records ─► RawRecord, RawRecord, ... ─► end: sealed, clean, torn, damaged
//!
//! WalReader::<Raw>   the records that are durable, and those to come
//! mend_chunk         rewrites a seal or header that the rest of the log proves
//! cut_chunk          ends a damaged chunk early
//! void_record        takes out a record that can't be decoded
//! ```
//!
//! The command `chunked-wal` is built on this module. To read a log's records, use [`WalReader`](crate::WalReader),
//! with your own types or with [`Raw`]. Use this module to find out what is wrong with a log.
//!
//! ```
//! use chunked_wal::raw::{Listing, RawChunk};
//! # use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, raw::Raw};
//! # struct Nothing;
//! # impl StateMachine<Raw> for Nothing {
//! #     type Error = std::convert::Infallible;
//! #     fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> { Ok(()) }
//! #     fn checkpoint(&self) -> chunked_wal::raw::Payload { Default::default() }
//! # }
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! # ChunkedWal::<Raw>::open(Config::new(dir), &mut Nothing)?.close()?;
//! let listing = Listing::of(dir)?;
//! for (i, id) in listing.chunks.iter().enumerate() {
//!     let chunk = RawChunk::open(dir, *id)?;
//!     let mut records = chunk.records(listing.place(i));
//!     while let Some(record) = records.next()? {
//!         println!("{}: {} bytes", record.offset, record.payload.len());
//!     }
//!     println!("{id} ends: {:?}", records.end());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sound records after damage can still be read, at the offsets that they always had: [`RawRecords::skip_damage`]
//! goes on at the next one. A payload has the bytes that the codec wrote, so [`Decode::decode`] reads it.
//!
//! While a chunk is being written, its last frame may look torn, or even damaged, because its bytes are not read in
//! one instant. Trust such a finding once several looks agree.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fmt, io};

use codeq::{Decode, Encode};

use crate::clock::from_unix_ms;
use crate::directory::{FileBytes, WalLock, log_id_of_most, open_chunk, open_chunk_file};
use crate::error::{Error, Result, Undecodable};
use crate::format::{Header, Kind, Scan, ScanEnd, find_seal};
use crate::position::ChunkId;
use crate::record::WalTypes;
use crate::recovery;
use crate::recovery::{Mendable, scan_error};
use crate::storage::{DiskStorage, Storage};

pub use crate::directory::{ChunkPlace, Listing};

/// How much is read at a time.
const READ: usize = 1 << 20;

/// The types of any log: records are their payloads.
///
/// `WalReader::<Raw>` reads every log. `ChunkedWal::<Raw>` opens every log too; other types can read the records it
/// appends only if the payloads have the bytes that their codecs write.
#[derive(Debug, Clone, Copy)]
pub struct Raw;

impl WalTypes for Raw {
    type Action = Payload;
    type Checkpoint = Payload;
    type Callback = ();
}

/// The bytes of one record, as its codec wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload(
    /// The bytes.
    pub Vec<u8>,
);

impl Encode for Payload {
    fn encode<W: io::Write>(&self, mut writer: W) -> io::Result<usize> {
        writer.write_all(&self.0)?;
        Ok(self.0.len())
    }
}

impl Decode for Payload {
    fn decode<R: io::Read>(mut reader: R) -> io::Result<Self> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(Payload(bytes))
    }
}

/// One chunk, opened to be looked at.
#[derive(Debug)]
pub struct RawChunk {
    path: PathBuf,
    header: Header,
    bytes: FileBytes,
}

impl RawChunk {
    /// Opens a chunk and reads its header.
    ///
    /// # Errors
    ///
    /// What is wrong with the header: [`Error::NotAChunk`], [`Error::Unsupported`], [`Error::Corrupt`],
    /// [`Error::ForeignChunk`] for another chunk's name; [`Error::Io`], with
    /// [`NotFound`](io::ErrorKind::NotFound) inside if the chunk was removed meanwhile.
    pub fn open(dir: &Path, id: ChunkId) -> Result<Self> {
        Self::open_on(&DiskStorage, dir, id)
    }

    /// As [`open`](Self::open), in a directory of another storage.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_on(storage: &dyn Storage, dir: &Path, id: ChunkId) -> Result<Self> {
        let path = dir.join(id.file_name());
        let (header, bytes) = open_chunk(storage, &path, id)?;
        Ok(RawChunk { path, header, bytes })
    }

    /// Opens a file of any name as the chunk that its header says it is: a copy beside the log, for
    /// example, as `chunked-wal repair` leaves one.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but for the name.
    pub fn open_file(path: &Path) -> Result<Self> {
        Self::open_file_on(&DiskStorage, path)
    }

    /// As [`open_file`](Self::open_file), on another storage.
    ///
    /// # Errors
    ///
    /// As [`open_file`](Self::open_file).
    pub fn open_file_on(storage: &dyn Storage, path: &Path) -> Result<Self> {
        let (header, bytes) = open_chunk_file(storage, path, None)?;
        Ok(RawChunk { path: path.to_owned(), header, bytes })
    }

    /// The chunk's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The chunk's id.
    pub fn id(&self) -> ChunkId {
        ChunkId(self.header.chunk_id)
    }

    /// Random, the same in all chunks of a log.
    pub fn log_id(&self) -> [u8; 16] {
        self.header.log_id
    }

    /// When the chunk was started, by the clock of the machine that wrote it; for people only.
    pub fn created(&self) -> SystemTime {
        from_unix_ms(self.header.created_ms)
    }

    /// The checksum over the records of the chunk before this one, as that chunk's seal has it. If the two differ,
    /// the chunks are of different histories of the log. 0 in a log's first chunk.
    pub fn predecessor_checksum(&self) -> u32 {
        self.header.previous_crc
    }

    /// Whether the file was another chunk's before, so that old bytes may follow the data.
    pub fn is_reused(&self) -> bool {
        self.header.earlier_life()
    }

    /// Whether some of its records may be compressed.
    pub fn may_be_compressed(&self) -> bool {
        self.header.may_be_compressed()
    }

    /// The size of the file, in bytes, when it was opened.
    pub fn file_len(&self) -> u64 {
        self.bytes.len
    }

    /// The seal, if there is one at the end of the file. It is found without reading the chunk, so it doesn't prove
    /// that the records before it are sound.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn seal(&self) -> Result<Option<ChunkSeal>> {
        let seal = find_seal(&self.bytes, &self.header).map_err(|e| Error::from_read(&self.path, e))?;
        Ok(seal.map(|seal| ChunkSeal {
            data_end: self.header.chunk_id + seal.data_len,
            records: seal.records,
            data_checksum: seal.data_crc,
        }))
    }

    /// Reads the chunk's records, each checked, from the first on.
    pub fn records(&self, place: ChunkPlace) -> RawRecords<'_> {
        let scan = Scan::new(&self.bytes, &self.header, place == ChunkPlace::Older, READ);
        let sound_end = self.header.chunk_id;
        let (broken, damage) = (None, None);
        RawRecords { chunk: self, scan, count: 0, sound_end, broken, damage, scratch: Vec::new() }
    }
}

/// What a seal says of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSeal {
    /// The global offset after the last record.
    pub data_end: u64,
    /// How many records there are, checkpoints included.
    pub records: u64,
    /// The checksum over their checksums, in order.
    pub data_checksum: u32,
}

/// The records of one chunk, from [`RawChunk::records`].
pub struct RawRecords<'a> {
    chunk: &'a RawChunk,
    scan: Scan<&'a FileBytes>,
    count: u64,
    sound_end: u64,
    /// The frame of a record that can't be decompressed: the records end before it.
    broken: Option<Range<u64>>,
    /// The first end that was skipped.
    damage: Option<ChunkEnd>,
    /// The payload of a compressed record.
    scratch: Vec<u8>,
}

impl RawRecords<'_> {
    /// The next record; `None` once the records end, and [`end`](Self::end) says how.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. It says nothing about the log's bytes; try again.
    #[expect(clippy::should_implement_trait, reason = "an iterator can't lend its buffer")]
    pub fn next(&mut self) -> Result<Option<RawRecord<'_>>> {
        if self.broken.is_some() {
            return Ok(None);
        }
        let frame = self.scan.next().map_err(|e| Error::from_read(&self.chunk.path, e))?;
        let Some(frame) = frame else { return Ok(None) };
        let Some(payload) = frame.raw_payload(&mut self.scratch) else {
            self.broken = Some(frame.offset..frame.offset + frame.size);
            return Ok(None);
        };
        self.count += 1;
        self.sound_end = frame.offset + frame.size;
        Ok(Some(RawRecord {
            offset: frame.offset,
            size: frame.size,
            kind: match frame.kind {
                Kind::Checkpoint => RecordKind::Checkpoint,
                _ => RecordKind::Action,
            },
            is_compressed: frame.is_compressed(),
            batch_goes_on: frame.has_more(),
            stored_len: frame.payload.len() as u64,
            payload,
        }))
    }

    /// Goes on at the next sound frame after the damage or the torn write in which the records ended:
    /// [`next`](Self::next) returns the records from there on. Returns the global offsets skipped, or `None`
    /// if nothing sound follows or the records ended in another way.
    ///
    /// A frame counts as sound by its checksum. After a torn write there may be records that were never
    /// acknowledged. Costs no more than reading the chunk once, even if most of it is damaged.
    ///
    /// ```
    /// # use chunked_wal::raw::{RawChunk, ChunkPlace};
    /// # fn salvage(chunk: &RawChunk, place: ChunkPlace) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut records = chunk.records(place);
    /// loop {
    ///     while let Some(record) = records.next()? {
    ///         println!("{}: {} bytes", record.offset, record.payload.len());
    ///     }
    ///     let Some(skipped) = records.skip_damage()? else { break };
    ///     eprintln!("{} bytes from {} to {} are lost", skipped.end - skipped.start, skipped.start, skipped.end);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; it can be tried again.
    pub fn skip_damage(&mut self) -> Result<Option<Range<u64>>> {
        let end = self.end();
        let skipped = match self.broken.take() {
            Some(broken) => Some(broken),
            None => self.scan.skip_damage().map_err(|e| Error::from_read(&self.chunk.path, e))?,
        };
        if skipped.is_some() && self.damage.is_none() {
            self.damage = end;
        }
        Ok(skipped)
    }

    /// How the records end, once [`next`](Self::next) has returned `None`. After [`skip_damage`](Self::skip_damage)
    /// it is still the first damage, because for the log the chunk ends there.
    pub fn end(&self) -> Option<ChunkEnd> {
        if self.damage.is_some() {
            return self.damage.clone();
        }
        if let Some(broken) = &self.broken {
            let (why, id) = (Undecodable::Compressed, self.chunk.id());
            let error = Error::undecodable(&self.chunk.path, id, broken.start, why);
            return Some(ChunkEnd::Damaged(error));
        }
        Some(match self.scan.end()? {
            ScanEnd::Sealed { data_end, .. } => ChunkEnd::Sealed { data_end: *data_end },
            ScanEnd::Clean { data_end, mark } => {
                ChunkEnd::Clean { data_end: *data_end, marked: mark.is_some() }
            }
            ScanEnd::Torn { data_end, lost: 0 } => ChunkEnd::Clean { data_end: *data_end, marked: false },
            ScanEnd::Torn { data_end, lost } => ChunkEnd::Torn { data_end: *data_end, lost: *lost },
            other => ChunkEnd::Damaged(scan_error(Some(other), self.chunk.id(), &self.chunk.path)),
        })
    }

    /// How many records were returned.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The checksum over the checksums of the records returned, in order. Once all are returned, it is the one in the
    /// chunk's seal.
    pub fn data_checksum(&self) -> u32 {
        self.scan.data_crc().value()
    }

    /// The global offset after the last record returned; before the first, the chunk's id; after a sound end, the
    /// end of the data.
    pub fn sound_end(&self) -> u64 {
        match self.scan.end() {
            // After a record that a repair took out at the end.
            Some(ScanEnd::Sealed { data_end, .. } | ScanEnd::Clean { data_end, .. }) => *data_end,
            _ => self.sound_end,
        }
    }
}

impl fmt::Debug for RawRecords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecords")
            .field("chunk", &self.chunk.id())
            .field("count", &self.count())
            .field("sound_end", &self.sound_end())
            .finish_non_exhaustive()
    }
}

/// A record as bytes, checked by its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// The global offset of its frame.
    pub offset: u64,
    /// Bytes of the frame, header and padding included.
    pub size: u64,
    /// What it is.
    pub kind: RecordKind,
    /// Whether the payload was compressed with LZ4 on the disk.
    pub is_compressed: bool,
    /// Whether the next record is in the same [batch](crate::Batch). The last record of a batch says no, as does a
    /// record that was appended alone.
    pub batch_goes_on: bool,
    /// Bytes of the payload on the disk, fewer than it has if it was compressed.
    pub stored_len: u64,
    /// What the codec wrote.
    pub payload: &'a [u8],
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// An action.
    Action,
    /// A checkpoint: the first record of each chunk, and wherever one was appended.
    Checkpoint,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RecordKind::Action => "action",
            RecordKind::Checkpoint => "checkpoint",
        })
    }
}

/// Where and how the records of a chunk end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ChunkEnd {
    /// A seal that agrees with the records.
    Sealed {
        /// The global offset after the last record.
        data_end: u64,
    },
    /// The newest chunk of a log that was closed or idle, or after whose last record no other write can be seen.
    Clean {
        /// The global offset after the last record.
        data_end: u64,
        /// All up to there is proven to be durable, by a mark.
        marked: bool,
    },
    /// The newest chunk ends in a write that a crash tore, or that is under way.
    Torn {
        /// The global offset after the last sound record.
        data_end: u64,
        /// Bytes of the torn write.
        lost: u64,
    },
    /// After the last sound record the log can't be read: [`Error::Corrupt`] or [`Error::Unsupported`].
    Damaged(Error),
}

/// The id of the log that most of the chunks belong to, because a chunk that was copied in may be the oldest; with no
/// majority, that of the oldest. `None` if no header can be read.
pub fn log_id(dir: &Path, chunks: &[ChunkId]) -> Option<[u8; 16]> {
    log_id_on(&DiskStorage, dir, chunks)
}

/// As [`log_id`], in a directory of another storage.
pub fn log_id_on(storage: &dyn Storage, dir: &Path, chunks: &[ChunkId]) -> Option<[u8; 16]> {
    log_id_of_most(storage, dir, chunks)
}

/// A chunk with damage that can be mended, because the rest of the log proves the damaged bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MendableChunk {
    /// The damage, each an [`Error::Corrupt`]; at least one.
    pub damage: Vec<Error>,
    /// The log that the chunk is of.
    pub log_id: [u8; 16],
    /// As [`RawChunk::predecessor_checksum`].
    pub predecessor_checksum: u32,
    /// As [`RawRecords::data_checksum`].
    pub data_checksum: u32,
    /// Its records, all of them sound.
    pub records: u64,
    /// The global offset after the last of them.
    pub data_end: u64,
}

/// Whether a damaged chunk can be mended without loss by [`mend_chunk`]; `None` if it can't, or is sound.
/// `successor`: the chunk after it. Reads the whole chunk.
///
/// # Errors
///
/// [`Error::Io`].
pub fn mendable(dir: &Path, id: ChunkId, successor: Option<ChunkId>) -> Result<Option<MendableChunk>> {
    mendable_on(&DiskStorage, dir, id, successor)
}

/// As [`mendable`], in a directory of another storage.
///
/// # Errors
///
/// [`Error::Io`].
pub fn mendable_on(
    storage: &dyn Storage,
    dir: &Path,
    id: ChunkId,
    successor: Option<ChunkId>,
) -> Result<Option<MendableChunk>> {
    let found = recovery::find_mends(storage, &dir.join(id.file_name()), id, successor)?;
    Ok(found.map(|Mendable { mends, header, data_crc, records, data_end }| MendableChunk {
        damage: mends.iter().map(recovery::Mend::error).collect(),
        log_id: header.log_id,
        predecessor_checksum: header.previous_crc,
        data_checksum: data_crc.value(),
        records,
        data_end,
    }))
}

/// Rewrites in place the damaged part of a chunk that the rest of the log proves: its seal, or a header with one
/// flipped bit. No record is lost, and the mend is on stable storage on return. Does nothing if there is nothing to
/// mend.
///
/// # Errors
///
/// [`Error::StorageFull`], [`Error::Io`].
pub fn mend_chunk(lock: &WalLock, id: ChunkId, successor: Option<ChunkId>) -> Result<()> {
    let path = lock.dir().join(id.file_name());
    let storage = &**lock.storage();
    let found = recovery::find_mends(storage, &path, id, successor)?;
    found.iter().flat_map(|found| &found.mends).try_for_each(|mend| mend.apply(storage))
}

/// Ends a chunk early: keeps the records before the global offset `data_end`, where one of them ends,
/// makes them durable and seals the chunk there. **Everything after that is lost**, acknowledged or not. A spare that
/// begins like a later chunk gets `.broken` appended to its name.
///
/// Use it to repair a damaged log, with a copy of the file at hand. The chunk must be the newest of the log, or
/// become the newest.
///
/// # Errors
///
/// [`Error::NotInLog`] if no sound record ends at `data_end`, or one in the middle of a batch; as [`RawChunk::open`];
/// [`Error::StorageFull`], [`Error::Io`].
pub fn cut_chunk(lock: &WalLock, id: ChunkId, data_end: u64) -> Result<()> {
    recovery::cut_chunk(&**lock.storage(), &lock.dir().join(id.file_name()), id, data_end)
}

/// Takes the record at the global `offset` out of a chunk's file, of any name: replay, readers and this module
/// pass over its place. For a record that its codec can't decode, which keeps the log from opening.
///
/// The write is not atomic. Give it a copy of the chunk's file, rename that over the chunk, and sync the
/// directory, as `chunked-wal repair --void` does; no process may have the log open. Seal and successor stay valid.
///
/// # Errors
///
/// [`Error::NoSuchRecord`], [`Error::NotInLog`] if no record begins there; [`Error::NotVoidable`] for the first
/// record of a chunk and for one without payload; as [`RawChunk::open_file`]; [`Error::Corrupt`] for damage
/// before the record.
pub fn void_record(path: &Path, offset: u64) -> Result<()> {
    void_record_on(&DiskStorage, path, offset)
}

/// As [`void_record`], on another storage.
///
/// # Errors
///
/// As [`void_record`].
pub fn void_record_on(storage: &dyn Storage, path: &Path, offset: u64) -> Result<()> {
    recovery::void_record(storage, path, offset)
}
