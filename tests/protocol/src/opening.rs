//! Crashes and kills, and the steps of an open: durability.md, "Open".

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::reading::Ending;
use crate::{Entry, File, FileId, Frame, Name, Pc, Process, Removal, Stage, State};

impl State {
    /// Whether there is a process.
    pub fn is_running(&self) -> bool {
        !matches!(self.w.pc, Pc::Down | Pc::Refused)
    }

    /// `Kill`
    pub fn kill(mut self) -> Option<State> {
        if !self.is_running() {
            return None;
        }
        self.forget_unwritten();
        self.w = Process::default();
        self.h.downs += 1;
        Some(self)
    }

    /// `Crash`, which leaves these bytes and names; `None` if it can't leave them.
    pub fn crash(self, bytes: Vec<Vec<Frame>>, names: &[i64]) -> Option<State> {
        let is_left = |file: &File, cache: &[Frame]| {
            cache.len() == file.disk.len()
                && file.disk.iter().zip(cache).all(|(disk, now)| disk.contains(now))
        };
        let bytes_left = self.files.iter().zip(&bytes).all(|(file, cache)| is_left(file, cache));
        let names_left = self.names.0.iter().zip(names).all(|(name, now)| name.disk.contains(now));
        if !self.is_running() || !bytes_left || !names_left {
            return None;
        }
        let files = bytes.into_iter().map(|cache| Rc::new(File::settled(cache))).collect();
        Some(self.left_with(files, names.iter().map(|now| Rc::new(Name::settled(*now))).collect()))
    }

    fn left_with(mut self, files: Vec<Rc<File>>, names: Vec<Rc<Name>>) -> State {
        self.forget_unwritten();
        self.w = Process::default();
        self.h.downs += 1;
        self.files = files;
        self.names.0 = names;
        self
    }

    /// Every `Crash` from here.
    pub fn crashes(&self) -> Vec<State> {
        if !self.is_running() {
            return Vec::new();
        }
        let files = products(&self.files.iter().map(contents).collect::<Vec<_>>());
        let names = |name: &Rc<Name>| name.disk.iter().map(|now| Rc::new(Name::settled(*now))).collect();
        let names = products(&self.names.0.iter().map(names).collect::<Vec<_>>());
        let both = files.iter().flat_map(|files| names.iter().map(move |names| (files, names)));
        both.map(|(files, names)| self.clone().left_with(files.clone(), names.clone())).collect()
    }
}

/// What a crash may leave of a file.
fn contents(file: &Rc<File>) -> Vec<Rc<File>> {
    let places: Vec<Vec<Frame>> = file.disk.iter().map(|disk| disk.iter().cloned().collect()).collect();
    products(&places).into_iter().map(|cache| Rc::new(File::settled(cache))).collect()
}

/// Every choice of one of each.
fn products<T: Clone>(choices: &[Vec<T>]) -> Vec<Vec<T>> {
    let none = vec![Vec::with_capacity(choices.len())];
    choices.iter().fold(none, |chosen, next| {
        let more = |before: &Vec<T>| {
            next.iter().map(|one| [&before[..], std::slice::from_ref(one)].concat()).collect::<Vec<_>>()
        };
        chosen.iter().flat_map(more).collect()
    })
}

/// Opening. Nothing but names is changed before the verdict.
impl State {
    fn set_pc(&mut self, pc: Pc) {
        self.w = Process { pc, ..Process::default() };
    }

    fn write_again(&mut self, file: FileId, places: &BTreeSet<usize>) {
        self.file(file).dirty.extend(places);
    }

    fn is_down(&self) -> bool {
        self.w.pc == Pc::Down
    }

    /// `AdoptHead`, as it succeeds: the newest name and the head of its successor, both written again, are durable.
    /// More than the head may be written again.
    pub fn adopt_head(mut self, file: FileId, places: &BTreeSet<usize>) -> Option<State> {
        let newest = self.newest()?;
        if !self.is_down() || !self.unnamed().contains(&file) || !places.contains(&0) {
            return None;
        }
        self.names.rename_again(newest);
        self.names.sync();
        self.write_again(file, places);
        self.file(file).sync();
        self.set_pc(Pc::Adopting);
        self.w.moving = Some(file);
        Some(self)
    }

