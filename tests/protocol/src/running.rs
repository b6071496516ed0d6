//! The steps of a process that has the log open: its appender, its worker and its housekeeper.

use std::rc::Rc;

use crate::disk::{ABSENT, SPARE};
use crate::{Crc, Dir, Entry, FileId, Frame, Pc, Process, Removal, RemovalStep, Stage, State};

/// The appender: memory only.
impl State {
    fn is_up(&self) -> bool {
        self.w.pc == Pc::Up
    }

    /// The number of the newest head.
    pub fn last_head(&self) -> Entry {
        self.h.log.iter().rposition(Frame::is_head).map_or(0, |i| i + 1)
    }

    /// A record that is appended next.
    pub fn record(&self, id: u64, durable: Entry, more: bool) -> Option<Frame> {
        let salt = self.h.log.get(self.last_head().checked_sub(1)?)?.id();
        Some(Frame::Record { id, salt, durable, more })
    }

    /// `Append1`, and each half of `AppendBatch`.
    pub fn append(mut self, record: Frame) -> Option<State> {
        if !self.is_up() || self.w.unopened {
            return None;
        }
        Rc::make_mut(&mut self.h.log).push(record);
        Some(self)
    }

    fn previous_crc(&self) -> Crc {
        let first = self.last_head().saturating_sub(1);
        self.h.log[first..].iter().map(Frame::id).collect()
    }

    /// `Rotate`, with the spare that is taken.
    pub fn rotate(mut self, file: FileId, id: u64, durable: Entry) -> Option<State> {
        if !self.is_up() || self.w.next.is_some() || !self.w.spares.contains(&file) {
            return None;
        }
        let used = !self.w.fresh.contains(&file);
        let start = self.h.log.len() + 1;
        let prev = self.previous_crc();
        Rc::make_mut(&mut self.h.log).push(Frame::Head { id, start, prev, used, durable });
        let w = &mut self.w;
        w.next = Some(file);
        w.spares.remove(&file);
        w.fresh.remove(&file);
        w.first |= w.unopened;
        w.unopened = false;
        Some(self)
    }

    /// `AskRemoval`, because of something up to entry `asked`.
    pub fn ask_removal(mut self, asked: Entry) -> Option<State> {
        let &[(file, _), (_, next), ..] = &self.w.live[..] else { return None };
        if !self.is_up() || self.w.unopened || self.w.removal.step != RemovalStep::None {
            return None;
        }
        self.w.removal = Removal { step: RemovalStep::Asked, asked, next, file };
        self.h.removal = self.w.removal;
        Some(self)
    }
}

/// The worker.
impl State {
    /// The open chunk: its file and its first entry.
    pub fn open(&self) -> (FileId, Entry) {
        self.w.live.last().copied().unwrap_or((0, 1))
    }

    /// The place in the open chunk after the last entry that is written.
    fn next_place(&self) -> usize {
        self.w.written + 1 - self.open().1
    }

    fn salt(&self) -> u64 {
        self.h.log[self.open().1 - 1].id()
    }

    fn next_entry(&self) -> Option<&Frame> {
        self.h.log.get(self.w.written)
    }

    fn is_whole(&self) -> bool {
        self.w.written > 0 && !self.h.log[self.w.written - 1].more()
    }

    fn write(&mut self, file: FileId, place: usize, frame: Frame) {
        self.file(file).write(place, frame);
    }

    fn sync_open(&mut self) {
        let (file, _) = self.open();
        self.file(file).sync();
    }

    fn fail_sync_of(mut self, file: FileId) -> Option<State> {
        self.file(file).fail_sync();
        self.fail();
        Some(self)
    }

    /// `WriteNext`
    pub fn write_next(mut self) -> Option<State> {
        let goes_on = self.w.stage == Stage::Open || self.w.stage == Stage::Unnamed && !self.w.first;
        let record = self.next_entry().filter(|frame| !frame.is_head())?.clone();
        if !self.is_up() || !goes_on {
            return None;
        }
        self.write(self.open().0, self.next_place(), record);
        self.w.written += 1;
        self.w.marked = false;
        Some(self)
    }

    fn can_sync(&self) -> bool {
        self.is_up() && self.w.stage == Stage::Open && self.w.written > self.w.synced && self.is_whole()
    }

    fn acknowledge(&mut self) {
        self.w.synced = self.w.written;
        self.h.acked = self.w.written;
    }

    /// `Sync`, as it succeeds.
    pub fn sync(mut self) -> Option<State> {
        if !self.can_sync() {
            return None;
        }
        self.sync_open();
        self.acknowledge();
        Some(self)
    }

    /// `Sync`, as it fails.
    pub fn sync_fails(self) -> Option<State> {
        if !self.can_sync() {
            return None;
        }
        let (file, _) = self.open();
        self.fail_sync_of(file)
    }

