//! Takes a tape for a way through the model, step by step; rejects the first event that no step explains.
//!
//! More lenient than the model is this alone:
//!
//! - A record is put into the model's log when it is written, with the durable end that its frame names, which must
//!   have been durable by then. In the model it is appended earlier, with the same value: nothing that happens between
//!   depends on it.
//! - More may be written again than the model asks for, as long as it is the same bytes in the same place.
//! - A spare may be removed. Its file never comes back, except by a crash that takes the removal back.
//! - Power may fail while there is no process, after a kill.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use chunked_wal_protocol::disk::{ABSENT, SPARE};
use chunked_wal_protocol::{Dir, File, Frame, Name, Pc, RemovalStep, Stage, State};

use crate::frame::{FRAME, Parsed, entry, offset, parse, place};
use crate::tape::{Done, Event, Named};

/// Why an event is rejected.
pub(crate) type Rejected = String;

/// Replays a tape.
pub(crate) struct Replay {
    pub(crate) state: State,
    /// The bytes that programs read.
    pub(crate) bytes: Vec<Vec<u8>>,
    /// The bytes of each frame that was written to a place.
    pub(crate) written: HashMap<(usize, Frame), Vec<u8>>,
    /// Calls that the worker hasn't come to yet.
    pub(crate) calls: VecDeque<Call>,
    /// The removal that was asked for and hasn't come to the worker yet.
    pub(crate) removal: Option<usize>,
    /// Of an open: files that were renamed, and places that were written again.
    pub(crate) renamed: BTreeSet<usize>,
    pub(crate) rewritten: BTreeSet<usize>,
    pub(crate) names_synced: bool,
    /// The records that the last open has found.
    pub(crate) found: Vec<u64>,
    /// How often each action was taken.
    pub(crate) actions: BTreeMap<&'static str, usize>,
}

/// A call of the program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    Append { id: u64, more: bool },
    Rotate,
}

/// Replays a whole tape, of files of at most `last` places after the first; returns how often each action was taken.
pub(crate) fn replay(events: &[Event], last: usize) -> Result<BTreeMap<&'static str, usize>, Rejected> {
    let mut replay = Replay::new(last);
    for (i, event) in events.iter().enumerate() {
        replay.event(event, &events[i + 1..]).map_err(|why| {
            let before: Vec<String> = events[i.saturating_sub(12)..i].iter().map(shown).collect();
            format!("{}\n  {} (number {i}) {why}", before.join("\n"), shown(event))
        })?;
    }
    Ok(replay.actions)
}

fn shown(event: &Event) -> String {
    match event {
        Event::Write(file, at, bytes) => format!("Write({file}, {} bytes@{at})", bytes.len()),
        Event::Down(how, files) => {
            let files: Vec<String> = files
                .iter()
                .map(|(file, (name, bytes))| format!("{file} {name:?} {}", bytes.len()))
                .collect();
            format!("Down({how:?}, {})", files.join(", "))
        }
        other => format!("{other:?}"),
    }
}

impl Replay {
    fn new(last: usize) -> Self {
        Replay {
            state: State::new(0, last),
            bytes: Vec::new(),
            written: HashMap::new(),
            calls: VecDeque::new(),
            removal: None,
            renamed: BTreeSet::new(),
            rewritten: BTreeSet::new(),
            names_synced: false,
            found: Vec::new(),
            actions: BTreeMap::new(),
        }
    }

    /// Takes a step of the model, and looks whether the promises hold after it.
    pub(crate) fn step(
        &mut self,
        action: &'static str,
        step: impl FnOnce(State) -> Option<State>,
    ) -> Result<(), Rejected> {
        let Some(next) = step(self.state.clone()) else {
            return Err(format!("is no step: {action} is not allowed in {:?}", self.state.w));
        };
        *self.actions.entry(action).or_default() += 1;
        self.state = next;
        match self.state.broken() {
            Some(promise) => Err(format!("breaks {promise} by {action}: {:?}", self.state)),
            None => Ok(()),
        }
    }

