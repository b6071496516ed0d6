//! [`PinnedReader`]: the log at one moment, kept until the last clone is dropped.

use std::fmt;
use std::sync::Arc;

use super::{LogView, Records, WalReader};
use crate::error::Result;
use crate::position::Segment;
use crate::record::{WalRecord, WalTypes};

/// The log as it was at one moment: the same records for as long as it is read, even if others are appended, drained
/// and removed meanwhile. From [`ChunkedWal::pinned_reader`](crate::ChunkedWal::pinned_reader) or [`WalReader::pin`].
///
/// It pins its chunks: the removal of a chunk that this reader, a clone or one of their [`Records`] may still read is
/// put off until the last of them is dropped, and so are the removals after that one. Until then their files take
/// space; [`FlushMetrics::pinned_reader_count`](crate::FlushMetrics::pinned_reader_count) and
/// [`pinned_removal_count`](crate::FlushMetrics::pinned_removal_count) show it. A pin leaves nothing on disk: after a
/// crash, chunks whose removal was put off are back, like all drained chunks that were not removed.
///
/// Its records may include some that are not durable yet, like those of every reader of an open log. Once the log is
/// closed it returns [`Error::Closed`](crate::Error::Closed), and removals that were put off for it are done.
///
/// Cheap to clone, and holds no lock. It blocks neither appends, flushes, rotations nor
/// [`wait_idle`](crate::ChunkedWal::wait_idle).
pub struct PinnedReader<W: WalTypes> {
    /// Of a view that has the pin.
    reader: WalReader<W>,
}

impl<W: WalTypes> PinnedReader<W> {
    pub(crate) fn of(view: &LogView<W::Checkpoint>) -> Self {
        PinnedReader { reader: WalReader::new(Arc::new(view.pin())) }
    }

    /// The global offset of the oldest byte that can be read. It does not change.
    pub fn start(&self) -> u64 {
        self.reader.start()
    }

    /// The global offset after the last record: what was appended when this reader was made.
    pub fn end(&self) -> u64 {
        self.reader.end()
    }

    /// Reads the record at `segment`. Reads the disk unless the bytes are in memory.
    ///
    /// # Errors
    ///
    /// As [`WalReader::read_record`].
    pub fn read_record(&self, segment: Segment) -> Result<WalRecord<W>> {
        self.reader.read_record(segment)
    }

    /// All records from [`start`](Self::start) to [`end`](Self::end), in order. The iterator ends after an error.
    pub fn records(&self) -> Records<W> {
        self.reader.records()
    }

    /// As [`records`](Self::records), from the record that begins at the global offset `from` on.
    ///
    /// # Errors
    ///
    /// As [`WalReader::records_from`].
    pub fn records_from(&self, from: u64) -> Result<Records<W>> {
        self.reader.records_from(from)
    }
}

impl<W: WalTypes> Clone for PinnedReader<W> {
    fn clone(&self) -> Self {
        PinnedReader { reader: self.reader.clone() }
    }
}

impl<W: WalTypes> fmt::Debug for PinnedReader<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedReader")
            .field("start", &self.start())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}
