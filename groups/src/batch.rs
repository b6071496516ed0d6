//! [`GroupBatch`]: changes of any groups that are made together.

use std::fmt;
use std::marker::PhantomData;

use chunked_wal::{Callback, Flush, FlushTicket};

use crate::callback;
use crate::changes::{Change, after};
use crate::entry::{LogEntry, encode};
use crate::error::Result;
use crate::shared::Shared;

/// Changes that are made together: after a crash all of them are there, or none. The order counts within a group.
///
/// A call on the batch changes nothing yet; [`commit`](Self::commit), [`ticket`](Self::ticket) and
/// [`write`](Self::write) check all changes, and make them in one step. All three block only while the log's queue is
/// full, or while no file is ready for the next chunk.
///
/// ```
/// # use chunked_wal_groups::{Error, GroupLog, LogEntry};
/// fn follow<E: LogEntry>(log: &GroupLog<E>, group: u64, conflict: u64, entries: &[E], state: &E::State) -> Result<(), Error> {
///     let mut batch = log.batch();
///     batch.truncate_after(group, conflict)?;
///     batch.append(group, entries)?;
///     batch.set_state(group, state)?;
///     batch.ticket()?.wait()?; // durable
///     Ok(())
/// }
/// ```
#[must_use = "a batch does nothing before it is committed"]
pub struct GroupBatch<'l, E: LogEntry> {
    shared: &'l Shared,
    changes: Vec<Change>,
    entry: PhantomData<fn(&E)>,
}

impl<'l, E: LogEntry> GroupBatch<'l, E> {
    pub(crate) fn new(shared: &'l Shared) -> Self {
        GroupBatch { shared, changes: Vec::new(), entry: PhantomData }
    }

    /// Appends entries to a group, which is made if it doesn't exist. A group that has never had an entry and was never
    /// purged may start at any index.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`](crate::Error::Encode), and then none of the entries is in the batch. [`Error::NotNext`](crate::Error::NotNext) comes from the commit.
    pub fn append<'e>(&mut self, group: u64, entries: impl IntoIterator<Item = &'e E>) -> Result<()> {
        let before = self.changes.len();
        for entry in entries {
            match encode(group, entry) {
                Ok(payload) => self.changes.push(Change::Append { group, index: entry.index(), payload }),
                Err(error) => {
                    self.changes.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Replaces the state of a group, which is made if it doesn't exist.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`](crate::Error::Encode).
    pub fn set_state(&mut self, group: u64, state: &E::State) -> Result<()> {
        let payload = encode(group, state)?;
        self.changes.push(Change::State { group, payload });
        Ok(())
    }

    /// Voids the entries after `index`. Without such entries, nothing changes. To void all entries, truncate
    /// [from](Self::truncate_from) the first one.
    ///
    /// # Errors
    ///
    /// [`Error::Purged`](crate::Error::Purged) comes from the commit, if entries before the first one would be void.
    pub fn truncate_after(&mut self, group: u64, index: u64) -> Result<()> {
        self.changes.push(Change::Truncate { group, index: after(group, index)? });
        Ok(())
    }

    /// Voids the entry `index` and those after it: all entries, if it is the first one. Without such entries, nothing
    /// changes. [`Error::Purged`](crate::Error::Purged) comes from the commit, as for
    /// [`truncate_after`](Self::truncate_after).
    pub fn truncate_from(&mut self, group: u64, index: u64) {
        self.changes.push(Change::Truncate { group, index });
    }

    /// Gives up the entries up to `upto`, that one included. If the group has no entry after `upto`, its next entry is
    /// `upto + 1`, as after a snapshot was installed. The group is made if it doesn't exist.
    ///
    /// # Errors
    ///
    /// [`Error::IndexTooLarge`](crate::Error::IndexTooLarge).
    pub fn purge(&mut self, group: u64, upto: u64) -> Result<()> {
        self.changes.push(Change::Purge { group, first: after(group, upto)? });
        Ok(())
    }

    /// Gives up a group: its entries, its bounds and its state. A group that doesn't exist stays so.
    pub fn destroy(&mut self, group: u64) {
        self.changes.push(Change::Destroy { group });
    }

    /// Makes the changes, and calls `callback` once they are durable, on the log's thread: as
    /// [`ChunkedWal::flush`](chunked_wal::ChunkedWal::flush) does. They can be read before that.
    ///
    /// # Errors
    ///
    /// On an error of a change nothing has changed, and the callback is dropped: [`Error::NotNext`](crate::Error::NotNext),
    /// [`Error::Purged`](crate::Error::Purged), [`Error::Wal`](crate::Error::Wal). If the log fails after that, the callback gets the error too.
    pub fn commit(self, callback: impl Callback) -> Result<()> {
        let callback = callback::of(callback);
        self.shared.apply(self.changes, |wal| wal.flush(Flush::Sync, Some(callback)))
    }

    /// Makes the changes, and returns a ticket to [wait](FlushTicket::wait) for or to `.await` until they are durable.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn ticket(self) -> Result<FlushTicket> {
        self.shared.apply(self.changes, |wal| wal.flush_ticket(Flush::Sync))
    }

    /// Makes the changes, and asks for no sync: they become durable with the next one that anybody asks for.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn write(self) -> Result<()> {
        self.shared.apply(self.changes, |_| Ok(()))
    }
}

impl<E: LogEntry> fmt::Debug for GroupBatch<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupBatch").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}
