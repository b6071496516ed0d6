//! Opens a disk and compares it with the model.
//!
//! ```text
//! disk ─► names ─► open ─► records ┬─ found ───────────────┬─ started by this open ─┐
//!                                  │ the model's, in order  │ by earlier opens       │
//!                                  └─ start … matched ──────┴────────────────────────┘
//! ```

mod before;
pub(crate) mod history;
pub(crate) mod types;
pub(crate) mod watched;

use std::rc::Rc;
use std::sync::Arc;

use crate::config::Config;
use crate::error::Error;
use crate::record::{StateMachine, WalRecord, WalTypes};
use crate::recovery::Replay;
use crate::storage::MemoryStorage;
use crate::testing::Subject;
use crate::testing::check::before::DirectoryBefore;
use crate::testing::check::history::{Bounds, Entry, History};
use crate::testing::check::types::TestTypes;
use crate::testing::check::watched::Watched;
use crate::wal::{ChunkedWal, OpenOptions};

/// The types of a subject's log.
pub(crate) type Types<S> = <S as Subject>::Types;

/// A subject's log.
pub(crate) type Wal<S> = ChunkedWal<TestTypes<Types<S>>>;

/// The model that an open is compared with.
pub(crate) struct Claims<'a, W: WalTypes> {
    pub(crate) history: &'a History<W>,
    pub(crate) bounds: &'a Bounds,
    /// Everything below this offset must be there.
    pub(crate) floor: u64,
}

/// An opened log that matches the model.
pub(crate) struct Opened<S: Subject> {
    pub(crate) wal: Wal<S>,
    pub(crate) machine: Watched<Types<S>, S::StateMachine>,
    /// The state machine to compare with: it got the same actions, and was never closed.
    pub(crate) expected: S::StateMachine,
    /// All records that the log holds or ever held.
    pub(crate) history: History<Types<S>>,
    /// The oldest chunk kept.
    pub(crate) start: u64,
    pub(crate) was_torn: bool,
}

/// Why there is no [`Opened`].
pub(crate) enum Refusal {
    /// The log could not be opened.
    Error(Error),
    /// The log was opened, but doesn't match the model.
    Wrong(String),
}

impl From<String> for Refusal {
    fn from(wrong: String) -> Self {
        Refusal::Wrong(wrong)
    }
}

/// Opens a disk and compares everything visible with the model. `listen` may add to the options.
pub(crate) fn open<S: Subject>(
    subject: &S,
    disk: &MemoryStorage,
    config: Config,
    replay: Replay,
    listen: impl Fn(OpenOptions<TestTypes<Types<S>>>) -> OpenOptions<TestTypes<Types<S>>>,
    claims: &Claims<'_, Types<S>>,
) -> Result<Opened<S>, Refusal> {
    let mut facts = DirectoryBefore::of(disk, &config);
    let (wal, machine) = loop {
        let mut machine = Watched::new(subject.state_machine());
        let options = ChunkedWal::options(config.clone()).replay(replay).storage(Arc::new(disk.clone()));
        match listen(options).open(&mut machine) {
            Ok(wal) => break (wal, machine),
            // A page that had been read was evicted: the next attempt finds the disk's bytes.
            Err(Error::Io { op: "read again", .. }) if disk.evicts() => {}
            Err(error) => return Err(Refusal::Error(error)),
        }
    };

    let all = all_records::<S>(&wal)?;
    facts.take_over(disk, &config, &all);
    let found = facts.count_found(&all)?;
    let matched = claims.matched(&all[..found])?;
    let first = claims.first(&all[..found])?;
    claims.check_batches(first + matched)?;
    let known = &claims.history.entries[..first + matched];
    let expected = claims.history.apply_to(known.len(), subject.state_machine())?;
    claims.check_started(&all, matched, found, &expected.checkpoint())?;
    claims.check_bounds(&all[..found])?;
    check_replay(&machine.seen, replay, &all[..found])?;
    facts.check_report(wal.recovery(), &all[..found])?;

    let entries = known.iter().chain(&all[matched..]).cloned().collect();
    let start = all[0].chunk;
    let was_torn = wal.recovery().torn_tail.is_some();
    let history = History { entries, compression: claims.history.compression };
    let opened = Opened { wal, machine, expected, history, start, was_torn };
    opened.check_state(subject)?;
    opened.check_positions(&all)?;
    Ok(opened)
}

