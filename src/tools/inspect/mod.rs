//! `inspect`: a table of chunks, and other facts about the log.

mod chart;
mod html;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde_json::{Value, json};

use super::args::InspectArgs;
use super::look::{LogLook, Look, State, is_gone, look};
use super::outcome::{Failure, Outcome, is_damage};
use super::repair::ways;
use super::survey::{is_open, survey, unnamed};
use super::{Tool, print};
use crate::clock::from_unix_ms;
use crate::directory::Unnamed;
use crate::pin::{StoredHolder, stored_holders};
use crate::position::ChunkId;
use crate::raw::{ChunkPlace, Listing, RawChunk};

/// A row of the table.
struct Row {
    id: ChunkId,
    look: Look,
    /// `None` if not even the header can be read.
    header: Option<RowHeader>,
}

struct RowHeader {
    /// `None` where the header names a time after the year 9999, which RFC 3339 can't write.
    created: Option<String>,
    created_at: SystemTime,
    is_reused: bool,
    may_be_compressed: bool,
    file_len: u64,
}

pub(super) fn run(tool: &Tool, args: &InspectArgs) -> Result<Outcome, Failure> {
    let listing = survey(&*tool.storage, &args.dir)?;
    let mut headers = Vec::new();
    let mut looks = Vec::new();
    for (i, id) in listing.chunks.iter().enumerate() {
        headers.push((*id, read_header(tool, &args.dir, *id)?));
        // A page is kept and passed on, so it leaves nothing unread.
        looks.push((
            *id,
            match args.html {
                Some(_) => look(tool, &args.dir, *id, listing.place(i), &mut |_| {})?,
                None => quick_look(tool, &args.dir, *id, listing.place(i))?,
            },
        ));
    }
    let log = LogLook::of(tool, &args.dir, looks);
    let is_open = is_open(&args.dir);
    let ways = ways(tool, &args.dir, &log, is_open);
    let header_of = |id: ChunkId, headers: &mut Vec<(ChunkId, Option<RowHeader>)>| {
        headers.iter_mut().find(|(of, _)| *of == id).and_then(|(_, header)| header.take())
    };
    let log_id = log.log_id;
    let row = |(id, look)| Row { id, look, header: header_of(id, &mut headers) };
    let rows: Vec<Row> = log.chunks.into_iter().map(row).collect();
    let unnamed = unnamed(tool, &args.dir, &listing, is_open);
    let holders = stored_holders(&*tool.storage, &args.dir)?;
    let report = Report { dir: &args.dir, listing: &listing, is_open, log_id, rows: &rows, unnamed, holders };
    match &args.html {
        Some(path) => write_page(&args.dir, path, &html::page(&report, &ways))?,
        None if args.report.is_json() => print::all(format!("{:#}\n", report.json()).as_bytes())?,
        None => print::all(report.text().as_bytes())?,
    }
    Ok(report.outcome())
}

