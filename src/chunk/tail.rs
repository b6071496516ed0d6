//! The tail of the log that is still in memory: bytes accepted and not yet written.
//!
//! ```text
//!   written         full, or the end of a chunk                       the open piece
//! ──────────────┬──────────────┬──────────────┬──────────────┬───────────────────────┬────────
//!   in the file │ piece        │ piece        │ piece        │ frames                │ staged
//!               ^ the worker writes from here                                        ^ appended
//! ```
//!
//! - Pieces follow one another without a gap, over rotations too; a new chunk's header is the
//!   beginning of a piece. No piece spans two chunks, no frame two pieces.
//! - A frame is staged after `appended`, where only the appender sees it, and published once it is accepted. An
//!   unpublished frame needs no undo.
//! - Staging is three calls of the appender's, and only the appender knows how far it is: `stage` gives room after
//!   the bytes staged so far, and moves these if a new piece is needed; `publish` or `begin_chunk` accepts them all; a
//!   `stage` from 0 drops them. No reader and no worker looks after `appended`, so staged bytes need no state here.
//! - A flush moves no bytes: the worker writes them from this memory.
//! - The lock is for the list of pieces, which the appender needs only when one is full.
//! - A buffer is used again only while no thread holds it; steady appending allocates nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::buffer::{Buffer, BufferWriter};

/// Bytes of a piece, unless a frame needs more: few enough to stay in a core's cache until they are
/// written.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes of a piece of a log that keeps little in memory.
const PIECE_BYTES_MIN: usize = 4 * 1024;

/// The side of the worker and the readers.
#[derive(Debug)]
pub(crate) struct Tail {
    state: Mutex<Pieces>,
}

#[derive(Debug)]
struct Pieces {
    /// Below this global offset all is in the file, whether or not a piece still has it.
    written: u64,
    /// Pieces that grow no further, the oldest first.
    ended: VecDeque<Piece>,
    /// The last one, which grows; it may be empty.
    open: Piece,
    piece_bytes: usize,
    pool: Vec<Arc<Buffer>>,
    pooled_bytes: usize,
    pooled_bytes_max: usize,
}

/// Bytes of one chunk in one buffer.
#[derive(Debug)]
struct Piece {
    /// The global offset of the first byte.
    start: u64,
    buffer: Arc<Buffer>,
    /// Where in the buffer it begins and, once it has ended, ends.
    from: usize,
    to: usize,
}

impl Piece {
    /// One that grows.
    fn open(start: u64, writer: &BufferWriter) -> Self {
        Piece { start, buffer: writer.buffer().clone(), from: writer.len(), to: usize::MAX }
    }

    fn bytes(&self) -> &[u8] {
        let published = self.buffer.published();
        &published[self.from..self.to.min(published.len())]
    }

    fn end(&self) -> u64 {
        self.start + self.bytes().len() as u64
    }
}

/// Accepted bytes that are written as one.
#[derive(Debug)]
pub(crate) struct Unwritten {
    /// The global offset of the first byte.
    pub(crate) start: u64,
    buffer: Arc<Buffer>,
    range: Range<usize>,
}

impl Unwritten {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer.published()[self.range.clone()]
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.range.len() as u64
    }
}

impl Tail {
    /// The next bytes to write, if any of them is below `end`.
    pub(crate) fn next(&self, end: u64) -> Option<Unwritten> {
        let mut state = self.state.lock();
        state.drop_written();
        let Pieces { written, ended, open, .. } = &*state;
        let piece = ended.front().unwrap_or(open);
        let from = written.checked_sub(piece.start)?;
        let to = end.min(piece.end()).saturating_sub(piece.start);
        let range = piece.from + from as usize..piece.from + to as usize;
        (!range.is_empty()).then(|| Unwritten { start: *written, buffer: piece.buffer.clone(), range })
    }

    /// The bytes are in the file; memory lets go of the pieces that ended before.
    pub(crate) fn written(&self, unwritten: Unwritten) {
        let mut state = self.state.lock();
        state.written = unwritten.end();
        // First, so that only the piece holds the buffer.
        drop(unwritten);
        state.drop_written();
    }