fn all_records<S: Subject>(wal: &Wal<S>) -> Result<Vec<Rc<Entry<Types<S>>>>, String> {
    let mut all = Vec::new();
    for record in wal.records() {
        let (chunk, segment, record) = record.map_err(|e| format!("a record can't be read back: {e}"))?;
        all.push(Rc::new(Entry::watched(chunk, segment, record)));
    }
    if all.is_empty() { Err("an open log has no record at all".to_string()) } else { Ok(all) }
}

impl<W: WalTypes> Claims<'_, W> {
    /// Returns the index of the oldest record found in the history.
    fn first(&self, found: &[Rc<Entry<W>>]) -> Result<usize, String> {
        let Some(first) = found.first() else { return Ok(0) };
        if !first.starts_chunk() {
            return Err(format!("the oldest record is not the first of its chunk: {first}"));
        }
        let index = self.history.chunk(first.chunk);
        index.ok_or_else(|| format!("the oldest chunk was never started: {first}"))
    }

    /// Returns how many of the records found match the history, from the oldest on without a gap.
    fn matched(&self, found: &[Rc<Entry<W>>]) -> Result<usize, String> {
        let history = &self.history.entries[self.first(found)?..];
        let appended = |entry: &Rc<Entry<W>>| entry.end() <= self.bounds.appended;
        Ok(found.iter().zip(history).take_while(|(found, known)| *found == *known && appended(known)).count())
    }

    /// Checks that no batch was recovered in part, if the first `n` records of the history are there.
    fn check_batches(&self, n: usize) -> Result<(), String> {
        match self.history.entries.get(n) {
            Some(missing) if missing.continues => {
                Err(format!("a batch is there in part; the first record missing: {missing}"))
            }
            _ => Ok(()),
        }
    }

    /// Checks the records that are not in the history: they must be a chunk's first checkpoint, with
    /// the state at the end, written by an open.
    fn check_started(
        &self,
        all: &[Rc<Entry<W>>],
        matched: usize,
        found: usize,
        checkpoint: &W::Checkpoint,
    ) -> Result<(), String> {
        for (i, entry) in all.iter().enumerate().skip(matched) {
            let end = i.checked_sub(1).map_or(0, |before| all[before].end());
            let checkpoint = self.history.chunk_start(end, checkpoint.clone());
            let may_start = i >= found || self.bounds.opening;
            if may_start && **entry == checkpoint {
                continue;
            }
            let index = self.first(&all[..found])? + i;
            let wanted = self.history.entries.get(index).filter(|entry| entry.end() <= self.bounds.appended);
            let wanted = wanted.map_or_else(|| "nothing more".to_string(), ToString::to_string);
            let checkpoint = if may_start { format!(", or {checkpoint}") } else { String::new() };
            return Err(format!(
                "record {i} from the oldest is not what was appended\n  found:    {entry}\n  appended: {wanted}{checkpoint}"
            ));
        }
        Ok(())
    }

    fn check_bounds(&self, found: &[Rc<Entry<W>>]) -> Result<(), String> {
        let bounds = self.bounds;
        let start = found.first().map_or(0, |entry| entry.chunk);
        let end = found.last().map_or(0, |entry| entry.end());
        if end < self.floor {
            let lost = self.history.entries.iter().find(|entry| entry.end() > end);
            let lost = lost.map_or_else(String::new, |entry| format!("; the first lost: {entry}"));
            return Err(format!("records are lost: acknowledged to {}, found to {end}{lost}", self.floor));
        }
        if start < bounds.start_min {
            return Err(format!(
                "chunk {start} is back: all below {} were removed for good",
                bounds.start_min
            ));
        }
        if start > bounds.start_max {
            return Err(format!("chunk {} is gone, though its removal was not asked for", bounds.start_max));
        }
        let mut before = bounds.start;
        for (frontier, justified_by) in &bounds.removals {
            if start > before && end < *justified_by {
                return Err(format!(
                    "chunk {before} was removed before everything appended until then, up to {justified_by}, was durable: found up to {end}"
                ));
            }
            before = *frontier;
        }
        Ok(())
    }
}

