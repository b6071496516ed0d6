//! One case of a crash, drawn from a seed.

use super::{Cut, Left};
use crate::random::{STEP, mix, splitmix64};
use crate::storage::memory::bytes::{Bytes, PAGE, Page, SECTOR, SECTORS};
use crate::storage::memory::file::{Inode, Size, Version};
use crate::storage::memory::medium::Medium;
use crate::storage::memory::names::{Change, Directory, Kept, Names};
use crate::storage::memory::{FreshSpace, SectorSize};

/// How many pages after the last written one show older bytes.
const OLDER_PAGES: u64 = 8;

/// Returns the disk of a seed.
pub(in crate::storage::memory) fn draw(disk: &Medium, seed: u64) -> Medium {
    let dice = Dice::new(disk, seed);
    let names = disk.directories().map(|(id, dir)| (id, dice.names(id, dir, disk.torn_renames))).collect();
    disk.left_with(&names, |id, file| {
        let mut bytes = dice.file(id, file);
        let torn = dice.torn_sector(file, bytes.len());
        if disk.fresh_space == FreshSpace::OlderBytes {
            dice.show_older(id, &mut bytes, disk);
        }
        if let Some(sector) = torn.filter(|_| disk.sectors == SectorSize::Bytes4096) {
            let index = sector / SECTORS as u64;
            bytes.overwrite(index, &dice.noise(index), |_, _| true);
        }
        let unreadable = torn.filter(|_| disk.unreadable_sectors);
        file.crashed(bytes, unreadable)
    })
}

/// How much of the unsynced changes is kept.
#[derive(Debug, Clone, Copy)]
enum Luck {
    Nothing,
    Everything,

    /// All but one operation, which is lost or torn.
    AllBut(u64),

    /// One operation, or a part of it.
    Only(u64),

    /// Everything before an operation, and a part of that one.
    Until(u64),

    /// Each operation by itself: of eight, this many are kept; the others are lost or torn.
    Mix(u64),
}

/// The outcome of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,

    /// Torn at one byte: the bytes before it are kept.
    Front,

    /// Torn at one byte: the bytes after it are kept.
    Back,

    /// Each sector by itself.
    Sectors,

    /// Each page by itself.
    Pages,
}

/// Decides everything from the seed and the question, without state, so that the order doesn't matter.
struct Dice {
    seed: u64,
    luck: Luck,
}

impl Dice {
    fn new(disk: &Medium, seed: u64) -> Self {
        let seed_mixed = splitmix64(seed, 1);
        let roll = mix(seed_mixed);
        let ops = disk.unsynced();
        let one = || ops[(mix(roll) % ops.len() as u64) as usize];
        let luck = match (seed, roll % 16) {
            (0, _) => Luck::Nothing,
            (1, _) => Luck::Everything,
            _ if ops.is_empty() => Luck::Everything,
            (_, 0) => Luck::Nothing,
            (_, 1) => Luck::Everything,
            (_, 2..=4) => Luck::AllBut(one()),
            (_, 5..=6) => Luck::Only(one()),
            (_, 7..=9) => Luck::Until(one()),
            _ => Luck::Mix(mix(roll) % 8),
        };
        Self { seed: seed_mixed, luck }
    }

    /// A number below `n` for the `what`-th question about `about`.
    fn roll(&self, about: u64, what: u64, n: u64) -> u64 {
        mix(self.seed ^ mix(about.wrapping_mul(STEP) ^ mix(what))) % n
    }

    fn fate(&self, op: u64) -> Fate {
        let torn = [Fate::Front, Fate::Sectors, Fate::Pages, Fate::Back][self.roll(op, 1, 4) as usize];
        let half = self.roll(op, 2, 2) == 0;
        let sure = |kept: bool| if kept { Fate::Kept } else { Fate::Lost };
        match self.luck {
            Luck::Nothing => Fate::Lost,
            Luck::Everything => Fate::Kept,
            Luck::AllBut(one) if half => sure(op != one),
            Luck::Only(one) if half => sure(op == one),
            Luck::AllBut(one) => {
                if op == one {
                    torn
                } else {
                    Fate::Kept
                }
            }
            Luck::Only(one) => {
                if op == one {
                    torn
                } else {
                    Fate::Lost
                }
            }
            Luck::Until(one) => {
                if op == one {
                    torn
                } else {
                    sure(op < one)
                }
            }
            Luck::Mix(kept) if self.roll(op, 3, 8) < kept => Fate::Kept,
            Luck::Mix(_) => {
                if half {
                    Fate::Lost
                } else {
                    torn
                }
            }
        }
    }

