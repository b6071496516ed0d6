//! The tail of the log that is still in memory: bytes accepted and not yet written.
//!
//! ```text
//!   written         cut off: the end of a chunk, the head of one, or full          the open buffer
//! ──────────────┬──────────────┬──────────────┬──────────────┬───────────────────────┬────────
//!   in the file │ piece        │ piece        │ piece        │ frames                │ staged
//!               ^ start: the worker writes from here         ^ open_start            ^ appended
//! ```
//!
//! - Pieces and open buffer follow one another without a gap, over rotations too; a new chunk's
//!   header is the beginning of a piece of its own. No piece spans two chunks.
//! - A flush moves no bytes: the worker takes what it is to write, in as few pieces as there are.
//! - Readers see bytes below `appended`; behind it the appender may have a frame that is not accepted
//!   yet, which is never cut off or taken.
//! - A buffer is used again only when nobody holds it; steady appending allocates nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

/// Capacity kept for use again, at most, in open buffers' worth.
const POOLED_BUFFERS: usize = 4;

/// Accepted bytes that are written as one.
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
    /// The open buffer is cut off once it has this many bytes.
    open_bytes_max: usize,
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
        let open_bytes_max = usize::try_from(open_buffer_max_bytes).unwrap_or(usize::MAX);
        Tail { state: Mutex::new(state), open_bytes_max }
    }

    /// Lets `write` add to the open buffer. Nobody else writes there; readers wait meanwhile.
    #[inline]
    pub(crate) fn with_open<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut state = self.state.lock();
        // All in it is accepted at this moment. What grows no further is never copied again.
        if state.open.len() >= self.open_bytes_max {
            state.cut();
        }
        // Never shared while it is the open one, so this copies nothing.
        write(Arc::make_mut(&mut state.open))
    }

    /// Takes back what stands behind `end`: a frame that was not accepted.
    pub(crate) fn truncate(&self, end: u64) {
        let mut state = self.state.lock();
        let keep = end.saturating_sub(state.open_start) as usize;
        Arc::make_mut(&mut state.open).truncate(keep);
    }

    /// Ends a chunk, all of whose bytes are accepted, and puts the beginning of the next behind it.
    pub(crate) fn begin_chunk(&self, head: Vec<u8>) {
        let mut state = self.state.lock();
        state.cut();
        state.push(Arc::new(head));
    }

    /// What is to be written next, if any of it stands below `end`. It may reach further, over bytes
    /// that are accepted as well.
    pub(crate) fn next(&self, end: u64) -> Option<Piece> {
        let mut state = self.state.lock();
        if state.pieces.is_empty() {
            state.cut_at(end);
        }
        state.pieces.front().filter(|piece| piece.start < end).cloned()
    }

    /// The piece is in the file: it is read there from now on.
    pub(crate) fn written(&self, piece: Piece) {
        let mut state = self.state.lock();
        drop(piece);
        let Some(Piece { mut bytes, .. }) = state.pieces.pop_front() else { return };
        // Unless somebody still reads it.
        let Some(buffer) = Arc::get_mut(&mut bytes) else { return };
        buffer.clear();
        let capacity = buffer.capacity();
        if state.pooled_bytes + capacity <= self.open_bytes_max.saturating_mul(POOLED_BUFFERS) {
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

impl State {
    /// Makes a piece of the open buffer, if anything is in it.
    fn cut(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let next = self.take_pooled();
        let bytes = std::mem::replace(&mut self.open, next);
        self.push(bytes);
    }

    /// Puts a piece behind the others, where the open buffer began.
    fn push(&mut self, bytes: Arc<Vec<u8>>) {
        let piece = Piece { start: self.open_start, bytes };
        self.open_start = piece.end();
        self.pieces.push_back(piece);
    }

    /// Makes a piece of what stands in the open buffer below `end`. What is behind it stays there: it
    /// may not be accepted yet.
    fn cut_at(&mut self, end: u64) {
        let below = usize::try_from(end.saturating_sub(self.open_start)).unwrap_or(usize::MAX);
        if below == 0 {
            return;
        }
        if below >= self.open.len() {
            return self.cut();
        }
        let mut rest = self.take_pooled();
        Arc::make_mut(&mut rest).extend_from_slice(&self.open[below..]);
        Arc::make_mut(&mut self.open).truncate(below);
        let bytes = std::mem::replace(&mut self.open, rest);
        self.push(bytes);
    }

    fn take_pooled(&mut self) -> Arc<Vec<u8>> {
        let buffer = self.pool.pop().unwrap_or_default();
        self.pooled_bytes -= buffer.capacity();
        buffer
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
        tail.begin_chunk(b"de".to_vec());
        put(&tail, b"fgh");
        let mut buf = [0; 6];
        assert_eq!(tail.read_at(&mut buf, 101), Ok(6));
        assert_eq!(&buf, b"bcdefg");
        assert_eq!(tail.read_at(&mut buf, 106), Ok(2));
        assert_eq!(tail.read_at(&mut buf, 99), Err(100));
        let piece = tail.next(103).unwrap();
        assert_eq!((piece.start, piece.end()), (100, 103));
        tail.written(piece);
        assert_eq!(tail.read_at(&mut buf, 101), Err(103), "a piece goes once all of it is written");
        tail.truncate(107);
        assert_eq!(tail.read_at(&mut buf, 103), Ok(4));
        assert_eq!(&buf[..4], b"defg");
    }

    #[test]
    fn the_worker_takes_no_more_of_the_open_buffer_than_it_was_asked_for() {
        let tail = Tail::new(0, 1024);
        put(&tail, b"abcdef");
        assert!(tail.next(0).is_none());
        let piece = tail.next(4).unwrap();
        assert_eq!(*piece.bytes, b"abcd");
        tail.written(piece);
        let open = tail.state.lock().open.as_ptr();
        assert!(tail.next(4).is_none());
        assert_eq!(tail.state.lock().open.as_ptr(), open, "asked for nothing, it copies nothing");
        put(&tail, b"gh");
        assert_eq!(*tail.next(8).unwrap().bytes, b"efgh");
    }

    #[test]
    fn a_full_buffer_is_cut_off_before_the_next_frame() {
        let tail = Tail::new(0, 4);
        put(&tail, b"abcd");
        put(&tail, b"ef");
        let piece = tail.next(1).unwrap();
        assert_eq!(*piece.bytes, b"abcd");
        tail.written(piece);
        assert_eq!(*tail.next(6).unwrap().bytes, b"ef");
    }

    #[test]
    fn a_buffer_that_is_still_read_is_not_used_again() {
        let tail = Tail::new(0, 1024);
        put(&tail, b"abc");
        let piece = tail.next(3).unwrap();
        let reader = piece.bytes.clone();
        tail.written(piece);
        assert!(tail.state.lock().pool.is_empty());
        drop(reader);
        put(&tail, b"def");
        let piece = tail.next(6).unwrap();
        tail.written(piece);
        assert_eq!(tail.state.lock().pool.len(), 1);
    }
}