/// Writes a page to a file; to standard output for `-`.
fn write_page(dir: &Path, path: &Path, page: &str) -> Result<(), Failure> {
    if path == Path::new("-") {
        return print::all(page.as_bytes());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let resolved: io::Result<(PathBuf, PathBuf)> =
        fs::canonicalize(parent).and_then(|parent| Ok((parent, fs::canonicalize(dir)?)));
    if resolved.is_ok_and(|(parent, dir)| parent == dir) {
        let line = format!("'{}' is in the log's directory: write the page to another one", path.display());
        return Err(Failure::usage(line));
    }
    fs::write(path, page).map_err(|e| Failure::io("write", path, &e))
}

fn read_header(tool: &Tool, dir: &Path, id: ChunkId) -> Result<Option<RowHeader>, Failure> {
    match RawChunk::open_on(&*tool.storage, dir, id) {
        Ok(chunk) => Ok(Some(RowHeader {
            created: rfc3339(chunk.created()),
            created_at: chunk.created(),
            is_reused: chunk.is_reused(),
            may_be_compressed: chunk.may_be_compressed(),
            file_len: chunk.file_len(),
        })),
        Err(error) if is_gone(&error) || is_damage(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Formats a time, where `to_string` would panic if it can't be written.
fn rfc3339(time: SystemTime) -> Option<String> {
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339_seconds(time)).ok().map(|()| text)
}

/// As [`look`], but reads only the first record of a chunk whose seal is in its place, unless the chunk
/// may have compressed records, which must be counted.
fn quick_look(tool: &Tool, dir: &Path, id: ChunkId, place: ChunkPlace) -> Result<Look, Failure> {
    if place == ChunkPlace::Older
        && let Ok(chunk) = RawChunk::open_on(&*tool.storage, dir, id)
        && !chunk.may_be_compressed()
        && let Ok(Some(seal)) = chunk.seal()
    {
        let mut records = chunk.records(place);
        if let Ok(Some(first)) = records.next() {
            return Ok(Look {
                records: seal.records,
                data_end: seal.data_end,
                checkpoint: Some(first.payload.len() as u64),
                log_id: Some(chunk.log_id()),
                predecessor_checksum: chunk.predecessor_checksum(),
                data_checksum: seal.data_checksum,
                state: State::Sealed,
                is_partial: true,
                ..Look::default()
            });
        }
    }
    Ok(look(tool, dir, id, place, &mut |_| {})?)
}

/// The contents of the report.
struct Report<'a> {
    dir: &'a Path,
    listing: &'a Listing,
    is_open: bool,
    log_id: Option<[u8; 16]>,
    rows: &'a [Row],
    /// The spare that continues the log.
    unnamed: Option<Unnamed>,
    /// The subscribers. Other pins are in the memory of the log's process alone.
    holders: Vec<StoredHolder>,
}

impl Row {
    fn bytes(&self) -> u64 {
        self.look.data_end - self.id.0
    }

    fn state(&self, is_open: bool) -> &'static str {
        match self.look.state {
            State::Sealed => "sealed",
            State::Torn { .. } if !is_open => "torn",
            State::Open { .. } | State::Torn { .. } => "open",
            State::Damaged(_) => "damaged",
            State::Removed => "removed",
        }
    }

    /// The share of compressed payload; `None` where nothing is compressed.
    fn lz4(&self) -> Option<f64> {
        let may_be = self.header.as_ref().is_some_and(|header| header.may_be_compressed);
        may_be.then(|| self.look.compressed as f64 / (self.look.payload.max(1)) as f64)
    }
}

impl Report<'_> {
    fn torn(&self) -> Option<(&Row, u64, Option<u64>)> {
        let row = self.rows.last().filter(|_| !self.is_open)?;
        match row.look.state {
            State::Torn { lost, cut_at } => Some((row, lost, cut_at)),
            _ => None,
        }
    }

    /// Whether the log ends whole but was not closed: its process was killed, or the power failed.
    fn ended_unmarked(&self) -> bool {
        let ended = self.rows.last().filter(|_| !self.is_open).map(|row| &row.look.state);
        matches!(ended, Some(State::Open { marked: false }))
    }

    /// The number of chunks that were not read as a whole.
    fn read_in_part(&self) -> u64 {
        self.rows.iter().filter(|row| row.look.is_partial).count() as u64
    }

    fn damage(&self) -> impl Iterator<Item = String> {
        self.rows.iter().flat_map(|row| row.look.damage()).map(ToString::to_string)
    }

    fn outcome(&self) -> Outcome {
        match (self.damage().next(), self.torn()) {
            (Some(_), _) => Outcome::Corrupt,
            (None, Some(_)) => Outcome::Torn,
            (None, None) => Outcome::Sound,
        }
    }

    fn totals(&self) -> (u64, u64) {
        let sum = |of: fn(&Row) -> u64| self.rows.iter().map(of).fold(0, u64::saturating_add);
        (sum(|row| row.look.records), sum(Row::bytes))
    }

    fn log_id(&self) -> Option<String> {
        self.log_id.map(|id| format!("{:032x}", u128::from_be_bytes(id)))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line(format!(
            "{:<26} {:>10} {:>12}  {:<8} {:<21} {:>10}  {:>4}",
            "CHUNK", "RECORDS", "BYTES", "STATE", "CREATED", "CHECKPOINT", "LZ4"
        ));
        for row in self.rows {
            let created = row.header.as_ref().and_then(|header| header.created.as_deref()).unwrap_or("-");
            let checkpoint = row.look.checkpoint.map_or("-".into(), print::bytes);
            let lz4 = row.lz4().map_or("-".into(), |share| format!("{:.0}%", share * 100.0));
            line(format!(
                "{:<26} {:>10} {:>12}  {:<8} {created:<21} {checkpoint:>10}  {lz4:>4}",
                padded(row.id),
                print::number(row.look.records),
                print::bytes(row.bytes()),
                row.state(self.is_open),
            ));
        }
        let (records, bytes) = self.totals();
        let chunks = print::count(self.rows.len() as u64, "chunk");
        line(format!("{chunks:<26} {:>10} {:>12}", print::number(records), print::bytes(bytes)));
        line(String::new());
        line(format!("log        {}", self.log_id().unwrap_or_else(|| "unknown".into())));
        line(format!("writer     {}", if self.is_open { "has it open" } else { "none" }));
        line(match self.torn() {
            None if self.ended_unmarked() => {
                "torn tail  none, but no mark either: the writer did not close the log".into()
            }
            None => "torn tail  none".into(),
            Some((row, lost, cut_at)) => {
                format!("torn tail  {}", print::torn(lost, row.look.data_end, cut_at))
            }
        });
        line(match self.read_in_part() {
            0 => "read       every record".into(),
            n => format!(
                "read       only header, seal and first record of {}: 'verify' reads every byte",
                print::count(n, "sealed chunk")
            ),
        });
        line(format!("spares     {}", self.listing.spares.len()));
        if let Some(unnamed) = &self.unnamed {
            line(format!("unnamed    {}", unnamed.text()));
        }
        for holder in &self.holders {
            line(format!("subscriber {}", self.holder_text(holder)));
        }
        let name = |path: &PathBuf| print::name(path.file_name().unwrap_or_default());
        let foreign: Vec<_> = self.listing.foreign.iter().map(name).collect();
        line(format!("foreign    {}", if foreign.is_empty() { "none".into() } else { foreign.join(", ") }));
        for damage in self.damage() {
            let _infallible = write!(text, "\nDAMAGED: {damage}\n");
        }
        text
    }

    /// The end of the last record.
    fn end(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.look.data_end)
    }

    fn holder_text(&self, holder: &StoredHolder) -> String {
        let StoredHolder { name, cursor, state } = holder;
        let Some(cursor) = cursor else {
            return format!("{name}: its file is damaged, so the whole log is kept");
        };
        let stored = rfc3339(from_unix_ms(cursor.stored_ms)).unwrap_or_else(|| "-".into());
        let bytes = print::bytes(self.end().saturating_sub(cursor.offset));
        format!("{name}: {state}, at offset {}, {bytes} behind, moved {stored}", cursor.offset)
    }

    fn holder_json(&self, holder: &StoredHolder) -> Value {
        let StoredHolder { name, cursor, state } = holder;
        let limit = |limit: u64| (limit != u64::MAX).then_some(limit);
        json!({
            "name": name,
            "state": state.to_string(),
            "damaged": cursor.is_none(),
            "offset": cursor.map(|cursor| cursor.offset),
            "bytes_behind": cursor.map(|cursor| self.end().saturating_sub(cursor.offset)),
            "moved": cursor.and_then(|cursor| rfc3339(from_unix_ms(cursor.stored_ms))),
            "max_bytes": cursor.and_then(|cursor| limit(cursor.max_bytes)),
            "max_age_ms": cursor.and_then(|cursor| limit(cursor.max_age_ms)),
            "breakable": cursor.map(|cursor| !cursor.is_unbreakable),
        })
    }

    fn json(&self) -> Value {
        let (records, bytes) = self.totals();
        let chunks: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        json!({
            "dir": print::path(self.dir),
            "log_id": self.log_id(),
            "open_by_writer": self.is_open,
            "chunks": chunks,
            "records": records,
            "bytes": bytes,
            "torn_tail": self.torn().map(|(row, lost, _)| json!({
                "chunk": row.id.0, "data_end": row.look.data_end, "lost": lost,
            })),
            "ended_unmarked": self.ended_unmarked(),
            "chunks_read_in_part": self.read_in_part(),
            "unnamed": self.unnamed.as_ref().map(|unnamed| print::path(&unnamed.path)),
            "spares": self.listing.spares.iter().map(print::path).collect::<Vec<_>>(),
            "foreign": self.listing.foreign.iter().map(print::path).collect::<Vec<_>>(),
            "subscribers": self.holders.iter().map(|holder| self.holder_json(holder)).collect::<Vec<_>>(),
            "damage": self.damage().collect::<Vec<_>>(),
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let header = row.header.as_ref();
        json!({
            "id": row.id.0,
            "file": row.id.file_name(),
            "file_bytes": header.map(|header| header.file_len),
            "records": row.look.records,
            "bytes": row.bytes(),
            "end": row.look.data_end,
            "state": row.state(self.is_open),
            "created": header.and_then(|header| header.created.clone()),
            "reused_file": header.map(|header| header.is_reused),
            "checkpoint_bytes": row.look.checkpoint,
            "lz4_share": row.lz4(),
        })
    }
}

/// The id with all its digits, as in the file's name.
fn padded(id: ChunkId) -> String {
    id.file_name().trim_start_matches("r-").trim_end_matches(".wal").to_string()
}
