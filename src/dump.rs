//! Every record of a log that no process has open, sound or not, without a state machine.

use crate::config::Config;
use crate::directory::{WalLock, list, log_id_of_most, open_chunk};
use crate::error::{Error, Foreign, Result};
use crate::format::{Scan, ScanEnd};
use crate::position::{ChunkId, Segment};
use crate::record::{WalRecord, WalTypes};
use crate::recovery::scan_error;
use crate::wal::ChunkedWal;

impl<W: WalTypes> ChunkedWal<W> {
    /// Visits the records of a log that isn't open, oldest first: each with its chunk, its number in
    /// the chunk from 0 on, and its segment; changes nothing.
    ///
    /// If a chunk can't be read on, `visit` gets the error in place of the next record, and the dump goes on with the
    /// next chunk; a torn tail is an error too, [`Error::TornTail`]. A gap before a chunk takes the number 0, and the
    /// chunk's records follow from 1 on. An error that `visit` returns ends the dump.
    ///
    /// # Errors
    ///
    /// The errors of `visit`; [`Error::Io`] if the directory can't be listed, [`Error::InvalidConfig`].
    pub fn dump_records<E: From<Error>>(
        config: &Config,
        lock: &WalLock,
        mut visit: impl FnMut(ChunkId, u64, Result<(Segment, WalRecord<W>)>) -> Result<(), E>,
    ) -> Result<(), E> {
        config.validate()?;
        let found = list(&**lock.storage(), lock.dir())?;
        let log_id = log_id_of_most(&**lock.storage(), lock.dir(), &found.chunks);
        let mut log = LogSoFar { log_id, end: None };
        for (i, id) in found.chunks.iter().enumerate() {
            let successor = i + 1 < found.chunks.len();
            let mut index = 0;
            let read = dump_chunk(config, lock, *id, successor, &mut log, |item| {
                index += 1;
                visit(*id, index - 1, item)
            });
            match read {
                Ok(()) => {}
                Err(Stopped::ByLog(error)) => visit(*id, index, Err(error))?,
                Err(Stopped::ByVisit(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The facts from the chunks before.
struct LogSoFar {
    /// The log that most chunks are of.
    log_id: Option<[u8; 16]>,
    /// Where the chunk before ends, if that is known.
    end: Option<u64>,
}

/// Why a chunk was not read to its end.
enum Stopped<E> {
    ByLog(Error),
    ByVisit(E),
}

fn dump_chunk<W: WalTypes, E>(
    config: &Config,
    lock: &WalLock,
    id: ChunkId,
    successor: bool,
    log: &mut LogSoFar,
    mut visit: impl FnMut(Result<(Segment, WalRecord<W>)>) -> Result<(), E>,
) -> Result<(), Stopped<E>> {
    let expected = log.end.take();
    let path = &lock.dir().join(id.file_name());
    let (header, bytes) = open_chunk(&**lock.storage(), path, id).map_err(Stopped::ByLog)?;
    let log_id = *log.log_id.get_or_insert(header.log_id);
    if log_id != header.log_id {
        let reason = Foreign::LogId { expected: log_id, found: header.log_id };
        return Err(Stopped::ByLog(Error::ForeignChunk { path: path.to_owned(), reason }));
    }
    if let Some(expected) = expected.filter(|expected| *expected != id.0) {
        let gap = Error::Gap { path: path.to_owned(), expected, found: id.0 };
        visit(Err(gap)).map_err(Stopped::ByVisit)?;
    }
    let read_buffer_size = usize::try_from(config.read_buffer_size).unwrap_or(usize::MAX);
    let mut scan = Scan::new(&bytes, &header, successor, read_buffer_size);
    while let Some(frame) = scan.next().map_err(|e| Stopped::ByLog(Error::from_read(path, e)))? {
        let record = WalRecord::decode(&frame)
            .map_err(|e| Stopped::ByLog(Error::undecodable(path, id, frame.offset, e)))?;
        visit(Ok((frame.segment(), record))).map_err(Stopped::ByVisit)?;
    }
    match scan.end() {
        Some(
            ScanEnd::Sealed { data_end, .. }
            | ScanEnd::Clean { data_end, .. }
            | ScanEnd::Torn { data_end, lost: 0 },
        ) => {
            log.end = Some(*data_end);
            Ok(())
        }
        other => Err(Stopped::ByLog(scan_error(other, id, path))),
    }
}