    fn event(&mut self, event: &Event, later: &[Event]) -> Result<(), Rejected> {
        match event {
            Event::Append(ids) => self.appended(ids),
            Event::Rotate => self.calls.push_back(Call::Rotate),
            Event::Withdrawn => self.calls.truncate(self.calls.len().saturating_sub(1)),
            Event::RemoveOldest(asked) => self.removal = Some(entry(*asked)),
            Event::Acknowledged(offset) => self.acknowledged(entry(*offset))?,
            Event::Opening => self.opening()?,
            Event::Opened(ids) => self.opened(ids)?,
            Event::Refused(error) => return Err(format!("no fault was the reason: {error}")),
            Event::Exit => self.step("Exit", State::exit)?,
            Event::Down(how, files) => self.down(*how, files)?,
            _ if self.is_running() => self.operation(event, later)?,
            _ if self.state.w.pc == Pc::Failed => return Err("comes after the log has failed".to_string()),
            _ => self.open_operation(event)?,
        }
        self.ask_removal()
    }

    fn is_running(&self) -> bool {
        matches!(self.state.w.pc, Pc::Up | Pc::Closing | Pc::Closed)
    }

    fn appended(&mut self, ids: &[u64]) {
        let calls = ids.iter().enumerate().map(|(i, id)| Call::Append { id: *id, more: i + 1 < ids.len() });
        self.calls.extend(calls);
    }

    fn acknowledged(&mut self, last: usize) -> Result<(), Rejected> {
        let acked = self.state.h.acked;
        if last > acked {
            Err(format!("acknowledges entry {last}, and {acked} is the last durable one"))
        } else {
            Ok(())
        }
    }

    fn opened(&mut self, ids: &[u64]) -> Result<(), Rejected> {
        match self.state.w.pc {
            Pc::Up if self.found == *ids => Ok(()),
            Pc::Up => Err(format!("is not what the model finds: {:?}", self.found)),
            pc => Err(format!("comes while the model is {pc:?}")),
        }
    }

    /// Gives the removal to the model as soon as that takes it.
    fn ask_removal(&mut self) -> Result<(), Rejected> {
        if let Some(asked) = self.removal
            && self.state.clone().ask_removal(asked).is_some()
        {
            self.step("AskRemoval", |state| state.ask_removal(asked))?;
            self.removal = None;
        }
        if self.state.clone().hand_over_removal().is_some() {
            self.step("HandOverRemoval", State::hand_over_removal)?;
        }
        Ok(())
    }

    fn operation(&mut self, event: &Event, later: &[Event]) -> Result<(), Rejected> {
        match event {
            Event::Write(file, at, bytes) => self.write(*file, *at, bytes, later),
            Event::Sync(file, done) => self.sync(*file, *done),
            Event::SetLen(file, len) => self.cut(*file, *len),
            Event::Create(file) => self.create(*file),
            Event::Rename(file, named) => self.rename(*file, *named),
            Event::Remove(file) => self.give_up(*file),
            Event::SyncDir(done) => self.sync_dir(*done),
            _ => Ok(()),
        }
    }

    fn create(&mut self, file: usize) -> Result<(), Rejected> {
        if file != self.state.files.len() {
            return Err("has no number that a new file has".to_string());
        }
        self.state.files.push(Rc::new(File::new(self.state.last)));
        self.state.names.0.push(Rc::new(Name::absent()));
        self.bytes.push(Vec::new());
        self.step("MakeSpare", |state| state.make_spare(file))
    }

    fn write(&mut self, file: usize, at: u64, bytes: &[u8], later: &[Event]) -> Result<(), Rejected> {
        if !at.is_multiple_of(FRAME) {
            return Err("is between two places".to_string());
        }
        let (mut from, mut at) = (0, at);
        while from < bytes.len() {
            let start = self.state.start(file);
            let Some((frame, size)) = parse(&bytes[from..], place(at), start) else {
                return Err(format!("has no frame at byte {from}"));
            };
            let Some(frame_bytes) = bytes.get(from..from + size) else {
                return Err(format!("has a part of {frame:?}"));
            };
            self.write_frame(file, place(at), frame, later)?;
            self.note_frame(file, place(at), frame_bytes);
            (from, at) = (from + size, at + size as u64);
        }
        Ok(())
    }

    /// What programs read from now on.
    pub(crate) fn note_bytes(&mut self, file: usize, at: u64, bytes: &[u8]) {
        let all = &mut self.bytes[file];
        let (at, end) = (at as usize, at as usize + bytes.len());
        all.resize(all.len().max(end), 0);
        all[at..end].copy_from_slice(bytes);
    }

