//! Random operations on a log, compared with a model of the records that must be there, may be there, and must not come
//! back.
//!
//! - A closed or dropped log has all records, a killed one all written ones, and one that lost power all acknowledged
//!   ones. The records are a prefix of the appended ones, byte for byte.
//! - The oldest chunk kept is one whose removal was not completed.
//!
//! A failure prints the seed and the operations; `MODEL_SEED=n cargo test --test log model` runs one seed.
//! The worker's thread has its own timing, so a seed may need a few runs to fail again.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkId, Error, Flush, FlushTicket, Progress, Replay, Segment};

use crate::common::*;

/// A record as it was appended.
#[derive(Debug, Clone)]
struct Appended {
    chunk: ChunkId,
    segment: Segment,
    record: Record,
    /// The state after it.
    state: String,
}

impl Appended {
    fn end(&self) -> u64 {
        self.segment.offset + self.segment.size
    }
}

/// A flush that is not completed yet.
#[derive(Debug)]
struct Pending {
    /// Everything below is written or synced once the flush is completed.
    end: u64,
    mode: Flush,
    told: Told,
}

#[derive(Debug)]
enum Told {
    Callback(Receiver<Result<(), Error>>),
    Ticket(FlushTicket),
}

/// The known state of the log.
#[derive(Debug, Default)]
struct Model {
    /// From the oldest that may still be on disk.
    log: Vec<Appended>,
    /// All below is in the files.
    written: u64,
    /// All below is durable.
    acknowledged: u64,
    /// Chunks removed, and waited for, end here.
    removed: u64,
    /// Chunks whose removal was asked for: the end of each, and all that had been appended then.
    removing: Vec<(u64, u64)>,
    /// Chunks drained end here.
    drained: u64,
    /// Drained chunks, not yet handed over for removal.
    to_remove: Vec<ChunkId>,
    pending: Vec<Pending>,
}

impl Model {
    fn end(&self) -> u64 {
        self.log.last().map_or(0, Appended::end)
    }

    fn state(&self) -> String {
        self.log.last().map_or_else(String::new, |last| last.state.clone())
    }

    fn push(&mut self, chunk: ChunkId, segment: Segment, record: Record) {
        let state = History::next_state(&self.state(), &record);
        self.log.push(Appended { chunk, segment, record, state });
    }

    /// The records that can be read.
    fn readable(&self) -> &[Appended] {
        let first = self.log.partition_point(|appended| appended.segment.offset < self.drained);
        &self.log[first..]
    }

    fn chunk_end(&self, chunk: ChunkId) -> u64 {
        self.log.iter().rev().find(|appended| appended.chunk == chunk).map_or(chunk.0, Appended::end)
    }

    /// Notes the flushes completed meanwhile; waits for all of them if `wait`.
    fn collect(&mut self, wait: bool) {
        let mut done = Vec::new();
        self.pending.retain(|pending| {
            let result = match &pending.told {
                Told::Callback(receiver) if wait => {
                    Some(receiver.recv_timeout(Duration::from_secs(20)).unwrap())
                }
                Told::Callback(receiver) => receiver.try_recv().ok(),
                Told::Ticket(ticket) if wait => ticket.wait_timeout(Duration::from_secs(20)),
                Told::Ticket(ticket) => ticket.wait_timeout(Duration::ZERO),
            };
            assert!(!wait || result.is_some(), "a flush was never completed");
            if let Some(Ok(())) = result {
                done.push((pending.mode, pending.end));
            }
            result.is_none()
        });
        for (mode, end) in done {
            self.written = self.written.max(end);
            if mode == Flush::Sync {
                self.acknowledged = self.acknowledged.max(end);
            }
        }
    }
}

/// How a log ends before it is opened again.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Close,
    Drop,
    Kill,
    Crash(u64),
}

