//! What each step of a script does to a log.

use crate::error::Error;
use crate::flush::Flush;
use crate::position::Segment;
use crate::record::{Batch, CallbackFn, StateMachine, WalRecord, WalTypes};
use crate::storage::{Fault, FaultHow, OpKind};
use crate::testing::Subject;
use crate::testing::check::Types;
use crate::testing::check::types::TestTypes;
use crate::testing::record::{Log, Runner, Stop};
use crate::testing::script::{Pace, Step};

impl<S: Subject> Runner<'_, S> {
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match *step {
            Step::Append { from, count } => (from..from + count).try_for_each(|n| self.append_action(n))?,
            Step::Batch { from, count } => self.append_batch(from, count)?,
            Step::Burst { from, count } => self.burst(from, count)?,
            Step::Checkpoint => self.append_checkpoint()?,
            Step::Write => self.flush_and_wait(Flush::Write)?,
            Step::Sync => self.flush_and_wait(Flush::Sync)?,
            Step::Rotate => self.rotate()?,
            Step::Remove { chunks } => {
                self.flush_and_wait(Flush::Sync)?;
                self.idle()?;
                self.remove(chunks)?;
                self.idle()?;
            }
            Step::RemoveAtOnce { chunks } => self.remove(chunks)?,
            Step::Idle => self.idle()?,
            Step::Close => return self.reopen(),
            Step::Kill => return self.kill(),
            Step::Crash { seed } => return self.crash(seed),
            Step::Fault { after, how } => self.arm(after, how),
        }
        self.settle()
    }

    fn log(&mut self) -> Result<&mut Log<S>, Stop> {
        self.log.as_mut().ok_or_else(|| Stop::Wrong("the log is not open".to_string()))
    }

    fn append_action(&mut self, n: u64) -> Result<(), Stop> {
        self.try_append(n)?;
        self.settle()
    }

    /// Appends an action, unless the state machine refuses it, which is allowed.
    fn try_append(&mut self, n: u64) -> Result<(), Stop> {
        let action = self.setup.subject.action(n);
        let rotates = self.log()?.wal.is_open_chunk_full();
        let plain = !n.is_multiple_of(2);
        if rotates && plain {
            self.rotate()?;
        } else if rotates {
            self.predict_chunk()?;
        }
        let predicted = self.predict_next(WalRecord::Action(action.clone()));
        let log = self.log()?;
        let appended = if plain {
            log.apply_and_append(action, predicted)
        } else {
            log.wal.append_and_apply(action, &mut log.machine)
        };
        if let Err(Error::StateMachine { .. }) = appended {
            self.take_back();
            return Ok(());
        }
        self.appended("append", predicted, appended)
    }

    /// Appends the actions that the state machine takes as one batch.
    fn append_batch(&mut self, from: u64, count: u64) -> Result<(), Stop> {
        if self.log()?.wal.is_open_chunk_full() {
            self.rotate()?;
        }
        let mut batch = Batch::new();
        let mut predicted = Vec::new();
        for n in from..from + count {
            let action = self.setup.subject.action(n);
            let mut entry = self.history().next(WalRecord::Action(action.clone()));
            let segment = entry.segment();
            entry.continues = !batch.is_empty();
            let log = self.log()?;
            let (record, chunk_id) = (WalRecord::Action(action), log.wal.open_chunk_id());
            if log.machine.apply(&record, chunk_id, segment).is_ok() {
                batch.push(record);
                predicted.push(segment);
                self.predict(entry);
            }
        }
        let appended = self.log()?.wal.append_batch(&batch);
        let segments = self.call("append_batch", appended)?;
        if segments == predicted {
            return self.settle();
        }
        Err(Stop::Wrong(format!("append_batch returned {segments:?}, predicted was {predicted:?}")))
    }

    /// Predicts a record after the last one, in its chunk.
    fn predict_next(&mut self, record: WalRecord<Types<S>>) -> Segment {
        let entry = self.history().next(record);
        let segment = entry.segment();
        self.predict(entry);
        segment
    }

    /// Predicts the chunk that starts if the open one is closed now.
    fn predict_chunk(&mut self) -> Result<Segment, Stop> {
        let checkpoint = self.log()?.machine.checkpoint();
        let history = self.history();
        let entry = history.chunk_start(history.end(), checkpoint);
        let segment = entry.segment();
        self.predict(entry);
        Ok(segment)
    }

    /// Checks that a record is where it was predicted. If the append failed, this life ends, and the
    /// predicted record may or may not be there.
    fn appended(
        &mut self,
        what: &str,
        predicted: Segment,
        appended: Result<Segment, Error>,
    ) -> Result<(), Stop> {
        let segment = self.call(what, appended)?;
        let last = self.log()?.wal.last_segment();
        if segment == predicted && last == segment {
            return Ok(());
        }
        Err(Stop::Wrong(format!(
            "{what} returned {segment:?}, the last segment is {last:?}, predicted was {predicted:?}"
        )))
    }

    fn append_checkpoint(&mut self) -> Result<(), Stop> {
        let checkpoint = self.log()?.machine.checkpoint();
        let predicted = self.predict_next(WalRecord::Checkpoint(checkpoint.clone()));
        let appended = self.log()?.wal.append(&WalRecord::Checkpoint(checkpoint));
        self.appended("append", predicted, appended)
    }

    fn rotate(&mut self) -> Result<(), Stop> {
        let end = self.history().end();
        let predicted = self.predict_chunk()?;
        let log = self.log()?;
        let rotated = log.wal.close_open_chunk(&log.machine).map(|_| predicted);
        let id = log.wal.open_chunk_id();
        self.appended("close_open_chunk", predicted, rotated)?;
        if id.0 == end { Ok(()) } else { Err(Stop::Wrong(format!("the chunk after {end} is {id}"))) }
    }

    fn flush(&mut self, mode: Flush) -> Result<(), Stop> {
        let end = self.history().end();
        let callback: Box<dyn FnOnce(Result<(), Error>) + Send> = Box::new(self.promises.expect(mode, end));
        let flushed = self.log()?.wal.flush(mode, Some(CallbackFn(callback)));
        self.call("flush", flushed)
    }

    fn flush_and_wait(&mut self, mode: Flush) -> Result<(), Stop> {
        let end = self.history().end();
        // Every other sync takes the path that needs no other thread.
        if mode == Flush::Sync && (end / 8).is_multiple_of(2) {
            let done = self.log()?.wal.sync();
            self.call("sync", done)?;
            self.promises.durable(end);
            return Ok(());
        }
        self.flush(mode)?;
        let done = self.log()?.wal.flush_ticket(mode).and_then(|ticket| ticket.wait());
        self.call("flush_ticket", done)?;
        match mode {
            Flush::Sync => self.promises.durable(end),
            Flush::Write => self.promises.change(|bounds| bounds.written = bounds.written.max(end)),
        }
        Ok(())
    }

    /// Fills the queue while the worker is held at its first operation.
    fn burst(&mut self, from: u64, count: u64) -> Result<(), Stop> {
        let tape = self.tape.clone();
        let room = self.script.flush_queue_max_bytes > 1 << 16;
        let held = (room && self.script.pace == Pace::Calm).then(|| tape.gate.hold());
        for (i, n) in (from..from + count).enumerate() {
            if i % 5 == 4 {
                self.rotate()?;
            }
            self.try_append(n)?;
            self.flush(if n.is_multiple_of(2) { Flush::Write } else { Flush::Sync })?;
            if i == 0 && held.is_some() {
                tape.gate.wait_arrived();
            }
        }
        drop(held);
        self.settle()
    }

    fn remove(&mut self, chunks: u64) -> Result<(), Stop> {
        let log = self.log()?;
        let mut left = chunks;
        let ids = log.wal.drain_closed_chunks_while(|_| {
            let more = left > 0;
            left = left.saturating_sub(1);
            more
        });
        if ids.is_empty() {
            return Ok(());
        }
        let first_kept = log.wal.closed_chunk_stats().first().map(|stat| stat.chunk_id);
        let frontier = first_kept.unwrap_or_else(|| log.wal.open_chunk_id()).0;
        let end = self.history().end();
        self.promises.change(|bounds| {
            bounds.start_max = frontier;
            bounds.removals.push((frontier, end));
        });
        let removed = self.log()?.wal.remove_chunks(ids);
        self.call("remove_chunks", removed)
    }

    fn arm(&mut self, after: u64, how: FaultHow) {
        let fault = match how {
            FaultHow::SyncLies if after.is_multiple_of(2) => Fault::new(OpKind::Sync, after / 2 % 4, how),
            FaultHow::SyncLies => Fault::new(OpKind::SyncDir, after / 2 % 4, how),
            how => Fault::any(after, how),
        };
        self.disk.fail(fault);
        self.armed = true;
    }
}

impl<S: Subject> Log<S> {
    /// Appends without `append_and_apply`: the caller applies first, because an appended record can't
    /// be refused any more.
    fn apply_and_append(
        &mut self,
        action: <Types<S> as WalTypes>::Action,
        predicted: Segment,
    ) -> Result<Segment, Error> {
        let record = WalRecord::<TestTypes<Types<S>>>::Action(action);
        let chunk_id = self.wal.open_chunk_id();
        let applied = self.machine.apply(&record, chunk_id, predicted);
        applied.map_err(|e| Error::StateMachine { chunk_id, offset: predicted.offset, source: e.into() })?;
        self.wal.append(&record)
    }
}
