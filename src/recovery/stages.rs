//! Replay in one stage, each record while it is in the processor's cache, or in two: one thread reads
//! and checks, the caller's decodes and applies.
//!
//! ```text
//! Scan ─► frames into a block ═══► frames out of it ─► visit
//!           ▲                                      │
//!           └───────── emptied, used again ◄───────┘
//!   └─ thread `wal-replay` ─┘     └─ caller's thread ─┘
//! ```
//!
//! - The caller sees the same as with one stage: every record before an error, in order, then the error.
//! - Memory: one block being filled, one that waits and one in use, each of the size of a read, or of
//!   one larger record.
//! - Two stages pay off for records that take long to decode and apply. For other records a second thread costs more
//!   than it saves: blocks pass through both caches, and the threads wake each other.
//! - The thread ends before `visit_rest` returns or unwinds, at the latest with the block that it fills.

use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, scope};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::format::{Block, Frame, ReadAt, Scan};

/// Blocks that wait, so that neither side waits for the other to wake up.
const WAITING_MAX: usize = 1;

/// Visiting takes this many times as long as reading, or more, where a second thread pays off. It is timed with a block
/// that has left the processor's nearest cache by then, as with two threads; on one thread visiting takes less.
const PAYS_OFF: u32 = 2;

/// On how many threads a chunk is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stages {
    /// On one or two, as the chunk's second block suggests.
    Timed,
    One,
    Two,
}

/// Gives all records that the scan of the chunk at `path` still has to `visit`.
pub(super) fn visit_rest<R: ReadAt + Send>(
    scan: &mut Scan<R>,
    path: &Path,
    mut stages: Stages,
    mut visit: impl FnMut(&Frame<'_>) -> Result<()>,
) -> Result<()> {
    if stages == Stages::Timed {
        stages = time_a_block(scan, path, &mut visit)?;
    }
    if stages == Stages::Two
        && let Some(outcome) = visit_blocks(scan, path, &mut visit)
    {
        return outcome;
    }
    loop {
        scan.visit_held(&mut visit)?;
        let Some(frame) = scan.next().map_err(|e| Error::from_read(path, e))? else { return Ok(()) };
        visit(&frame)?;
    }
}

/// Visits the records read already and one more block, and finds out which way is faster.
fn time_a_block<R: ReadAt>(
    scan: &mut Scan<R>,
    path: &Path,
    mut visit: impl FnMut(&Frame<'_>) -> Result<()>,
) -> Result<Stages> {
    scan.visit_held(&mut visit)?;
    let mut block = Block::default();
    let begun = Instant::now();
    scan.next_block(&mut block).map_err(|e| Error::from_read(path, e))?;
    let reading = begun.elapsed();
    block.frames().try_for_each(|frame| visit(&frame))?;
    let visiting = begun.elapsed() - reading;
    Ok(if visiting > reading * PAYS_OFF { Stages::Two } else { Stages::One })
}

/// As [`visit_rest`], in two stages; `None` if there is no thread to be had, and nothing was done.
fn visit_blocks<R: ReadAt + Send>(
    scan: &mut Scan<R>,
    path: &Path,
    mut visit: impl FnMut(&Frame<'_>) -> Result<()>,
) -> Option<Result<()>> {
    let read_size = scan.read_size();
    scope(|scope| {
        let (send, blocks) = sync_channel(WAITING_MAX);
        let (give_back, emptied) = channel();
        let thread = Builder::new().name("wal-replay".to_string());
        let reading = thread.spawn_scoped(scope, move || send_blocks(scan, &send, &emptied)).ok()?;
        // With an error or a panic of `visit` the receiver goes, and then the thread.
        for mut block in blocks {
            if let Err(refused) = block.frames().try_for_each(|frame| visit(&frame)) {
                return Some(Err(refused));
            }
            block.clear(read_size);
            let _thread_is_done = give_back.send(block);
        }
        let read = reading.join().unwrap_or_else(|panic| resume_unwind(panic));
        Some(read.map_err(|e| Error::from_read(path, e)))
    })
}

/// Sends all records that the scan still has, until the receiver is gone.
fn send_blocks<R: ReadAt>(
    scan: &mut Scan<R>,
    blocks: &SyncSender<Block>,
    emptied: &Receiver<Block>,
) -> io::Result<()> {
    loop {
        let mut block = emptied.try_recv().unwrap_or_default();
        // What was read before an error is sent already.
        scan.next_block(&mut block)?;
        if block.is_empty() || blocks.send(block).is_err() {
            return Ok(());
        }
    }
}
