//! The end of a process: what is left of the disk, and whether the model says so.

use std::collections::{BTreeMap, BTreeSet};

use chunked_wal_protocol::disk::{ABSENT, SPARE};
use chunked_wal_protocol::{File, Frame, Pc, State};

use crate::frame::{FRAME, entry, is_left};
use crate::replay::{Rejected, Replay};
use crate::tape::{Ended, Named};

/// The files that are left: their names and bytes.
type Left = BTreeMap<usize, (Named, Vec<u8>)>;

/// A name as the model has it.
fn number_of(named: Named) -> i64 {
    match named {
        Named::Spare => SPARE,
        Named::Chunk(id) | Named::Away(id) => entry(id) as i64 + 1,
    }
}

impl Replay {
    pub(crate) fn down(&mut self, how: Ended, left: &Left) -> Result<(), Rejected> {
        self.calls.clear();
        self.removal = None;
        let named = |file| left.get(&file).map_or(ABSENT, |(named, _)| number_of(*named));
        let names: Vec<i64> = (0..self.state.files.len()).map(named).collect();
        match how {
            Ended::Killed => self.killed(&names, left),
            Ended::PowerLost => self.power_lost(&names, left),
        }
    }

    fn killed(&mut self, names: &[i64], left: &Left) -> Result<(), Rejected> {
        for (file, (_, bytes)) in left {
            let len = self.bytes[*file].len().max(bytes.len());
            let resized = |bytes: &[u8]| [bytes, &vec![0; len - bytes.len()]].concat();
            if resized(&self.bytes[*file]) != resized(bytes) {
                return Err(format!("leaves other bytes in file {file} than were written"));
            }
        }
        if self.state.names.0.iter().zip(names).any(|(name, now)| name.now != *now) {
            return Err(format!("leaves other names: {names:?}, not {:?}", self.state.names));
        }
        if self.state.w.pc == Pc::Down { Ok(()) } else { self.step("Kill", State::kill) }
    }

    fn power_lost(&mut self, names: &[i64], left: &Left) -> Result<(), Rejected> {
        let mut files = Vec::new();
        for (number, file) in self.state.files.iter().enumerate() {
            let bytes = left.get(&number).map(|(_, bytes)| bytes.clone());
            files.push(match &bytes {
                Some(bytes) => self.frames(file, bytes),
                // Without a name it is never read again.
                None => file.disk.iter().map(|disk| disk.first().cloned().unwrap_or(Frame::Zero)).collect(),
            });
            self.bytes[number] = bytes.unwrap_or_default();
        }
        if self.state.w.pc == Pc::Down {
            // As if power had failed instead of the kill.
            self.state.w.pc = Pc::Failed;
        }
        let strange = self.strange(&files, names);
        self.step("Crash", |state| state.crash(files, names))
            .map_err(|why| format!("leaves {strange}: {why}"))
    }

    /// What a crash can't leave.
    fn strange(&self, files: &[Vec<Frame>], names: &[i64]) -> String {
        let mut strange = Vec::new();
        for (number, (file, left)) in self.state.files.iter().zip(files).enumerate() {
            for (place, (disk, frame)) in file.disk.iter().zip(left).enumerate() {
                if !disk.contains(frame) {
                    strange.push(format!("{frame:?} at place {place} of file {number}, not one of {disk:?}"));
                }
            }
        }
        for (number, (name, left)) in self.state.names.0.iter().zip(names).enumerate() {
            if !name.disk.contains(left) {
                strange.push(format!("the name {left} of file {number}, not one of {:?}", name.disk));
            }
        }
        strange.join("; ")
    }

    /// The frames that a crash has left in a file.
    fn frames(&self, file: &File, bytes: &[u8]) -> Vec<Frame> {
        let at = |place: usize| {
            let from = bytes.len().min(place * FRAME as usize);
            let mut at = bytes[from..bytes.len().min(from + FRAME as usize)].to_vec();
            at.resize(FRAME as usize, 0);
            at
        };
        let left = |place: usize, disk: &BTreeSet<Frame>| {
            let bytes = at(place);
            let is_left = |frame: &&Frame| {
                is_left(frame, self.written.get(&(place, (*frame).clone())).map(Vec::as_slice), &bytes)
            };
            disk.iter().find(is_left).cloned().unwrap_or(Frame::Torn)
        };
        file.disk.iter().enumerate().map(|(place, disk)| left(place, disk)).collect()
    }
}