    pub(crate) fn note_frame(&mut self, file: usize, place: usize, bytes: &[u8]) {
        let frame = self.state.at(file, place).clone();
        self.note_bytes(file, place as u64 * FRAME, bytes);
        self.written.insert((place, frame), bytes.to_vec());
    }

    fn write_frame(
        &mut self,
        file: usize,
        place: usize,
        frame: Parsed,
        later: &[Event],
    ) -> Result<(), Rejected> {
        if let Parsed::Head { start, salt, used, durable } = frame {
            return self.write_head(file, [start, salt as usize], used, durable);
        }
        let (open, start) = self.state.open();
        let expected = (open, (self.state.w.written + 1).saturating_sub(start));
        if (file, place) != expected {
            return Err(format!("writes {frame:?} to {:?} and not to {expected:?}", (file, place)));
        }
        match frame {
            Parsed::Record { id, durable, more } => {
                self.append(id, durable, more)?;
                self.step("WriteNext", State::write_next)
            }
            Parsed::Mark { closing: false } => self.step("WriteMark", State::write_mark),
            Parsed::Mark { closing: true } if self.calls.is_empty() => self.step("Close", State::close),
            Parsed::Mark { closing: true } => {
                Err("closes a log with records that are not written".to_string())
            }
            Parsed::Seal { records } if records as usize != place => Err(format!("counts {records} records")),
            Parsed::Seal { .. } => {
                match self.calls.pop_front() {
                    Some(Call::Rotate) => {}
                    other => return Err(format!("seals a chunk, and next is {other:?}")),
                }
                self.rotate(later)?;
                self.step("WriteSeal", State::write_seal)
            }
            Parsed::Head { .. } => Ok(()),
        }
    }

    /// What the frame says was durable, which must be so.
    fn checked_durable(&self, durable: Option<usize>) -> Result<usize, Rejected> {
        let (durable, synced) = (durable.unwrap_or(0), self.state.w.synced);
        if durable > synced {
            Err(format!("says that {durable} is durable, and {synced} is"))
        } else {
            Ok(durable)
        }
    }

    fn append(&mut self, id: u64, durable: Option<usize>, more: bool) -> Result<(), Rejected> {
        match self.calls.pop_front() {
            Some(Call::Append { id: next, more: goes_on }) if (next, goes_on) == (id, more) => {}
            other => return Err(format!("writes record {id}, and next is {other:?}")),
        }
        let durable = self.checked_durable(durable)?;
        let action = if more { "AppendBatch" } else { "Append1" };
        self.step(action, |state| {
            let record = state.record(id, durable, more)?;
            state.append(record)
        })
    }

    /// The rotation that a seal belongs to: its spare and its salt are in the head that is written next. If that never
    /// happens, any will do.
    fn rotate(&mut self, later: &[Event]) -> Result<(), Rejected> {
        let head =
            later.iter().take_while(|event| !matches!(event, Event::Down(..))).find_map(
                |event| match event {
                    Event::Write(file, 0, bytes) => Some((*file, parse(bytes, 0, 0)?.0)),
                    _ => None,
                },
            );
        let (file, salt, durable) = match head {
            Some((file, Parsed::Head { salt, durable, .. })) => (Some(file), salt, durable),
            _ => (self.state.w.spares.first().copied(), u64::MAX, None),
        };
        let Some(file) = file else { return Err("seals a chunk without a spare for the next".to_string()) };
        let durable = durable.unwrap_or(0).min(self.state.w.synced);
        self.step("Rotate", |state| state.rotate(file, salt, durable))
    }

    fn write_head(
        &mut self,
        file: usize,
        [start, salt]: [usize; 2],
        used: bool,
        durable: Option<usize>,
    ) -> Result<(), Rejected> {
        let durable = self.checked_durable(durable)?;
        if self.state.w.unopened {
            self.step("Rotate", |state| state.rotate(file, salt as u64, durable))?;
        }
        if self.state.w.next != Some(file) {
            return Err(format!("begins a chunk in file {file}, and next is {:?}", self.state.w.next));
        }
        self.step("BeginChunk", State::begin_chunk)?;
        match self.state.at(file, 0) {
            Frame::Head { start: at, id, used: was, .. }
                if (*at, *id, *was) == (start, salt as u64, used) =>
            {
                Ok(())
            }
            head => Err(format!("writes a head of {start}, used {used}, and not {head:?}")),
        }
    }

