//! [`WalReader`] and [`Records`]: the same face for a log that is open here and for a directory.

use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use super::directory::{Begin, Directory, DirectoryRecords};
use super::live::LiveRecords;
use super::{Follow, LogView, PinnedReader, ReadUpTo};
#[cfg(feature = "blob")]
use super::{FrameParts, StoredFrame};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::flush::Positions;
use crate::position::{ChunkId, Segment};
use crate::record::{WalRecord, WalTypes};
use crate::storage::{DiskStorage, Storage};

/// Reads a log's records, from any thread, while its owner goes on appending.
///
/// It is cheap to clone, holds no lock and never writes. There are two kinds:
///
/// - [`ChunkedWal::reader`](crate::ChunkedWal::reader) reads a log that is open in this process: every
///   record from the oldest kept to the one just appended, durable or not. Once the log is closed it
///   returns [`Error::Closed`].
/// - [`open_read_only`](Self::open_read_only) reads a directory, even while another process has the log open: the
///   records that are proven to be durable, as of the last [`refresh`](Self::refresh).
pub struct WalReader<W: WalTypes> {
    source: Source<W::Checkpoint>,
}

/// Where records come from.
enum Source<C> {
    Live(Arc<LogView<C>>),
    Directory(Arc<Directory>),
}

impl<C> Clone for Source<C> {
    fn clone(&self) -> Self {
        match self {
            Source::Live(view) => Source::Live(view.clone()),
            Source::Directory(directory) => Source::Directory(directory.clone()),
        }
    }
}

impl<W: WalTypes> WalReader<W> {
    pub(crate) fn new(view: Arc<LogView<W::Checkpoint>>) -> Self {
        WalReader { source: Source::Live(view) }
    }

