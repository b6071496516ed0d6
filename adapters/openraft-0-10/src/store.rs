//! [`LogStore`]: opening and closing it.

use chunked_wal::{ChunkedWal, Config, Error, OpenOptions};
use chunked_wal_raft::{Limits, OpenError, Stats};
use openraft::RaftTypeConfig;

use crate::reader::LogReader;
use crate::record::{Openraft, RaftWal};

/// A raft log: openraft's `RaftLogStorage`, and its `RaftLogReader`.
///
/// Dropping the store makes all appended records durable and waits for that, as [`close`](Self::close)
/// does.
#[derive(Debug)]
pub struct LogStore<C: RaftTypeConfig> {
    pub(crate) log: chunked_wal_raft::LogStore<Openraft<C>>,
    pub(crate) reader: LogReader<C>,
}

impl<C: RaftTypeConfig<Entry: Clone>> LogStore<C> {
    /// Opens the log of `config`, or makes it.
    ///
    /// Reads the newest chunk, and of each older chunk the first record, and blocks meanwhile: on a runtime, call it
    /// before serving, or in `spawn_blocking`. Damage in the other bytes of older chunks goes unnoticed until they are
    /// read.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which `?` also turns into a [`std::io::Error`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_with(ChunkedWal::options(config), Limits::default())
    }

    /// As [`open`](Self::open), with the log's own options, except [`replay`](OpenOptions::replay), and with limits.
    ///
    /// ```
    /// use chunked_wal::{ChunkedWal, Config};
    /// use chunked_wal_openraft_0_10::{Limits, LogStore, RaftWal};
    ///
    /// openraft::declare_raft_types!(pub Types: D = String, R = String);
    ///
    /// let dir = tempfile::tempdir()?;
    /// let missing = Config::new(dir.path().join("not mounted"));
    /// // For a node that has been a member: a missing mount must not look like an empty log.
    /// let options = ChunkedWal::<RaftWal<Types>>::options(missing).must_exist();
    /// assert!(LogStore::<Types>::open_with(options, Limits::default()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_with(options: OpenOptions<RaftWal<C>>, limits: Limits) -> Result<Self, OpenError> {
        chunked_wal_raft::LogStore::open_with(options, limits).map(Self::on)
    }

    /// As [`open_with`](Self::open_with), but reads and checks every byte of the log.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_verified(options: OpenOptions<RaftWal<C>>, limits: Limits) -> Result<Self, OpenError> {
        chunked_wal_raft::LogStore::open_verified(options, limits).map(Self::on)
    }

    fn on(log: chunked_wal_raft::LogStore<Openraft<C>>) -> Self {
        let reader = LogReader(log.reader().clone());
        LogStore { log, reader }
    }

    /// Returns the log below, for its metrics, progress, chunks and records.
    pub fn wal(&self) -> &ChunkedWal<RaftWal<C>> {
        self.log.wal()
    }

    /// Returns what the store has on disk and in memory. A clone of the
    /// [reader](openraft::storage::RaftLogStorage::get_log_reader) has [`cache`](LogReader::cache) and
    /// [`evict`](LogReader::evict) while raft owns the store.
    pub fn stats(&self) -> Stats<Openraft<C>> {
        self.log.stats()
    }

    /// Returns the last saved user data.
    pub fn user_data(&self) -> Option<Vec<u8>> {
        self.log.reader().with_meta(|meta| meta.user_data.clone())
    }

    /// Saves bytes of the program's own, in place of earlier ones; `None` removes them. When this returns,
    /// they are durable, and all records before them. See
    /// [`save_user_data`](chunked_wal_raft::LogStore::save_user_data).
    ///
    /// # Errors
    ///
    /// An [`Error`] of the log.
    pub async fn save_user_data(&mut self, data: Option<Vec<u8>>) -> Result<(), Error> {
        self.log.save_user_data(data).await
    }

    /// Makes all appended records durable, waits for that, and releases the directory.
    ///
    /// # Errors
    ///
    /// The first failure, of the close or earlier.
    pub fn close(self) -> Result<(), Error> {
        self.log.close()
    }
}
