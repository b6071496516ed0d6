//! The disks that a power loss may leave: [`draw`] returns one from a seed, [`enumerate`] all of them.
//!
//! ```text
//! names:  durable + any subset of the pending changes
//! file:   size  = the durable one, or one that an operation since left
//!         sector = the durable one, or one that an operation since left   (new ones: torn too)
//! ```
//!
//! - Bytes and sizes are chosen independently, sector by sector.
//! - Where the chosen size includes a cut, the pages of the cut keep nothing from before it.
//! - Everything that a crash leaves is durable.

mod draw;
mod enumerate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use self::draw::draw;
pub(super) use self::enumerate::enumerate;
use super::bytes::{Bytes, PAGE, Page, SECTOR, SECTORS};
use super::file::{Inode, Size, Version};
use super::medium::{Medium, Node, ROOT};
use super::names::{Directory, Names};

impl Medium {
    fn directories(&self) -> impl Iterator<Item = (u64, &Directory)> {
        self.nodes.iter().filter_map(|(id, node)| match node {
            Node::Dir(dir) => Some((*id, dir)),
            Node::File(_) => None,
        })
    }

    /// The files that `names` lead to, directory by directory.
    fn files_in(&self, names: &BTreeMap<u64, Names>) -> Vec<(u64, &Inode)> {
        let reached = reached(names);
        let file = |id: &u64| self.file(*id).ok().map(|file| (*id, file));
        reached.iter().filter_map(file).collect()
    }

    /// A disk with these names, and the contents that `contents` returns for each file.
    fn left_with(
        &self,
        names: &BTreeMap<u64, Names>,
        mut contents: impl FnMut(u64, &Inode) -> Inode,
    ) -> Self {
        let reached = reached(names);
        let node = |(id, node): (&u64, &Node)| {
            let node = match node {
                _ if !reached.contains(id) => return None,
                Node::Dir(_) => Node::Dir(Directory::durable(names.get(id).cloned().unwrap_or_default())),
                Node::File(file) => Node::File(contents(*id, file)),
            };
            Some((*id, node))
        };
        self.with_nodes(self.nodes.iter().filter_map(node).collect())
    }

    /// The numbers of all operations that a crash may lose.
    fn unsynced(&self) -> Vec<u64> {
        let mut ops = BTreeSet::new();
        for node in self.nodes.values() {
            match node {
                Node::Dir(dir) => ops.extend(dir.pending().iter().map(|(op, _)| *op)),
                Node::File(file) => {
                    ops.extend(file.versions().values().flatten().map(|version| version.op));
                    ops.extend(file.sizes().iter().map(|size| size.op));
                }
            }
        }
        ops.into_iter().collect()
    }
}

/// The nodes that `names` lead to from the root, directory by directory.
fn reached(names: &BTreeMap<u64, Names>) -> BTreeSet<u64> {
    let mut reached = BTreeSet::from([ROOT]);
    let mut todo = vec![ROOT];
    while let Some(id) = todo.pop() {
        let below = names.get(&id).into_iter().flat_map(|names| names.values().copied());
        todo.extend(below.filter(|id| reached.insert(*id)));
    }
    reached
}

// A file's contents --------------------------------------------------------------------------------

/// The rest of a version of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    All,
    Nothing,

    /// This many of its first bytes. Only where a sector may be torn.
    Front(usize),
}

/// A file with one of the sizes that a crash may leave.
struct Cut<'a> {
    file: &'a Inode,
    len: u64,
    reserved: u64,

    /// The cuts that this size includes.
    sizes: &'a [Size],
}

impl<'a> Cut<'a> {
    /// The file with the first `sizes` of its changes of size.
    fn new(file: &'a Inode, sizes: usize) -> Self {
        let sizes = &file.sizes()[..sizes];
        let durable = (file.durable_bytes().len(), file.durable_bytes().reserved());
        let (len, reserved) = sizes.last().map_or(durable, |size| (size.len, size.reserved));
        Self { file, len, reserved, sizes }
    }

    /// The pages that a crash may have left in several versions, and those versions.
    fn pages(&self) -> impl Iterator<Item = (u64, Vec<&'a Version>)> {
        let inside = self.file.versions().range(..self.len.div_ceil(PAGE as u64));
        inside.map(|(index, versions)| {
            let taken = |size: &&Size| size.cut.is_some_and(|cut| cut <= *index);
            let cut = self.sizes.iter().rev().find(taken).map_or(0, |size| size.op);
            (*index, versions.iter().filter(|version| version.op > cut).collect())
        })
    }

    /// The durable bytes, without the bytes that the cuts removed.
    fn base(&self) -> Bytes {
        let mut base = self.file.durable_bytes().clone();
        if let Some(first) = self.sizes.iter().filter_map(|size| size.cut).min() {
            base.drop_pages_from(first);
        }
        base
    }

    /// The file's contents. `left` returns the rest of a version of a sector (counted in the file); its
    /// last argument says whether the sector may be torn.
    fn contents(&self, left: impl Fn(&Version, u64, bool) -> Left) -> Bytes {
        let mut bytes = self.base();
        for (index, versions) in self.pages() {
            let mut page = bytes.page(index).map_or(Page::EMPTY, |page| (**page).clone());
            for sector in 0..SECTORS {
                let fresh = page.written & (1 << sector) == 0;
                let at = sector * SECTOR;
                for version in versions.iter().filter(|version| version.touches(sector)) {
                    let n = match left(version, index * SECTORS as u64 + sector as u64, fresh) {
                        Left::All => SECTOR,
                        Left::Nothing => continue,
                        Left::Front(n) => n,
                    };
                    page.bytes[at..at + n].copy_from_slice(&version.page.bytes[at..at + n]);
                    page.written |= 1 << sector;
                }
            }
            if page.written != 0 {
                bytes.put_page(index, Some(Arc::new(page)));
            }
        }
        bytes.resize(self.len, self.reserved);
        bytes
    }
}
