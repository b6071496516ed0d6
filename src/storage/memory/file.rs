//! One file: its contents now, and after a crash.
//!
//! ```text
//! durable ──► version ──► version ──► current       for each page, since the last sync
//! durable size ──► size ──► size ──► current size   for the file
//! ```
//!
//! - `current` is the page cache; `durable` is certainly on the medium.
//! - A page without versions is the same in both, unless a cut in `sizes` lies below it.
//! - A *lied* page is one whose sync failed: the page cache calls it clean, so a later sync does not
//!   write it. Its versions stay possible until the page is written again, cut off, or evicted: then
//!   `current` is the medium's page.
//! - An *unreadable* sector was under write in a crash: reading it is an error until it is written as a
//!   whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::ReservedSizes;
use super::bytes::{Bytes, PAGE, Page, SECTOR, pieces};

/// The most versions kept of a page. With more, one in the middle is forgotten: then fewer crashes can
/// be drawn, and all of those are still legal.
const VERSIONS_MAX: usize = 64;

/// A page as one operation left it.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) op: u64,
    pub(super) page: Arc<Page>,

    /// The bytes of the page that may differ from the version before.
    at: Range<usize>,

    /// The bytes of the file that the whole operation wrote.
    pub(super) written: Range<u64>,
}

impl Version {
    pub(super) fn touches(&self, sector: usize) -> bool {
        self.at.start < (sector + 1) * SECTOR && self.at.end > sector * SECTOR
    }
}

/// The file's size and reservation as one operation left them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) op: u64,
    pub(super) len: u64,
    pub(super) reserved: u64,

    /// The first page that the operation took away whole.
    pub(super) cut: Option<u64>,
}

/// A file.
#[derive(Clone, Default)]
pub(super) struct Inode {
    /// The number of open handles.
    pub(super) opens: u64,
    current: Bytes,
    durable: Bytes,
    versions: BTreeMap<u64, Vec<Version>>,
    sizes: Vec<Size>,
    lied: BTreeSet<u64>,

    /// The sectors' numbers in the file.
    unreadable: BTreeSet<u64>,
}

impl Inode {
    /// A file that is wholly on the medium.
    pub(super) fn durable(bytes: Bytes) -> Self {
        Self { current: bytes.clone(), durable: bytes, ..Self::default() }
    }

    /// This file after a crash that left `bytes` of it, and perhaps one more unreadable sector.
    pub(super) fn crashed(&self, bytes: Bytes, unreadable: Option<u64>) -> Self {
        let unreadable = self.unreadable.iter().copied().chain(unreadable).collect();
        Self { unreadable, ..Self::durable(bytes) }
    }

    pub(super) fn current(&self) -> &Bytes {
        &self.current
    }

    pub(super) fn durable_bytes(&self) -> &Bytes {
        &self.durable
    }

    pub(super) fn versions(&self) -> &BTreeMap<u64, Vec<Version>> {
        &self.versions
    }

