//! Frames, files and names: what programs read, what a crash may leave, what the next sync covers.

use std::collections::BTreeSet;
use std::rc::Rc;

/// A checksum of records: the list of their ids.
pub type Crc = Rc<[u64]>;

/// What is at a place of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the fields are named as in Log.tla")]
pub enum Frame {
    Zero,
    /// A part of a frame, valid nowhere.
    Torn,
    /// A chunk's header and checkpoint. Its id is the chunk's salt.
    Head {
        id: u64,
        start: usize,
        prev: Crc,
        used: bool,
        durable: usize,
    },
    Record {
        id: u64,
        salt: u64,
        durable: usize,
        more: bool,
    },
    Mark {
        salt: u64,
        closing: bool,
    },
    Seal {
        salt: u64,
        crc: Crc,
    },
}

impl Frame {
    /// The salt that makes it valid.
    pub fn salt(&self) -> Option<u64> {
        match self {
            Frame::Zero | Frame::Torn => None,
            Frame::Head { id, .. } => Some(*id),
            Frame::Record { salt, .. } | Frame::Mark { salt, .. } | Frame::Seal { salt, .. } => Some(*salt),
        }
    }

    /// The id of a record or a head.
    pub fn id(&self) -> u64 {
        match self {
            Frame::Head { id, .. } | Frame::Record { id, .. } => *id,
            _ => 0,
        }
    }

    /// Whether the next record belongs to the same batch.
    pub fn more(&self) -> bool {
        matches!(self, Frame::Record { more: true, .. })
    }

    pub(crate) fn durable(&self) -> Option<usize> {
        match self {
            Frame::Head { durable, .. } | Frame::Record { durable, .. } => Some(*durable),
            _ => None,
        }
    }

    pub(crate) fn is_head(&self) -> bool {
        matches!(self, Frame::Head { .. })
    }
}

/// A file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct File {
    /// What programs read.
    pub cache: Vec<Frame>,
    /// What each place may have after a crash.
    pub disk: Vec<BTreeSet<Frame>>,
    /// What the next sync covers.
    pub dirty: BTreeSet<usize>,
}

impl File {
    /// A file of zeros.
    pub fn new(last: usize) -> Self {
        Self::settled(vec![Frame::Zero; last + 1])
    }

    /// A file that is on the disk as it is read.
    pub fn settled(cache: Vec<Frame>) -> Self {
        let disk = cache.iter().map(|frame| BTreeSet::from([frame.clone()])).collect();
        File { cache, disk, dirty: BTreeSet::new() }
    }

    /// A place may have any of its unsynced values after a crash, or none of them whole. The same bytes in the same
    /// place change nothing.
    pub(crate) fn write(&mut self, place: usize, frame: Frame) {
        let disk = &mut self.disk[place];
        if disk.len() != 1 || !disk.contains(&frame) {
            disk.extend([frame.clone(), Frame::Torn]);
        }
        self.cache[place] = frame;
        self.dirty.insert(place);
    }

    pub(crate) fn cut(&mut self, from: usize) {
        for place in (from..self.cache.len()).filter(|place| self.cache[*place] != Frame::Zero) {
            self.disk[place].extend([Frame::Zero, Frame::Torn]);
            self.dirty.insert(place);
        }
        self.cache.get_mut(from..).into_iter().flatten().for_each(|frame| *frame = Frame::Zero);
    }

    pub(crate) fn sync(&mut self) {
        for place in std::mem::take(&mut self.dirty) {
            self.disk[place] = BTreeSet::from([self.cache[place].clone()]);
        }
    }

    /// A sync that failed: the pages count as clean, whatever the disk has.
    pub(crate) fn fail_sync(&mut self) {
        self.dirty.clear();
    }
}

/// A file's name: absent, a spare's, or the first entry of the chunk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// What programs find.
    pub now: i64,
    /// What a crash may leave.
    pub disk: BTreeSet<i64>,
    /// Whether the next sync covers it.
    pub dirty: bool,
}

/// The name of no file.
pub const ABSENT: i64 = -1;
/// A spare's name.
pub const SPARE: i64 = 0;

impl Name {
    /// No file yet.
    pub fn absent() -> Self {
        Self::settled(ABSENT)
    }

    /// A name that is durable.
    pub fn settled(now: i64) -> Self {
        Name { now, disk: BTreeSet::from([now]), dirty: false }
    }
}

/// The directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Names(pub Vec<Rc<Name>>);

impl Names {
    pub(crate) fn rename(&mut self, file: usize, name: i64) {
        let of = Rc::make_mut(&mut self.0[file]);
        of.now = name;
        of.disk.insert(name);
        of.dirty = true;
    }

    /// Renamed away and back, or from one spare's name to another: the next sync covers it.
    pub(crate) fn rename_again(&mut self, file: usize) {
        Rc::make_mut(&mut self.0[file]).dirty = true;
    }

    pub(crate) fn sync(&mut self) {
        for name in self.0.iter_mut().filter(|name| name.dirty) {
            *name = Rc::new(Name::settled(name.now));
        }
    }

    pub(crate) fn fail_sync(&mut self) {
        for name in self.0.iter_mut().filter(|name| name.dirty) {
            Rc::make_mut(name).dirty = false;
        }
    }
}