/// Checks that the state machine got exactly the records in the log.
fn check_replay<W: WalTypes>(
    seen: &[Entry<W>],
    replay: Replay,
    found: &[Rc<Entry<W>>],
) -> Result<(), String> {
    let from = match replay {
        Replay::All => 0,
        Replay::FromLastCheckpoint => found.iter().rposition(|entry| entry.starts_chunk()).unwrap_or(0),
    };
    let wanted = &found[from..];
    if let Some((seen, wanted)) = seen.iter().zip(wanted).find(|(seen, wanted)| *seen != &***wanted) {
        return Err(format!("the state machine was given {seen}, the log holds {wanted}"));
    }
    if seen.len() != wanted.len() {
        return Err(format!("the state machine was given {} records of {}", seen.len(), wanted.len()));
    }
    Ok(())
}

impl<S: Subject> Opened<S> {
    /// Checks that the state machine is like one that was never closed.
    pub(crate) fn check_state(&self, subject: &S) -> Result<(), String> {
        let (found, expected) = (self.machine.machine.checkpoint(), self.expected.checkpoint());
        if found != expected {
            return Err(format!(
                "the recovered state is not the state before\n  recovered: {found:?}\n  expected:  {expected:?}"
            ));
        }
        subject.check(&self.machine.machine, &self.expected)
    }

    /// Appends an action and syncs it: the log must go on as if nothing had happened.
    pub(crate) fn append(&mut self, subject: &S, n: u64) -> Result<(), String> {
        let action = subject.action(n);
        if self.wal.is_open_chunk_full() {
            self.history.push(self.history.chunk_start(self.history.end(), self.expected.checkpoint()));
        }
        let appended = self.wal.append_and_apply(action.clone(), &mut self.machine);
        let (chunk, record) = (self.wal.open_chunk_id(), WalRecord::Action(action));
        let entry = self.history.next_in(chunk.0, record);
        let taken = self.expected.apply(&entry.record, chunk, entry.segment());
        match (appended, taken) {
            (Err(Error::StateMachine { .. }), Err(_)) => return self.check_state(subject),
            (Ok(segment), Ok(())) if segment == entry.segment() => {}
            (Ok(segment), Ok(())) => return Err(format!("appended at {segment:?}, and not: {entry}")),
            (Err(e), _) => return Err(format!("append after recovery failed: {e}")),
            (Ok(_), Err(_)) => {
                return Err(format!("the recovered state machine takes what it would have refused: {entry}"));
            }
        }
        let end = entry.end();
        let segment = entry.segment();
        self.history.push(entry);
        self.wal.sync().map_err(|e| format!("sync after recovery failed: {e}"))?;
        let synced = self.wal.progress().synced;
        if synced != end {
            return Err(format!("synced to {end}, the progress says {synced}"));
        }
        let read = self.wal.read_record(segment).map_err(|e| format!("reading back failed: {e}"))?;
        if !self.history.ends_with(&Entry::watched(chunk, segment, read)) {
            return Err("the record just appended reads back as another".to_string());
        }
        self.check_state(subject)
    }

    /// Checks that the log's own positions agree with its records.
    fn check_positions(&self, all: &[Rc<Entry<Types<S>>>]) -> Result<(), String> {
        let wal = &self.wal;
        let end = self.history.end();
        let last = &all[all.len() - 1];
        let progress = wal.progress();
        if [progress.appended, progress.written, progress.synced] != [end; 3] {
            return Err(format!("the log ends at {end}, its progress is {progress:?}"));
        }
        if wal.last_segment() != last.segment() || wal.open_chunk_id().0 != last.chunk {
            return Err(format!("the last record is {last}, the log says {:?}", wal.last_segment()));
        }
        if wal.on_disk_size() != end - self.start {
            return Err(format!("{} bytes from {} to {end}?", wal.on_disk_size(), self.start));
        }
        let mut rest = all;
        for stat in wal.closed_chunk_stats() {
            let n = rest.iter().take_while(|entry| entry.chunk == stat.chunk_id.0).count();
            let (chunk, later) = rest.split_at(n);
            let ends = chunk.last().map(|entry| entry.end()) == Some(stat.global_end);
            let next = later
                .first()
                .map(|next| **next == self.history.chunk_start(stat.global_end, stat.checkpoint.clone()));
            if n as u64 != stat.records_count || !ends || next != Some(true) {
                return Err(format!("a closed chunk doesn't match its own numbers: {stat:?}"));
            }
            rest = later;
        }
        if rest.first().is_none_or(|first| first.chunk != last.chunk) {
            return Err(format!("chunks are missing among the closed ones: {:?}", wal.closed_chunk_stats()));
        }
        Ok(())
    }
}