    /// Opens a log for reading only, whether or not this or another process has it open; the short form
    /// of [`read_only_options`](Self::read_only_options).
    ///
    /// It takes no lock, writes nothing, and needs read permission only. It reads sealed chunks, and of the open
    /// chunk the records that are proven to be durable, so that no crash can take back a record that was read. The
    /// newest records may lack their proof for a moment: the proof comes with the next record written, or with the
    /// mark that a log gets as soon as all of it is synced. For a log that is open in this process,
    /// [`ChunkedWal::reader`](crate::ChunkedWal::reader) knows more.
    ///
    /// Blocks while it reads the newest chunk once.
    ///
    /// ```
    /// # use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord, WalReader, WalTypes};
    /// # struct Log;
    /// # impl WalTypes for Log { type Action = String; type Checkpoint = u64; type Callback = (); }
    /// # #[derive(Default)] struct Count(u64);
    /// # impl StateMachine<Log> for Count {
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, _: &WalRecord<Log>, _: ChunkId, _: Segment) -> Result<(), Self::Error> { Ok(()) }
    /// #     fn checkpoint(&self) -> u64 { self.0 }
    /// # }
    /// # let dir = tempfile::tempdir()?;
    /// # let dir = dir.path();
    /// let mut wal = ChunkedWal::<Log>::open(Config::new(dir), &mut Count::default())?;
    /// wal.append(&WalRecord::Action("hello".to_string()))?;
    /// wal.sync()?;
    /// wal.wait_idle()?;
    ///
    /// // As another process would do:
    /// let reader = WalReader::<Log>::open_read_only(dir)?;
    /// let records: Vec<_> = reader.records().collect::<Result<_, _>>()?;
    /// assert_eq!(records.last().map(|(_, _, record)| record), Some(&WalRecord::Action("hello".to_string())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such directory or no chunk in it. For the newest chunk's header:
    /// [`Error::NotAChunk`], [`Error::Unsupported`], [`Error::Corrupt`], [`Error::ForeignChunk`]. [`Error::Io`].
    pub fn open_read_only(dir: impl Into<PathBuf>) -> Result<Self> {
        Self::read_only_options(dir).open()
    }

    /// Returns the options for opening a log for reading only.
    pub fn read_only_options(dir: impl Into<PathBuf>) -> ReadOnlyOptions<W> {
        ReadOnlyOptions {
            dir: dir.into(),
            read_up_to: ReadUpTo::default(),
            storage: Arc::new(DiskStorage),
            types: PhantomData,
        }
    }

    /// Returns the global offset of the oldest byte that can be read.
    pub fn start(&self) -> u64 {
        match &self.source {
            Source::Live(view) => view.start(),
            Source::Directory(directory) => directory.bounds().0,
        }
    }

    /// Returns the global offset after the last record that can be read; of a directory, as of the last
    /// [`refresh`](Self::refresh).
    pub fn end(&self) -> u64 {
        match &self.source {
            Source::Live(view) => view.end(),
            Source::Directory(directory) => directory.bounds().1,
        }
    }

    /// Looks at the directory again, for this reader and its clones, and returns the new
    /// [`end`](Self::end). A reader of a log that is open in this process is always up to date.
    ///
    /// It costs a listing, and reading the bytes written to the newest chunk since the last look.
    ///
    /// # Errors
    ///
    /// As [`open_read_only`](Self::open_read_only); [`Error::ForeignChunk`] if another log has taken the
    /// place of this one; [`Error::Closed`].
    pub fn refresh(&self) -> Result<u64> {
        match &self.source {
            Source::Live(view) => view.check()?,
            Source::Directory(directory) => directory.refresh()?,
        }
        Ok(self.end())
    }

    /// The log as it is now: a reader from which no removal takes anything.
    ///
    /// ```
    /// # use chunked_wal::raw::{Payload, Raw};
    /// # use chunked_wal::{ChunkId, ChunkedWal, Config, Segment, StateMachine, WalRecord};
    /// # struct Nothing;
    /// # impl StateMachine<Raw> for Nothing {
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> { Ok(()) }
    /// #     fn checkpoint(&self) -> Payload { Payload::default() }
    /// # }
    /// # let dir = tempfile::tempdir()?;
    /// let mut wal = ChunkedWal::<Raw>::open(Config::new(dir.path()), &mut Nothing)?;
    /// wal.append(&WalRecord::Action(Payload(b"old".to_vec())))?;
    /// let pinned = wal.reader().pin()?; // or `wal.pinned_reader()`
    ///
    /// wal.close_open_chunk(&Nothing)?;
    /// let drained = wal.drain_closed_chunks_while(|_| true);
    /// wal.remove_chunks(drained)?; // takes effect once `pinned` is dropped
    /// assert_eq!(wal.records().count(), 1); // the new chunk's checkpoint
    /// assert_eq!(pinned.records().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]. [`Error::Io`] of the kind [`Unsupported`](io::ErrorKind::Unsupported) for a reader of a
    /// directory, whose chunks another process removes.
    pub fn pin(&self) -> Result<PinnedReader<W>> {
        match &self.source {
            Source::Live(view) => {
                view.check()?;
                Ok(PinnedReader::of(view))
            }
            Source::Directory(directory) => Err(Error::io(
                "pin",
                directory.dir.clone(),
                io::Error::new(
                    io::ErrorKind::Unsupported,
                    "only the process that writes the log can keep its chunks: pin a reader of its `ChunkedWal`",
                ),
            )),
        }
    }

    /// As [`read_record`](Self::read_record), without the codec, of a log that is open in this process.
    #[cfg(feature = "blob")]
    pub(crate) fn read_frame(&self, segment: Segment) -> Result<StoredFrame> {
        match &self.source {
            Source::Live(view) => view.read_frame(segment),
            Source::Directory(directory) => Err(directory.not_in_log(segment.offset, segment.size)),
        }
    }

    /// As [`read_frame`](Self::read_frame), for reading parts of it.
    #[cfg(feature = "blob")]
    pub(crate) fn frame_parts(&self, segment: Segment) -> Result<FrameParts<'_, W::Checkpoint>> {
        match &self.source {
            Source::Live(view) => view.frame_parts(segment),
            Source::Directory(directory) => Err(directory.not_in_log(segment.offset, segment.size)),
        }
    }

    /// Reads the record at `segment`, as `append` returned it or replay gave it.
    ///
    /// # Errors
    ///
    /// [`Error::NotInLog`] for a segment outside the log, [`Error::NoSuchRecord`] for one inside that is not a record.
    /// [`Error::Corrupt`] if the record's bytes are damaged, or those of a record before it in the chunk: then nothing
    /// shows whether a record starts at `segment`. [`Error::Decode`], [`Error::Io`], [`Error::Closed`].
    pub fn read_record(&self, segment: Segment) -> Result<WalRecord<W>> {
        let directory = match &self.source {
            Source::Live(view) => return view.read_record(segment),
            Source::Directory(directory) => directory,
        };
        let not_in_log = || directory.not_in_log(segment.offset, segment.size);
        let (start, end) = directory.bounds();
        let segment_end = segment.offset.checked_add(segment.size).filter(|e| *e <= end);
        let segment_end = segment_end.filter(|e| segment.offset >= start && segment.offset < *e);
        let mut one = directory.records(Begin::Exactly, segment.offset, segment_end.ok_or_else(not_in_log)?);
        let next = next_of(&mut one);
        if !matches!(&next, Ok(Some((_, found, _))) if *found == segment)
            && let Some(id) = directory.is_voided(segment.offset)
        {
            return Err(Error::Voided { path: directory.path(id), offset: segment.offset });
        }
        let error = match next {
            Ok(Some((_, found, record))) if found == segment => return Ok(record),
            Ok(Some((_, found, _))) => {
                return Err(Error::NoSuchRecord { offset: segment.offset, size: segment.size, found });
            }
            Ok(None) => not_in_log(),
            Err(error) => error,
        };
        let is_at = matches!(&error, Error::Corrupt { offset, .. } if *offset == segment.offset);
        let found = is_at.then(|| directory.record_at(segment.offset)).flatten();
        match found.filter(|found| *found != segment) {
            Some(found) => Err(Error::NoSuchRecord { offset: segment.offset, size: segment.size, found }),
            None => Err(error),
        }
    }

    /// Returns all records from the oldest kept to the last one that can be read by now, in order.
    ///
    /// The iterator ends after an error. It reads `Config::read_buffer_size` bytes at a time, in a directory 1 MiB. In
    /// a directory, a chunk that is removed before the iterator reaches it is [`Error::NotInLog`]; if no record was
    /// read yet, the iterator starts with the oldest record left instead.
    pub fn records(&self) -> Records<W> {
        self.records_with(Begin::Oldest, self.start(), u64::MAX)
    }

    /// As [`records`](Self::records), from the record at the global offset `from` on. `from` is the
    /// [`start`](Self::start), the end of a record or of a chunk, or the [`end`](Self::end), which gives no record.
    ///
    /// # Errors
    ///
    /// [`Error::NotInLog`] if `from` is not between start and end. Where no record starts at `from`, the iterator's
    /// first item is an [`Error::Corrupt`].
    pub fn records_from(&self, from: u64) -> Result<Records<W>> {
        self.records_between(from, u64::MAX)
    }

    /// As [`records_from`](Self::records_from), to `until` at most, where a record ends.
    pub(super) fn records_between(&self, from: u64, until: u64) -> Result<Records<W>> {
        let (start, end) = (self.start(), self.end());
        if from < start || from > end {
            return Err(Error::NotInLog { offset: from, size: 0, start, end });
        }
        Ok(self.records_with(Begin::Exactly, from, until))
    }

    /// The global offset to which a follower is to read.
    pub(super) fn end_up_to(&self, read_up_to: ReadUpTo) -> u64 {
        match (&self.source, read_up_to) {
            (Source::Live(view), ReadUpTo::Durable) => view.positions.synced(),
            (Source::Live(view), ReadUpTo::Written) => view.positions.written(),
            (Source::Directory(directory), ReadUpTo::Durable) => directory.durable(),
            (Source::Directory(directory), ReadUpTo::Written) => directory.bounds().1,
        }
    }

    /// The positions of a log that is open in this process.
    pub(super) fn positions(&self) -> Option<&Arc<Positions>> {
        match &self.source {
            Source::Live(view) => Some(&view.positions),
            Source::Directory(_) => None,
        }
    }

    fn records_with(&self, begin: Begin, from: u64, until: u64) -> Records<W> {
        match &self.source {
            Source::Live(view) => Records::live(view.clone(), from, until),
            Source::Directory(directory) => {
                let end = directory.bounds().1.min(until);
                Records { inner: Inner::Directory(directory.records(begin, from, end)) }
            }
        }
    }

    /// Returns the records from the global offset `from` on and waits for later ones. See [`Follow`].
    ///
    /// A follower goes as far as its reader. On a log that is open in this process
    /// ([`ChunkedWal::reader`](crate::ChunkedWal::reader)) these are the records appended, **also those that
    /// are not durable yet** and that a crash can still take back; of a directory they are the durable ones
    /// unless [`ReadOnlyOptions::up_to`] says otherwise. [`Follow::up_to`] chooses for one follower.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use chunked_wal::raw::{Payload, Raw};
    /// # use chunked_wal::{ChunkId, ChunkedWal, Config, ReadUpTo, Segment, StateMachine, WalRecord};
    /// # struct Nothing;
    /// # impl StateMachine<Raw> for Nothing {
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, _: &WalRecord<Raw>, _: ChunkId, _: Segment) -> Result<(), Self::Error> { Ok(()) }
    /// #     fn checkpoint(&self) -> Payload { Payload::default() }
    /// # }
    /// # let dir = tempfile::tempdir()?;
    /// let mut wal = ChunkedWal::<Raw>::open(Config::new(dir.path()), &mut Nothing)?;
    /// let (reader, from) = (wal.reader(), wal.progress().appended);
    /// wal.append(&WalRecord::Action(Payload(b"new".to_vec())))?;
    ///
    /// let mut durable = reader.follow(from).up_to(ReadUpTo::Durable);
    /// assert!(reader.follow(from).next_timeout(Duration::ZERO)?.is_some());
    /// assert!(durable.next_timeout(Duration::ZERO)?.is_none());
    /// wal.sync()?;
    /// assert!(durable.next_timeout(Duration::ZERO)?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow(&self, from: u64) -> Follow<W> {
        Follow::new(self.clone(), from)
    }
}

