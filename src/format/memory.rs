//! The memory that a [`Window`](super::Window) reads into. With the feature `bytes`, payloads may go on using parts
//! of it after the window has moved on.
//!
//! ```text
//! | frame | payload | frame | payload | ...      Memory: one allocation, as large as a read
//!           ^ Bytes           ^ Bytes            slices that users keep: each counts as a reader
//! refill: no slice is left? read into the same memory.  else: into new memory; the slices keep the old one
//! ```
//!
//! - Bytes of which a slice exists are never written to: [`Bytes::try_into_mut`] decides, and it is safe code.
//! - A log whose types share nothing has one memory for each window, as without the feature.
//!
//! [`Bytes::try_into_mut`]: https://docs.rs/bytes/latest/bytes/struct.Bytes.html#method.try_into_mut

use std::io;
use std::ops::Range;

#[cfg(feature = "bytes")]
use bytes::{Bytes, BytesMut};

/// The bytes while they are written.
#[cfg(feature = "bytes")]
type Own = BytesMut;
#[cfg(not(feature = "bytes"))]
type Own = Vec<u8>;

/// The bytes while they are read.
#[cfg(feature = "bytes")]
type Kept = Bytes;
#[cfg(not(feature = "bytes"))]
type Kept = Vec<u8>;

/// Bytes that are read from a file.
#[derive(Debug, Default)]
pub(crate) struct Memory(Kept);

impl Memory {
    /// All bytes, those of earlier reads among them.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Moves the bytes `kept` to the start, makes room for `len` in all, and lets `fill` write the rest. Memory of more
    /// than `max` bytes, which a large record needed, is given up. If there is no memory, or `fill` fails, the bytes
    /// are arbitrary.
    pub(super) fn refill(
        &mut self,
        kept: Range<usize>,
        len: usize,
        max: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let kept_len = kept.len();
        let mut own = match owned(std::mem::take(&mut self.0)) {
            Ok(mut own) if own.len() >= len && own.len() <= max => {
                own.copy_within(kept, 0);
                own
            }
            Ok(unfit) => copied(&unfit[kept], len)?,
            Err(shared) => copied(&shared[kept], len)?,
        };
        let filled = fill(&mut own[kept_len..len]);
        self.0 = frozen(own);
        filled
    }

    /// Copies `bytes` to the start, if there is room and no other user of this memory; returns how many it has copied.
    pub(super) fn begin_with(&mut self, bytes: &[u8]) -> usize {
        if bytes.len() > self.0.len() {
            return 0;
        }
        match owned(std::mem::take(&mut self.0)) {
            Ok(mut own) => {
                own[..bytes.len()].copy_from_slice(bytes);
                self.0 = frozen(own);
                bytes.len()
            }
            Err(_in_use) => 0,
        }
    }

    /// As the owner of payloads in it.
    #[inline]
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner {
            #[cfg(feature = "bytes")]
            memory: Some(&self.0),
            #[cfg(not(feature = "bytes"))]
            memory: std::marker::PhantomData,
        }
    }
}

impl From<Vec<u8>> for Memory {
    fn from(bytes: Vec<u8>) -> Self {
        #[cfg(feature = "bytes")]
        let bytes = Bytes::from(bytes);
        Memory(bytes)
    }
}

/// New memory of `len` bytes that starts with `bytes`.
fn copied(bytes: &[u8], len: usize) -> io::Result<Own> {
    let mut new = Vec::new();
    new.try_reserve_exact(len).map_err(|e| io::Error::new(io::ErrorKind::OutOfMemory, e))?;
    new.extend_from_slice(bytes);
    new.resize(len, 0);
    #[cfg(feature = "bytes")]
    let new = BytesMut::from(Bytes::from(new));
    Ok(new)
}

/// The bytes for writing, unless a slice of them is left.
#[cfg(feature = "bytes")]
fn owned(kept: Kept) -> Result<Own, Kept> {
    kept.try_into_mut()
}

#[cfg(not(feature = "bytes"))]
fn owned(kept: Kept) -> Result<Own, Kept> {
    Ok(kept)
}

/// The bytes for reading.
#[cfg(feature = "bytes")]
fn frozen(own: Own) -> Kept {
    own.freeze()
}

#[cfg(not(feature = "bytes"))]
fn frozen(own: Own) -> Kept {
    own
}

/// The memory that a payload is a part of, where slices of it may be kept. Without the feature `bytes` it takes no
/// space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    #[cfg(feature = "bytes")]
    memory: Option<&'a Bytes>,
    #[cfg(not(feature = "bytes"))]
    memory: std::marker::PhantomData<&'a ()>,
}

impl<'a> Owner<'a> {
    /// Of a payload that is in memory of which no slice may be kept.
    #[inline]
    pub(crate) fn none() -> Self {
        Owner { memory: Default::default() }
    }

    /// A part of the memory, shared, or copied where that is not possible.
    #[cfg(feature = "bytes")]
    #[inline]
    pub(crate) fn share(self, part: &[u8]) -> Bytes {
        match self.memory {
            // As `slice_ref`, which is not inlined.
            Some(memory) => {
                let from = part.as_ptr() as usize - memory.as_ptr() as usize;
                memory.slice(from..from + part.len())
            }
            None => Bytes::copy_from_slice(part),
        }
    }
}
