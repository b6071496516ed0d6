//! The model: every appended record, its position, and what the log has promised about it.
//!
//! ```text
//!   start_min   start_max              durable   written       appended
//! ─────┴───────────┴──────────────────────┴─────────┴──────────────┴──► global offset
//!  gone for good  may be gone   must be there       must be there   nothing after it
//!                               after a crash       after a kill
//! ```

use std::fmt;
use std::rc::Rc;

use crate::config::Compression;
use crate::format::{FRAME_HEADER_LEN, HEADER_LEN};
use crate::position::{ALIGN, ChunkId, Segment};
use crate::record::{StateMachine, ToPayload, WalRecord, WalTypes};
use crate::storage::MemoryStorage;
use crate::testing::check::types::{TestTypes, user_record};
use crate::testing::crash::Left;

/// A record and its position.
pub(crate) struct Entry<W: WalTypes> {
    pub(crate) chunk: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) record: WalRecord<W>,
    payload: Vec<u8>,
    /// In one batch with the record before it.
    pub(crate) continues: bool,
}

impl<W: WalTypes> Entry<W> {
    pub(crate) fn new(chunk_id: ChunkId, segment: Segment, record: WalRecord<W>) -> Self {
        let payload = payload(&record);
        let Segment { offset, size, .. } = segment;
        Entry { chunk: chunk_id.0, offset, size, record, payload, continues: false }
    }

    pub(crate) fn watched(chunk_id: ChunkId, segment: Segment, record: WalRecord<TestTypes<W>>) -> Self {
        Entry::new(chunk_id, segment, user_record(record))
    }

    /// Predicts the position of a record that is appended at `offset`.
    fn predicted(chunk: u64, offset: u64, record: WalRecord<W>, compression: Compression) -> Self {
        let payload = payload(&record);
        let stored = FRAME_HEADER_LEN + stored_len(&payload, compression);
        let size = stored.next_multiple_of(ALIGN as usize) as u64;
        Entry { chunk, offset, size, record, payload, continues: false }
    }

    pub(crate) fn segment(&self) -> Segment {
        Segment::new(self.offset, self.size)
    }

    pub(crate) fn end(&self) -> u64 {
        self.offset + self.size
    }

    pub(crate) fn starts_chunk(&self) -> bool {
        self.offset == self.chunk + HEADER_LEN
    }
}

impl<W: WalTypes> PartialEq for Entry<W> {
    fn eq(&self, other: &Self) -> bool {
        let kind = |entry: &Self| matches!(entry.record, WalRecord::Action(_));
        let place = |entry: &Self| (entry.chunk, entry.offset, entry.size);
        place(self) == place(other) && kind(self) == kind(other) && self.payload == other.payload
    }
}

impl<W: WalTypes> fmt::Display for Entry<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{:?}", self.record);
        if text.chars().count() > 100 {
            text = text.chars().take(100).chain("…".chars()).collect();
        }
        write!(f, "{text} at {} in chunk {}", self.offset, self.chunk)
    }
}

