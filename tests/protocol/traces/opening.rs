//! The operations of an open: durability.md, "Open".

use chunked_wal_protocol::disk::SPARE;
use chunked_wal_protocol::{Frame, Pc, State};

use crate::frame::{FRAME, Parsed, parse, place};
use crate::replay::{Rejected, Replay};
use crate::tape::{Done, Event, Named};

impl Replay {
    /// The verdict comes once every chunk has its name.
    fn judge(&mut self) -> Result<(), Rejected> {
        self.renamed.clear();
        self.rewritten.clear();
        self.names_synced = false;
        if self.state.unnamed().is_empty() { self.step("Judge", State::judge) } else { Ok(()) }
    }

    pub(crate) fn opening(&mut self) -> Result<(), Rejected> {
        match self.state.w.pc {
            Pc::Down => self.judge(),
            pc => Err(format!("comes while the model is {pc:?}")),
        }
    }

    /// The log is open as soon as nothing is left to be done.
    fn return_log(&mut self) -> Result<(), Rejected> {
        if self.state.w.pc != Pc::Opened {
            return Ok(());
        }
        self.step("Return", State::return_log)?;
        let log = &self.state.h.log[self.state.h.first - 1..];
        let records = log.iter().filter(|frame| matches!(frame, Frame::Record { .. }));
        self.found = records.map(Frame::id).collect();
        Ok(())
    }

    pub(crate) fn open_operation(&mut self, event: &Event) -> Result<(), Rejected> {
        match event {
            Event::Rename(file, named) => self.rename_opening(*file, *named)?,
            // A surplus spare: its new name is durable.
            Event::Remove(file) if self.state.w.pc == Pc::Named => self.give_up(*file)?,
            Event::SyncDir(done) => self.sync_dir_opening(*done)?,
            Event::Write(file, at, bytes) => self.write_opening(*file, *at, bytes)?,
            Event::Sync(file, done) => self.sync_opening(*file, *done)?,
            Event::SetLen(file, len) => self.cut_opening(*file, *len)?,
            _ => return Err(format!("comes while the model is {:?}", self.state.w.pc)),
        }
        self.return_log()
    }

    fn rename_opening(&mut self, file: usize, named: Named) -> Result<(), Rejected> {
        match named {
            Named::Chunk(_) if self.state.w.pc == Pc::Adopting => self.step("AdoptName", State::adopt_name),
            // Away and back.
            Named::Away(_) => Ok(()),
            Named::Chunk(_) if self.state.names.0[file].now > SPARE => {
                self.renamed.insert(file);
                Ok(())
            }
            Named::Spare if self.state.names.0[file].now == SPARE => {
                self.renamed.insert(file);
                Ok(())
            }
            _ => Err(format!("gives file {file} a new name while the model is {:?}", self.state.w.pc)),
        }
    }

    fn sync_dir_opening(&mut self, done: Done) -> Result<(), Rejected> {
        let is_ok = done == Done::Ok;
        match self.state.w.pc {
            Pc::Down if !is_ok => self.step("AdoptHead", State::adopt_names_fails),
            Pc::Down if self.state.newest().is_some_and(|newest| self.renamed.contains(&newest)) => {
                self.names_synced = true;
                Ok(())
            }
            Pc::Adopted if is_ok => {
                self.step("AdoptSync", State::adopt_sync)?;
                self.judge()
            }
            Pc::Adopted => self.step("AdoptSync", State::adopt_sync_fails),
            Pc::Judged => self.repair_names(is_ok),
            pc => Err(format!("comes while the model is {pc:?}")),
        }
    }

    fn repair_names(&mut self, is_ok: bool) -> Result<(), Rejected> {
        let mut needed = self.state.spares().into_iter().chain(self.state.doubtful_name());
        if let Some(file) = needed.find(|file| !self.renamed.contains(file)) {
            return Err(format!("comes before file {file} is renamed"));
        }
        if !is_ok {
            return self.step("RepairNames", State::repair_names_fails);
        }
        self.step("RepairNames", State::repair_names)
    }

