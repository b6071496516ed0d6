//! Bytes that one thread appends to while others read the earlier ones.
//!
//! ```text
//!  | published: never changes again, anybody reads | free: the writer's alone |
//!  0                                               ^ len                      ^ capacity
//! ```
//!
//! The appender publishes a record by one store, and so waits for no reader, nor a reader for it: a
//! lock would cost as much as the rest of a short append.
//!
//! - Bytes below `len` are written before `len` is stored with release, and never again.
//! - There is one [`BufferWriter`] for a buffer at most, and bytes above `len` are seen through it alone.
//! - A buffer is reset only while no other thread holds it.
#![allow(unsafe_code, reason = "shared by its two halves, which no borrow can tell apart")]

use std::cell::UnsafeCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What readers see of it.
pub(super) struct Buffer {
    bytes: Box<[UnsafeCell<u8>]>,
    len: AtomicUsize,
}

// SAFETY: the cells below `len` are only read, those above only reached through the one writer; see
// `published` and `free`.
unsafe impl Sync for Buffer {}

impl Buffer {
    fn new(capacity: usize) -> Self {
        let bytes = Box::into_raw(vec![0_u8; capacity].into_boxed_slice());
        // SAFETY: the box is its own again at once; `UnsafeCell<u8>` has the layout of `u8`.
        let bytes = unsafe { Box::from_raw(bytes as *mut [UnsafeCell<u8>]) };
        Buffer { bytes, len: AtomicUsize::new(0) }
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// What has been published by now.
    #[inline]
    pub(super) fn published(&self) -> &[u8] {
        let len = self.len.load(Acquire);
        // SAFETY: `len` is at most the capacity. The bytes below it were written before it was stored,
        // which the load makes visible, and nothing writes to them while `self` is borrowed: the writer
        // only to those above, and a new beginning needs the buffer for itself.
        unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(self.bytes.as_ptr()), len) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("capacity", &self.capacity()).finish()
    }
}

/// The one that adds to a buffer.
#[derive(Debug)]
pub(super) struct BufferWriter {
    buffer: Arc<Buffer>,
    /// The buffer's own `len`, which only this changes.
    len: usize,
}

impl BufferWriter {
    /// A writer to a new buffer.
    pub(super) fn new(capacity: usize) -> Self {
        BufferWriter { buffer: Arc::new(Buffer::new(capacity)), len: 0 }
    }

    /// Resets a used buffer; `None` if another thread holds it.
    pub(super) fn reuse(mut buffer: Arc<Buffer>) -> Option<Self> {
        // Alone here, so there is no writer either: it would hold the buffer too.
        *Arc::get_mut(&mut buffer)?.len.get_mut() = 0;
        Some(BufferWriter { buffer, len: 0 })
    }

    /// A handle for readers.
    pub(super) fn buffer(&self) -> &Arc<Buffer> {
        &self.buffer
    }

    /// How many bytes are published.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many bytes are free.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.buffer.capacity() - self.len
    }

    /// The unpublished rest, with arbitrary bytes.
    #[inline]
    pub(super) fn free(&mut self) -> &mut [u8] {
        let start = UnsafeCell::raw_get(self.buffer.bytes.as_ptr());
        // SAFETY: `len` is at most the capacity, and all bytes are initialized. Readers see nothing above
        // `len`, and this is the only writer, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(start.add(self.len), self.room()) }
    }

    /// Publishes the first `n` free bytes.
    #[inline]
    pub(super) fn publish(&mut self, n: usize) {
        assert!(n <= self.room(), "more is published than there is room for");
        self.len += n;
        debug_assert!(self.buffer.len.load(Relaxed) <= self.len);
        self.buffer.len.store(self.len, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(writer: &mut BufferWriter, bytes: &[u8]) {
        writer.free()[..bytes.len()].copy_from_slice(bytes);
        writer.publish(bytes.len());
    }

    #[test]
    fn only_published_bytes_are_seen() {
        let mut writer = BufferWriter::new(8);
        let reader = writer.buffer().clone();
        put(&mut writer, b"abc");
        let before = reader.published();
        writer.free()[..2].copy_from_slice(b"de");
        assert_eq!((before, reader.published()), (&b"abc"[..], &b"abc"[..]));
        writer.publish(2);
        assert_eq!((before, reader.published()), (&b"abc"[..], &b"abcde"[..]));
        assert_eq!(writer.free().len(), 3);
    }

    #[test]
    fn a_buffer_is_filled_again_only_once_no_reader_holds_it() {
        let mut writer = BufferWriter::new(8);
        put(&mut writer, b"abc");
        let reader = writer.buffer().clone();
        assert!(BufferWriter::reuse(writer.buffer().clone()).is_none());
        drop(writer);
        assert!(BufferWriter::reuse(reader.clone()).is_none());
        let mut writer = BufferWriter::reuse(reader).unwrap();
        assert_eq!((writer.buffer().published(), writer.room()), (&b""[..], 8));
        put(&mut writer, b"x");
        assert_eq!(writer.buffer().published(), b"x");
    }

    #[test]
    #[should_panic(expected = "room")]
    fn no_more_is_published_than_there_is() {
        BufferWriter::new(8).publish(9);
    }

    #[test]
    fn another_thread_sees_whole_bytes() {
        // An interpreter (tests/nightly.sh) takes seconds for each.
        const ROUNDS: usize = if cfg!(miri) { 4 } else { 200 };
        let mut writer = BufferWriter::new(4096);
        for _ in 0..ROUNDS {
            let reader = writer.buffer().clone();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut seen = 0;
                    while seen < 4096 {
                        let bytes = reader.published();
                        assert!(bytes.len() >= seen && bytes.len().is_multiple_of(16));
                        assert!(bytes[seen..].iter().enumerate().all(|(i, b)| *b == ((seen + i) / 16) as u8));
                        seen = bytes.len();
                    }
                });
                for i in 0..4096 / 16 {
                    put(&mut writer, &[i as u8; 16]);
                }
            });
            let buffer = writer.buffer().clone();
            drop((writer, reader));
            writer = BufferWriter::reuse(buffer).unwrap();
            // What is read before it is written shows.
            writer.free().fill(0xEE);
        }
    }
}
