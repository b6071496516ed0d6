//! What a scan of a chunk and an open of a directory conclude: format.md and durability.md.

use std::rc::Rc;

use crate::disk::SPARE;
use crate::{Crc, Entry, FileId, Frame, State};

/// How a chunk ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By a seal that agrees with its records.
    Sealed,
    /// By a closing mark.
    Closed,
    /// By a mark, and nothing was written after it.
    Marked,
    /// In zeros, in a file without an earlier life.
    Zeros,
    /// In any other way that a crash leaves.
    Torn,
    /// In a way that no crash leaves.
    Corrupt,
}

impl State {
    /// What programs read at a place.
    pub fn at(&self, f: FileId, place: usize) -> &Frame {
        &self.files[f].cache[place]
    }

    fn head(&self, f: FileId) -> Option<(Entry, &Crc, bool)> {
        match self.at(f, 0) {
            Frame::Head { start, prev, used, .. } => Some((*start, prev, *used)),
            _ => None,
        }
    }

    /// The first entry of the chunk in a file; 0 if it is none.
    pub fn start(&self, f: FileId) -> Entry {
        self.head(f).map_or(0, |(start, ..)| start)
    }

    fn is_valid(&self, f: FileId, place: usize) -> bool {
        let salt = self.at(f, place).salt();
        salt.is_some() && salt == self.at(f, 0).salt()
    }

    fn is_record(&self, f: FileId, place: usize) -> bool {
        matches!(self.at(f, place), Frame::Record { .. }) && self.is_valid(f, place)
    }

    /// The first place without a record.
    fn broken_at(&self, f: FileId) -> usize {
        (1..=self.last).find(|place| !self.is_record(f, *place)).unwrap_or(self.last)
    }

    /// The place after the last batch that is whole.
    pub fn end(&self, f: FileId) -> usize {
        (1..=self.broken_at(f)).rev().find(|place| !self.at(f, place - 1).more()).unwrap_or(1)
    }

    /// The last entry of a chunk.
    pub fn last_entry(&self, f: FileId) -> Entry {
        self.start(f) + self.end(f) - 1
    }

    /// The checksum of a file's first `count` entries.
    pub fn crc(&self, f: FileId, count: usize) -> Crc {
        self.files[f].cache[..count].iter().map(Frame::id).collect::<Rc<[u64]>>()
    }

    /// Whether a later frame says that what is at a place was durable once.
    fn is_proven(&self, f: FileId, place: usize) -> bool {
        let needed = self.start(f) + place;
        (place + 1..=self.last).filter(|p| self.is_valid(f, *p)).any(|p| match self.at(f, p) {
            Frame::Seal { .. } | Frame::Mark { .. } => true,
            frame => frame.durable().is_some_and(|durable| durable >= needed),
        })
    }

    /// How a chunk ends.
    pub fn ending(&self, f: FileId) -> Ending {
        let (at, end) = (self.broken_at(f), self.end(f));
        match self.at(f, at) {
            Frame::Seal { crc, .. } if self.is_valid(f, at) => {
                if end == at && *crc == self.crc(f, end) {
                    Ending::Sealed
                } else {
                    Ending::Corrupt
                }
            }
            Frame::Mark { closing, .. } if self.is_valid(f, at) => self.ending_by_mark(f, at, end, *closing),
            _ if end == at
                && self.head(f).is_some_and(|(.., used)| !used)
                && self.files[f].cache[at..].iter().all(|frame| *frame == Frame::Zero) =>
            {
                Ending::Zeros
            }
            _ if self.is_proven(f, end) => Ending::Corrupt,
            _ => Ending::Torn,
        }
    }

    fn ending_by_mark(&self, f: FileId, at: usize, end: usize, closing: bool) -> Ending {
        if end != at {
            Ending::Corrupt
        } else if closing {
            Ending::Closed
        } else if self.is_proven(f, at) {
            Ending::Corrupt
        } else if (at + 1..=self.last).any(|place| self.is_valid(f, place)) {
            Ending::Torn
        } else {
            Ending::Marked
        }
    }

    /// The last entry that is known to be durable.
    pub fn proven(&self, f: FileId) -> Entry {
        let last = self.last_entry(f);
        if matches!(self.ending(f), Ending::Marked | Ending::Closed | Ending::Sealed) {
            return last;
        }
        let said = (0..=self.last).filter(|p| self.is_valid(f, *p)).filter_map(|p| self.at(f, p).durable());
        last.min(said.max().unwrap_or(0).max(self.start(f)))
    }

    /// The files with a chunk's name, oldest first.
    pub fn chunks(&self) -> Vec<FileId> {
        let mut named: Vec<FileId> = (0..self.files.len()).filter(|f| self.names.0[*f].now > 0).collect();
        named.sort_by_key(|f| self.names.0[*f].now);
        named
    }

    /// The files with a spare's name.
    pub fn spares(&self) -> Vec<FileId> {
        (0..self.files.len()).filter(|f| self.names.0[*f].now == SPARE).collect()
    }

    /// The newest chunk.
    pub fn newest(&self) -> Option<FileId> {
        self.chunks().pop()
    }

    /// Whether a spare has the head of a chunk's successor.
    fn continues(&self, newest: FileId, f: FileId) -> bool {
        let Some((start, prev, _)) = self.head(f) else { return false };
        let Some(place) = start.checked_sub(self.start(newest)).filter(|place| *place > 0) else {
            return false;
        };
        let seal = |place| {
            matches!(self.at(newest, place), Frame::Seal { crc, .. } if crc == prev)
                && self.is_valid(newest, place)
        };
        place <= self.last && seal(place) || place == self.end(newest) && *prev == self.crc(newest, place)
    }

    /// The chunks that have lost their names.
    pub fn unnamed(&self) -> Vec<FileId> {
        let Some(newest) = self.newest().filter(|f| self.at(*f, 0).is_head()) else { return Vec::new() };
        self.spares().into_iter().filter(|f| self.continues(newest, *f)).collect()
    }

    /// Whether one chunk is the next one's predecessor.
    fn follows(&self, f: FileId, next: FileId) -> bool {
        self.ending(f) == Ending::Sealed
            && self.head(next).is_some_and(|(start, prev, _)| {
                start == self.last_entry(f) + 1 && *prev == self.crc(f, self.end(f))
            })
    }

    /// Whether an open succeeds.
    pub fn is_sound(&self) -> bool {
        let chunks = self.chunks();
        let has_its_name =
            |f: &FileId| self.head(*f).is_some_and(|(start, ..)| start as i64 == self.names.0[*f].now);
        let Some(newest) = chunks.last() else { return true };
        chunks.iter().all(has_its_name)
            && chunks.windows(2).all(|pair| self.follows(pair[0], pair[1]))
            && self.ending(*newest) != Ending::Corrupt
            // A head after the newest chunk's end that does not continue it proves that something is missing.
            && !self.spares().iter().any(|f| self.start(*f) > self.last_entry(*newest))
    }

    /// The first entry that an open finds.
    pub fn first_found(&self) -> Entry {
        self.chunks().first().map_or(1, |oldest| self.start(*oldest))
    }

    /// The last entry that an open finds.
    pub fn last_found(&self) -> Entry {
        self.newest().map_or(0, |newest| self.last_entry(newest))
    }

    /// The file and the place of an entry.
    pub fn holder(&self, n: Entry) -> Option<(FileId, usize)> {
        let f = self.chunks().into_iter().find(|f| self.start(*f) <= n && n <= self.last_entry(*f))?;
        Some((f, n - self.start(f)))
    }
}
