//! A file's contents, sparsely: pages of 4 KiB, shared between copies until one of them is written.
//!
//! - A page that was never written is absent and reads as zeros.
//! - Bytes after `len` are zeros in every page, so growing needs no work.
//! - A clone costs a reference count, for any size.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes of a page, the unit in which the page cache reads, writes and counts.
pub(super) const PAGE: usize = 4096;

/// The bytes of a sector, which the disk rewrites as a whole or not at all.
pub(super) const SECTOR: usize = 512;

/// Sectors of a page.
pub(super) const SECTORS: usize = PAGE / SECTOR;

/// 4 KiB of a file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) bytes: [u8; PAGE],

    /// One bit for each sector that was written since it belongs to the file: a crash can tear a sector
    /// at a byte only the first time.
    pub(super) written: u8,
}

impl Page {
    pub(super) const EMPTY: Self = Self { bytes: [0; PAGE], written: 0 };

    fn write(&mut self, data: &[u8], at: usize) {
        self.bytes[at..at + data.len()].copy_from_slice(data);
        for sector in at / SECTOR..(at + data.len()).div_ceil(SECTOR) {
            self.written |= 1 << sector;
        }
    }

    /// Zeros everything from `at` on. Its sectors stay in place on the medium: written.
    fn cut(&mut self, at: usize) {
        self.bytes[at..].fill(0);
    }
}

/// A file's contents, and how much space is reserved for it.
#[derive(Clone, Default)]
pub(super) struct Bytes {
    len: u64,

    /// Pages below this index have their space, written or not.
    reserved: u64,
    pages: Arc<BTreeMap<u64, Arc<Page>>>,
}

/// The page of `position`, and the offset in it.
pub(super) fn split(position: u64) -> (u64, usize) {
    (position / PAGE as u64, (position % PAGE as u64) as usize)
}

/// The pieces of `len` bytes at `position`, page by page: index, offset in the page, bytes.
pub(super) fn pieces(position: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = position + len as u64;
    let mut at = position;
    std::iter::from_fn(move || {
        let (index, offset) = split(at);
        let n = (PAGE - offset).min((end - at) as usize);
        at += n as u64;
        (n > 0).then_some((index, offset, n))
    })
}

impl Bytes {
    pub(super) fn of(data: &[u8]) -> Self {
        let mut bytes = Self::default();
        bytes.write(data, 0);
        bytes
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    pub(super) fn page(&self, index: u64) -> Option<&Arc<Page>> {
        self.pages.get(&index)
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.pages.iter().map(|(index, page)| (*index, &**page))
    }

    /// Where the last written sector ends.
    pub(super) fn data_end(&self) -> u64 {
        let Some((index, page)) = self.pages.iter().rfind(|(_, page)| page.written != 0) else { return 0 };
        let sectors = u64::from(u8::BITS - page.written.leading_zeros());
        (index * PAGE as u64 + sectors * SECTOR as u64).min(self.len)
    }

    /// Fills the sectors of a page that `which` selects with `older` bytes.
    pub(super) fn overwrite(&mut self, index: u64, older: &Page, which: impl Fn(&Page, usize) -> bool) {
        let mut page = self.page(index).map_or(Page::EMPTY, |page| (**page).clone());
        for sector in 0..SECTORS {
            if which(&page, sector) {
                let at = sector * SECTOR..(sector + 1) * SECTOR;
                page.bytes[at.clone()].copy_from_slice(&older.bytes[at]);
                page.written |= 1 << sector;
            }
        }
        self.put_page(index, Some(Arc::new(page)));
        self.resize(self.len, self.reserved);
    }

    /// Puts a page in its place, or removes it. The caller keeps `len` right and the bytes after it
    /// zero.
    pub(super) fn put_page(&mut self, index: u64, page: Option<Arc<Page>>) {
        let pages = Arc::make_mut(&mut self.pages);
        match page {
            Some(page) => pages.insert(index, page),
            None => pages.remove(&index),
        };
    }

    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let n = (self.len.saturating_sub(position)).min(buf.len() as u64) as usize;
        let mut done = 0;
        for (index, at, len) in pieces(position, n) {
            let to = &mut buf[done..done + len];
            match self.page(index) {
                Some(page) => to.copy_from_slice(&page.bytes[at..at + len]),
                None => to.fill(0),
            }
            done += len;
        }
        n
    }

    /// The first position from `position` on that is in a page.
    pub(super) fn next_data(&self, position: u64) -> Option<u64> {
        let (index, _) = self.pages.range(position / PAGE as u64..).next()?;
        Some(position.max(index * PAGE as u64)).filter(|next| *next < self.len)
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; self.len as usize];
        self.read(&mut all, 0);
        all
    }

    pub(super) fn write(&mut self, data: &[u8], position: u64) {
        let pages = Arc::make_mut(&mut self.pages);
        let mut rest = data;
        for (index, at, len) in pieces(position, data.len()) {
            let page = pages.entry(index).or_insert_with(|| Arc::new(Page::EMPTY));
            let (piece, tail) = rest.split_at(len);
            Arc::make_mut(page).write(piece, at);
            rest = tail;
        }
        if !data.is_empty() {
            self.len = self.len.max(position + data.len() as u64);
        }
    }

    /// Cuts or grows. Returns the page that was cut in two, if one was.
    pub(super) fn set_len(&mut self, len: u64) -> Option<u64> {
        let cut = len < self.len;
        self.len = len;
        if !cut {
            return None;
        }
        let (last, at) = split(len);
        let keep = last + u64::from(at > 0);
        self.reserved = self.reserved.min(keep);
        let pages = Arc::make_mut(&mut self.pages);
        pages.split_off(&keep);
        if at == 0 {
            return None;
        }
        let page = pages.get_mut(&last)?;
        Arc::make_mut(page).cut(at);
        Some(last)
    }

    /// Reserves space for the first `len` bytes, and grows to them.
    pub(super) fn allocate(&mut self, len: u64) {
        self.reserved = self.reserved.max(len.div_ceil(PAGE as u64));
        self.len = self.len.max(len);
    }

    /// Restores an earlier size and reservation; cuts like [`set_len`](Self::set_len).
    pub(super) fn resize(&mut self, len: u64, reserved: u64) {
        // Pages may lie after the restored end: cut from the largest size.
        self.len = u64::MAX;
        self.set_len(len);
        self.reserved = reserved;
    }

    /// Removes the pages from `index` on.
    pub(super) fn drop_pages_from(&mut self, index: u64) {
        Arc::make_mut(&mut self.pages).split_off(&index);
    }

    /// Flips bits of one byte.
    pub(super) fn flip(&mut self, position: u64, mask: u8) {
        let (index, at) = split(position);
        let page = Arc::make_mut(&mut self.pages).entry(index).or_insert_with(|| Arc::new(Page::EMPTY));
        Arc::make_mut(page).bytes[at] ^= mask;
    }

    /// Whether the page at `index` takes space already.
    pub(super) fn has_space(&self, index: u64) -> bool {
        index < self.reserved || self.pages.contains_key(&index)
    }

    /// The number of pages that take space.
    pub(super) fn space(&self) -> u64 {
        self.reserved + self.pages.range(self.reserved..).count() as u64
    }
}
