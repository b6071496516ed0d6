//! [`Import`]: writes the new log, and reads both logs again to check it.
//!
//! ```text
//! old log ─► Convert ─► new log, unnamed          the same chunks, the same order
//! old log ─► Convert ─► compare ◄─ new log        with another converter, from the files
//!                          └─► the new log gets its name
//! ```

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chunked_wal::codeq::Encode;
use chunked_wal::raw::Raw;
use chunked_wal::{
    ChunkId, ChunkedWal, Config, Records, Segment, StateMachine, WalReader, WalRecord, WalTypes,
};
use chunked_wal_02::WALRecord as OldRecord;

use crate::convert::Convert;
use crate::error::{BoxError, Error, Result};
use crate::report::Report;
use crate::source::{Place, Record, Source, Totals};
use crate::staging::{Staging, parent_of};

/// The largest payload that the log takes: what the old log could hold must fit.
const RECORD_SIZE_MAX: u64 = u32::MAX as u64 - 64;

/// The least space that is allocated ahead for a chunk.
const ALLOCATED_MIN: u64 = 64 << 10;

/// An import of the log in one directory into a new directory.
#[derive(Debug, Clone)]
pub struct Import {
    old: PathBuf,
    new: PathBuf,
}

impl Import {
    /// Names the old log's directory, and the new log's, which must not exist.
    pub fn new(old: impl Into<PathBuf>, new: impl Into<PathBuf>) -> Self {
        Import { old: old.into(), new: new.into() }
    }

    /// Writes the new log, checks it, and gives it its name; blocks until all of it is durable.
    ///
    /// The old directory is only read. Until the check is done, the new log is in a directory beside its place, with
    /// the name `NEW.importing`. An import that is killed leaves this directory; run the import again.
    ///
    /// # Errors
    ///
    /// [`Error`]; then there is nothing under the new log's name.
    pub fn run<C: Convert>(&self, convert: impl Fn() -> C) -> Result<Report> {
        let started = Instant::now();
        let source = Source::open(&self.old)?;
        self.refuse_new_inside_old()?;
        let staging = Staging::begin(&self.new)?;
        let mut report = Report::new(&self.old, &self.new);
        report.begun_anew = staging.begins_anew();
        if !staging.is_in_place() {
            write(&source, &staging.log(), convert())?;
            report.write = started.elapsed();
        }
        check(&source, &staging.log(), convert(), &mut report)?;
        staging.finish()?;
        report.elapsed = started.elapsed();
        Ok(report)
    }

    /// Compares a new log, as an import has made it, with the old log; changes nothing.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); [`Error::Differs`] if the logs aren't the same.
    pub fn check<C: Convert>(&self, convert: impl Fn() -> C) -> Result<Report> {
        let started = Instant::now();
        let source = Source::open(&self.old)?;
        let mut report = Report::new(&self.old, &self.new);
        check(&source, &self.new, convert(), &mut report)?;
        report.elapsed = started.elapsed();
        Ok(report)
    }

    fn refuse_new_inside_old(&self) -> Result<()> {
        let resolved = |path: &Path| fs::canonicalize(path).map_err(Error::io("resolve", path));
        if resolved(&parent_of(&self.new)?)?.starts_with(resolved(&self.old)?) {
            return Err(Error::Inside { new: self.new.clone(), old: self.old.clone() });
        }
        Ok(())
    }
}

/// The state machine of a log whose first checkpoint is known.
struct First<T>(T);

impl<W: WalTypes<Checkpoint = T>, T: Clone> StateMachine<W> for First<T> {
    type Error = Infallible;

    fn apply(&mut self, _: &WalRecord<W>, _: ChunkId, _: Segment) -> std::result::Result<(), Infallible> {
        Ok(())
    }

    fn checkpoint(&self) -> T {
        self.0.clone()
    }
}

/// Writes the new log into a directory that doesn't exist; returns once it is durable.
fn write<C: Convert>(source: &Source, dir: &Path, mut convert: C) -> Result<()> {
    let mut wal: Option<ChunkedWal<C::New>> = None;
    let mut steps = Vec::new();
    let format = convert.old_format();
    let chunk_len_max = source.chunk_len_max()?;
    source.read::<C::Old>(&format, |record| {
        convert_record(&mut convert, record, &mut steps)?;
        for step in steps.drain(..) {
            match (step, wal.as_mut()) {
                (Step::Chunk(checkpoint), Some(wal)) => wal.close_open_chunk_with(checkpoint)?,
                (Step::Chunk(checkpoint), None) => {
                    wal = Some(ChunkedWal::open(config(dir, chunk_len_max), &mut First(checkpoint))?);
                }
                (Step::Record(record), Some(wal)) => {
                    let place = wal.append(&record)?;
                    convert.placed(wal.open_chunk_id(), place);
                }
                // A log starts with a chunk.
                (Step::Record(_), None) => {}
            }
        }
        Ok(())
    })?;
    finish(source, &mut convert)?;
    Ok(wal.map_or(Ok(()), ChunkedWal::close)?)
}

