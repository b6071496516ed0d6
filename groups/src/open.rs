//! Opening: the closed chunks are read side by side, and applied to the index in order.
//!
//! ```text
//! threads   chunk 1, chunk 4, …  ┐
//!           chunk 2, chunk 5, …  ├─► in the order of the log ─► Index ◄─ the newest chunk, which the log itself has read
//!           chunk 3, chunk 6, …  ┘
//! ```

use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread::{available_parallelism, scope};

use chunked_wal::{
    ChunkId, ChunkedWal, Error as WalError, OpenOptions, Replay, Segment, StateMachine, WalReader, WalRecord,
};

use crate::error::{Error, Result};
use crate::index::Index;
use crate::record::{GroupWal, NoState, Record};

/// More threads than this wait for the one that fills the index.
const THREADS_MAX: usize = 4;

/// Records of a chunk, without payloads.
type Read = Vec<(Record, Segment)>;

/// The records that a thread hands over at a time, and how many times it may be ahead.
const PIECE: usize = 1024;
const AHEAD: usize = 4;

/// Opens the log, and reads all of it, once.
pub(crate) fn open(options: OpenOptions<GroupWal>) -> Result<(ChunkedWal<GroupWal>, Index)> {
    let mut newest = Newest::default();
    let wal = options.replay(Replay::FromLastCheckpoint).open(&mut newest)?;
    let mut index = Index::default();
    let closed: Vec<_> =
        wal.closed_chunk_stats().iter().map(|stat| (stat.chunk_id, stat.global_end)).collect();
    // The log has read the last one itself if it has begun a new chunk after it.
    let older: Vec<_> = closed.into_iter().filter(|(chunk, _)| !newest.has(*chunk)).collect();
    read_all(&wal.reader(), &older, |chunk, read| apply(&mut index, chunk, read))?;
    for (chunk, read) in newest.chunks {
        apply(&mut index, chunk, read)?;
    }
    index.check()?;
    Ok((wal, index))
}

fn apply(index: &mut Index, chunk: ChunkId, read: Read) -> Result<()> {
    read.iter().try_for_each(|(record, at)| index.record(record, chunk, *at))
}

/// Reads the chunks on several threads; `each` gets them in order.
fn read_all(
    reader: &WalReader<GroupWal>,
    chunks: &[(ChunkId, u64)],
    mut each: impl FnMut(ChunkId, Read) -> Result<()>,
) -> Result<()> {
    let threads = available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(chunks.len());
    scope(|scope| {
        let start = |nth: usize| -> Receiver<Piece> {
            let (send, receive) = sync_channel(AHEAD);
            scope.spawn(move || {
                let mine = chunks.iter().skip(nth).step_by(threads);
                // After an error, the receiver is gone.
                let _unreceived =
                    mine.copied().try_for_each(|(chunk, end)| send_chunk(reader, chunk, end, &send));
            });
            receive
        };
        let readers: Vec<_> = (0..threads).map(start).collect();
        for (nth, (chunk, _)) in chunks.iter().enumerate() {
            // A thread that panicked sends nothing more: the scope goes on with its panic.
            while let Ok(piece) = readers[nth % threads].recv() {
                let Some(read) = piece? else { break };
                each(*chunk, read)?;
            }
        }
        Ok(())
    })
}

/// A part of a chunk; `None` after the last one.
type Piece = Result<Option<Read>, WalError>;

/// Sends a chunk in pieces; an error if the receiver is gone.
fn send_chunk(
    reader: &WalReader<GroupWal>,
    chunk: ChunkId,
    end: u64,
    send: &SyncSender<Piece>,
) -> Result<(), SendError<Piece>> {
    let records = match reader.records_from(chunk.offset()) {
        Ok(records) => records,
        Err(error) => return send.send(Err(error)),
    };
    let mut read = Vec::with_capacity(PIECE);
    for next in records {
        match next {
            Err(error) => return send.send(Err(error)),
            Ok((_, at, _)) if at.offset >= end => break,
            Ok((_, at, WalRecord::Action(record))) => read.push((record.without_payload(), at)),
            Ok((_, _, WalRecord::Checkpoint(NoState))) => {}
        }
        if read.len() == PIECE {
            send.send(Ok(Some(std::mem::replace(&mut read, Vec::with_capacity(PIECE)))))?;
        }
    }
    send.send(Ok(Some(read)))?;
    send.send(Ok(None))
}

/// What the log itself has read.
#[derive(Debug, Default)]
struct Newest {
    chunks: Vec<(ChunkId, Read)>,
}

impl Newest {
    fn has(&self, chunk: ChunkId) -> bool {
        self.chunks.iter().any(|(read, _)| *read == chunk)
    }
}

impl StateMachine<GroupWal> for Newest {
    type Error = Error;

    fn apply(&mut self, record: &WalRecord<GroupWal>, chunk: ChunkId, at: Segment) -> Result<()> {
        if !self.has(chunk) {
            self.chunks.push((chunk, Vec::new()));
        }
        if let (WalRecord::Action(record), Some((_, read))) = (record, self.chunks.last_mut()) {
            read.push((record.clone().without_payload(), at));
        }
        Ok(())
    }

    fn checkpoint(&self) -> NoState {
        NoState
    }
}
