//! [`Follow`]: records as they come.
//!
//! ```text
//! look: a record below the limit? ─► return it
//!       none ─► a log that is open here:  sleep until `written` or `synced` passes the offset ─► look
//!               a directory:              sleep for a while                                  ─► look
//! ```

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{ReadUpTo, Records, WalReader};
use crate::error::{Error, Result};
use crate::flush::{Flush, FlushTicket};
use crate::position::{ChunkId, Segment};
use crate::record::{WalRecord, WalTypes};

/// The first pause before another look; doubled while nothing comes.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The longest pause between two looks, by default.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// The records of a log from an offset on, including those appended later; made by [`WalReader::follow`].
///
/// As an iterator it waits without a limit; [`next_timeout`](Self::next_timeout) has one;
/// [`next_async`](Self::next_async) and, with the feature `stream`, `futures_core::Stream` are awaited.
///
/// How it waits:
///
/// - On a log that is open in this process, the sync or the write that makes a record readable wakes it. Only records
///   that may still be in memory alone, the default, are also looked for by a thread that waits, as in a directory; a
///   task gets them when it is woken, by the write at the latest.
/// - In a directory it looks every millisecond, and less often while none comes, down to ten times a second.
///
/// After an error the iterator ends, and so does the stream. [`offset`](Self::offset) is then the place of the error;
/// `next_timeout` tries the same place again.
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
    /// On a log that is open here: resolves once there may be a record.
    event: Option<FlushTicket>,
    /// In a directory: when a task's pause is over, and whom its thread wakes then.
    sleeper: Option<(Instant, Waker)>,
    failed: bool,
}

/// A record with its place.
type Item<W> = (ChunkId, Segment, WalRecord<W>);

impl<W: WalTypes> Follow<W> {
    pub(super) fn new(reader: WalReader<W>, from: u64) -> Self {
        let (pause, pause_max) = (PAUSE_MIN, PAUSE_MAX);
        Follow {
            reader,
            records: None,
            offset: from,
            pause,
            pause_max,
            read_up_to: None,
            event: None,
            sleeper: None,
            failed: false,
        }
    }

    /// Sets how far to read: [`Durable`](ReadUpTo::Durable) returns a record once no crash of the machine can take
    /// it back, [`Written`](ReadUpTo::Written) once the operating system has it, and neither goes further than the
    /// reader. Default: as far as the reader goes; on a log that is open in this process that is the record just
    /// appended, which may still be in memory only.
    pub fn up_to(mut self, read_up_to: ReadUpTo) -> Self {
        self.read_up_to = Some(read_up_to);
        self.event = None;
        self
    }

    /// Sets the longest pause between two looks while no record comes, where the follower has to look. Default: 100 ms.
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
    /// [`Error::NotInLog`] if the record at [`offset`](Self::offset) was removed before it was read;
    /// [`Error::Poisoned`] if the log is open here, has failed, and no record is left to read; the errors of
    /// [`WalReader::refresh`] and [`WalReader::records`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Item<W>>> {
        let started = Instant::now();
        loop {
            if let Some(item) = self.look()? {
                return Ok(Some(item));
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            self.sleep(left)?;
        }
    }

    /// Waits for the next record without blocking the thread for that. Reading the record may block it for a read of a
    /// file; see [`WalReader::read_record`]. In a directory, where no event comes from the writer, a thread that sleeps
    /// for the pause wakes the task.
    ///
    /// Dropped before it is ready, it has taken no record.
    ///
    /// ```
    /// # use chunked_wal::{Error, ReadUpTo, SharedWal, StateMachine, WalTypes};
    /// async fn replicate<W: WalTypes, SM: StateMachine<W>>(wal: SharedWal<W, SM>) -> Result<(), Error> {
    ///     let reader = wal.reader();
    ///     let mut durable = reader.follow(reader.start()).up_to(ReadUpTo::Durable);
    ///     loop {
    ///         let (_, segment, record) = durable.next_async().await?;
    ///         println!("send {segment:?}: {record:?}");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`next_timeout`](Self::next_timeout).
    pub fn next_async(&mut self) -> impl Future<Output = Result<Item<W>>> {
        std::future::poll_fn(|context| self.poll_record(context))
    }

