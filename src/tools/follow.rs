//! `follow`: records as they become durable.

use std::sync::Arc;
use std::time::Duration;

use super::args::{FollowArgs, From};
use super::outcome::{Failure, Outcome};
use super::print::Printer;
use super::survey::survey;
use super::{Tool, print};
use crate::error::{Error, Undecodable};
use crate::position::{ChunkId, Segment};
use crate::raw::{Listing, Raw, RawRecord, RecordKind};
use crate::reader::{Follow, ReadUpTo, WalReader};
use crate::record::WalRecord;

/// How often `--wait` looks for the log.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn run(tool: &Tool, args: &FollowArgs) -> Result<Outcome, Failure> {
    let mut printer = Printer::new(&args.print, tool.types)?;
    let (listing, is_new) = found(tool, args)?;
    let read_up_to = if args.written { ReadUpTo::Written } else { ReadUpTo::Durable };
    let options = WalReader::<Raw>::read_only_options(&args.dir).storage(Arc::clone(&tool.storage));
    let reader = options.up_to(read_up_to).open()?;
    let mut follow = reader.follow(match args.from {
        None if is_new => reader.start(),
        Some(From::Start) => reader.start(),
        None | Some(From::End) => reader.end(),
        Some(From::Offset(offset)) => first_at(&reader, &listing, offset)?,
    });
    let mut outcome = Outcome::Sound;
    while !printer.is_done() {
        match next(&mut follow, &mut printer) {
            Ok(record) => {
                if let Err(error) = print(args, &mut printer, &record)? {
                    printer.flush()?;
                    print::complain(&error.to_string());
                    outcome = Outcome::Corrupt;
                }
            }
            Err(Stopped::ByOutput(failure)) => return Err(failure),
            Err(Stopped::ByLog(Error::NotInLog { offset, start, .. })) if offset < start => {
                printer.flush()?;
                print::complain(&format!(
                    "offsets {offset} to {start} were removed before they were printed; going on at {start}"
                ));
                follow = reader.follow(start);
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

/// Lists the log, with `--wait` once it is there; and whether that took a wait.
fn found(tool: &Tool, args: &FollowArgs) -> Result<(Listing, bool), Failure> {
    let mut has_waited = false;
    loop {
        match survey(&*tool.storage, &args.dir) {
            Ok(listing) => return Ok((listing, has_waited)),
            Err(failure) if args.wait && failure.is_no_log_yet() => {
                if !has_waited {
                    print::complain(&format!("waiting for a log in '{}'", args.dir.display()));
                }
                has_waited = true;
                std::thread::sleep(LOOK_EVERY);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Returns where the first record at or after an offset starts.
fn first_at(reader: &WalReader<Raw>, listing: &Listing, offset: u64) -> Result<u64, Failure> {
    let (start, end) = (reader.start(), reader.end());
    if offset < start || offset > end {
        return Err(Failure::usage(format!("--from {offset}: the log has offsets {start} to {end}")));
    }
    let chunk = listing.chunks.iter().rev().find(|id| id.0 <= offset).map_or(start, |id| id.0);
    for record in reader.records_from(chunk.min(end))? {
        let (_, segment, _) = record?;
        if segment.offset >= offset {
            return Ok(segment.offset);
        }
    }
    Ok(end)
}

type Record = (ChunkId, Segment, WalRecord<Raw>);

enum Stopped {
    ByLog(Error),
    ByOutput(Failure),
}

/// Waits for the next record; before the wait, flushes the printed records.
fn next(follow: &mut Follow<Raw>, printer: &mut Printer) -> Result<Record, Stopped> {
    if let Some(record) = follow.next_timeout(Duration::ZERO).map_err(Stopped::ByLog)? {
        return Ok(record);
    }
    printer.flush().map_err(Stopped::ByOutput)?;
    loop {
        if let Some(record) = follow.next_timeout(Duration::MAX).map_err(Stopped::ByLog)? {
            return Ok(record);
        }
    }
}

/// Prints a record; returns the error of one that its types can't decode.
fn print(args: &FollowArgs, printer: &mut Printer, record: &Record) -> Result<Result<(), Error>, Failure> {
    let (chunk, segment, record) = record;
    let (kind, payload) = match record {
        WalRecord::Action(payload) => (RecordKind::Action, payload),
        WalRecord::Checkpoint(payload) => (RecordKind::Checkpoint, payload),
    };
    let Segment { offset, size, .. } = *segment;
    let payload = &payload.0[..];
    // A reader doesn't know how the payload is stored; that isn't printed.
    let stored_len = payload.len() as u64;
    let record =
        RawRecord { offset, size, kind, is_compressed: false, batch_goes_on: false, stored_len, payload };
    let decoded = printer.print(*chunk, &record)?;
    let path = || args.dir.join(chunk.file_name());
    Ok(decoded.map_err(|why| Error::undecodable(path(), *chunk, offset, Undecodable::Codec(why))))
}