    fn write_opening(&mut self, file: usize, at: u64, bytes: &[u8]) -> Result<(), Rejected> {
        let first = parse(bytes, place(at), self.state.start(file)).map(|(frame, _)| frame);
        match (self.state.w.pc, first) {
            (Pc::Named | Pc::Rewritten, Some(Parsed::Mark { .. } | Parsed::Seal { .. })) => {
                self.write_end(file, at, bytes)
            }
            (Pc::Down | Pc::Named, Some(_)) => self.write_again(file, at, bytes),
            (pc, frame) => Err(format!("writes {frame:?} while the model is {pc:?}")),
        }
    }

    fn write_again(&mut self, file: usize, at: u64, bytes: &[u8]) -> Result<(), Rejected> {
        let (from, to) = (at as usize, at as usize + bytes.len());
        if self.bytes[file].get(from..to) != Some(bytes) {
            return Err("writes other bytes than there were".to_string());
        }
        self.rewritten.extend(place(at)..place(at + bytes.len() as u64));
        if at > 0 && at < FRAME {
            // The header is proven by the name.
            self.rewritten.insert(0);
        }
        Ok(())
    }

    fn write_end(&mut self, file: usize, at: u64, bytes: &[u8]) -> Result<(), Rejected> {
        if self.state.w.pc == Pc::Named {
            if !self.rewritten.is_empty() {
                return Err("comes before the sync of what was written again".to_string());
            }
            let none = self.rewritten.clone();
            self.step("RewriteRecords", |state| state.rewrite_records(&none))?;
        }
        let place = place(at);
        let is_end = self.state.newest() == Some(file) && place == self.state.end(file);
        if !is_end {
            return Err(format!("ends file {file} at {place}"));
        }
        let frame = parse(bytes, place, 1).map(|(frame, _)| frame);
        let is_sealed = matches!(frame, Some(Parsed::Seal { .. }));
        if is_sealed && self.state.clone().write_end_torn().is_some() {
            self.step("WriteEnd", State::write_end_torn)?;
        } else {
            self.step("WriteEnd", State::write_end)?;
        }
        let agrees = match (frame, self.state.at(file, place)) {
            (Some(Parsed::Mark { closing: false }), Frame::Mark { closing: false, .. }) => true,
            (Some(Parsed::Seal { records }), Frame::Seal { crc, .. }) => records as usize == crc.len(),
            _ => false,
        };
        if !agrees {
            return Err(format!("is not how the model ends the chunk: {:?}", self.state.at(file, place)));
        }
        self.note_frame(file, place, bytes);
        Ok(())
    }

    fn sync_opening(&mut self, file: usize, done: Done) -> Result<(), Rejected> {
        let is_ok = done == Done::Ok;
        let places = std::mem::take(&mut self.rewritten);
        let is_newest = self.state.newest() == Some(file);
        match self.state.w.pc {
            Pc::Down if self.names_synced && is_ok => {
                self.step("AdoptHead", |state| state.adopt_head(file, &places))
            }
            Pc::Down if self.names_synced => self.step("AdoptHead", |state| state.adopt_head_fails(file)),
            Pc::Named if is_newest && is_ok => {
                self.step("RewriteRecords", |state| state.rewrite_records(&places))
            }
            Pc::Named if is_newest => self.step("RewriteRecords", State::rewrite_records_fails),
            Pc::Ending if is_newest && is_ok => self.step("SyncEnd", State::sync_end),
            Pc::Ending if is_newest => self.step("SyncEnd", State::sync_end_fails),
            pc => Err(format!("syncs file {file} while the model is {pc:?}")),
        }
    }

    fn cut_opening(&mut self, file: usize, len: u64) -> Result<(), Rejected> {
        let from = place(len.next_multiple_of(FRAME));
        let has_more = self.state.files[file].cache[from..].iter().any(|frame| *frame != Frame::Zero);
        self.cut_bytes(file, len);
        match self.state.w.pc {
            Pc::Named if has_more && from == self.state.end(file) + 1 => {
                self.step("CutMissed", |state| state.cut_missed(file))
            }
            Pc::Ending if from == self.state.end(file) + 1 => self.step("WriteEnd", State::cut_end),
            pc if has_more => Err(format!("cuts file {file} while the model is {pc:?}")),
            _ => Ok(()),
        }
    }
}
