//! [`Subscriber`]: a place in a log that outlives its process.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use super::file::{cursor_path, directory, is_name, open_or_make, read_open, store};
use super::holder::state_of;
use super::{PinOptions, PinState};
use crate::clock::unix_ms;
use crate::directory::{WalLock, list, log_id_of_most};
use crate::error::{Error, PinFault, Result};
use crate::flush::ProgressHandle;
use crate::format::{Cursor, CursorFile};
use crate::reader::{Directory, ReadUpTo};
use crate::storage::{DiskStorage, Storage, StorageFile};

/// The size of the reads that look for the end of a log in its directory.
const READ_BUFFER_SIZE: usize = 64 << 10;

/// A named place in a log that outlives its process. The log is kept from that place on, whether or not the subscriber
/// is open.
///
/// A program reads records, does its work with them, and then [advances](Self::advance) the subscriber past them. After
/// a crash of either process, or of the machine, it goes on from the place that it had reached. The work after that
/// place may be done again, so it must bear that.
///
/// The subscriber may be in the process that has the log open
/// ([`ChunkedWal::subscriber`](crate::ChunkedWal::subscriber)) or in another one ([`options`](Self::options)). Only one
/// process can have it open at a time. A program that is not coming back for it should [remove](Self::remove) it;
/// otherwise it holds the log until it [breaks](PinOptions).
///
/// ```no_run
/// use chunked_wal::{ReadUpTo, Subscriber, WalReader, WalTypes};
///
/// fn index<W: WalTypes>(dir: &str) -> Result<(), chunked_wal::Error> {
///     let mut subscriber = Subscriber::options(dir, "indexer").open()?;
///     let reader = WalReader::<W>::open_read_only(dir)?; // only what is durable
///     let mut records = reader.follow(subscriber.offset());
///     while let Some(record) = records.next() {
///         let (_, segment, record) = record?;
///         println!("index {record:?}");
///         subscriber.advance(segment.offset + segment.size)?;
///     }
///     Ok(())
/// }
/// ```
///
/// Its file is in `DIR/subscribers/NAME` beside the chunks, so it is part of a copy of the directory.
pub struct Subscriber {
    name: String,
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    file: Arc<dyn StorageFile>,
    /// What is durable.
    cursor: Cursor,
    /// The highest offset that was asked for, durable or not.
    asked: u64,
    log: LogEnd,
    _lock: WalLock,
}

/// How far the log goes.
enum LogEnd {
    /// It is open in this process.
    Open(ProgressHandle),
    /// Its files say so.
    Directory(Box<Directory>),
}

impl LogEnd {
    /// The global offset after the last record, durable or not.
    fn written(&self) -> u64 {
        match self {
            LogEnd::Open(progress) => progress.progress().appended,
            LogEnd::Directory(directory) => directory.bounds().1,
        }
    }

    /// The global offset before which the log is durable, as far as is known. Looks again only if that is before `offset`.
    fn durable(&self, offset: u64) -> Result<u64> {
        match self {
            LogEnd::Open(progress) => Ok(progress.progress().synced),
            LogEnd::Directory(directory) if directory.durable() >= offset => Ok(directory.durable()),
            LogEnd::Directory(directory) => directory.refresh().map(|()| directory.durable()),
        }
    }
}

/// How a [`Subscriber`] is opened.
#[derive(Clone)]
#[must_use]
pub struct SubscribeOptions {
    dir: PathBuf,
    name: String,
    from: Option<u64>,
    pin: PinOptions,
    starts_over: bool,
    storage: Arc<dyn Storage>,
    progress: Option<ProgressHandle>,
}