    /// `WriteMark`
    pub fn write_mark(mut self) -> Option<State> {
        let is_idle = self.w.stage == Stage::Open && self.w.written == self.w.synced;
        if !self.is_up() || !is_idle || self.w.marked || self.w.dir == Dir::Pending {
            return None;
        }
        let mark = Frame::Mark { salt: self.salt(), closing: false };
        self.write(self.open().0, self.next_place(), mark);
        self.w.marked = true;
        Some(self)
    }

    /// `WriteSeal`
    pub fn write_seal(mut self) -> Option<State> {
        let Some(Frame::Head { prev, .. }) = self.next_entry() else { return None };
        let crc = prev.clone();
        let is_synced = self.w.stage == Stage::Open && self.w.written == self.w.synced;
        if !self.is_up() || !is_synced || self.w.next.is_none() {
            return None;
        }
        let seal = Frame::Seal { salt: self.salt(), crc };
        self.write(self.open().0, self.next_place(), seal);
        self.w.stage = Stage::Sealing;
        Some(self)
    }

    /// `SyncSeal`, as it succeeds.
    pub fn sync_seal(mut self) -> Option<State> {
        if !self.is_up() || self.w.stage != Stage::Sealing {
            return None;
        }
        self.sync_open();
        self.w.stage = Stage::Sealed;
        Some(self)
    }

    /// `SyncSeal`, as it fails.
    pub fn sync_seal_fails(self) -> Option<State> {
        if !self.is_up() || self.w.stage != Stage::Sealing {
            return None;
        }
        let (file, _) = self.open();
        self.fail_sync_of(file)
    }

    /// `BeginChunk`: the head goes into a file with a spare's name.
    pub fn begin_chunk(mut self) -> Option<State> {
        let head = self.next_entry().filter(|frame| frame.is_head())?.clone();
        if !self.is_up() || self.w.stage != Stage::Sealed {
            return None;
        }
        let file = self.w.next.take()?;
        self.write(file, 0, head);
        self.w.written += 1;
        self.w.live.push((file, self.w.written));
        self.w.marked = false;
        self.w.stage = Stage::Unnamed;
        Some(self)
    }

    fn can_sync_chunk(&self) -> bool {
        self.is_up() && self.w.stage == Stage::Unnamed && self.is_whole()
    }

    /// `SyncChunk`, as it succeeds.
    pub fn sync_chunk(mut self) -> Option<State> {
        if !self.can_sync_chunk() {
            return None;
        }
        self.sync_open();
        self.w.stage = Stage::Synced;
        Some(self)
    }

    /// `SyncChunk`, as it fails.
    pub fn sync_chunk_fails(self) -> Option<State> {
        if !self.can_sync_chunk() {
            return None;
        }
        let (file, _) = self.open();
        self.fail_sync_of(file)
    }

    /// `NameChunk`. Without a chunk before it, only the name says what the file is: then nothing is acknowledged yet.
    pub fn name_chunk(mut self) -> Option<State> {
        if !self.is_up() || self.w.stage != Stage::Synced || self.w.dir != Dir::Durable {
            return None;
        }
        let (file, start) = self.open();
        self.names.rename(file, start as i64);
        self.w.dir = Dir::Pending;
        if self.w.first {
            self.w.stage = Stage::First;
            return Some(self);
        }
        let &[.., (old, old_start), _] = &self.w.live[..] else { return None };
        self.w.cuts.insert((old, start - old_start + 1));
        self.w.stage = Stage::Open;
        self.acknowledge();
        Some(self)
    }

    /// `Close`. The housekeeper may have removals left, and cuts.
    pub fn close(mut self) -> Option<State> {
        let is_done = self.w.stage == Stage::Open
            && self.w.written == self.w.synced
            && self.w.written == self.h.log.len();
        if !self.is_up()
            || !is_done
            || self.w.dir == Dir::Pending
            || self.w.removal.step == RemovalStep::Asked
        {
            return None;
        }
        let mark = Frame::Mark { salt: self.salt(), closing: true };
        self.write(self.open().0, self.next_place(), mark);
        self.w.pc = Pc::Closing;
        Some(self)
    }

    /// `SyncClose`, as it succeeds.
    pub fn sync_close(mut self) -> Option<State> {
        if self.w.pc != Pc::Closing {
            return None;
        }
        self.sync_open();
        self.w.pc = Pc::Closed;
        Some(self)
    }

    /// `SyncClose`, as it fails.
    pub fn sync_close_fails(self) -> Option<State> {
        if self.w.pc != Pc::Closing {
            return None;
        }
        let (file, _) = self.open();
        self.fail_sync_of(file)
    }

    /// `Exit`. A removal that has failed is left to the next process.
    pub fn exit(mut self) -> Option<State> {
        let is_done = self.w.dir == Dir::Durable
            && self.w.cuts.is_empty()
            && matches!(self.w.removal.step, RemovalStep::None | RemovalStep::Failed);
        if self.w.pc != Pc::Closed || !is_done {
            return None;
        }
        self.w = Process::default();
        Some(self)
    }
}

