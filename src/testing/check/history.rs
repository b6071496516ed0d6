//! The model: every record appended, where it stands, and what is promised of it.
//!
//! ```text
//!   start_min   start_max              durable   written       appended
//! ─────┴───────────┴──────────────────────┴─────────┴──────────────┴──► global offset
//!  gone for good  may be gone   must be there       must be there   nothing is beyond
//!                               after a crash       after a kill
//! ```

use std::fmt;
use std::rc::Rc;

use super::probe::{Probed, plain};
use super::route::Left;
use crate::config::Compression;
use crate::format::{FRAME_HEADER_LEN, HEADER_LEN};
use crate::position::{ALIGN, ChunkId, Segment};
use crate::record::{StateMachine, WalRecord, WalTypes};
use crate::storage::MemoryStorage;

/// A record and its place.
pub(super) struct Entry<W: WalTypes> {
    pub(super) chunk: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) record: WalRecord<W>,
    payload: Vec<u8>,
}

impl<W: WalTypes> Entry<W> {
    pub(super) fn new(chunk_id: ChunkId, segment: Segment, record: WalRecord<W>) -> Self {
        let payload = payload(&record);
        Entry { chunk: chunk_id.0, offset: segment.offset, size: segment.size, record, payload }
    }

    pub(super) fn watched(chunk_id: ChunkId, segment: Segment, record: WalRecord<Probed<W>>) -> Self {
        Entry::new(chunk_id, segment, plain(record))
    }

    /// Where a record will stand that is appended at `offset`.
    fn predicted(chunk: u64, offset: u64, record: WalRecord<W>, compression: Compression) -> Self {
        let payload = payload(&record);
        let stored = FRAME_HEADER_LEN + stored_len(&payload, compression);
        let size = stored.next_multiple_of(ALIGN as usize) as u64;
        Entry { chunk, offset, size, record, payload }
    }

    pub(super) fn segment(&self) -> Segment {
        Segment::new(self.offset, self.size)
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.size
    }

    pub(super) fn begins_chunk(&self) -> bool {
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

/// What the codec makes of a record. One that it can't encode was never appended.
fn payload<W: WalTypes>(record: &WalRecord<W>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if record.encode_payload(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

/// How many bytes a payload takes in its frame.
fn stored_len(payload: &[u8], compression: Compression) -> usize {
    let Some(mut compressor) = compression.compressor() else { return payload.len() };
    compressor.compress(&mut payload.to_vec()).unwrap_or(payload.len())
}

/// Every record appended since the log began, those removed since included.
pub(super) struct History<W: WalTypes> {
    pub(super) entries: Vec<Rc<Entry<W>>>,
    /// The same in all chunks.
    pub(super) compression: Compression,
}

impl<W: WalTypes> Clone for History<W> {
    fn clone(&self) -> Self {
        History { entries: self.entries.clone(), compression: self.compression }
    }
}

impl<W: WalTypes> History<W> {
    /// A log that is about to be made: its first record is a fresh state machine's checkpoint.
    pub(super) fn of_new_log(checkpoint: W::Checkpoint, compression: Compression) -> Self {
        let mut history = History { entries: Vec::new(), compression };
        history.push(history.beginning(0, checkpoint));
        history
    }

    pub(super) fn end(&self) -> u64 {
        self.end_of(self.entries.len())
    }

    /// Where the first `n` records end.
    pub(super) fn end_of(&self, n: usize) -> u64 {
        n.checked_sub(1).map_or(0, |last| self.entries[last].end())
    }

    pub(super) fn push(&mut self, entry: Entry<W>) {
        self.entries.push(Rc::new(entry));
    }

    /// A record behind the last one, in its chunk.
    pub(super) fn next(&self, record: WalRecord<W>) -> Entry<W> {
        self.next_in(self.entries.last().map_or(0, |last| last.chunk), record)
    }

    /// A record behind the last one, in this chunk.
    pub(super) fn next_in(&self, chunk: u64, record: WalRecord<W>) -> Entry<W> {
        Entry::predicted(chunk, self.end(), record, self.compression)
    }

    /// The checkpoint with which a chunk begins behind `end`.
    pub(super) fn beginning(&self, end: u64, checkpoint: W::Checkpoint) -> Entry<W> {
        Entry::predicted(end, end + HEADER_LEN, WalRecord::Checkpoint(checkpoint), self.compression)
    }

    pub(super) fn ends_with(&self, entry: &Entry<W>) -> bool {
        self.entries.last().is_some_and(|last| **last == *entry)
    }

    /// The index of a chunk's first record.
    pub(super) fn chunk(&self, id: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.chunk == id)
    }

    /// Gives a fresh state machine the actions among the first `n` records, as if nothing had ever
    /// been closed or had crashed.
    pub(super) fn apply_to<SM: StateMachine<W>>(&self, n: usize, mut machine: SM) -> Result<SM, String> {
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

/// What must hold of a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    /// Everything below was said to be durable.
    pub(super) durable: u64,
    /// Everything below was said to be written.
    pub(super) written: u64,
    /// Nothing was appended beyond.
    pub(super) appended: u64,
    /// The oldest chunk when the log was opened.
    pub(super) start: u64,
    /// Chunks below are gone for good.
    pub(super) start_min: u64,
    /// Chunks from here on were not asked to be removed.
    pub(super) start_max: u64,
    /// Removals asked for: the chunks below the first number, once everything below the second was
    /// durable.
    pub(super) removals: Vec<(u64, u64)>,
    /// An open was under way: behind the records found a chunk may begin.
    pub(super) opening: bool,
    /// Which history this is about.
    pub(super) life: usize,
    /// The step of the script that was under way.
    pub(super) step: usize,
}

impl Bounds {
    /// Of a log that was just opened or closed: all of it is durable, nothing is under way.
    pub(super) fn settled(&self, start: u64, end: u64) -> Self {
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

    /// Below this, everything is found on what is left of the disk.
    pub(super) fn floor(&self, disk: &MemoryStorage, left: Left) -> u64 {
        // What was only written may go with its page, once a sync has failed.
        if left == Left::Killed && !disk.evicts() { self.written } else { self.durable }
    }

    /// Of the same log while it is opened after a crash.
    pub(super) fn reopening(&self, floor: u64) -> Self {
        Bounds { written: floor, opening: true, ..self.clone() }
    }
}