    /// `AdoptHead`, as the sync of the file fails.
    pub fn adopt_head_fails(mut self, file: FileId) -> Option<State> {
        let newest = self.newest()?;
        if !self.is_down() || !self.unnamed().contains(&file) {
            return None;
        }
        self.names.rename_again(newest);
        self.names.sync();
        self.file(file).fail_sync();
        self.fail();
        Some(self)
    }

    /// `AdoptHead`, as the sync of the newest name fails.
    pub fn adopt_names_fails(mut self) -> Option<State> {
        if !self.is_down() || self.unnamed().is_empty() {
            return None;
        }
        self.names.fail_sync();
        self.fail();
        Some(self)
    }

    /// `AdoptName`
    pub fn adopt_name(mut self) -> Option<State> {
        if self.w.pc != Pc::Adopting {
            return None;
        }
        let file = self.w.moving?;
        self.names.rename(file, self.start(file) as i64);
        self.set_pc(Pc::Adopted);
        Some(self)
    }

    /// `AdoptSync`, as it succeeds.
    pub fn adopt_sync(mut self) -> Option<State> {
        if self.w.pc != Pc::Adopted {
            return None;
        }
        self.names.sync();
        self.w = Process::default();
        Some(self)
    }

    /// `AdoptSync`, as it fails.
    pub fn adopt_sync_fails(mut self) -> Option<State> {
        if self.w.pc != Pc::Adopted {
            return None;
        }
        self.names.fail_sync();
        self.fail();
        Some(self)
    }

    /// `Judge`
    pub fn judge(mut self) -> Option<State> {
        if !self.is_down() || !self.unnamed().is_empty() {
            return None;
        }
        self.set_pc(if self.is_sound() { Pc::Judged } else { Pc::Refused });
        Some(self)
    }

    /// The newest chunk, unless a mark proves its name: none is written before the name is durable.
    pub fn doubtful_name(&self) -> Option<FileId> {
        self.newest().filter(|f| !matches!(self.ending(*f), Ending::Marked | Ending::Closed))
    }

    /// `RepairNames`, as it succeeds.
    pub fn repair_names(mut self) -> Option<State> {
        if self.w.pc != Pc::Judged {
            return None;
        }
        for file in self.spares().into_iter().chain(self.doubtful_name()) {
            self.names.rename_again(file);
        }
        self.names.sync();
        let is_new = self.newest().is_none();
        self.set_pc(if is_new { Pc::Opened } else { Pc::Named });
        Some(self)
    }

    /// `RepairNames`, as it fails.
    pub fn repair_names_fails(mut self) -> Option<State> {
        if self.w.pc != Pc::Judged {
            return None;
        }
        self.names.fail_sync();
        self.fail();
        Some(self)
    }

    /// `CutMissed`
    pub fn cut_missed(mut self, file: FileId) -> Option<State> {
        let from = self.end(file) + 1;
        let is_closed = self.chunks().contains(&file) && self.newest() != Some(file);
        let has_more = self.files[file].cache.get(from..)?.iter().any(|frame| *frame != Frame::Zero);
        if self.w.pc != Pc::Named || !is_closed || !has_more {
            return None;
        }
        self.file(file).cut(from);
        Some(self)
    }

    /// The places of the newest chunk that are not known to be durable.
    pub fn doubtful_places(&self) -> BTreeSet<usize> {
        let Some(f) = self.newest() else { return BTreeSet::new() };
        (self.proven(f) + 1..=self.last_entry(f)).map(|n: Entry| n - self.start(f)).collect()
    }

