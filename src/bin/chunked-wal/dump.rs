//! `dump`: every sound record, one behind the other.

use chunked_wal::Error;
use chunked_wal::raw::ChunkEnd;
use chunked_wal::raw::ChunkPlace;
use chunked_wal::raw::RawChunk;

use crate::args::DumpArgs;
use crate::look;
use crate::outcome::Failure;
use crate::outcome::Outcome;
use crate::outcome::is_damage;
use crate::print::Printer;
use crate::survey::survey;

pub(crate) fn run(args: &DumpArgs) -> Result<Outcome, Failure> {
    let listing = survey(&args.dir)?;
    let mut printer = Printer::new(&args.print);
    let mut outcome = Outcome::Sound;
    let mut expected = None;
    for (i, id) in listing.chunks.iter().enumerate() {
        // A chunk's records end where the next one begins.
        if printer.is_done() || listing.chunks.get(i + 1).is_some_and(|next| next.0 <= args.from) {
            continue;
        }
        if let Some(expected) = expected.filter(|expected| *expected != id.0) {
            let path = args.dir.join(id.file_name());
            outcome = tell(&mut printer, &Error::Gap { path, expected, found: id.0 })?;
        }
        match dump_chunk(args, listing.place(i), *id, &mut printer) {
            Ok(end) => expected = end,
            Err(Stopped::ByOutput(failure)) => return Err(failure),
            // Removed by the process that has the log open; its file may be another chunk's already.
            Err(Stopped::ByLog(_)) if look::is_removed(&args.dir, *id) => expected = None,
            Err(Stopped::ByLog(error)) if is_damage(&error) => {
                expected = None;
                outcome = tell(&mut printer, &error)?;
            }
            Err(Stopped::ByLog(error)) => {
                printer.flush()?;
                return Err(error.into());
            }
        }
    }
    printer.flush()?;
    Ok(outcome)
}

/// Says on standard error what is damaged, behind the records before it.
fn tell(printer: &mut Printer<'_>, error: &Error) -> Result<Outcome, Failure> {
    printer.flush()?;
    eprintln!("chunked-wal: {error}");
    Ok(Outcome::Corrupt)
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

/// Dumps a chunk; returns where the next one begins, if that is known.
fn dump_chunk(
    args: &DumpArgs,
    place: ChunkPlace,
    id: chunked_wal::ChunkId,
    printer: &mut Printer<'_>,
) -> Result<Option<u64>, Stopped> {
    let mut next = args.from;
    match dump_from(args, place, id, printer, &mut next) {
        // A chunk that ends is cut to its length: the rest is read up to its new end.
        Err(Stopped::ByLog(Error::Io { .. })) => dump_from(args, place, id, printer, &mut next),
        other => other,
    }
}

/// Dumps a chunk from an offset on, which moves behind what is printed.
fn dump_from(
    args: &DumpArgs,
    place: ChunkPlace,
    id: chunked_wal::ChunkId,
    printer: &mut Printer<'_>,
    next: &mut u64,
) -> Result<Option<u64>, Stopped> {
    let chunk = RawChunk::open(&args.dir, id)?;
    let mut records = chunk.records(place);
    while let Some(record) = records.next()? {
        if record.offset >= *next {
            printer.print(id, &record)?;
            *next = record.offset + record.size;
        }
        if printer.is_done() {
            return Ok(None);
        }
    }
    match records.end() {
        // What is being written, or what a crash tore, is not there.
        Some(ChunkEnd::Torn { .. } | ChunkEnd::Clean { .. }) => Ok(None),
        Some(ChunkEnd::Damaged(error)) => {
            // What looks damaged may be what is being written, or a chunk removed meanwhile.
            let look = look::look(&args.dir, id, place, &mut |_| {})?;
            if matches!(look.state, look::State::Damaged(_)) { Err(error.into()) } else { Ok(None) }
        }
        _ => Ok(Some(records.sound_end())),
    }
}
