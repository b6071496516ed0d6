//! `follow`: records as they become durable.

use std::time::Duration;

use chunked_wal::raw::{Listing, Raw, RawRecord, RecordKind};
use chunked_wal::{ChunkId, Error, Follow, ReadUpTo, Segment, WalReader, WalRecord};

use crate::args::{FollowArgs, From};
use crate::outcome::{Failure, Outcome};
use crate::print::Printer;
use crate::survey::survey;

pub(crate) fn run(args: &FollowArgs) -> Result<Outcome, Failure> {
    let listing = survey(&args.dir)?;
    let read_up_to = if args.written { ReadUpTo::Written } else { ReadUpTo::Durable };
    let reader = WalReader::<Raw>::read_only_options(&args.dir).up_to(read_up_to).open()?;
    let mut follow = reader.follow(match args.from {
        From::Start => reader.start(),
        From::End => reader.end(),
        From::Offset(offset) => first_at(&reader, &listing, offset)?,
    });
    let mut printer = Printer::new(&args.print);
    while !printer.is_done() {
        match next(&mut follow, &mut printer) {
            Ok((chunk, segment, record)) => print(&mut printer, chunk, segment, &record)?,
            Err(Stopped::ByOutput(failure)) => return Err(failure),
            Err(Stopped::ByLog(Error::NotInLog { offset, start, .. })) if offset < start => {
                printer.flush()?;
                eprintln!(
                    "chunked-wal: offsets {offset} to {start} were removed before they were printed; \
                     going on at {start}"
                );
                follow = reader.follow(start);
            }
            Err(Stopped::ByLog(error)) => {
                printer.flush()?;
                return Err(error.into());
            }
        }
    }
    printer.flush()?;
    Ok(Outcome::Sound)
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
fn next(follow: &mut Follow<Raw>, printer: &mut Printer<'_>) -> Result<Record, Stopped> {
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

fn print(
    printer: &mut Printer<'_>,
    chunk: ChunkId,
    segment: Segment,
    record: &WalRecord<Raw>,
) -> Result<(), Failure> {
    let (kind, payload) = match record {
        WalRecord::Action(payload) => (RecordKind::Action, payload),
        WalRecord::Checkpoint(payload) => (RecordKind::Checkpoint, payload),
    };
    let Segment { offset, size, .. } = segment;
    let payload = &payload.0[..];
    // A reader doesn't know how the payload is stored; that isn't printed.
    let stored_len = payload.len() as u64;
    printer.print(
        chunk,
        &RawRecord { offset, size, kind, is_compressed: false, batch_goes_on: false, stored_len, payload },
    )
}