    /// `RewriteRecords`, as it succeeds. More than what is doubtful may be written again.
    pub fn rewrite_records(mut self, places: &BTreeSet<usize>) -> Option<State> {
        let newest = self.newest()?;
        let doubtful = self.doubtful_places();
        if self.w.pc != Pc::Named || !places.is_superset(&doubtful) {
            return None;
        }
        if !places.is_empty() {
            self.write_again(newest, places);
            self.file(newest).sync();
        }
        self.set_pc(Pc::Rewritten);
        Some(self)
    }

    /// `RewriteRecords`, as it fails.
    pub fn rewrite_records_fails(mut self) -> Option<State> {
        let newest = self.newest()?;
        if self.w.pc != Pc::Named || self.doubtful_places().is_empty() {
            return None;
        }
        self.file(newest).fail_sync();
        self.fail();
        Some(self)
    }

    /// `WriteEnd` but for the cut after a seal, which is [`cut_end`](Self::cut_end). A mark that replaces a mark is
    /// synced, because the other may be a closing mark.
    pub fn write_end(self) -> Option<State> {
        let ending = self.ending(self.newest()?);
        self.write_end_as(ending)
    }

    /// `WriteEnd` after a mark, if a later frame is torn and yet has a sound header: ADR 4.
    pub fn write_end_torn(self) -> Option<State> {
        let newest = self.newest()?;
        let end = self.end(newest);
        let may_be_torn = self.ending(newest) == Ending::Marked
            && self.files[newest].cache[end + 1..].contains(&Frame::Torn);
        if may_be_torn { self.write_end_as(Ending::Torn) } else { None }
    }

    fn write_end_as(mut self, ending: Ending) -> Option<State> {
        let newest = self.newest()?;
        if self.w.pc != Pc::Rewritten {
            return None;
        }
        let (end, salt) = (self.end(newest), self.at(newest, 0).id());
        let is_continued = matches!(ending, Ending::Marked | Ending::Closed | Ending::Zeros);
        let frame = if is_continued {
            Frame::Mark { salt, closing: false }
        } else {
            Frame::Seal { salt, crc: self.crc(newest, end) }
        };
        self.file(newest).write(end, frame);
        self.set_pc(if ending == Ending::Zeros { Pc::Opened } else { Pc::Ending });
        Some(self)
    }

    /// The cut after the seal that an open writes.
    pub fn cut_end(mut self) -> Option<State> {
        let newest = self.newest()?;
        let end = self.end(newest);
        if self.w.pc != Pc::Ending || !matches!(self.at(newest, end), Frame::Seal { .. }) {
            return None;
        }
        self.file(newest).cut(end + 1);
        Some(self)
    }

    /// `SyncEnd`, as it succeeds.
    pub fn sync_end(mut self) -> Option<State> {
        let newest = self.newest()?;
        if self.w.pc != Pc::Ending {
            return None;
        }
        self.file(newest).sync();
        self.set_pc(Pc::Opened);
        Some(self)
    }

    /// `SyncEnd`, as it fails.
    pub fn sync_end_fails(mut self) -> Option<State> {
        let newest = self.newest()?;
        if self.w.pc != Pc::Ending {
            return None;
        }
        self.file(newest).fail_sync();
        self.fail();
        Some(self)
    }

    /// `Return`: the program has its log. What was replayed counts as acknowledged.
    pub fn return_log(mut self) -> Option<State> {
        if self.w.pc != Pc::Opened {
            return None;
        }
        let goes_on = self.newest().is_some_and(|f| self.ending(f) == Ending::Marked);
        let last = self.last_found();
        self.w = Process {
            pc: Pc::Up,
            written: last,
            synced: last,
            marked: goes_on,
            live: self.chunks().into_iter().map(|f| (f, self.start(f))).collect(),
            stage: if goes_on { Stage::Open } else { Stage::Sealed },
            unopened: !goes_on,
            spares: self.spares().into_iter().collect(),
            ..Process::default()
        };
        Rc::make_mut(&mut self.h.log).truncate(last);
        self.h.acked = last;
        self.h.first = self.first_found();
        self.h.removal = Removal::default();
        Some(self)
    }
}
