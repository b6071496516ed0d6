//! `repair --void`: takes out one record that its codec can't decode.
//!
//! ```text
//! chunk ─► copy: chunk.broken     the old bytes, kept
//!   └────► copy: chunk.voided ─► the record's frame replaced, synced ─► renamed over the chunk
//! ```
//!
//! - Only the rename counts: a crash leaves the old chunk or the new one, both whole. An unfinished
//!   copy is not a chunk to the log, and the next repair writes it again.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::args::RepairArgs;
use super::aside::{copy, free_name, sync_dir};
use super::outcome::{Failure, Outcome};
use super::repair::lock;
use super::survey::survey;
use super::{Tool, print};
use crate::error::Error;
use crate::position::ChunkId;
use crate::raw;
use crate::raw::{ChunkPlace, RawChunk};

pub(super) fn run(tool: &Tool, args: &RepairArgs, offset: u64) -> Result<Outcome, Failure> {
    survey(&*tool.storage, &args.dir)?;
    let lock = if args.apply { Some(lock(tool, &args.dir)?) } else { None };
    let listing = survey(&*tool.storage, &args.dir)?;
    let before = listing.chunks.partition_point(|id| id.0 <= offset).checked_sub(1);
    let Some(i) = before else {
        return Err(Failure::usage(format!("no chunk holds offset {offset}; nothing was changed")));
    };
    let id = listing.chunks[i];
    let what = describe(tool, args, id, listing.place(i), offset)?;
    let Some(lock) = lock else {
        let text = format!("would take out {what}\nnothing was changed; --apply does it\n");
        return say(args, &text, &what, None);
    };
    let path = lock.dir().join(id.file_name());
    let aside = free_name(&path);
    copy(&path, &aside)?;
    let mut voided = path.as_os_str().to_owned();
    voided.push(".voided");
    let voided = PathBuf::from(voided);
    copy(&path, &voided)?;
    let replaced = raw::void_record_on(&*tool.storage, &voided, offset).map_err(Failure::from);
    let renamed =
        replaced.and_then(|()| fs::rename(&voided, &path).map_err(|e| Failure::io("rename", &voided, &e)));
    if renamed.is_err() {
        let _half_made = fs::remove_file(&voided);
    }
    renamed?;
    sync_dir(lock.dir())?;
    let aside = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = format!("done: took out {what}; its chunk was first copied to {aside}\n");
    say(args, &text, &what, Some(&aside))
}

/// Prints the result. `copy`: the name of the chunk's copy, if the record was taken out.
fn say(args: &RepairArgs, text: &str, what: &str, copy: Option<&str>) -> Result<Outcome, Failure> {
    let json = || {
        let (dir, void) = (print::path(&args.dir), args.void);
        json!({ "dir": dir, "void": void, "record": what, "done": copy.is_some(), "copy": copy })
    };
    let text = if args.report.is_json() { format!("{:#}\n", json()) } else { text.to_string() };
    print::all(text.as_bytes())?;
    Ok(Outcome::Sound)
}

/// Describes the record to take out; a failure if there is none at this offset.
fn describe(
    tool: &Tool,
    args: &RepairArgs,
    id: ChunkId,
    place: ChunkPlace,
    offset: u64,
) -> Result<String, Failure> {
    let chunk = RawChunk::open_on(&*tool.storage, &args.dir, id)?;
    let mut records = chunk.records(place);
    while let Some(record) = records.next()? {
        if record.offset == offset {
            let size = print::count(record.size, "byte");
            return Ok(format!("the {} at offset {offset} of {}: {size}", record.kind, id.file_name()));
        }
        if record.offset > offset {
            break;
        }
    }
    let line = match records.end() {
        Some(raw::ChunkEnd::Damaged(error @ Error::Corrupt { .. })) => return Err(error.into()),
        _ => {
            format!(
                "no record starts at offset {offset}; nothing was changed. 'dump' shows where records start"
            )
        }
    };
    Err(Failure::usage(line))
}