    fn sync(&mut self, file: usize, done: Done) -> Result<(), Rejected> {
        if file != self.state.open().0 {
            return Err("is a sync of a file that is not the open chunk's".to_string());
        }
        match (self.state.w.pc, self.state.w.stage, done) {
            (Pc::Closing, _, Done::Ok) => self.step("SyncClose", State::sync_close),
            (Pc::Closing, _, Done::Failed) => self.step("SyncClose", State::sync_close_fails),
            (_, Stage::Unnamed, Done::Ok) => self.step("SyncChunk", State::sync_chunk),
            (_, Stage::Unnamed, Done::Failed) => self.step("SyncChunk", State::sync_chunk_fails),
            (_, Stage::Sealing, Done::Ok) => self.step("SyncSeal", State::sync_seal),
            (_, Stage::Sealing, Done::Failed) => self.step("SyncSeal", State::sync_seal_fails),
            (.., Done::Ok) => self.step("Sync", State::sync),
            (.., Done::Failed) => self.step("Sync", State::sync_fails),
        }
    }

    fn cut(&mut self, file: usize, len: u64) -> Result<(), Rejected> {
        let from = place(len.next_multiple_of(FRAME));
        self.cut_bytes(file, len);
        if self.state.w.cuts.contains(&(file, from)) {
            return self.step("CutChunk", |state| state.cut_chunk(file, from));
        }
        match self.state.files[file].cache.get(from..) {
            Some(rest) if rest.iter().any(|frame| *frame != Frame::Zero) => {
                Err("cuts what is not to be cut".to_string())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn cut_bytes(&mut self, file: usize, len: u64) {
        self.bytes[file].truncate(len as usize);
    }

    fn rename(&mut self, file: usize, named: Named) -> Result<(), Rejected> {
        match named {
            Named::Spare if self.state.w.removal.step == RemovalStep::Failed => {
                self.is_removed(file)?;
                self.step("RenameRemovedAgain", State::rename_removed_again)
            }
            Named::Spare => {
                self.is_removed(file)?;
                self.step("RenameRemoved", State::rename_removed)
            }
            Named::Chunk(id) if (file, id) == (self.state.open().0, offset(self.state.open().1)) => {
                self.step("NameChunk", State::name_chunk)
            }
            _ => Err(format!("is not of the open chunk, which is {:?}", self.state.open())),
        }
    }

    fn is_removed(&self, file: usize) -> Result<(), Rejected> {
        let removal = self.state.w.removal;
        if removal.step != RemovalStep::None && removal.file == file {
            return Ok(());
        }
        Err(format!("removes file {file}, and what is to be removed is {removal:?}"))
    }

    /// A spare is removed.
    pub(crate) fn give_up(&mut self, file: usize) -> Result<(), Rejected> {
        if self.state.w.dir == Dir::Undoing && self.state.w.moving == Some(file) {
            return self.step("UndoSpare", State::undo_spare);
        }
        let name = Rc::make_mut(&mut self.state.names.0[file]);
        match name.now {
            SPARE => {}
            name => return Err(format!("removes the chunk {name}")),
        }
        (name.now, name.dirty) = (ABSENT, true);
        name.disk.insert(ABSENT);
        self.state.w.spares.remove(&file);
        self.state.w.fresh.remove(&file);
        Ok(())
    }

    fn sync_dir(&mut self, done: Done) -> Result<(), Rejected> {
        match (self.state.w.dir, done) {
            (Dir::Pending, Done::Ok) => self.step("SyncNames", State::sync_names),
            (Dir::Pending, Done::Failed) => self.step("SyncNames", State::sync_names_fails),
            (Dir::Moving, Done::Ok) => self.step("SyncMove", State::sync_move),
            (Dir::Moving, Done::Failed) => self.step("SyncMove", State::sync_move_fails),
            (Dir::Durable | Dir::Undoing, _) => Err("syncs names that are durable".to_string()),
        }
    }
}
