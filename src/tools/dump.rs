//! `dump`: every sound record, one after the other.
//!
//! ```text
//! next ─► record, record, ... ─► damage ──────► the next chunk
//!  ▲                               │ --salvage
//!  └── the next sound record ◄─────┘ the skipped bytes are reported
//! ```

use std::ops::Range;

use super::args::DumpArgs;
use super::outcome::{Failure, Outcome, is_damage};
use super::print::Printer;
use super::survey::survey;
use super::{Tool, look, print};
use crate::error::{Error, Undecodable};
use crate::position::ChunkId;
use crate::raw::{ChunkEnd, ChunkPlace, RawChunk, RawRecords};

/// A running dump.
struct Dump<'a> {
    tool: &'a Tool,
    args: &'a DumpArgs,
    printer: Printer,
    outcome: Outcome,
    /// The first offset that was not handled yet.
    next: u64,
}

pub(super) fn run(tool: &Tool, args: &DumpArgs) -> Result<Outcome, Failure> {
    let printer = Printer::new(&args.print, tool.types)?;
    let mut dump = Dump { tool, args, printer, outcome: Outcome::Sound, next: args.from };
    let done = if args.dir.is_file() { dump.file() } else { dump.log() };
    dump.printer.flush()?;
    done.map(|()| dump.outcome)
}

impl Dump<'_> {
    fn log(&mut self) -> Result<(), Failure> {
        let listing = survey(&*self.tool.storage, &self.args.dir)?;
        let mut expected = None;
        for (i, id) in listing.chunks.iter().enumerate() {
            // A chunk's records end where the next chunk starts.
            let is_before = listing.chunks.get(i + 1).is_some_and(|next| next.0 <= self.args.from);
            if self.printer.is_done() || is_before {
                continue;
            }
            if let Some(expected) = expected.filter(|expected| *expected != id.0) {
                let path = self.args.dir.join(id.file_name());
                self.report(&Error::Gap { path, expected, found: id.0 })?;
            }
            expected = match self.chunk(*id, listing.place(i)) {
                Ok(end) => end,
                Err(Stopped::ByOutput(failure)) => return Err(failure),
                // The process that has the log open removed the chunk; its file may be another chunk by
                // now.
                Err(Stopped::ByLog(_)) if look::is_removed(self.tool, &self.args.dir, *id) => None,
                Err(Stopped::ByLog(error)) if is_damage(&error) => {
                    self.report(&error)?;
                    None
                }
                Err(Stopped::ByLog(error)) => return Err(error.into()),
            };
        }
        Ok(())
    }

    /// Dumps the file of one chunk, which no process writes.
    fn file(&mut self) -> Result<(), Failure> {
        let chunk = match RawChunk::open_file_on(&*self.tool.storage, &self.args.dir) {
            Err(Error::NotAChunk { .. }) => {
                let why = "is a file, but not a chunk; a log is a directory";
                return Err(Failure::no_directory(&self.args.dir, why));
            }
            opened => opened?,
        };
        // A seal without a successor is a valid end too.
        let mut records = chunk.records(ChunkPlace::Newest);
        let ended = self.records(&chunk, &mut records);
        match ended.and_then(|()| self.end(&mut records, &chunk)) {
            Ok(()) => Ok(()),
            Err(Stopped::ByOutput(failure)) => Err(failure),
            Err(Stopped::ByLog(error)) => Err(error.into()),
        }
    }

    /// Reports damage on standard error, after the records before it.
    fn report(&mut self, error: &Error) -> Result<(), Failure> {
        self.printer.flush()?;
        print::complain(&error.to_string());
        self.outcome = self.outcome.max(Outcome::Corrupt);
        Ok(())
    }

    /// Dumps a chunk; returns where the next one starts, if that is known.
    fn chunk(&mut self, id: ChunkId, place: ChunkPlace) -> Result<Option<u64>, Stopped> {
        match self.chunk_once(id, place) {
            // A chunk that ends is cut to its length: continue with the rest, up to its new end.
            Err(Stopped::ByLog(Error::Io { .. })) => self.chunk_once(id, place),
            other => other,
        }
    }

    fn chunk_once(&mut self, id: ChunkId, place: ChunkPlace) -> Result<Option<u64>, Stopped> {
        let chunk = RawChunk::open_on(&*self.tool.storage, &self.args.dir, id)?;
        let mut records = chunk.records(place);
        self.records(&chunk, &mut records)?;
        match records.end() {
            // Enough was printed.
            None => Ok(None),
            Some(ChunkEnd::Sealed { .. }) => Ok(Some(records.sound_end())),
            Some(ChunkEnd::Damaged(_)) => {
                // Apparent damage may be an unfinished write, or a chunk removed meanwhile.
                let look = look::look(self.tool, &self.args.dir, id, place, &mut |_| {})?;
                if matches!(look.state, look::State::Damaged(_)) {
                    self.end(&mut records, &chunk)?;
                }
                Ok(None)
            }
            Some(_) => self.end(&mut records, &chunk).map(|()| None),
        }
    }

    /// Prints records until the chunk ends, or enough are printed.
    fn records(&mut self, chunk: &RawChunk, records: &mut RawRecords<'_>) -> Result<(), Stopped> {
        while let Some(record) = records.next()? {
            if record.offset >= self.next {
                self.next = record.offset + record.size;
                if let Err(why) = self.printer.print(chunk.id(), &record)? {
                    let why = Undecodable::Codec(why);
                    let error = Error::undecodable(chunk.path(), chunk.id(), record.offset, why);
                    self.report(&error)?;
                }
            }
            if self.printer.is_done() {
                break;
            }
        }
        Ok(())
    }

    /// Handles the end of a chunk: reports damage, and continues after it with --salvage.
    fn end(&mut self, records: &mut RawRecords<'_>, chunk: &RawChunk) -> Result<(), Stopped> {
        match records.end() {
            Some(ChunkEnd::Damaged(error)) if is_damage(&error) => self.report(&error)?,
            Some(ChunkEnd::Damaged(error)) => return Err(error.into()),
            _ => {}
        }
        while self.args.salvage
            && !self.printer.is_done()
            && let Some(skipped) = records.skip_damage()?
        {
            self.skip(&skipped)?;
            self.records(chunk, records)?;
        }
        Ok(())
    }

    /// Reports lost bytes on standard error. A torn end is not reported, unless sound records follow
    /// it.
    fn skip(&mut self, skipped: &Range<u64>) -> Result<(), Failure> {
        self.outcome = self.outcome.max(Outcome::Torn);
        if skipped.end <= self.next {
            return Ok(());
        }
        self.next = skipped.end;
        self.printer.flush()?;
        print::complain(&print::skipped(skipped));
        Ok(())
    }
}

/// Why a chunk was not dumped to its end.
enum Stopped {
    ByLog(Error),
    ByOutput(Failure),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::ByLog(error)
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::ByOutput(failure)
    }
}
