//! All cases of a crash, where there are few.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::{Cut, Left};
use crate::storage::memory::bytes::{Bytes, Page, SECTOR, SECTORS};
use crate::storage::memory::file::Inode;
use crate::storage::memory::medium::Medium;
use crate::storage::memory::names::{Kept, Names};

/// All disks, without tears inside a sector; `None` if there are more than `limit`.
pub(in crate::storage::memory) fn enumerate(disk: &Medium, limit: usize) -> Option<Vec<Medium>> {
    let mut files = BTreeMap::new();
    let mut disks = Vec::new();
    for names in all_names(disk, limit)? {
        // For every file that a name leads to, each case with each case of the others.
        let mut cases = vec![BTreeMap::new()];
        for (id, file) in disk.files_in(&names) {
            let contents = match files.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(all_contents(file, limit)?),
            };
            if cases.len().saturating_mul(contents.len()) + disks.len() > limit {
                return None;
            }
            let with = |case: &BTreeMap<u64, Bytes>, bytes: &Bytes| {
                let mut case = case.clone();
                case.insert(id, bytes.clone());
                case
            };
            cases =
                cases.iter().flat_map(|case| contents.iter().map(move |bytes| with(case, bytes))).collect();
        }
        for mut case in cases {
            disks.push(
                disk.left_with(&names, |id, file| file.crashed(case.remove(&id).unwrap_or_default(), None)),
            );
        }
    }
    (disks.len() <= limit).then_some(disks)
}

/// Every set of names that a crash may leave, directory by directory, without duplicates. `None` if
/// there are more than `limit`.
fn all_names(disk: &Medium, limit: usize) -> Option<BTreeSet<BTreeMap<u64, Names>>> {
    let mut all = BTreeSet::from([BTreeMap::new()]);
    for (id, dir) in disk.directories() {
        let mut found = BTreeSet::from([dir.durable_names().clone()]);
        // Change by change: each possible set before the change, with and without the change.
        for (_, change) in dir.pending() {
            for mut names in found.clone() {
                if disk.torn_renames {
                    let mut names = names.clone();
                    change.apply(&mut names, Kept::BothNames);
                    found.insert(names);
                }
                change.apply(&mut names, Kept::All);
                found.insert(names);
            }
            if found.len().saturating_mul(all.len()) > limit {
                return None;
            }
        }
        let with = |names: &BTreeMap<u64, Names>, here: &Names| {
            let mut names = names.clone();
            names.insert(id, here.clone());
            names
        };
        all = all.iter().flat_map(|names| found.iter().map(move |here| with(names, here))).collect();
    }
    Some(all)
}

/// All contents that a crash may leave in a file, without torn sectors; `None` if there are more than
/// `limit`.
fn all_contents(file: &Inode, limit: usize) -> Option<Vec<Bytes>> {
    let mut all = Vec::new();
    for sizes in 0..=file.sizes().len() {
        let cut = Cut::new(file, sizes);
        let choices = choices(&cut);
        let cases = choices.iter().try_fold(1usize, |cases, (_, ops)| cases.checked_mul(ops.len()))?;
        if all.len().saturating_add(cases) > limit {
            return None;
        }
        for case in 0..cases {
            let mut rest = case;
            let mut chosen = BTreeMap::new();
            for (sector, ops) in &choices {
                chosen.insert(*sector, ops[rest % ops.len()]);
                rest /= ops.len();
            }
            all.push(cut.contents(|version, sector, _| match chosen.get(&sector) {
                Some(op) if version.op == *op => Left::All,
                _ => Left::Nothing,
            }));
        }
    }
    Some(all)
}

/// The sectors that may be found in several versions, each with the operations that wrote them; 0 means
/// the durable version. Versions of equal bytes count once.
fn choices(cut: &Cut<'_>) -> Vec<(u64, Vec<u64>)> {
    let base = cut.base();
    let mut choices = Vec::new();
    for (index, versions) in cut.pages() {
        for sector in 0..SECTORS {
            let number = index * SECTORS as u64 + sector as u64;
            let start = number * SECTOR as u64;
            if start >= cut.len {
                continue;
            }
            let inside = SECTOR.min((cut.len - start) as usize);
            let at = sector * SECTOR..sector * SECTOR + inside;
            let mut found =
                vec![(0, base.page(index).map_or(&Page::EMPTY.bytes[at.clone()], |p| &p.bytes[at.clone()]))];
            for version in versions.iter().filter(|version| version.touches(sector)) {
                let bytes = &version.page.bytes[at.clone()];
                if found.iter().all(|(_, other)| *other != bytes) {
                    found.push((version.op, bytes));
                }
            }
            if found.len() > 1 {
                choices.push((number, found.into_iter().map(|(op, _)| op).collect()));
            }
        }
    }
    choices
}