    /// Copies into `buf` the bytes at `offset`, as far as memory has them. `Err` with the offset at which memory
    /// starts if that is after `offset`: earlier bytes are in the file.
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, u64> {
        let state = self.state.lock();
        if offset < state.written {
            return Err(state.written);
        }
        let mut done = 0;
        for piece in state.ended.iter().chain([&state.open]) {
            let at = offset + done as u64;
            let bytes = piece.bytes();
            if done < buf.len() && at >= piece.start && at - piece.start < bytes.len() as u64 {
                let from = &bytes[(at - piece.start) as usize..];
                let n = from.len().min(buf.len() - done);
                buf[done..done + n].copy_from_slice(&from[..n]);
                done += n;
            }
        }
        Ok(done)
    }
}

impl Pieces {
    /// Ends the open piece.
    fn go_on_in(&mut self, open: Piece) {
        let mut ended = std::mem::replace(&mut self.open, open);
        if ended.bytes().is_empty() {
            self.recycle(ended.buffer);
        } else {
            ended.to = ended.from + ended.bytes().len();
            self.ended.push_back(ended);
        }
    }

    /// Lets go of the pieces that ended and are written.
    fn drop_written(&mut self) {
        while self.ended.front().is_some_and(|piece| piece.end() <= self.written)
            && let Some(piece) = self.ended.pop_front()
        {
            self.recycle(piece.buffer);
        }
    }

    /// Keeps a buffer for later use, unless it has another piece or a reader holds it.
    fn recycle(&mut self, buffer: Arc<Buffer>) {
        let bytes = self.pooled_bytes + buffer.capacity();
        let worth_it = buffer.capacity() > 0 && bytes <= self.pooled_bytes_max;
        if worth_it && Arc::strong_count(&buffer) == 1 {
            self.pooled_bytes = bytes;
            self.pool.push(buffer);
        }
    }

    /// A writer to an empty buffer with room for at least `bytes`.
    fn take_buffer(&mut self, bytes: usize) -> BufferWriter {
        // The smallest, and of these the one used last, which the cache knows best.
        let fitting = self.pool.iter().enumerate().rev().filter(|(_, buffer)| buffer.capacity() >= bytes);
        if let Some((at, _)) = fitting.min_by_key(|(_, buffer)| buffer.capacity()) {
            let buffer = self.pool.remove(at);
            self.pooled_bytes -= buffer.capacity();
            if let Some(writer) = BufferWriter::reuse(buffer) {
                return writer;
            }
        }
        BufferWriter::new(bytes.checked_next_power_of_two().unwrap_or(bytes).max(self.piece_bytes))
    }
}

/// The appender's side of the tail: the open piece.
#[derive(Debug)]
pub(crate) struct TailWriter {
    tail: Arc<Tail>,
    writer: BufferWriter,
}

impl TailWriter {
    /// The empty tail of a log that is written up to `start`. It allocates nothing before the first append, and later
    /// keeps at most `flush_queue_max_bytes` of memory that it doesn't need.
    pub(crate) fn new(start: u64, open_buffer_max_bytes: u64, flush_queue_max_bytes: u64) -> Self {
        let writer = BufferWriter::new(0);
        let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let state = Pieces {
            written: start,
            ended: VecDeque::new(),
            open: Piece::open(start, &writer),
            piece_bytes: bytes(open_buffer_max_bytes).clamp(PIECE_BYTES_MIN, PIECE_BYTES),
            pool: Vec::new(),
            pooled_bytes: 0,
            pooled_bytes_max: bytes(flush_queue_max_bytes),
        };
        TailWriter { tail: Arc::new(Tail { state: Mutex::new(state) }), writer }
    }

