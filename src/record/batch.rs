//! [`Batch`]: records of which a log takes all or none.

use std::fmt;

use super::{WalRecord, WalTypes};

/// Records that are appended together, with [`ChunkedWal::append_batch`](crate::ChunkedWal::append_batch): after a
/// crash all of them are there, or none.
///
/// ```
/// # struct Log;
/// # impl chunked_wal::WalTypes for Log { type Action = String; type Checkpoint = u64; type Callback = (); }
/// use chunked_wal::{Batch, WalRecord};
///
/// let mut batch = Batch::<Log>::new();
/// batch.action("a".to_string());
/// batch.push(WalRecord::Checkpoint(1));
/// assert_eq!(batch.len(), 2);
/// batch.clear(); // to be filled again
/// ```
pub struct Batch<W: WalTypes> {
    records: Vec<WalRecord<W>>,
}

impl<W: WalTypes> Batch<W> {
    /// An empty batch.
    pub fn new() -> Self {
        Batch { records: Vec::new() }
    }

    /// A batch of these actions.
    ///
    /// ```
    /// # struct Log;
    /// # impl chunked_wal::WalTypes for Log { type Action = u64; type Checkpoint = u64; type Callback = (); }
    /// assert_eq!(chunked_wal::Batch::<Log>::of([1, 2, 3]).len(), 3);
    /// ```
    pub fn of(actions: impl IntoIterator<Item = W::Action>) -> Self {
        actions.into_iter().map(WalRecord::Action).collect()
    }

    /// Adds an action.
    pub fn action(&mut self, action: W::Action) {
        self.push(WalRecord::Action(action));
    }

    /// Adds a record.
    pub fn push(&mut self, record: WalRecord<W>) {
        self.records.push(record);
    }

    pub(crate) fn has_action(&self) -> bool {
        self.records.iter().any(|record| matches!(record, WalRecord::Action(_)))
    }

    /// The records, in the order in which they are appended.
    pub fn records(&self) -> &[WalRecord<W>] {
        &self.records
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Removes all records, and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.records.clear();
    }
}

impl<W: WalTypes> Default for Batch<W> {
    fn default() -> Self {
        Batch::new()
    }
}

impl<W: WalTypes> From<Vec<WalRecord<W>>> for Batch<W> {
    fn from(records: Vec<WalRecord<W>>) -> Self {
        Batch { records }
    }
}

impl<W: WalTypes> FromIterator<WalRecord<W>> for Batch<W> {
    fn from_iter<I: IntoIterator<Item = WalRecord<W>>>(records: I) -> Self {
        records.into_iter().collect::<Vec<_>>().into()
    }
}

impl<W: WalTypes> Extend<WalRecord<W>> for Batch<W> {
    fn extend<I: IntoIterator<Item = WalRecord<W>>>(&mut self, records: I) {
        self.records.extend(records);
    }
}

impl<W: WalTypes> Clone for Batch<W> {
    fn clone(&self) -> Self {
        Batch { records: self.records.clone() }
    }
}

impl<W: WalTypes> fmt::Debug for Batch<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.records).finish()
    }
}