    pub(super) fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    /// Reads up to the first unreadable sector; an error if that is the first one.
    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let end = position.saturating_add(buf.len() as u64).min(self.current.len());
        let size = SECTOR as u64;
        let mut unreadable = self.unreadable.range(position / size..end.div_ceil(size));
        let readable = unreadable.next().map_or(end, |sector| sector * size);
        if readable <= position && position < end {
            return Err(Errno::IO.into());
        }
        let n = readable.saturating_sub(position) as usize;
        Ok(self.current.read(&mut buf[..n], position))
    }

    /// Replaces the lied pages that `which` selects by the medium's pages.
    pub(super) fn evict(&mut self, which: impl Fn(u64) -> bool) {
        let (evicted, kept) = std::mem::take(&mut self.lied).into_iter().partition(|page| which(*page));
        self.lied = kept;
        let evicted: BTreeSet<u64> = evicted;
        for index in evicted {
            self.versions.remove(&index);
            self.current.put_page(index, self.durable.page(index).cloned());
        }
    }

    /// Sectors that are written as a whole become readable again; writing a part of an unreadable
    /// sector is an error, because the rest would have to be read.
    fn heal(&mut self, written: &Range<u64>) -> io::Result<()> {
        let size = SECTOR as u64;
        let touched = written.start / size..written.end.div_ceil(size);
        let whole = written.start.div_ceil(size)..written.end / size;
        if self.unreadable.range(touched).any(|sector| !whole.contains(sector)) {
            return Err(Errno::IO.into());
        }
        self.unreadable.retain(|sector| !whole.contains(sector));
        Ok(())
    }

    /// Writes the first `len` bytes of `bufs` at `position`.
    pub(super) fn write(
        &mut self,
        op: u64,
        bufs: &[IoSlice<'_>],
        len: usize,
        position: u64,
    ) -> io::Result<()> {
        self.heal(&(position..position + len as u64))?;
        let before = self.current.len();
        let mut done = 0;
        for buf in bufs {
            let n = buf.len().min(len - done);
            self.current.write(&buf[..n], position + done as u64);
            done += n;
        }
        let written = position..position + done as u64;
        for (index, at, n) in pieces(position, done) {
            self.push_version(op, index, at..at + n, written.clone());
        }
        if self.current.len() != before {
            self.push_size(op, None);
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self, op: u64, len: u64) {
        self.current.allocate(len);
        self.push_size(op, None);
    }

    pub(super) fn set_len(&mut self, op: u64, len: u64) {
        let cut = (len < self.current.len()).then_some(len.div_ceil(PAGE as u64));
        if let Some(index) = self.current.set_len(len) {
            let at = (len % PAGE as u64) as usize;
            self.push_version(op, index, at..PAGE, len..len + (PAGE - at) as u64);
        }
        if let Some(cut) = cut {
            self.lied.split_off(&cut);
            self.unreadable.split_off(&len.div_ceil(SECTOR as u64));
        }
        self.push_size(op, cut);
    }

    /// Makes written bytes durable. `reserved`: whether that includes a size that was only reserved.
    pub(super) fn sync(&mut self, reserved: ReservedSizes) {
        let mut durable = self.current.clone();
        for index in &self.lied {
            durable.put_page(*index, self.durable.page(*index).cloned());
        }
        let len = durable.data_end().max(self.durable.len());
        let last = self.sizes.last().filter(|size| size.len > len && size.cut.is_none()).copied();
        let lost = last.filter(|_| reserved == ReservedSizes::MayBeLost);
        if lost.is_some() && self.sizes.iter().all(|size| size.cut.is_none()) {
            durable.resize(len, durable.reserved());
            self.sizes = Vec::from_iter(lost);
        } else {
            self.sizes.clear();
        }
        self.durable = durable;
        self.versions.retain(|index, _| self.lied.contains(index));
    }

    /// A sync that fails as on Linux: dirty pages become clean, but are not on the medium.
    pub(super) fn sync_lies(&mut self) {
        self.lied.extend(self.versions.keys());
    }

    /// Makes everything durable, lied pages too.
    pub(super) fn settle(&mut self) {
        self.put(self.current.clone());
    }

    /// Replaces the contents, durably.
    pub(super) fn put(&mut self, bytes: Bytes) {
        *self = Self { opens: self.opens, ..Self::durable(bytes) };
    }

    /// Flips bits of one byte on the medium and in the page cache.
    pub(super) fn flip(&mut self, position: u64, mask: u8) -> io::Result<()> {
        if position >= self.current.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.current.flip(position, mask);
        if position < self.durable.len() {
            self.durable.flip(position, mask);
        }
        let (index, at) = super::bytes::split(position);
        for version in self.versions.get_mut(&index).into_iter().flatten() {
            Arc::make_mut(&mut version.page).bytes[at] ^= mask;
        }
        Ok(())
    }

    fn push_version(&mut self, op: u64, index: u64, at: Range<usize>, written: Range<u64>) {
        let Some(page) = self.current.page(index).cloned() else { return };
        self.lied.remove(&index);
        let versions = self.versions.entry(index).or_default();
        versions.push(Version { op, page, at, written });
        if versions.len() > VERSIONS_MAX {
            let forgotten = versions.remove(VERSIONS_MAX / 2);
            let next = &mut versions[VERSIONS_MAX / 2];
            next.at = next.at.start.min(forgotten.at.start)..next.at.end.max(forgotten.at.end);
        }
    }

    fn push_size(&mut self, op: u64, cut: Option<u64>) {
        let size = Size { op, len: self.current.len(), reserved: self.current.reserved(), cut };
        let last = self.sizes.last().map(|s| (s.len, s.reserved));
        let last = last.unwrap_or((self.durable.len(), self.durable.reserved()));
        if last != (size.len, size.reserved) || cut.is_some() {
            self.sizes.push(size);
        }
    }
}