    fn names(&self, id: u64, dir: &Directory, torn_renames: bool) -> Names {
        let mut names = dir.durable_names().clone();
        for (op, change) in dir.pending() {
            let kept = match (self.fate(*op), change, self.roll(*op, 4 + id, 3)) {
                (Fate::Kept, ..) => Kept::All,
                (Fate::Lost, ..) => Kept::Nothing,
                (_, Change::Rename { .. }, 0) if torn_renames => Kept::BothNames,
                (_, _, 1) => Kept::All,
                _ => Kept::Nothing,
            };
            change.apply(&mut names, kept);
        }
        names
    }

    fn file(&self, id: u64, file: &Inode) -> Bytes {
        let cut = Cut::new(file, self.sizes(id, file.sizes()));
        cut.contents(|version, sector, fresh| self.left(version, sector, fresh))
    }

    /// The sector in which a write was torn, if this crash does more to that sector than tear it.
    fn torn_sector(&self, file: &Inode, len: u64) -> Option<u64> {
        let (Luck::AllBut(one) | Luck::Only(one) | Luck::Until(one)) = self.luck else { return None };
        let version = file.versions().values().flatten().find(|version| version.op == one)?;
        let sector = self.tear(version).min(version.written.end - 1) / SECTOR as u64;
        let torn = matches!(self.fate(one), Fate::Front | Fate::Back);
        (torn && sector * (SECTOR as u64) < len && self.roll(one, 300, 2) == 0).then_some(sector)
    }

    /// Puts older bytes of the disk into unwritten space: those of another file, or any.
    fn show_older(&self, id: u64, bytes: &mut Bytes, disk: &Medium) {
        if self.roll(id, 400, 2) == 0 {
            return;
        }
        let others: Vec<&Inode> = disk.nodes.keys().filter_map(|id| disk.file(*id).ok()).collect();
        let space = bytes.len().div_ceil(PAGE as u64).min(bytes.reserved());
        // The space ahead may be large: only its first pages.
        for index in 0..space.min(bytes.data_end() / PAGE as u64 + OLDER_PAGES) {
            let about = id ^ mix(index);
            let other = others[self.roll(about, 401, others.len() as u64) as usize].current().page(index);
            let other = other.filter(|_| self.roll(about, 402, 2) == 0);
            let older = other.map_or_else(|| self.noise(about), |page| (**page).clone());
            bytes.overwrite(index, &older, |page, sector| page.written & (1 << sector) == 0);
        }
    }

    /// A page of random bytes.
    fn noise(&self, about: u64) -> Page {
        let mut page = Page::EMPTY;
        for (i, word) in page.bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&mix(self.seed ^ mix(about).wrapping_add(i as u64)).to_le_bytes());
        }
        page
    }

    /// The byte of the file at which a torn write is torn.
    fn tear(&self, version: &Version) -> u64 {
        let written = &version.written;
        written.start + self.roll(version.op, 204, written.end - written.start + 1)
    }

    /// How many of a file's changes of size are kept.
    fn sizes(&self, id: u64, sizes: &[Size]) -> usize {
        let before = |op| sizes.partition_point(|size| size.op < op);
        let with = |op| sizes.partition_point(|size| size.op <= op);
        let half = self.roll(id, 100, 2) == 0;
        match self.luck {
            Luck::Nothing => 0,
            Luck::Everything => sizes.len(),
            Luck::AllBut(one) if with(one) == sizes.len() => before(one),
            Luck::AllBut(_) => sizes.len(),
            Luck::Only(one) => {
                if half || with(one) > before(one) {
                    with(one)
                } else {
                    0
                }
            }
            Luck::Until(one) => {
                if half {
                    with(one)
                } else {
                    before(one)
                }
            }
            Luck::Mix(_) => self.roll(id, 101, sizes.len() as u64 + 1) as usize,
        }
    }

    fn left(&self, version: &Version, sector: u64, fresh: bool) -> Left {
        let op = version.op;
        let start = sector * SECTOR as u64;
        let end = start + SECTOR as u64;
        let sure = |kept: bool| if kept { Left::All } else { Left::Nothing };
        let coin = |about: u64, what| self.roll(op ^ mix(about), what, 2) == 0;
        match self.fate(op) {
            Fate::Kept => Left::All,
            Fate::Lost => Left::Nothing,
            Fate::Pages => sure(coin(sector / SECTORS as u64, 200)),
            Fate::Sectors if fresh && self.roll(op ^ mix(sector), 201, 8) == 0 => {
                Left::Front(self.roll(op ^ mix(sector), 202, SECTOR as u64) as usize)
            }
            Fate::Sectors => sure(coin(sector, 203)),
            Fate::Front | Fate::Back => {
                let tear = self.tear(version);
                let front = self.fate(op) == Fate::Front;
                if tear <= start || tear >= end {
                    sure((tear >= end) == front)
                } else if fresh && front {
                    Left::Front((tear - start) as usize)
                } else {
                    sure(coin(sector, 205))
                }
            }
        }
    }
}
