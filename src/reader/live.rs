//! The records of a log that is open in this process, in order, from memory or from its files.

use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use super::LogView;
use crate::chunk::ChunkFile;
use crate::error::{Damage, Error, Result};
use crate::format::{HEADER_LEN, ReadAt, Scan, ScanEnd};
use crate::position::{ChunkId, Segment};
use crate::record::{WalRecord, WalTypes};

/// The record that holds the byte at `offset`, if it and all before it are sound.
pub(super) fn record_holding<R: ReadAt>(mut scan: Scan<R>, offset: u64) -> Option<Segment> {
    while let Ok(Some(frame)) = scan.next() {
        if offset < frame.offset + frame.size {
            return (frame.offset <= offset).then(|| frame.segment());
        }
    }
    None
}

type LiveScan<C> = Scan<ChunkBytes<Arc<LogView<C>>>>;

/// The records of an open log, oldest first.
pub(super) struct LiveRecords<W: WalTypes> {
    view: Arc<LogView<W::Checkpoint>>,
    /// Chunks to come, each with its end.
    chunks: VecDeque<(Arc<ChunkFile>, u64)>,
    /// The global offset to start at, if that is inside the first of them.
    from: u64,
    current: Option<LiveScan<W::Checkpoint>>,
}

impl<W: WalTypes> LiveRecords<W> {
    /// The records from a global offset where one starts to one where one ends, or to the last record.
    pub(super) fn new(view: Arc<LogView<W::Checkpoint>>, from: u64, until: u64) -> Self {
        let chunks = {
            let chunks = view.chunks.read();
            // Under the lock, so that nothing is appended to a chunk that is unknown here.
            let appended = view.end();
            let closed = chunks.closed.values().map(|chunk| (chunk.file.clone(), chunk.end));
            let open = chunks.open.iter().map(|open| (open.clone(), appended));
            // A chunk that has just started has no record yet.
            let all = closed.chain(open).map(|(chunk, end)| (chunk, end.min(until)));
            all.filter(|(chunk, end)| *end > from.max(chunk.id().0)).collect()
        };
        LiveRecords { view, chunks, from, current: None }
    }

    pub(super) fn step(&mut self) -> Result<Option<(ChunkId, Segment, WalRecord<W>)>> {
        loop {
            if self.current.is_none() && self.chunks.is_empty() {
                return Ok(None);
            }
            self.view.check()?;
            let Some(scan) = &mut self.current else {
                let Some((chunk, end)) = self.chunks.pop_front() else { return Ok(None) };
                let header = *chunk.header();
                let bytes = ChunkBytes { view: self.view.clone(), chunk, end };
                let scan = Scan::new(bytes, &header, false, self.view.read_buffer_size);
                self.current = Some(scan.beginning_at(self.from.saturating_sub(header.chunk_id)));
                continue;
            };
            let chunk = scan.source().chunk.clone();
            let end = scan.source().end;
            let path = || self.view.files.path(chunk.id());
            if let Some(frame) = scan.next().map_err(|e| Error::from_read(path(), e))? {
                let record = WalRecord::decode(&frame);
                let record = record.map_err(|e| self.view.undecodable(chunk.id(), frame.offset, e))?;
                return Ok(Some((chunk.id(), frame.segment(), record)));
            }
            match scan.end() {
                Some(ScanEnd::Clean { data_end, .. } | ScanEnd::Torn { data_end, .. })
                    if *data_end == end => {}
                Some(ScanEnd::Corrupt { at, damage, .. }) => {
                    return Err(self.view.corrupt(chunk.id(), *at, *damage));
                }
                _ => {
                    let at = scan.last_segment().map_or(chunk.id().0 + HEADER_LEN, |(o, size)| o + size);
                    return Err(self.view.corrupt(chunk.id(), at, Damage::FrameHeader));
                }
            }
            self.current = None;
        }
    }
}

/// A chunk's bytes up to a global offset, from memory or file, for the scan.
#[derive(Debug)]
pub(super) struct ChunkBytes<V> {
    pub(super) view: V,
    pub(super) chunk: Arc<ChunkFile>,
    pub(super) end: u64,
}

impl<C, V: Deref<Target = LogView<C>>> ReadAt for ChunkBytes<V> {
    fn len(&self) -> u64 {
        self.end - self.chunk.id().0
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let left = self.len().saturating_sub(position);
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        Ok(self.view.read(&self.chunk, self.chunk.id().0 + position, &mut buf[..n])?)
    }
}
