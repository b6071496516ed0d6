//! [`EmbeddedWal`], which writes, and [`EmbeddedReader`], which doesn't.

use std::ops::Range;
use std::sync::Arc;

use crate::embedded::error::{Error, Result};
use crate::embedded::frame::{Batch, CHECKPOINT_LEN, Entry, checkpoint_data, record_size};
use crate::embedded::log::Log;
use crate::embedded::records::Records;
use crate::embedded::{Checkpoint, CheckpointWhen, HostFile, Region, RingStats};
use crate::format::Kind;
use crate::random::random_u64;

/// The size of the pieces in which an unproven tail is written again.
const PIECE: u64 = 256 * 1024;

/// A log in a region of the host's file; see the [module](super) for its promises.
///
/// Appending takes `&mut self` and blocks until the record is durable. To append from several threads,
/// put the log behind a lock, and share syncs with [`append_batch`](Self::append_batch), or with
/// [`append_deferred`](Self::append_deferred) and [`flush`](Self::flush).
///
/// The host must keep all others from writing to the region meanwhile; nothing is locked here.
#[derive(Debug)]
pub struct EmbeddedWal {
    log: Log,
    /// Whether this life of the log has written a checkpoint, and so has an epoch of its own.
    has_own_epoch: bool,
    checkpoint_when: CheckpointWhen,
    /// Everything below this position is durable.
    synced: u64,
    /// The last durable record's sequence.
    synced_sequence: u64,
    failed: Option<Arc<Error>>,
}

/// When what is appended becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    Now,
    Later,
}

impl EmbeddedWal {
    /// Opens the log in `region` of `file` at the checkpoint that the host has stored.
    ///
    /// A new log starts with [`Checkpoint::default`] in a region of zeros. After opening, the records
    /// after the checkpoint are [`pending`](Self::pending), and durable: records that no later record
    /// proves to have been synced are written once more, the same bytes in the same place, and synced.
    ///
    /// Reads the whole region, and blocks meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRegion`], [`Error::NotACheckpoint`], [`Error::Corrupt`], [`Error::Unsupported`]:
    /// nothing was written. [`Error::Io`].
    pub fn open(file: impl Into<HostFile>, region: Region, checkpoint: Checkpoint) -> Result<Self> {
        let log = Log::open(file.into().0, region, checkpoint)?;
        let is_new = log.checkpoints.is_empty();
        let mut wal = EmbeddedWal {
            log,
            has_own_epoch: false,
            checkpoint_when: CheckpointWhen::default(),
            synced: 0,
            synced_sequence: 0,
            failed: None,
        };
        if is_new {
            wal.write_checkpoint()?;
        } else {
            wal.write_unproven_again()?;
        }
        wal.all_is_durable();
        Ok(wal)
    }

    /// Appends a record and returns its sequence once the record is durable. Sequences count records
    /// from 1.
    ///
    /// Blocks for one sync of the file; the first append after opening blocks for two.
    ///
    /// # Errors
    ///
    /// [`Error::RegionFull`] and [`Error::RecordTooLarge`]: nothing was written, and the log can be
    /// used further. [`Error::Io`], from the write or the sync: the log is poisoned, and the next open
    /// shows whether the record is there. [`Error::Poisoned`].
    pub fn append(&mut self, record: &[u8]) -> Result<u64> {
        let sequences = self.append_batch(&[record])?;
        Ok(sequences.start)
    }

    /// Appends several records with one sync; returns their sequences. Records before them whose sync was
    /// [put off](Self::append_deferred) are durable then, too.
    ///
    /// After a crash all of them are there, or none.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append), for all of them together.
    pub fn append_batch<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<Range<u64>> {
        self.append_all(records, Durable::Now)
    }