impl<W: WalTypes> Clone for WalReader<W> {
    fn clone(&self) -> Self {
        WalReader { source: self.source.clone() }
    }
}

impl<W: WalTypes> fmt::Debug for WalReader<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalReader")
            .field("start", &self.start())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

/// The choices when opening a log for reading only: [`WalReader::read_only_options`] makes them, [`open`](Self::open)
/// uses them.
pub struct ReadOnlyOptions<W: WalTypes> {
    dir: PathBuf,
    read_up_to: ReadUpTo,
    storage: Arc<dyn Storage>,
    types: PhantomData<fn() -> W>,
}

impl<W: WalTypes> ReadOnlyOptions<W> {
    /// Sets how far to read. Default: [`ReadUpTo::Durable`].
    pub fn up_to(mut self, read_up_to: ReadUpTo) -> Self {
        self.read_up_to = read_up_to;
        self
    }

    /// Reads from another storage than the real disk.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Opens the log.
    ///
    /// # Errors
    ///
    /// As [`WalReader::open_read_only`].
    pub fn open(self) -> Result<WalReader<W>> {
        let read_buffer_size = Config::new(Path::new("")).read_buffer_size;
        let read_buffer_size = usize::try_from(read_buffer_size).unwrap_or(usize::MAX);
        let directory = Directory::open(self.storage, &self.dir, self.read_up_to, read_buffer_size)?;
        Ok(WalReader { source: Source::Directory(Arc::new(directory)) })
    }
}

