//! [`Follow`]: records as they come.

use std::fmt;
use std::time::{Duration, Instant};

use super::{ReadUpTo, Records, WalReader};
use crate::error::Result;
use crate::position::{ChunkId, Segment};
use crate::record::{WalRecord, WalTypes};

/// The first pause before another look; doubled while nothing comes.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The longest pause between two looks, by default.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// The records of a log from an offset on, including those appended later; made by [`WalReader::follow`].
///
/// A follower looks for new records every millisecond, and less often while none comes, down to ten times a second. As
/// an iterator it waits without a limit; [`next_timeout`](Self::next_timeout) has a limit.
///
/// After an error the iterator ends. [`offset`](Self::offset) is then the place of the error; `next_timeout` tries the
/// same place again.
///
/// ```no_run
/// # use std::time::Duration;
/// # use chunked_wal::{WalReader, WalTypes};
/// # fn follow<W: WalTypes>(dir: &str) -> Result<(), chunked_wal::Error> {
/// let reader = WalReader::<W>::open_read_only(dir)?;
/// let mut follow = reader.follow(reader.start());
/// while let Some((_, segment, record)) = follow.next_timeout(Duration::from_secs(10))? {
///     println!("{}: {record:?}", segment.offset);
/// }
/// println!("nothing after {} for ten seconds", follow.offset());
/// # Ok(())
/// # }
/// ```
pub struct Follow<W: WalTypes> {
    reader: WalReader<W>,
    records: Option<Records<W>>,
    /// Where the next record begins.
    offset: u64,
    pause: Duration,
    pause_max: Duration,
    /// `None`: as far as the reader goes.
    read_up_to: Option<ReadUpTo>,
    failed: bool,
}

impl<W: WalTypes> Follow<W> {
    pub(super) fn new(reader: WalReader<W>, from: u64) -> Self {
        let (pause, pause_max) = (PAUSE_MIN, PAUSE_MAX);
        let (read_up_to, failed) = (None, false);
        Follow { reader, records: None, offset: from, pause, pause_max, read_up_to, failed }
    }

    /// Sets how far to read: [`Durable`](ReadUpTo::Durable) returns a record once no crash of the machine can take
    /// it back, [`Written`](ReadUpTo::Written) once the operating system has it, and neither goes further than the
    /// reader. Default: as far as the reader goes; on a log that is open in this process that is the record just
    /// appended, which may still be in memory only.
    pub fn up_to(mut self, read_up_to: ReadUpTo) -> Self {
        self.read_up_to = Some(read_up_to);
        self
    }

    /// Sets the longest pause between two looks while no record comes. Default: 100 ms.
    pub fn pause_max(mut self, pause_max: Duration) -> Self {
        self.pause_max = pause_max;
        self
    }

    /// Returns the global offset of the next record, which is the end of the last one returned.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Waits for the next record; `None` if none came within `timeout`. With a timeout of zero it looks once and
    /// doesn't wait.
    ///
    /// # Errors
    ///
    /// [`Error::NotInLog`](crate::Error::NotInLog) if the record at [`offset`](Self::offset) was removed before it
    /// was read; the errors of [`WalReader::refresh`] and [`WalReader::records`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<(ChunkId, Segment, WalRecord<W>)>> {
        let started = Instant::now();
        loop {
            if let Some(item) = self.records.as_mut().and_then(Iterator::next) {
                let item = item.inspect_err(|_| self.records = None)?;
                self.offset = item.1.offset + item.1.size;
                self.pause = PAUSE_MIN;
                return Ok(Some(item));
            }
            self.records = None;
            let end = self.reader.refresh()?;
            let until = self.read_up_to.map_or(end, |read_up_to| self.reader.end_up_to(read_up_to).min(end));
            // An offset outside the log is an error even if the limit is below it.
            if until > self.offset || self.offset > end || self.offset < self.reader.start() {
                self.records = Some(self.reader.records_between(self.offset, until)?);
                continue;
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::sleep(self.pause.min(self.pause_max).min(left));
            self.pause = (self.pause * 2).min(self.pause_max);
        }
    }
}

impl<W: WalTypes> Iterator for Follow<W> {
    type Item = Result<(ChunkId, Segment, WalRecord<W>)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            let item = self.next_timeout(Duration::MAX).transpose();
            self.failed = matches!(item, Some(Err(_)));
            if item.is_some() {
                return item;
            }
        }
        None
    }
}

impl<W: WalTypes> fmt::Debug for Follow<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow")
            .field("reader", &self.reader)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