/// The housekeeper.
impl State {
    fn keeps_house(&self) -> bool {
        matches!(self.w.pc, Pc::Up | Pc::Closing | Pc::Closed)
    }

    fn may_change_names(&self) -> bool {
        self.keeps_house() && self.w.dir == Dir::Durable
    }

    /// `SyncNames`, as it succeeds.
    pub fn sync_names(mut self) -> Option<State> {
        if !self.keeps_house() || self.w.dir != Dir::Pending {
            return None;
        }
        self.names.sync();
        self.w.dir = Dir::Durable;
        if self.w.stage == Stage::First {
            self.w.stage = Stage::Open;
            self.w.first = false;
            self.acknowledge();
        }
        Some(self)
    }

    /// `SyncNames`, as it fails.
    pub fn sync_names_fails(mut self) -> Option<State> {
        if !self.keeps_house() || self.w.dir != Dir::Pending {
            return None;
        }
        self.names.fail_sync();
        self.fail();
        Some(self)
    }

    /// `CutChunk`
    pub fn cut_chunk(mut self, file: FileId, from: usize) -> Option<State> {
        if !self.keeps_house() || !self.w.cuts.remove(&(file, from)) {
            return None;
        }
        self.file(file).cut(from);
        Some(self)
    }

    /// `MakeSpare`
    pub fn make_spare(mut self, file: FileId) -> Option<State> {
        if !self.may_change_names() || self.names.0[file].now != ABSENT {
            return None;
        }
        self.names.rename(file, SPARE);
        self.w.dir = Dir::Moving;
        self.w.moving = Some(file);
        Some(self)
    }

    /// `HandOverRemoval`: once what it was asked for is durable, and after a rotation's name.
    pub fn hand_over_removal(mut self) -> Option<State> {
        let is_stage = matches!(self.w.stage, Stage::Open | Stage::Sealing | Stage::Sealed);
        if !self.keeps_house() || self.w.removal.step != RemovalStep::Asked {
            return None;
        }
        if !is_stage || self.w.synced < self.w.removal.asked {
            return None;
        }
        self.w.removal.step = RemovalStep::HandedOver;
        Some(self)
    }

    /// `RenameRemoved`
    pub fn rename_removed(mut self) -> Option<State> {
        let Removal { step, file, .. } = self.w.removal;
        if !self.may_change_names() || step != RemovalStep::HandedOver {
            return None;
        }
        if self.w.cuts.iter().any(|(cut, _)| *cut == file) {
            return None;
        }
        self.names.rename(file, SPARE);
        self.w.removal.step = RemovalStep::Renamed;
        self.w.dir = Dir::Moving;
        self.w.moving = Some(file);
        Some(self)
    }

    /// `RenameRemovedAgain`: after a failed sync, because a second sync alone proves nothing.
    pub fn rename_removed_again(mut self) -> Option<State> {
        let Removal { step, file, .. } = self.w.removal;
        if !self.may_change_names() || step != RemovalStep::Failed {
            return None;
        }
        self.names.rename_again(file);
        self.w.removal.step = RemovalStep::Renamed;
        self.w.dir = Dir::Moving;
        self.w.moving = Some(file);
        Some(self)
    }

    /// `SyncMove`, as it succeeds.
    pub fn sync_move(mut self) -> Option<State> {
        if !self.keeps_house() || self.w.dir != Dir::Moving {
            return None;
        }
        self.names.sync();
        let file = self.w.moving.take()?;
        self.w.dir = Dir::Durable;
        self.w.spares.insert(file);
        if self.w.removal.step == RemovalStep::Renamed {
            self.h.first = self.w.removal.next;
            self.w.live.remove(0);
            self.w.removal = Removal::default();
            self.h.removal = Removal::default();
        } else {
            self.w.fresh.insert(file);
        }
        Some(self)
    }

    /// `SyncMove`, as it fails: no failure of the log. The removal is tried again, and the new file is given up.
    pub fn sync_move_fails(mut self) -> Option<State> {
        if !self.keeps_house() || self.w.dir != Dir::Moving {
            return None;
        }
        self.names.fail_sync();
        self.h.faults += 1;
        if self.w.removal.step == RemovalStep::Renamed {
            self.w.removal.step = RemovalStep::Failed;
            self.w.dir = Dir::Durable;
            self.w.moving = None;
        } else {
            self.w.dir = Dir::Undoing;
        }
        Some(self)
    }

    /// `UndoSpare`
    pub fn undo_spare(mut self) -> Option<State> {
        if !self.keeps_house() || self.w.dir != Dir::Undoing {
            return None;
        }
        let file = self.w.moving.take()?;
        self.names.rename(file, ABSENT);
        self.w.dir = Dir::Durable;
        Some(self)
    }
}