    /// The other side.
    pub(crate) fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// The first `bytes` after the published ones, to stage a frame in. Bytes `staged` before are kept.
    #[inline]
    pub(crate) fn stage(&mut self, staged: usize, bytes: usize) -> &mut [u8] {
        if bytes > self.writer.room() {
            self.begin_piece(staged, bytes);
        }
        &mut self.writer.free()[..bytes]
    }

    /// Accepts the first `bytes` that are staged.
    #[inline]
    pub(crate) fn publish(&mut self, bytes: usize) {
        self.writer.publish(bytes);
    }

    /// Accepts the first `bytes` that are staged as the beginning of a chunk.
    pub(crate) fn begin_chunk(&mut self, bytes: usize) {
        {
            let mut state = self.tail.state.lock();
            let open = Piece::open(state.open.end(), &self.writer);
            state.go_on_in(open);
        }
        self.publish(bytes);
    }

    /// Ends the open piece and starts one with room for `bytes`; the `staged` bytes move there.
    #[cold]
    fn begin_piece(&mut self, staged: usize, bytes: usize) {
        let mut state = self.tail.state.lock();
        let mut next = state.take_buffer(bytes);
        next.free()[..staged].copy_from_slice(&self.writer.free()[..staged]);
        let open = Piece::open(state.open.end(), &next);
        // First, so that only its pieces hold the buffer.
        self.writer = next;
        state.go_on_in(open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(writer: &mut TailWriter, bytes: &[u8]) {
        writer.stage(0, bytes.len()).copy_from_slice(bytes);
        writer.publish(bytes.len());
    }

    fn begin_chunk(writer: &mut TailWriter, bytes: &[u8]) {
        writer.stage(0, bytes.len()).copy_from_slice(bytes);
        writer.begin_chunk(bytes.len());
    }

    #[test]
    fn reads_over_pieces_and_the_open_one() {
        let mut writer = TailWriter::new(100, 1024, 1 << 20);
        let tail = writer.tail().clone();
        put(&mut writer, b"abc");
        begin_chunk(&mut writer, b"de");
        put(&mut writer, b"fgh");
        let mut buf = [0; 6];
        assert_eq!(tail.read_at(&mut buf, 101), Ok(6));
        assert_eq!(&buf, b"bcdefg");
        assert_eq!(tail.read_at(&mut buf, 106), Ok(2));
        assert_eq!(tail.read_at(&mut buf, 108), Ok(0));
        assert_eq!(tail.read_at(&mut buf, 99), Err(100));
        let piece = tail.next(108).unwrap();
        assert_eq!((piece.start, piece.end(), piece.bytes()), (100, 103, &b"abc"[..]), "one chunk's");
        tail.written(piece);
        assert_eq!(tail.read_at(&mut buf, 101), Err(103), "what is written is in the file");
        assert_eq!(tail.read_at(&mut buf, 103), Ok(5));
        assert_eq!(&buf[..5], b"defgh");
    }

    #[test]
    fn the_worker_gets_the_bytes_it_asks_for_and_no_staged_ones() {
        let mut writer = TailWriter::new(0, 1024, 1 << 20);
        let tail = writer.tail().clone();
        put(&mut writer, b"abcdef");
        writer.stage(0, 3).copy_from_slice(b"ghi");
        assert!(tail.next(0).is_none());
        let piece = tail.next(4).unwrap();
        assert_eq!(piece.bytes(), b"abcd");
        tail.written(piece);
        assert!(tail.next(4).is_none());
        let piece = tail.next(9).unwrap();
        assert_eq!(piece.bytes(), b"ef");
        tail.written(piece);
        assert_eq!(writer.stage(3, 4)[..3], *b"ghi", "what is staged stays");
        writer.publish(3);
        assert_eq!(tail.next(9).unwrap().bytes(), b"ghi");
    }

    #[test]
    fn a_frame_that_finds_no_room_goes_over_to_the_next_piece_whole() {
        let mut writer = TailWriter::new(0, 1, 1 << 20);
        let tail = writer.tail().clone();
        put(&mut writer, &[1; PIECE_BYTES_MIN - 2]);
        writer.stage(0, 2).copy_from_slice(b"ab");
        writer.stage(2, 3)[2..].copy_from_slice(b"c");
        let staged = writer.stage(3, 3 * PIECE_BYTES_MIN);
        staged[3..].fill(7);
        writer.publish(3 * PIECE_BYTES_MIN);
        let piece = tail.next(u64::MAX).unwrap();
        assert_eq!(piece.bytes(), [1; PIECE_BYTES_MIN - 2]);
        let end = piece.end();
        tail.written(piece);
        let piece = tail.next(u64::MAX).unwrap();
        assert_eq!((piece.start, piece.end()), (end, end + 3 * PIECE_BYTES_MIN as u64));
        assert_eq!(piece.bytes()[..4], *b"abc\x07");
    }

    #[test]
    fn chunks_share_a_buffer_and_pieces_do_not() {
        let mut writer = TailWriter::new(0, 1, 1 << 20);
        let tail = writer.tail().clone();
        begin_chunk(&mut writer, b"ab");
        put(&mut writer, b"cd");
        begin_chunk(&mut writer, b"ef");
        begin_chunk(&mut writer, b"gh");
        let mut buf = [0; 9];
        assert_eq!(tail.read_at(&mut buf, 1), Ok(7));
        assert_eq!(&buf[..7], b"bcdefgh");
        let mut buffers = std::collections::BTreeSet::new();
        for bytes in [&b"abcd"[..], b"ef", b"gh"] {
            let piece = tail.next(u64::MAX).unwrap();
            assert_eq!(piece.bytes(), bytes);
            buffers.insert(Arc::as_ptr(&piece.buffer));
            tail.written(piece);
        }
        assert!(tail.next(u64::MAX).is_none());
        assert_eq!((buffers.len(), tail.state.lock().pool.len()), (1, 0), "it is open still");
    }

    #[test]
    fn buffers_are_used_again_and_none_that_is_still_read() {
        let mut writer = TailWriter::new(0, 1, 1 << 20);
        let tail = writer.tail().clone();
        let mut reader = None;
        for round in 0..20 {
            // Ends the piece of the round before, which is written.
            put(&mut writer, &[round; PIECE_BYTES_MIN]);
            assert_eq!(tail.state.lock().pool.len(), 0, "what was kept is in use again");
            let piece = tail.next(u64::MAX).unwrap();
            // Another round's is let go of by now.
            assert_eq!(tail.state.lock().pool.len(), usize::from(round != 0 && round != 11));
            if round == 10 {
                reader = Some(piece.buffer.clone());
            }
            tail.written(piece);
        }
        assert_eq!(reader.unwrap().published(), [10; PIECE_BYTES_MIN]);
    }

    #[test]
    fn the_smallest_buffer_that_will_do_is_used_again() {
        let mut writer = TailWriter::new(0, 1, 1 << 20);
        let tail = writer.tail().clone();
        for pieces in [1, 2, 16] {
            put(&mut writer, &vec![1; pieces * PIECE_BYTES_MIN]);
        }
        put(&mut writer, b"a");
        while let Some(piece) = tail.next(u64::MAX) {
            tail.written(piece);
        }
        assert_eq!(tail.state.lock().pool.len(), 3);
        put(&mut writer, &[1; PIECE_BYTES_MIN + 1]);
        assert_eq!(writer.writer.buffer().capacity(), 2 * PIECE_BYTES_MIN);
    }

    #[test]
    fn the_pool_keeps_no_more_bytes_than_its_limit() {
        let mut writer = TailWriter::new(0, 1, 2 * PIECE_BYTES_MIN as u64);
        let tail = writer.tail().clone();
        for _ in 0..5 {
            put(&mut writer, &[1; PIECE_BYTES_MIN]);
        }
        while let Some(piece) = tail.next(u64::MAX) {
            tail.written(piece);
        }
        let state = tail.state.lock();
        assert_eq!((state.pool.len(), state.pooled_bytes), (2, 2 * PIECE_BYTES_MIN));
    }
}