impl Subscriber {
    /// Returns the default options for the subscriber `name` to the log in `dir`, which another process may have open.
    pub fn options(dir: impl Into<PathBuf>, name: &str) -> SubscribeOptions {
        SubscribeOptions {
            dir: dir.into(),
            name: name.to_string(),
            from: None,
            pin: PinOptions::new(),
            starts_over: false,
            storage: Arc::new(DiskStorage),
            progress: None,
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the global offset of the next record to read, from which on the log is kept.
    pub fn offset(&self) -> u64 {
        self.cursor.offset
    }

    /// Returns whether the log is kept for this subscriber. Reads its file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Pin`] with [`PinFault::Damaged`].
    pub fn state(&self) -> Result<PinState> {
        let path = cursor_path(&self.dir);
        match read_open(&*self.file).map_err(|e| Error::io("read", &path, e))? {
            CursorFile::Stored(_, notice) => {
                Ok(notice.map_or(PinState::Holds, |notice| state_of(notice.kind)))
            }
            CursorFile::New | CursorFile::Damaged => Err(self.fault(PinFault::Damaged { path })),
        }
    }

    /// Moves forward to a global offset: the end of the last record that is done with. Durable on return.
    ///
    /// Blocks for one sync of a small file. The log may remove what is before the offset as soon as this is called.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`], and nothing has changed: [`PinFault::Broken`] if the log is kept for this subscriber no longer,
    /// [`PinFault::Backwards`]; [`PinFault::NotDurable`] for records that are not durable, or in another process than the
    /// log's not proven to be, see [`ReadUpTo::Durable`](crate::ReadUpTo). The errors of
    /// [`WalReader::refresh`](crate::WalReader::refresh). After [`Error::Io`] or [`Error::StorageFull`] the next open may
    /// find this place or the one before; try again.
    pub fn advance(&mut self, offset: u64) -> Result<()> {
        if offset < self.asked {
            return Err(self.fault(PinFault::Backwards { offset, current: self.asked }));
        }
        let synced = self.log.durable(offset)?;
        if offset > synced {
            return Err(self.fault(PinFault::NotDurable { offset, synced }));
        }
        if self.state()? == PinState::Broken {
            return Err(self.fault(PinFault::Broken { offset: self.offset() }));
        }
        if offset == self.cursor.offset {
            return Ok(());
        }
        self.asked = offset;
        let sequence = self.cursor.sequence.wrapping_add(1);
        self.store(Cursor { sequence, offset, stored_ms: unix_ms(), ..self.cursor })
    }

    /// Ends the subscription: the log is kept for it no longer.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the next open may find it again.
    pub fn remove(self) -> Result<()> {
        let path = cursor_path(&self.dir);
        self.storage.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        self.storage.sync_dir(&self.dir).map_err(|e| Error::io("sync directory", &self.dir, e))
    }

    fn store(&mut self, cursor: Cursor) -> Result<()> {
        let stored = store(&*self.file, &cursor);
        stored.map_err(|e| Error::no_space("write", cursor_path(&self.dir), 0, e))?;
        (self.cursor, self.asked) = (cursor, cursor.offset);
        Ok(())
    }

    fn fault(&self, reason: PinFault) -> Error {
        Error::Pin { name: self.name.clone(), reason }
    }
}

impl SubscribeOptions {
    /// Sets where a new subscriber begins: at this global offset. An existing one goes on from its place. Default: the
    /// oldest record.
    pub fn from(mut self, offset: u64) -> Self {
        self.from = Some(offset);
        self
    }

    /// Sets for how long the log is kept, also for an existing subscriber. Default: [`PinOptions::new`].
    pub fn pin(mut self, pin: PinOptions) -> Self {
        self.pin = pin;
        self
    }

    /// Begins as a new subscriber if the existing one has broken, is after the log's last record, or its file is damaged.
    /// Without this option, that is an error, because records may be missing in between.
    pub fn start_over(mut self) -> Self {
        self.starts_over = true;
        self
    }

    /// Finds the log on `storage` instead of the real disk.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Where the log is open in this process.
    pub(crate) fn progress(mut self, progress: ProgressHandle) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Opens the subscriber, or makes a new one. Its place is durable on return.
    ///
    /// Blocks for some syncs. A log that removes chunks at the same moment may remove the oldest one before it sees a
    /// new subscriber; then the first read returns [`Error::NotInLog`].
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no log; [`Error::Pin`] with [`PinFault::InUse`], [`PinFault::Name`],
    /// [`PinFault::Broken`], [`PinFault::OtherLog`], [`PinFault::AheadOfLog`] or [`PinFault::Damaged`]; errors of
    /// [`WalReader::open_read_only`](crate::WalReader::open_read_only); [`Error::Io`], [`Error::StorageFull`].
    pub fn open(self) -> Result<Subscriber> {
        let SubscribeOptions { dir, name, storage, .. } = &self;
        if !is_name(name) {
            return Err(self.fault(PinFault::Name));
        }
        let resolved = storage.resolve_dir(dir).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path: dir.clone() },
            _ => Error::io("open directory", dir, e),
        })?;
        let chunks = list(&**storage, &resolved)?.chunks;
        let (Some(oldest), Some(log_id)) = (chunks.first(), log_id_of_most(&**storage, &resolved, &chunks))
        else {
            return Err(Error::NotFound { path: dir.clone() });
        };
        let own = directory(&resolved, name);
        let own = storage.create_dir(&own).map_err(|e| Error::no_space("create directory", &own, 0, e))?;
        let pinned = storage.in_dir(&own, 0o600).map_err(|e| Error::io("open directory", &own, e))?;
        let storage = pinned.unwrap_or_else(|| storage.clone());
        let lock = WalLock::acquire(storage.clone(), own.clone()).map_err(|error| match error {
            Error::Locked { path } => self.fault(PinFault::InUse { path }),
            error => error,
        })?;
        let path = cursor_path(&own);
        let read = |file: &dyn StorageFile| read_open(file).map_err(|e| Error::io("read", &path, e));
        let mut file = open_or_make(&*storage, &own)?;
        let mut found = read(&*file)?;
        if found == CursorFile::Damaged && self.starts_over {
            storage.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
            file = open_or_make(&*storage, &own)?;
            found = read(&*file)?;
        }
        let log = match &self.progress {
            Some(progress) => LogEnd::Open(progress.clone()),
            None => LogEnd::Directory(Box::new(Directory::open(
                self.storage.clone(),
                &resolved,
                ReadUpTo::Written,
                READ_BUFFER_SIZE,
            )?)),
        };
        let cursor = self.cursor(found, log_id, oldest.offset()..log.written(), &path)?;
        let (name, dir, asked) = (self.name, own, cursor.offset);
        let mut subscriber = Subscriber { name, storage, dir, file, cursor, asked, log, _lock: lock };
        subscriber.store(cursor)?;
        if cursor.sequence == cursor.first_sequence {
            // In both slots: if only one had a cursor, its damage would look like a file that is new.
            subscriber.store(Cursor { sequence: cursor.sequence.wrapping_add(1), ..cursor })?;
        }
        let Subscriber { storage, dir, .. } = &subscriber;
        storage.sync_dir(dir).map_err(|e| Error::io("sync directory", dir, e))?;
        Ok(subscriber)
    }

    /// The place to store first.
    fn cursor(&self, found: CursorFile, log_id: [u8; 16], kept: Range<u64>, path: &Path) -> Result<Cursor> {
        let ahead = |offset| self.fault(PinFault::AheadOfLog { offset, end: kept.end });
        let (sequence, goes_on) = match found {
            CursorFile::New => (0, None),
            CursorFile::Stored(cursor, _) if cursor.log_id != log_id => {
                return Err(self.fault(PinFault::OtherLog { path: path.to_owned() }));
            }
            CursorFile::Stored(cursor, notice) => {
                let is_broken = notice.is_some_and(|notice| state_of(notice.kind) == PinState::Broken);
                let is_ahead = cursor.offset > kept.end;
                if !self.starts_over && is_broken {
                    return Err(self.fault(PinFault::Broken { offset: cursor.offset }));
                }
                if !self.starts_over && is_ahead {
                    return Err(ahead(cursor.offset));
                }
                (cursor.sequence, (!is_broken && !is_ahead).then_some(cursor))
            }
            CursorFile::Damaged => return Err(self.fault(PinFault::Damaged { path: path.to_owned() })),
        };
        let sequence = sequence.wrapping_add(1);
        let offset = goes_on.map_or(self.from.unwrap_or(kept.start), |cursor| cursor.offset);
        if offset > kept.end {
            return Err(ahead(offset));
        }
        Ok(Cursor {
            sequence,
            first_sequence: goes_on.map_or(sequence, |cursor| cursor.first_sequence),
            log_id,
            offset,
            max_bytes: self.pin.max_bytes,
            max_age_ms: u64::try_from(self.pin.max_age.as_millis()).unwrap_or(u64::MAX),
            is_unbreakable: self.pin.is_unbreakable,
            stored_ms: unix_ms(),
        })
    }

    fn fault(&self, reason: PinFault) -> Error {
        Error::Pin { name: self.name.clone(), reason }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("name", &self.name)
            .field("dir", &self.dir)
            .field("offset", &self.cursor.offset)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SubscribeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeOptions")
            .field("dir", &self.dir)
            .field("name", &self.name)
            .field("from", &self.from)
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}
