//! Who keeps the log, as its owner sets and sees it.

use super::ChunkedWal;
use crate::error::{Error, Result};
use crate::pin::{Holder, HolderKind, PinOptions, PinState, SubscribeOptions, Subscriber, WalPin};
use crate::record::WalTypes;

impl<W: WalTypes> ChunkedWal<W> {
    /// Pins the log from the global offset `offset` on, until the returned pin is moved or dropped: a drain stops before
    /// the chunk with that offset. `name` is for people, see [`holders`](Self::holders).
    ///
    /// # Errors
    ///
    /// [`Error::NotInLog`] for an offset that is drained, or after the last record.
    pub fn pin(&self, name: &str, offset: u64, options: PinOptions) -> Result<WalPin> {
        let (start, end) = (self.view.start(), self.end());
        if (start..=end).contains(&offset) {
            return Ok(self.pins.pin(name, offset, options));
        }
        Err(Error::NotInLog { offset, size: 0, start, end })
    }

    /// Returns the default options for opening the subscriber `name` in this process, whose place outlives the process.
    /// A new subscriber begins with the oldest record.
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
    /// use std::time::Duration;
    /// use chunked_wal::ReadUpTo;
    ///
    /// # let mut wal = ChunkedWal::<Raw>::open(Config::new(dir.path()), &mut Nothing)?;
    /// # wal.sync()?;
    /// let mut indexer = wal.subscriber("indexer").open()?;
    /// let mut records = wal.reader().follow(indexer.offset()).up_to(ReadUpTo::Durable);
    /// while let Some((_, segment, record)) = records.next_timeout(Duration::ZERO)? {
    ///     println!("index {record:?}");
    ///     indexer.advance(segment.offset + segment.size)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscriber(&self, name: &str) -> SubscribeOptions {
        Subscriber::options(&self.config.dir, name)
            .from(self.view.start())
            .storage(self.pins.storage().clone())
            .progress(self.progress_handle())
    }

    /// Returns everyone who keeps the log from shrinking, the one that is farthest behind first: pins, subscribers in
    /// this process and others, and pinned readers.
    ///
    /// Reads the subscribers' files.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the subscribers can't be listed. One whose file can't be read is listed at offset 0.
    pub fn holders(&self) -> Result<Vec<Holder>> {
        let appended = self.end();
        let readers = self.shared.housekeeper.reader_pins().into_iter().map(|(from, count, since)| Holder {
            name: format!("pinned readers: {count}"),
            kind: HolderKind::Readers,
            offset: from.offset(),
            bytes: appended.saturating_sub(from.offset()),
            age: since.elapsed(),
            state: PinState::Holds,
        });
        let mut holders = self.pins.holders(appended)?;
        holders.extend(readers);
        holders.sort_by_key(|holder| holder.offset);
        Ok(holders)
    }
}