    /// Appends a record and returns its sequence, without a sync: for a bulk load, which ends with one
    /// [`flush`](Self::flush) for all records.
    ///
    /// The record is written, readable and [`pending`](Self::pending). It is durable only after the next
    /// `flush`, [`append`](Self::append) or [`checkpoint`](Self::checkpoint) that succeeds, or after a reopen
    /// that finds it. A crash before may keep the first of such records and not the last, never a later one
    /// without those before it. A log that is dropped syncs nothing.
    ///
    /// ```
    /// # use chunked_wal::embedded::{Checkpoint, EmbeddedWal, Region};
    /// # let file = tempfile::tempfile()?;
    /// # file.set_len(1 << 20)?;
    /// # let region = Region { offset: 0, len: 1 << 20 };
    /// let mut wal = EmbeddedWal::open(file, region, Checkpoint::default())?;
    /// for n in 0..1000u32 {
    ///     wal.append_deferred(&n.to_le_bytes())?;
    /// }
    /// assert_eq!(wal.durable_sequence(), 0);
    /// wal.flush()?; // one sync
    /// assert_eq!(wal.durable_sequence(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Blocks for a write into the page cache; the first append after opening blocks for a sync.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_deferred(&mut self, record: &[u8]) -> Result<u64> {
        let sequences = self.append_batch_deferred(&[record])?;
        Ok(sequences.start)
    }

    /// As [`append_deferred`](Self::append_deferred), several records with one write; returns their sequences. After a
    /// crash all of them are there, or none.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub fn append_batch_deferred<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<Range<u64>> {
        self.append_all(records, Durable::Later)
    }

    /// Makes every appended record durable. Blocks for one sync of the file if there is a record that is not
    /// durable yet; else returns at once.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the log is poisoned, and the next open shows which records are there.
    /// [`Error::Poisoned`].
    pub fn flush(&mut self) -> Result<()> {
        self.check()?;
        if self.synced == self.log.end {
            return Ok(());
        }
        let synced = self.log.ring.sync();
        self.end_at(synced, self.log.end, self.log.sequence, Durable::Now)
    }

    /// The sequence of the last record that is durable; 0 if there never was a record.
    pub fn durable_sequence(&self) -> u64 {
        self.synced_sequence
    }

    fn append_all<R: AsRef<[u8]>>(&mut self, records: &[R], durable: Durable) -> Result<Range<u64>> {
        self.check()?;
        let first = self.log.sequence + 1;
        if records.is_empty() {
            return Ok(first..first);
        }
        let needed = self.room_for(records)?;
        if !self.has_own_epoch {
            // The checkpoint must be durable before the records: where a crash left a frame
            // half-written, the checkpoint overwrites that frame's header. Otherwise records written
            // over the frame could complete it.
            self.write_checkpoint()?;
        }
        let mut batch = Batch::new(self.log.end, self.synced, needed, &self.log.ring.salt);
        let mut sequence = self.log.sequence;
        for (left, record) in (0..records.len()).rev().zip(records) {
            sequence += 1;
            let entry = Entry { kind: Kind::Action, sequence, epoch: self.log.epoch, data: record.as_ref() };
            match left {
                0 => drop(batch.push(&entry)),
                _ => batch.push_more(&entry),
            }
        }
        let (written, end) = (write(&self.log, &batch, durable), batch.end());
        self.end_at(written, end, sequence, durable)?;
        Ok(first..sequence + 1)
    }

    /// Takes a checkpoint after the last record. The host stores the checkpoint durably, together with
    /// the effects of the records; then it calls [`checkpoint_stored`](Self::checkpoint_stored).
    ///
    /// Until that call nothing is overwritten: a crash before the checkpoint is stored finds all
    /// records after the older checkpoint.
    ///
    /// There is always room for a checkpoint. If nothing was appended since the last checkpoint,
    /// returns that one again; otherwise blocks for one sync.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the log is poisoned. [`Error::Poisoned`].
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        self.check()?;
        match self.log.checkpoints.last() {
            Some(last) if last.position + CHECKPOINT_LEN == self.log.end => Ok(*last),
            _ => self.write_checkpoint(),
        }
    }

    /// Reports that the host has stored a checkpoint durably: the host will open the log with this
    /// checkpoint or a later one, and never with an older one. From now on, records before it may be
    /// overwritten.
    ///
    /// Writes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotACheckpoint`] if the log has no such checkpoint, or a later one is stored already.
    pub fn checkpoint_stored(&mut self, checkpoint: Checkpoint) -> Result<()> {
        match self.log.checkpoints.binary_search(&checkpoint) {
            Ok(at) => {
                self.log.checkpoints.drain(..at);
                Ok(())
            }
            Err(_) => {
                let Checkpoint { position, sequence } = checkpoint;
                let file_offset = self.log.ring.file_offset(position);
                Err(Error::NotACheckpoint { position, sequence, file_offset })
            }
        }
    }

    /// Whether it is time for a checkpoint, by the limits of
    /// [`set_checkpoint_when`](Self::set_checkpoint_when). True until a checkpoint is stored.
    pub fn should_checkpoint(&self) -> bool {
        let RingStats { capacity, used, pending_records, .. } = self.stats();
        let CheckpointWhen { used_percent, pending_records: records } = self.checkpoint_when;
        pending_records >= records
            || (pending_records > 0
                && u128::from(used) * 100 >= u128::from(capacity) * u128::from(used_percent))
    }

    /// Sets when it is time for a checkpoint.
    pub fn set_checkpoint_when(&mut self, when: CheckpointWhen) {
        self.checkpoint_when = when;
    }

    /// Returns the records after the stored checkpoint, oldest first: after opening, the host has to
    /// apply them.
    pub fn pending(&self) -> Records<'_> {
        self.log.records()
    }

    /// Returns the records after `sequence`, oldest first; none if `sequence` is the last record's.
    ///
    /// # Errors
    ///
    /// [`Error::NotInLog`] if `sequence` is before the stored checkpoint or after the last record.
    pub fn records_after(&self, sequence: u64) -> Result<Records<'_>> {
        self.log.records_after(sequence)
    }

    /// Returns every record that is still in the ring, oldest first, those before the stored checkpoint included.
    /// Records are in the ring until others need their place, or a crash during an append has overwritten
    /// them; so the first of them has any sequence up to the one after the stored checkpoint's.
    ///
    /// For looking back, not for recovery: damage in a record before the stored checkpoint looks like a record
    /// that was overwritten, and the records start after it.
    ///
    /// Reads the ring up to the stored checkpoint once to find the first record; then as
    /// [`pending`](Self::pending).
    ///
    /// ```
    /// # use chunked_wal::embedded::{Checkpoint, EmbeddedWal, Region};
    /// # let file = tempfile::tempfile()?;
    /// # file.set_len(1 << 20)?;
    /// # let region = Region { offset: 0, len: 1 << 20 };
    /// let mut wal = EmbeddedWal::open(file, region, Checkpoint::default())?;
    /// wal.append_batch(&["one", "two"])?;
    /// let checkpoint = wal.checkpoint()?;
    /// wal.checkpoint_stored(checkpoint)?;
    /// wal.append(b"three")?;
    /// assert_eq!(wal.pending().count(), 1);
    /// assert_eq!(wal.history()?.count(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Unsupported`] for a record of a newer version.
    pub fn history(&self) -> Result<Records<'_>> {
        self.log.history()
    }

    /// Returns how many bytes of the region are used, and by how many records.
    pub fn stats(&self) -> RingStats {
        self.log.stats()
    }

    /// Returns the bytes that the records take; an error if they don't fit.
    fn room_for<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<u64> {
        let max = self.stats().batch_max;
        let size = |sum: u64, record: &R| sum.checked_add(record_size(record.as_ref().len())?);
        let needed = records.iter().try_fold(0, size).unwrap_or(u64::MAX);
        if needed > max {
            return Err(Error::RecordTooLarge { needed, max });
        }
        let own_epoch = if self.has_own_epoch { 0 } else { CHECKPOINT_LEN };
        // Keeps room for the checkpoint that makes room.
        let taken = self.log.used() + own_epoch + CHECKPOINT_LEN;
        let free = self.log.ring.capacity.saturating_sub(taken);
        if needed > free {
            return Err(Error::RegionFull { needed, free });
        }
        Ok(needed)
    }

    fn write_checkpoint(&mut self) -> Result<Checkpoint> {
        let epoch = new_epoch(self.log.epoch);
        let mut batch = Batch::new(self.log.end, self.synced, CHECKPOINT_LEN, &self.log.ring.salt);
        let data = checkpoint_data(epoch, self.log.ring.stored_salt);
        let checkpoint = batch.push(&Entry::checkpoint(self.log.sequence, self.log.epoch, &data));
        let (written, end) = (write(&self.log, &batch, Durable::Now), batch.end());
        self.end_at(written, end, self.log.sequence, Durable::Now)?;
        self.log.checkpoints.push(checkpoint);
        self.log.epoch = epoch;
        self.has_own_epoch = true;
        Ok(checkpoint)
    }

    /// Moves the end after the written bytes. After a failed write the contents of the disk are
    /// unknown.
    fn end_at(&mut self, written: Result<()>, end: u64, sequence: u64, durable: Durable) -> Result<()> {
        if let Err(error) = written {
            self.failed = Some(Arc::new(error.clone()));
            return Err(error);
        }
        (self.log.end, self.log.sequence) = (end, sequence);
        if durable == Durable::Now {
            self.all_is_durable();
        }
        Ok(())
    }

    fn all_is_durable(&mut self) {
        (self.synced, self.synced_sequence) = (self.log.end, self.log.sequence);
    }

    /// Writes the tail again that no later record proves: reading it proves nothing, because after a
    /// kill it may be only in the page cache.
    fn write_unproven_again(&mut self) -> Result<()> {
        let Log { ring, proven, end, .. } = &self.log;
        if proven == end {
            return Ok(());
        }
        let mut at = *proven;
        while at < *end {
            let mut buf = vec![0; (end - at).min(PIECE) as usize];
            ring.read(at, &mut buf).map_err(|e| Error::io("read", e))?;
            ring.write(at, &buf)?;
            at += buf.len() as u64;
        }
        ring.sync()
    }

    fn check(&self) -> Result<()> {
        match &self.failed {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }
}

