//! The tail of the log that is still in memory: bytes accepted and not yet written.
//!
//! ```text
//!   written        handed over, the worker writes them          open: the next flush takes it
//! ──────────────┬──────────────┬──────────────┬──────────────┬───────────────────────┬────────
//!   in the file │ piece        │ piece        │ piece        │ frames, header first  │ staged
//!               ^ start                                      ^ open_start            ^ appended
//! ```
//!
//! - Pieces and open buffer follow one another without a gap, over rotations too; a new chunk's
//!   header is the beginning of a piece of its own. No piece spans two chunks.
//! - Readers see bytes below `appended`; behind it the appender may have a frame that is not accepted
//!   yet.
//! - A buffer is used again only when nobody holds it; steady appending allocates nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

/// Capacity kept for use again, at most, in open buffers' worth.
const POOLED_BUFFERS: u64 = 4;

/// Bytes handed over for writing.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// The global offset of the first byte.
    pub(crate) start: u64,
    pub(crate) bytes: Arc<Vec<u8>>,
}

impl Piece {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

#[derive(Debug)]
pub(crate) struct Tail {
    state: Mutex<State>,
    /// The pool holds at most this much capacity, in bytes.
    pooled_bytes_max: usize,
}

#[derive(Debug)]
struct State {
    pieces: VecDeque<Piece>,
    open_start: u64,
    open: Arc<Vec<u8>>,
    pool: Vec<Arc<Vec<u8>>>,
    pooled_bytes: usize,
}

impl Tail {
    /// An empty tail of a log that is written up to `start`.
    pub(crate) fn new(start: u64, open_buffer_max_bytes: u64) -> Self {
        let state = State {
            pieces: VecDeque::new(),
            open_start: start,
            open: Arc::default(),
            pool: Vec::new(),
            pooled_bytes: 0,
        };
        let pooled_bytes_max = usize::try_from(open_buffer_max_bytes.saturating_mul(POOLED_BUFFERS));
        Tail { state: Mutex::new(state), pooled_bytes_max: pooled_bytes_max.unwrap_or(usize::MAX) }
    }

    /// Lets `write` add to the open buffer. Nobody else writes there; readers wait meanwhile.
    pub(crate) fn with_open<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut state = self.state.lock();
        // Never shared while it is the open one, so this copies nothing.
        write(Arc::make_mut(&mut state.open))
    }

    /// Takes back what stands behind `end`: a frame that was not accepted.
    pub(crate) fn truncate(&self, end: u64) {
        let mut state = self.state.lock();
        let keep = end.saturating_sub(state.open_start) as usize;
        Arc::make_mut(&mut state.open).truncate(keep);
    }

    /// Hands over what is in the open buffer; `None` if that is nothing.
    pub(crate) fn take_open(&self) -> Option<Piece> {
        let mut state = self.state.lock();
        if state.open.is_empty() {
            return None;
        }
        let next = state.pool.pop().unwrap_or_default();
        state.pooled_bytes -= next.capacity();
        let bytes = std::mem::replace(&mut state.open, next);
        let piece = Piece { start: state.open_start, bytes };
        state.open_start = piece.end();
        state.pieces.push_back(piece.clone());
        Some(piece)
    }

    /// Hands over bytes that did not come through the open buffer, which must be empty: the beginning
    /// of a new chunk.
    pub(crate) fn push(&self, bytes: Vec<u8>) -> Piece {
        let mut state = self.state.lock();
        debug_assert!(state.open.is_empty(), "the open buffer goes first");
        let piece = Piece { start: state.open_start, bytes: Arc::new(bytes) };
        state.open_start = piece.end();
        state.pieces.push_back(piece.clone());
        piece
    }

    /// All below `end` is in the file: it is read there from now on.
    pub(crate) fn release(&self, end: u64) {
        let mut state = self.state.lock();
        while state.pieces.front().is_some_and(|piece| piece.end() <= end) {
            state.pieces.pop_front();
        }
    }

    /// Takes a buffer back for use again, unless somebody still reads it.
    pub(crate) fn recycle(&self, mut bytes: Arc<Vec<u8>>) {
        let Some(buffer) = Arc::get_mut(&mut bytes) else { return };
        buffer.clear();
        let capacity = buffer.capacity();
        let mut state = self.state.lock();
        if state.pooled_bytes + capacity <= self.pooled_bytes_max {
            state.pooled_bytes += capacity;
            state.pool.push(bytes);
        }
    }

    /// Copies into `buf` the bytes at `offset`, as far as memory holds them. `Err` gives the offset at
    /// which memory begins where that is behind `offset`: what is below it is in the file.
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, u64> {
        let state = self.state.lock();
        let start = state.pieces.front().map_or(state.open_start, |piece| piece.start);
        if offset < start {
            return Err(start);
        }
        let open = Piece { start: state.open_start, bytes: state.open.clone() };
        let mut done = 0;
        for piece in state.pieces.iter().chain([&open]) {
            let at = offset + done as u64;
            if at < piece.end() && done < buf.len() {
                let from = &piece.bytes[(at - piece.start) as usize..];
                let n = from.len().min(buf.len() - done);
                buf[done..done + n].copy_from_slice(&from[..n]);
                done += n;
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(tail: &Tail, bytes: &[u8]) {
        tail.with_open(|open| open.extend_from_slice(bytes));
    }

    #[test]
    fn reads_over_pieces_and_the_open_buffer() {
        let tail = Tail::new(100, 1024);
        put(&tail, b"abc");
        let first = tail.take_open().unwrap();
        assert_eq!((first.start, first.end()), (100, 103));
        assert!(tail.take_open().is_none());
        tail.push(b"de".to_vec());
        put(&tail, b"fgh");
        let mut buf = [0; 6];
        assert_eq!(tail.read_at(&mut buf, 101), Ok(6));
        assert_eq!(&buf, b"bcdefg");
        assert_eq!(tail.read_at(&mut buf, 106), Ok(2));
        assert_eq!(tail.read_at(&mut buf, 99), Err(100));
        tail.release(104);
        assert_eq!(tail.read_at(&mut buf, 101), Err(103), "a piece goes once all of it is written");
        tail.truncate(107);
        assert_eq!(tail.read_at(&mut buf, 103), Ok(4));
        assert_eq!(&buf[..4], b"defg");
    }

    #[test]
    fn a_buffer_that_is_still_read_is_not_used_again() {
        let tail = Tail::new(0, 1024);
        put(&tail, b"abc");
        let piece = tail.take_open().unwrap();
        let reader = piece.bytes.clone();
        tail.release(3);
        tail.recycle(piece.bytes);
        assert!(tail.state.lock().pool.is_empty());
        tail.recycle(reader);
        assert_eq!(tail.state.lock().pool.len(), 1);
    }
}
