//! A log's directory as it is without the log: names, and the newest chunk's bytes.

use std::rc::Rc;

use crate::config::Config;
use crate::directory::away_name;
use crate::format::{FrameHeader, HEADER_LEN, Header, Kind};
use crate::position::ChunkId;
use crate::record::WalTypes;
use crate::recovery::RecoveryReport;
use crate::storage::MemoryStorage;
use crate::testing::check::history::Entry;

/// A log's directory before the log was opened.
pub(crate) struct DirectoryBefore {
    chunks: Vec<u64>,
    newest: Vec<u8>,
    /// The bytes of the spares: one may be the newest chunk, whose name a crash took back.
    spares: Vec<Vec<u8>>,
    /// Whether pages of the newest chunk may be evicted before the log reads them.
    evicts: bool,
}

impl DirectoryBefore {
    pub(crate) fn of(disk: &MemoryStorage, config: &Config) -> Self {
        let files = disk.files(&config.dir);
        // The crash may have come while the newest chunk's name was made again.
        let names = files.iter().map(|name| name.strip_suffix(".away").unwrap_or(name));
        let mut chunks: Vec<u64> = names.filter_map(|name| Some(ChunkId::parse_file_name(name)?.0)).collect();
        chunks.sort_unstable();
        chunks.dedup();
        let newest = chunks.last().and_then(|id| {
            let read = |name| disk.read_file(config.dir.join(name));
            read(ChunkId(*id).file_name()).or_else(|| read(away_name(ChunkId(*id))))
        });
        let spares = files.iter().filter(|name| name.starts_with("spare-"));
        let spares = spares.filter_map(|name| disk.read_file(config.dir.join(name))).collect();
        DirectoryBefore { chunks, newest: newest.unwrap_or_default(), spares, evicts: disk.evicts() }
    }

    /// Counts the chunks that have come to be out of spares, each with the header that the spare had, as chunks that
    /// were there before.
    pub(crate) fn take_over<W: WalTypes>(
        &mut self,
        disk: &MemoryStorage,
        config: &Config,
        all: &[Rc<Entry<W>>],
    ) {
        let header = |bytes: &[u8]| Header::decode(bytes.get(..HEADER_LEN as usize)?).ok();
        for id in all.iter().map(|entry| entry.chunk) {
            let is_new = self.chunks.last().is_some_and(|newest| *newest < id);
            let Some(bytes) = disk.read_file(config.chunk_path(ChunkId(id))).filter(|_| is_new) else {
                continue;
            };
            let was_spare = |spare: &&Vec<u8>| header(spare).is_some() && header(spare) == header(&bytes);
            // Of two with the same head, the log takes the one with more sound records.
            let end =
                all.iter().rfind(|entry| entry.chunk == id).map_or(0, |last| (last.end() - id) as usize);
            let kept = |spare: &&Vec<u8>| spare.iter().zip(&bytes[..end]).take_while(|(a, b)| a == b).count();
            if let Some(spare) = self.spares.iter().filter(was_spare).rev().max_by_key(kept) {
                self.newest.clone_from(spare);
                self.chunks.push(id);
            }
        }
    }

    /// Returns how many of a log's records are in chunks that were there before.
    pub(crate) fn count_found<W: WalTypes>(&self, all: &[Rc<Entry<W>>]) -> Result<usize, String> {
        let mut ids: Vec<u64> = all.iter().map(|entry| entry.chunk).collect();
        ids.dedup();
        let started = ids.len().checked_sub(self.chunks.len()).filter(|started| *started <= 1);
        if started.is_none() || !ids.starts_with(&self.chunks) {
            return Err(format!("chunks {:?} on disk, {ids:?} in the log", self.chunks));
        }
        Ok(all.iter().filter(|entry| self.chunks.contains(&entry.chunk)).count())
    }

    /// Checks that the report describes the directory.
    pub(crate) fn check_report<W: WalTypes>(
        &self,
        report: &RecoveryReport,
        found: &[Rc<Entry<W>>],
    ) -> Result<(), String> {
        let start = found.first().map_or(0, |entry| entry.chunk);
        let end = found.last().map_or(0, |entry| entry.end());
        let numbers = [report.chunks, report.records, report.bytes];
        let wanted = [self.chunks.len() as u64, found.len() as u64, end - start];
        if numbers != wanted {
            return Err(format!(
                "chunks, records, bytes: the report has {numbers:?}, the log has {wanted:?}"
            ));
        }
        if !report.foreign_names.is_empty() {
            return Err(format!("foreign names: {:?}", report.foreign_names));
        }
        let Some(newest) = self.chunks.last().filter(|_| !self.evicts) else { return Ok(()) };
        self.check_torn(report, *newest, end)
    }

    /// Checks that a torn tail is reported if and only if there is one.
    fn check_torn(&self, report: &RecoveryReport, newest: u64, end: u64) -> Result<(), String> {
        let tail = self.newest.get((end - newest) as usize..).unwrap_or(&[]);
        let reused = Header::decode(&self.newest[..HEADER_LEN as usize]).is_ok_and(|h| h.earlier_life());
        let zeros = tail.iter().all(|byte| *byte == 0);
        let kind = tail.first_chunk().map(|header| FrameHeader::parse(header).kind).unwrap_or(0);
        let ended = [Kind::Seal as u8, Kind::SyncMark as u8].contains(&kind);
        let right = match report.torn_tail {
            // In a reused file, a torn write may be invisible.
            None => ended || zeros || reused,
            Some(torn) if torn.chunk_id.0 != newest || torn.data_end != end => false,
            Some(torn) if reused => torn.lost > 0 && torn.lost <= tail.len() as u64,
            Some(torn) => tail.iter().rposition(|byte| *byte != 0).map(|at| at as u64 + 1) == Some(torn.lost),
        };
        if right {
            return Ok(());
        }
        Err(format!(
            "the report has {:?}; after {end} there are {} bytes, {}",
            report.torn_tail,
            tail.len(),
            if zeros { "all zero" } else { "not all zero" }
        ))
    }
}