/// The codec's bytes for a record. A record that it can't encode was never appended.
fn payload<W: WalTypes>(record: &WalRecord<W>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if record.encode_payload(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

/// The bytes that a payload takes in its frame.
fn stored_len(payload: &[u8], compression: Compression) -> usize {
    let stored = compression.transform().and_then(|mut transform| transform.apply(&mut payload.to_vec()));
    stored.map_or(payload.len(), |stored| stored.len as usize)
}

/// Every record appended since the log was new, including removed ones.
pub(crate) struct History<W: WalTypes> {
    pub(crate) entries: Vec<Rc<Entry<W>>>,
    /// The compression of all chunks.
    pub(crate) compression: Compression,
}

impl<W: WalTypes> Clone for History<W> {
    fn clone(&self) -> Self {
        History { entries: self.entries.clone(), compression: self.compression }
    }
}

impl<W: WalTypes> History<W> {
    /// The history of a log that is about to be made: its first record is a fresh state machine's
    /// checkpoint.
    pub(crate) fn of_new_log(checkpoint: W::Checkpoint, compression: Compression) -> Self {
        let mut history = History { entries: Vec::new(), compression };
        history.push(history.chunk_start(0, checkpoint));
        history
    }

    pub(crate) fn end(&self) -> u64 {
        self.end_of(self.entries.len())
    }

    /// Where the first `n` records end.
    pub(crate) fn end_of(&self, n: usize) -> u64 {
        n.checked_sub(1).map_or(0, |last| self.entries[last].end())
    }

    pub(crate) fn push(&mut self, entry: Entry<W>) {
        self.entries.push(Rc::new(entry));
    }

    /// A record after the last one, in its chunk.
    pub(crate) fn next(&self, record: WalRecord<W>) -> Entry<W> {
        self.next_in(self.entries.last().map_or(0, |last| last.chunk), record)
    }

    /// A record after the last one, in this chunk.
    pub(crate) fn next_in(&self, chunk: u64, record: WalRecord<W>) -> Entry<W> {
        Entry::predicted(chunk, self.end(), record, self.compression)
    }

    /// The checkpoint that starts a chunk after `end`.
    pub(crate) fn chunk_start(&self, end: u64, checkpoint: W::Checkpoint) -> Entry<W> {
        Entry::predicted(end, end + HEADER_LEN, WalRecord::Checkpoint(checkpoint), self.compression)
    }

    pub(crate) fn ends_with(&self, entry: &Entry<W>) -> bool {
        self.entries.last().is_some_and(|last| **last == *entry)
    }

    /// The index of a chunk's first record.
    pub(crate) fn chunk(&self, id: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.chunk == id)
    }

    /// Applies the actions among the first `n` records to a fresh state machine, as if the log had
    /// never been closed and never crashed.
    pub(crate) fn apply_to<SM: StateMachine<W>>(&self, n: usize, mut machine: SM) -> Result<SM, String> {
        for entry in &self.entries[..n] {
            if let WalRecord::Action(_) = entry.record {
                let applied = machine.apply(&entry.record, ChunkId(entry.chunk), entry.segment());
                applied.map_err(|e| {
                    let e: Box<dyn std::error::Error + Send + Sync> = e.into();
                    format!("a fresh state machine refuses what another one took: {entry}: {e}")
                })?;
            }
        }
        Ok(machine)
    }
}

/// The promises that must hold of a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    /// Everything below was reported durable.
    pub(crate) durable: u64,
    /// Everything below was reported written.
    pub(crate) written: u64,
    /// Nothing was appended after this offset.
    pub(crate) appended: u64,
    /// The oldest chunk when the log was opened.
    pub(crate) start: u64,
    /// Chunks below are gone for good.
    pub(crate) start_min: u64,
    /// Chunks from here on are not to be removed.
    pub(crate) start_max: u64,
    /// Requested removals: the chunks below the first number, once everything below the second was
    /// durable.
    pub(crate) removals: Vec<(u64, u64)>,
    /// Whether an open was under way: then a chunk may start after the records found.
    pub(crate) opening: bool,
    /// The history that these bounds belong to.
    pub(crate) life: usize,
    /// The script's current step.
    pub(crate) step: usize,
}

impl Bounds {
    /// The bounds of a log that was just opened or closed: all of it is durable, nothing is under way.
    pub(crate) fn settled(&self, start: u64, end: u64) -> Self {
        Bounds {
            durable: end,
            written: end,
            appended: end,
            start,
            start_min: start,
            start_max: start,
            removals: Vec::new(),
            opening: false,
            ..*self
        }
    }

    /// Everything below this offset must be found on the disk that is left.
    pub(crate) fn floor(&self, disk: &MemoryStorage, left: Left) -> u64 {
        // Bytes that were only written may be lost with their page, once a sync has failed.
        if left == Left::Killed && !disk.evicts() { self.written } else { self.durable }
    }

    /// The bounds of the same log while it is opened after a crash.
    pub(crate) fn reopening(&self, floor: u64) -> Self {
        Bounds { written: floor, opening: true, ..self.clone() }
    }
}