    fn poll_record(&mut self, context: &mut Context<'_>) -> Poll<Result<Item<W>>> {
        loop {
            if let Some(item) = self.look()? {
                return Poll::Ready(Ok(item));
            }
            match self.event() {
                Some(event) => match Pin::new(event).poll(context) {
                    Poll::Ready(reached) => self.go_on(reached)?,
                    Poll::Pending => return Poll::Pending,
                },
                None => {
                    self.wake_later(context.waker())?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// The next record, if it is there.
    fn look(&mut self) -> Result<Option<Item<W>>> {
        loop {
            if let Some(item) = self.records.as_mut().and_then(Iterator::next) {
                let item = item.inspect_err(|_| self.records = None)?;
                self.offset = item.1.offset + item.1.size;
                (self.pause, self.event) = (PAUSE_MIN, None);
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
            return Ok(None);
        }
    }

    /// What resolves once a record may be there, on a log that is open here.
    fn event(&mut self) -> Option<&mut FlushTicket> {
        if self.event.is_none() {
            let positions = self.reader.positions()?.clone();
            let mode = if self.read_up_to == Some(ReadUpTo::Durable) { Flush::Sync } else { Flush::Write };
            self.event = Some(FlushTicket::for_offset(positions, mode, self.offset + 1));
        }
        self.event.as_mut()
    }

    /// After the event: what was reached can be read, and nothing more will be in a log that has failed.
    fn go_on(&mut self, reached: Result<()>) -> Result<()> {
        self.event = None;
        reached.map_err(|error| match error {
            Error::Closed => error,
            cause => cause.poisoned(),
        })
    }

    /// Sleeps until there may be a record, at most for `left`.
    fn sleep(&mut self, left: Duration) -> Result<()> {
        let pause = self.pause.min(self.pause_max).min(left);
        // No event says that a record was appended: for those in memory, look now and then.
        let is_enough = self.read_up_to.is_some();
        self.pause = (self.pause * 2).min(self.pause_max);
        let Some(event) = self.event() else {
            std::thread::sleep(pause);
            return Ok(());
        };
        match event.wait_timeout(if is_enough { left } else { pause }) {
            None => Ok(()),
            // In a callback of this log, on the thread that would bring the event.
            Some(Err(Error::WouldDeadlock { .. })) => {
                std::thread::sleep(pause);
                Ok(())
            }
            Some(reached) => self.go_on(reached),
        }
    }

    /// Has the task woken after a pause, unless it will be already.
    fn wake_later(&mut self, waker: &Waker) -> Result<()> {
        let now = Instant::now();
        if let Some((until, known)) = &self.sleeper
            && *until > now
            && known.will_wake(waker)
        {
            return Ok(());
        }
        let pause = self.pause.min(self.pause_max);
        self.pause = (self.pause * 2).min(self.pause_max);
        self.sleeper = Some((now + pause, waker.clone()));
        let waker = waker.clone();
        let thread = std::thread::Builder::new().name("wal-follow".to_string()).spawn(move || {
            std::thread::sleep(pause);
            waker.wake();
        });
        thread.map(drop).map_err(|e| Error::io("start a thread for", "", e))
    }
}

#[cfg(feature = "stream")]
impl<W: WalTypes> futures_core::Stream for Follow<W> {
    type Item = Result<Item<W>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.failed {
            return Poll::Ready(None);
        }
        let item = this.poll_record(context);
        this.failed = matches!(item, Poll::Ready(Err(_)));
        item.map(Some)
    }
}

/// Nothing in it is pinned.
impl<W: WalTypes> Unpin for Follow<W> {}

impl<W: WalTypes> Iterator for Follow<W> {
    type Item = Result<Item<W>>;

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