/// A read-only view of a log in a region: opens, reads, and never writes.
///
/// The region must not be written meanwhile: bytes that are overwritten during a read look damaged.
#[derive(Debug)]
pub struct EmbeddedReader {
    log: Log,
}

impl EmbeddedReader {
    /// Opens the log in `region` of `file`, which may be open for reading only.
    ///
    /// # Errors
    ///
    /// As [`EmbeddedWal::open`]. A region of zeros is a log without records.
    pub fn open(file: impl Into<HostFile>, region: Region, checkpoint: Checkpoint) -> Result<Self> {
        Ok(EmbeddedReader { log: Log::open(file.into().0, region, checkpoint)? })
    }

    /// As [`EmbeddedWal::pending`]. The last records may not be durable.
    pub fn pending(&self) -> Records<'_> {
        self.log.records()
    }

    /// As [`EmbeddedWal::records_after`].
    ///
    /// # Errors
    ///
    /// As [`EmbeddedWal::records_after`].
    pub fn records_after(&self, sequence: u64) -> Result<Records<'_>> {
        self.log.records_after(sequence)
    }

    /// As [`EmbeddedWal::history`].
    ///
    /// # Errors
    ///
    /// As [`EmbeddedWal::history`].
    pub fn history(&self) -> Result<Records<'_>> {
        self.log.history()
    }

    /// As [`EmbeddedWal::stats`].
    pub fn stats(&self) -> RingStats {
        self.log.stats()
    }
}

fn write(log: &Log, batch: &Batch<'_>, durable: Durable) -> Result<()> {
    log.ring.write(log.end, batch.bytes())?;
    if durable == Durable::Now { log.ring.sync() } else { Ok(()) }
}

/// Returns an epoch that is unlikely to have been used: frames of any other epoch are given up for
/// good.
fn new_epoch(last: u32) -> u32 {
    loop {
        let epoch = random_u64() as u32;
        if epoch != last {
            return epoch;
        }
    }
}