/// The settings under which the new log is written. A program that opens it may have others.
fn config(dir: &Path, chunk_len_max: u64) -> Config {
    let mut config = Config::new(dir);
    // Space is allocated ahead for this much; a chunk may exceed it.
    config.chunk_max_size = chunk_len_max.clamp(ALLOCATED_MIN, config.chunk_max_size);
    config.max_record_size = RECORD_SIZE_MAX;
    // The log is synced once, at its end.
    config.zero_ahead_bytes = 0;
    config
}

/// What becomes of an old record.
enum Step<W: WalTypes> {
    /// A chunk that starts with this checkpoint.
    Chunk(W::Checkpoint),
    Record(WalRecord<W>),
}

/// Converts a record; what becomes of it is pushed to `steps`.
fn convert_record<C: Convert>(
    convert: &mut C,
    old: Record<'_, C::Old>,
    steps: &mut Vec<Step<C::New>>,
) -> Result<()> {
    let Place { path, offset, position } = old.place;
    let refused =
        |source| Error::NotConvertible { path: path.clone(), offset: *offset, position: *position, source };
    match old.record {
        OldRecord::Checkpoint(checkpoint) if old.starts_chunk => {
            steps.push(Step::Chunk(convert.checkpoint(checkpoint, old.payload).map_err(refused)?));
        }
        record => {
            let mut new = Vec::new();
            convert.record(record, old.payload, &mut new).map_err(refused)?;
            steps.extend(new.into_iter().map(Step::Record));
        }
    }
    Ok(())
}

fn finish<C: Convert>(source: &Source, convert: &mut C) -> Result<()> {
    let dir = source.dir().to_owned();
    convert.finish().map_err(|source| Error::NotFinished { dir, source })
}

/// Reads both logs from their files, and compares each record of the new log with what becomes of the old one.
fn check<C: Convert>(source: &Source, dir: &Path, mut convert: C, report: &mut Report) -> Result<()> {
    let mut new = NewRecords::open(dir)?;
    let mut steps = Vec::new();
    let format = convert.old_format();
    let started = Instant::now();
    let mut last = None;
    let totals: Totals = source.read::<C::Old>(&format, |record| {
        let place = record.place.clone();
        convert_record(&mut convert, record, &mut steps)?;
        for step in steps.drain(..) {
            let (chunk_id, segment) = new.compare(&place, &step)?;
            if matches!(step, Step::Record(_)) {
                convert.placed(chunk_id, segment);
            }
        }
        last = Some(place);
        Ok(())
    })?;
    if let Some(last) = last {
        new.end(&last)?;
    }
    finish(source, &mut convert)?;
    report.check = started.elapsed();
    report.old_totals(totals);
    (report.new_records, report.new_bytes) = (new.count, new.end - new.start);
    report.notes = convert.notes();
    Ok(())
}

/// The records of the new log as bytes, from its files.
struct NewRecords {
    records: Records<Raw>,
    chunk: Option<ChunkId>,
    count: u64,
    start: u64,
    /// The global offset after the record that was compared last.
    end: u64,
    expected: Vec<u8>,
}

impl NewRecords {
    fn open(dir: &Path) -> Result<Self> {
        let reader = WalReader::<Raw>::open_read_only(dir)?;
        let (records, start) = (reader.records(), reader.start());
        Ok(NewRecords { records, chunk: None, count: 0, start, end: start, expected: Vec::new() })
    }

    /// Compares the next record; returns its place.
    fn compare<W: WalTypes>(&mut self, old: &Place, step: &Step<W>) -> Result<(ChunkId, Segment)> {
        let Some(next) = self.records.next() else { return Err(self.differs(old, "it ends")) };
        let (chunk, segment, record) = next?;
        let starts_chunk = self.chunk.replace(chunk) != Some(chunk);
        self.expected.clear();
        let encoded = match step {
            Step::Chunk(checkpoint) | Step::Record(WalRecord::Checkpoint(checkpoint)) => {
                checkpoint.encode(&mut self.expected)
            }
            Step::Record(WalRecord::Action(action)) => action.encode(&mut self.expected),
        };
        encoded.map_err(|error| not_encoded(old, error.into()))?;
        if starts_chunk != matches!(step, Step::Chunk(_)) {
            return Err(self.differs(old, "a chunk starts elsewhere"));
        }
        let is_action = matches!(step, Step::Record(WalRecord::Action(_)));
        let found = match &record {
            WalRecord::Action(found) if is_action => found,
            WalRecord::Checkpoint(found) if !is_action => found,
            _ => return Err(self.differs(old, "the record has another kind")),
        };
        if found.0 != self.expected {
            return Err(self.differs(old, "the record has other bytes"));
        }
        self.count += 1;
        self.end = segment.offset + segment.size;
        Ok((chunk, segment))
    }

    /// Checks that nothing follows.
    fn end(&mut self, last: &Place) -> Result<()> {
        match self.records.next() {
            None => Ok(()),
            Some(Ok(_)) => Err(self.differs(last, "another record follows")),
            Some(Err(error)) => Err(error.into()),
        }
    }

    fn differs(&self, old: &Place, what: &'static str) -> Error {
        Error::Differs { path: old.path.clone(), old: old.offset, new: self.end, what }
    }
}

fn not_encoded(old: &Place, source: BoxError) -> Error {
    let Place { path, offset, position } = old.clone();
    Error::NotConvertible { path, offset, position, source }
}