struct Run {
    rng: Random,
    disk: Disk,
    wal: Option<Wal>,
    /// The state machine; its records are those since the log was opened.
    history: History,
    model: Model,
    progress: Progress,
    /// The power goes off at a later operation, so everything may fail.
    doomed: bool,
    operations: Vec<String>,
    reopened: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Random::new(seed);
        let disk = Disk::with(|config| {
            config.chunk_max_size = rng.pick(&[256, 512, 1000, 4096]);
            config.chunk_max_records = rng.pick(&[u64::MAX, u64::MAX, 4]);
            config.spare_chunks = rng.pick(&[0, 1, 2]);
            config.open_buffer_max_bytes = rng.pick(&[1, 300, 1 << 20]);
            config.flush_queue_max_bytes = rng.pick(&[1, 1000, 1 << 20]);
            config.flush_batch_max_items = rng.pick(&[1, 3, 8192]);
            config.read_buffer_size = rng.pick(&[16, 100, 4096]);
        });
        let progress = Progress { appended: 0, written: 0, synced: 0 };
        let (wal, history) = (None, History::default());
        let model = Model::default();
        let operations = vec![format!("{:?}", disk.config)];
        let mut run =
            Run { rng, disk, wal, history, model, progress, doomed: false, operations, reopened: 0 };
        run.open(0, 0);
        run
    }

    fn wal(&mut self) -> &mut Wal {
        self.wal.as_mut().unwrap()
    }

    fn step(&mut self) {
        let choice = self.rng.below(100);
        let result = match choice {
            0..=34 => self.append(),
            35..=39 => self.append_checkpoint(),
            40..=55 => self.flush(),
            56..=60 => self.sync(),
            61..=65 => self.rotate(),
            66..=71 => self.drain(),
            72..=78 => self.remove(),
            79..=81 => self.wait_idle(),
            82..=86 => self.read_some(),
            87..=89 => self.check_all(),
            90..=92 => {
                self.doomed = true;
                let n = self.rng.below(12);
                self.operations.push(format!("the power goes off after {n} operations"));
                self.disk.storage.crash_after(n);
                Ok(())
            }
            _ => {
                let seed = self.rng.below(1 << 20);
                let endings =
                    [Ending::Close, Ending::Drop, Ending::Kill, Ending::Crash(seed), Ending::Crash(seed)];
                let ending = self.rng.pick(&endings);
                self.reopen(ending);
                return;
            }
        };
        self.note_rotation();
        match result {
            Ok(()) => self.check_positions(),
            Err(error) => {
                assert!(self.doomed, "{error}");
                let seed = self.rng.below(1 << 20);
                let ending = self.rng.pick(&[Ending::Kill, Ending::Crash(seed), Ending::Crash(seed)]);
                self.reopen(ending);
            }
        }
    }

    // Operations --------------------------------------------------------------------------------------

    fn word(&mut self) -> String {
        let len = match self.rng.below(20) {
            0 => self.rng.below(9000),
            1..=4 => self.rng.below(600),
            _ => self.rng.below(40),
        };
        let letter = char::from(b'a' + self.rng.below(26) as u8);
        letter.to_string().repeat(len as usize)
    }

    fn append(&mut self) -> Result<(), Error> {
        let word = self.word();
        let with_state_machine = self.rng.chance(70);
        self.operations.push(format!("append {} bytes, apply: {with_state_machine}", word.len()));
        let record = action(&word);
        let segment = if with_state_machine {
            let appended = {
                let (wal, history) = (self.wal.as_mut().unwrap(), &mut self.history);
                wal.append_and_apply(word, history)
            };
            self.note_rotation_before(appended.as_ref().ok());
            appended?
        } else {
            let segment = self.wal().append(&record)?;
            self.history.state = History::next_state(&self.history.state, &record);
            segment
        };
        let chunk = self.wal().open_chunk_id();
        self.model.push(chunk, segment, record);
        assert_eq!(self.wal().last_segment(), segment);
        Ok(())
    }

    fn append_checkpoint(&mut self) -> Result<(), Error> {
        let state =
            if self.rng.chance(50) { self.model.state() } else { format!("{:08x}", self.rng.next() as u32) };
        self.operations.push(format!("append checkpoint {state}"));
        let record = checkpoint(&state);
        let segment = self.wal().append(&record)?;
        self.history.state = state;
        let chunk = self.wal().open_chunk_id();
        self.model.push(chunk, segment, record);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mode = self.rng.pick(&[Flush::Write, Flush::Sync]);
        let end = self.model.end();
        let how = self.rng.below(3);
        self.operations.push(format!("flush {mode:?} {how}"));
        let told = match how {
            0 => return self.wal().flush(mode, None),
            1 => {
                let (sender, receiver) = channel();
                // A flush that is refused has completed its callback all the same.
                let flushed = self.wal().flush(mode, Some(sender));
                if flushed.is_err() {
                    assert!(receiver.try_recv().unwrap().is_err());
                }
                flushed?;
                Told::Callback(receiver)
            }
            _ => Told::Ticket(self.wal().flush_ticket(mode)?),
        };
        self.model.pending.push(Pending { end, mode, told });
        self.model.collect(false);
        if self.rng.chance(30) {
            self.operations.push("wait for all flushes".to_string());
            self.model.collect(true);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.operations.push("sync".to_string());
        self.wal().sync()?;
        let end = self.model.end();
        (self.model.written, self.model.acknowledged) = (end, end);
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), Error> {
        self.operations.push("rotate".to_string());
        let (wal, history) = (self.wal.as_mut().unwrap(), &self.history);
        let checkpoint = wal.close_open_chunk(history)?;
        assert_eq!(checkpoint, self.model.state());
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Error> {
        let mut wanted = self.rng.below(4);
        self.operations.push(format!("drain {wanted}"));
        let states: Vec<_> =
            self.wal().closed_chunk_stats().into_iter().map(|stat| stat.checkpoint).collect();
        let mut seen = Vec::new();
        let ids = self.wal().drain_closed_chunks_while(|state| {
            seen.push(state.clone());
            wanted = wanted.saturating_sub(1);
            wanted > 0
        });
        assert!(states.starts_with(&seen) && ids.len() + 1 >= seen.len());
        if let Some(last) = ids.last() {
            self.model.drained = self.model.chunk_end(*last);
        }
        self.model.to_remove.extend(ids);
        Ok(())
    }

    fn remove(&mut self) -> Result<(), Error> {
        let n = self.rng.below(self.model.to_remove.len() as u64 + 1) as usize;
        self.operations.push(format!("remove {n} of {}", self.model.to_remove.len()));
        let mut ids = self.model.to_remove[..n].to_vec();
        ids.reverse();
        self.wal().remove_chunks(ids)?;
        let end = self.model.end();
        for chunk in self.model.to_remove.drain(..n).collect::<Vec<_>>() {
            self.model.removing.push((self.model.chunk_end(chunk), end));
        }
        Ok(())
    }

    fn wait_idle(&mut self) -> Result<(), Error> {
        self.operations.push("wait idle".to_string());
        self.wal().wait_idle()?;
        self.removals_are_done();
        self.model.collect(false);
        assert!(self.model.pending.is_empty(), "idle, and a flush is not completed");
        Ok(())
    }

    fn removals_are_done(&mut self) {
        if let Some((end, appended)) = self.model.removing.drain(..).next_back() {
            self.model.removed = end;
            self.model.acknowledged = self.model.acknowledged.max(appended);
            self.model.written = self.model.written.max(appended);
        }
    }

    fn read_some(&mut self) -> Result<(), Error> {
        for _ in 0..5 {
            let i = self.rng.below(self.model.log.len() as u64) as usize;
            let wanted = self.model.log[i].clone();
            match self.wal().read_record(wanted.segment) {
                Ok(record) => {
                    assert_eq!(record, wanted.record);
                    assert!(wanted.segment.offset >= self.model.drained, "drained, and yet read");
                }
                Err(Error::NotInLog { .. }) => assert!(wanted.segment.offset < self.model.drained),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Compares all that the log reports.
    fn check_all(&mut self) -> Result<(), Error> {
        self.operations.push("check".to_string());
        let records = self.wal().records().collect::<Result<Vec<_>, _>>()?;
        let readable = self.model.readable();
        assert_eq!(records.len(), readable.len());
        for ((chunk, segment, record), expected) in records.iter().zip(readable) {
            assert_eq!((chunk, segment, record), (&expected.chunk, &expected.segment, &expected.record));
        }
        self.check_stats();
        Ok(())
    }

    fn check_stats(&mut self) {
        let state = self.model.state();
        let wal = self.wal.as_ref().unwrap();
        let mut stats = wal.closed_chunk_stats();
        stats.push(wal.open_chunk_stat(state));
        let readable = self.model.readable();
        for (i, stat) in stats.iter().enumerate() {
            let records: Vec<_> =
                readable.iter().filter(|appended| appended.chunk == stat.chunk_id).collect();
            let last = records[records.len() - 1];
            assert_eq!(stat.records_count, records.len() as u64);
            assert_eq!((stat.global_start, stat.global_end), (stat.chunk_id.0, last.end()));
            assert_eq!((stat.size, &stat.checkpoint), (stat.global_end - stat.global_start, &last.state));
            assert_eq!(stats.get(i + 1).map_or(stat.global_end, |next| next.global_start), stat.global_end);
        }
        assert_eq!(wal.on_disk_size(), self.model.end() - stats[0].global_start);
        assert_eq!(wal.open_chunk_id(), stats[stats.len() - 1].chunk_id);
    }

    // What holds after every operation ------------------------------------------------------------------

    fn note_rotation(&mut self) {
        self.note_rotation_before(None);
    }

    /// Notes the checkpoint that a new chunk starts with; `next` may follow it.
    fn note_rotation_before(&mut self, next: Option<&Segment>) {
        let Some(wal) = &self.wal else { return };
        let chunk = wal.open_chunk_id();
        if self.model.log.last().is_some_and(|last| last.chunk == chunk) {
            return;
        }
        assert_eq!(chunk.0, self.model.end(), "a chunk begins where its predecessor ends");
        let offset = chunk.0 + HEADER;
        let segment =
            next.map_or_else(|| wal.last_segment(), |next| Segment::new(offset, next.offset - offset));
        assert_eq!(segment.offset, offset);
        let state = self.model.state();
        self.model.push(chunk, segment, checkpoint(&state));
    }

    fn check_positions(&mut self) {
        let before = self.progress;
        let now = self.wal().progress();
        assert!(now.appended >= now.written && now.written >= now.synced, "{now:?}");
        assert!(now.written >= before.written && now.synced >= before.synced, "{before:?}, then {now:?}");
        assert_eq!(now.appended, self.model.end());
        assert!(now.written >= self.model.written && now.synced >= self.model.acknowledged, "{now:?}");
        // Records follow one another, with nothing but a header in between.
        let last: Vec<_> = self.model.log.iter().rev().take(3).collect();
        for pair in last.windows(2) {
            let header = if pair[0].chunk == pair[1].chunk { 0 } else { HEADER };
            assert_eq!(pair[0].segment.offset, pair[1].end() + header);
        }
        assert_eq!(self.history.state, self.model.state());
        (self.model.written, self.model.acknowledged) = (now.written, now.synced);
        self.progress = now;
    }

    // Opening again -------------------------------------------------------------------------------------

    fn reopen(&mut self, ending: Ending) {
        self.operations.push(format!("reopen after {ending:?}"));
        self.model.collect(false);
        let wal = self.wal.take().unwrap();
        let progress = wal.progress();
        self.model.written = self.model.written.max(progress.written);
        self.model.acknowledged = self.model.acknowledged.max(progress.synced);
        let storage = self.disk.storage.clone();
        let (left, sure): (MemoryStorage, u64) = match ending {
            // Without power the log can't be closed.
            Ending::Close | Ending::Drop if self.doomed => {
                drop(wal);
                (storage.crash(1), self.model.acknowledged)
            }
            Ending::Close | Ending::Drop => {
                if matches!(ending, Ending::Close) {
                    wal.close().unwrap()
                } else {
                    drop(wal)
                }
                self.removals_are_done();
                self.model.acknowledged = self.model.end();
                (storage, self.model.end())
            }
            Ending::Kill => (storage.kill(), self.model.written),
            Ending::Crash(seed) => (storage.crash(seed), self.model.acknowledged),
        };
        self.disk.storage = left;
        self.model.pending.clear();
        self.doomed = false;
        self.reopened += 1;
        let cuts = self.crash_while_opening();
        self.open(if cuts == 0 { sure } else { self.model.acknowledged }, cuts);
    }

    /// Sometimes the power goes off while the log is being opened, perhaps more than once. Returns how
    /// often it did.
    fn crash_while_opening(&mut self) -> usize {
        let mut cuts = 0;
        while self.rng.chance(25) {
            cuts += 1;
            let (n, seed) = (self.rng.below(12), self.rng.below(1 << 20));
            let killed = self.rng.chance(40);
            self.operations.push(format!("opening is cut at {n}, then crash {seed}, killed: {killed}"));
            self.disk.storage.crash_after(n);
            if let Ok((wal, _)) = self.disk.try_open_with::<History>(Replay::All) {
                drop(wal);
            }
            let storage = &self.disk.storage;
            self.disk.storage = if killed { storage.kill() } else { storage.crash(seed) };
        }
        cuts
    }

    /// Opens the log after as many opens that were cut short. All below `sure` must be there.
    fn open(&mut self, sure: u64, cuts: usize) {
        let replay = self.rng.pick(&[Replay::All, Replay::FromLastCheckpoint]);
        self.operations.push(format!("open, {replay:?}; sure up to {sure}"));
        let (wal, history) = self.disk.try_open_with::<History>(replay).unwrap();
        let all: Vec<_> = wal.records().map(Result::unwrap).collect();
        let replayed = wal.recovery().records as usize;

        self.forget_removed(all[0].0);
        let same = |((chunk, segment, record), kept): &(&(ChunkId, Segment, Record), &Appended)| {
            (*chunk, *segment) == (kept.chunk, kept.segment) && *record == kept.record
        };
        let kept = all.iter().zip(&self.model.log).take_while(same).count();
        self.model.log.truncate(kept);
        assert!(self.model.end() >= sure, "sure up to {sure}, found up to {}", self.model.end());
        // Each open may have started a chunk.
        assert!(all.len() - kept <= cuts + 1 && all.len() - replayed <= 1, "{all:?}");
        for (chunk, segment, record) in &all[kept..] {
            assert_eq!((chunk.0, segment.offset), (self.model.end(), self.model.end() + HEADER));
            assert_eq!(record, &checkpoint(&self.model.state()));
            self.model.push(*chunk, *segment, record.clone());
        }
        self.check_replay(replay, &all[..replayed], &history);

        let end = self.model.end();
        let Model { written, acknowledged, removing, drained, to_remove, .. } = &mut self.model;
        (*written, *acknowledged, *drained) = (end, end, 0);
        removing.clear();
        to_remove.clear();
        self.progress = wal.progress();
        assert_eq!(self.progress, Progress { appended: end, written: end, synced: end });
        (self.wal, self.history) = (Some(wal), history);
        self.check_stats();
    }

    /// Drops the chunks that are gone from the model: those removed, and perhaps some whose removal
    /// was under way.
    fn forget_removed(&mut self, oldest: ChunkId) {
        assert!(oldest.0 >= self.model.removed, "{oldest} was removed up to {}", self.model.removed);
        for (end, appended) in self.model.removing.drain(..) {
            if end <= oldest.0 {
                // The record that justified the removal was durable before it.
                self.model.acknowledged = self.model.acknowledged.max(appended);
                self.model.removed = end;
                let there = self.model.log.iter().any(|a| a.end() >= appended);
                assert!(there, "removed before what was appended was durable");
            }
        }
        let oldest_allowed = oldest.0 == self.model.removed || self.model.log.is_empty();
        assert!(oldest_allowed, "{oldest} is the oldest, {} was removed", self.model.removed);
        self.model.log.retain(|appended| appended.chunk >= oldest);
    }

    fn check_replay(&self, replay: Replay, found: &[(ChunkId, Segment, Record)], history: &History) {
        assert_eq!(history.state, self.model.state());
        let first = match (replay, found.last()) {
            (Replay::FromLastCheckpoint, Some((newest, ..))) => {
                found.partition_point(|(chunk, ..)| chunk < newest)
            }
            _ => 0,
        };
        assert_eq!(history.records, found[first..]);
    }
}

fn run(seed: u64, steps: u64) -> u64 {
    let mut run = Run::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            run.step();
        }
        run.reopen(Ending::Close);
        run.check_all().unwrap();
    }));
    if let Err(panic) = outcome {
        eprintln!("seed {seed}, after these operations:\n  {}", run.operations.join("\n  "));
        resume_unwind(panic);
    }
    run.reopened
}

#[test]
fn a_log_behaves_as_its_model() {
    let one = std::env::var("MODEL_SEED").ok().map(|seed| seed.parse().unwrap());
    let started = Instant::now();
    let (mut runs, mut reopened) = (0, 0);
    for seed in one.map_or(0..400, |seed: u64| seed..seed + 1) {
        reopened += run(seed, 150);
        runs += 1;
        if started.elapsed() > Duration::from_secs(12) {
            break;
        }
    }
    println!("{runs} runs, {reopened} times reopened");
    assert!(one.is_some() || reopened > 100, "{runs} runs, {reopened} times reopened");
}