impl<W: WalTypes> fmt::Debug for ReadOnlyOptions<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyOptions")
            .field("dir", &self.dir)
            .field("read_up_to", &self.read_up_to)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// The records of a log, oldest first, from [`WalReader::records`].
pub struct Records<W: WalTypes> {
    inner: Inner<W>,
}

enum Inner<W: WalTypes> {
    Live(LiveRecords<W>),
    Directory(DirectoryRecords),
    Ended,
}

impl<W: WalTypes> Records<W> {
    /// Of a log that is open here, from the global offset `from` to `until`, or to the last.
    pub(crate) fn live(view: Arc<LogView<W::Checkpoint>>, from: u64, until: u64) -> Self {
        Records { inner: Inner::Live(LiveRecords::new(view, from, until)) }
    }
}

impl<W: WalTypes> Iterator for Records<W> {
    type Item = Result<(ChunkId, Segment, WalRecord<W>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match &mut self.inner {
            Inner::Live(records) => records.step(),
            Inner::Directory(records) => next_of(records),
            Inner::Ended => return None,
        };
        if !matches!(item, Ok(Some(_))) {
            self.inner = Inner::Ended;
        }
        item.transpose()
    }
}

impl<W: WalTypes> FusedIterator for Records<W> {}

impl<W: WalTypes> fmt::Debug for Records<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match &self.inner {
            Inner::Live(_) => "an open log",
            Inner::Directory(_) => "a directory",
            Inner::Ended => "nothing more",
        };
        f.debug_struct("Records").field("from", &from).finish_non_exhaustive()
    }
}

/// The next record, decoded.
fn next_of<W: WalTypes>(records: &mut DirectoryRecords) -> Result<Option<(ChunkId, Segment, WalRecord<W>)>> {
    let next = records.next_with(|id, frame| {
        let record = WalRecord::decode(&frame);
        (id, frame.segment(), record)
    })?;
    let Some((id, segment, record)) = next else { return Ok(None) };
    let path = || records.directory().path(id);
    Ok(Some((id, segment, record.map_err(|e| Error::undecodable(path(), id, segment.offset, e))?)))
}
