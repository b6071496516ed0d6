//! Runs a script on a disk in memory, with a cut before every operation of the disk.
//!
//! ```text
//! script ─► Runner ─► log ─► MemoryStorage ─► tape: a cut for each operation
//!              │                                │
//!              └─► lives: what was appended ────┴─► Recording
//! ```
//!
//! - A life lasts from one open to the next; each has a history of its own, since a crash may take
//!   records away.
//! - A record stands in the history before it is given to the log, so that no cut can find one that
//!   the history doesn't know.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::history::{Bounds, Entry, History};
use super::judge::{Claims, Refusal, Types, Wal};
use super::ledger::{Cut, Ledger, Tape};
use super::plan::Plan;
use super::probe::Watched;
use super::route::Left;
use super::script::{Pace, Script};
use super::{Subject, judge};
use crate::error::Error;
use crate::record::{StateMachine, WalTypes};
use crate::recovery::Replay;
use crate::storage::MemoryStorage;

/// A workload that was run.
pub(super) struct Recording<W: WalTypes> {
    pub(super) cuts: Vec<Cut>,
    pub(super) lives: Vec<History<W>>,
    /// The step in which something was wrong already, and what.
    pub(super) wrong: Option<(usize, String)>,
}

/// Why a step ended early.
pub(super) enum Stop {
    /// The log told of a fault that the script had armed.
    Fault,
    Wrong(String),
}

impl From<String> for Stop {
    fn from(wrong: String) -> Self {
        Stop::Wrong(wrong)
    }
}

/// Runs a script.
pub(super) fn record<S: Subject>(plan: &Plan<'_, S>, script: &Script) -> Recording<Types<S>> {
    let tape = Arc::new(Tape::default());
    let compression = plan.config(script).compression;
    let history = History::of_new_log(plan.subject.state_machine().checkpoint(), compression);
    let bounds = Bounds { appended: history.end(), opening: true, ..Bounds::default() };
    let disk = plan.disk();
    disk.set_torn_renames(script.torn_renames);
    let mut runner = Runner {
        plan,
        script,
        ledger: Ledger::new(bounds.clone()),
        tape: tape.clone(),
        disk,
        log: None,
        lives: vec![history],
        armed: false,
        step: 0,
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| runner.run(bounds)));
    runner.silence();
    let Runner { lives, step, .. } = runner;
    let wrong = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(wrong)) => Some(wrong),
        Err(panic) => Some(panic_text(&*panic)),
    };
    let cuts = std::mem::take(&mut *tape.cuts.lock());
    Recording { cuts, lives, wrong: wrong.map(|wrong| (step, wrong)) }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic: {}", text.unwrap_or("(no message)"))
}

/// A script under way.
pub(super) struct Runner<'a, S: Subject> {
    pub(super) plan: &'a Plan<'a, S>,
    pub(super) script: &'a Script,
    pub(super) tape: Arc<Tape>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) disk: MemoryStorage,
    pub(super) log: Option<Log<S>>,
    pub(super) lives: Vec<History<Types<S>>>,
    /// A fault is armed: errors are to be expected.
    pub(super) armed: bool,
    step: usize,
}

/// An open log and its state machine.
pub(super) struct Log<S: Subject> {
    pub(super) wal: Wal<S>,
    pub(super) machine: Watched<Types<S>, S::StateMachine>,
}

impl<S: Subject> Runner<'_, S> {
    fn run(&mut self, bounds: Bounds) -> Result<(), String> {
        let mut outcome = self.open(bounds, 0);
        for (i, step) in self.script.steps.iter().enumerate() {
            if outcome.is_ok() {
                self.step = i;
                self.ledger.change(|bounds| bounds.step = i);
                outcome = self.step(step);
            }
            if let Err(Stop::Fault) = outcome {
                outcome = self.kill();
            }
        }
        match outcome.and_then(|()| self.close()) {
            Err(Stop::Wrong(wrong)) => Err(wrong),
            Err(Stop::Fault) | Ok(()) => self.end_life(),
        }?;
        let end = self.ledger.cut(&self.disk, "nothing more".to_string());
        self.tape.cuts.lock().push(end);
        Ok(())
    }

    /// Opens the disk in hand. Everything below `floor` must be there.
    pub(super) fn open(&mut self, bounds: Bounds, floor: u64) -> Result<(), Stop> {
        let life = self.lives.len() - 1;
        let mut bounds = Bounds { life, step: self.step, ..bounds };
        self.ledger = Ledger::new(bounds.reopening(floor));
        self.ledger.watch(&self.disk, &self.tape);
        let replay = if life.is_multiple_of(2) { Replay::All } else { Replay::FromLastCheckpoint };
        let opened = loop {
            let claims = Claims { history: &self.lives[life], bounds: &bounds, floor };
            let ledger = self.ledger.clone();
            let config = self.plan.config(self.script);
            let listen = |options: crate::wal::OpenOptions<_>| {
                let ledger = ledger.clone();
                options.on_chunk_persisted(move |persisted, _| ledger.durable(persisted.synced))
            };
            match judge::open(self.plan.subject, &self.disk, config, replay, listen, &claims) {
                Ok(opened) => break opened,
                Err(Refusal::Error(_)) if self.armed => self.disarm(),
                Err(Refusal::Error(e)) => return Err(Stop::Wrong(format!("the log can't be opened: {e}"))),
                Err(Refusal::Wrong(wrong)) => return Err(Stop::Wrong(wrong)),
            }
            bounds.opening = true;
        };
        let bounds = Bounds { life: life + 1, ..bounds.settled(opened.start, opened.history.end()) };
        self.lives.push(opened.history);
        self.ledger.opened(bounds, opened.wal.progress_handle());
        self.log = Some(Log { wal: opened.wal, machine: opened.machine });
        self.settle()
    }

    /// Closes the log.
    pub(super) fn close(&mut self) -> Result<(), Stop> {
        let Some(log) = self.log.take() else { return Ok(()) };
        let closed = log.wal.close();
        self.call("close", closed)?;
        let end = self.history().end();
        self.ledger.durable(end);
        Ok(())
    }

    /// Closes the log and opens it.
    pub(super) fn reopen(&mut self) -> Result<(), Stop> {
        self.close()?;
        self.end_life()?;
        self.silence();
        let bounds = self.ledger.promised();
        let floor = bounds.durable;
        self.open(bounds, floor)
    }

    /// Ends the process and opens the log: everything written is there, and not all of it durable.
    pub(super) fn kill(&mut self) -> Result<(), Stop> {
        let Cut { disk, bounds, .. } = self.ledger.cut(&self.disk, String::new());
        let floor = bounds.floor(&disk, Left::Killed);
        self.go_on_with(disk, bounds, floor)
    }

    /// Ends the machine and opens the log.
    pub(super) fn crash(&mut self, seed: u64) -> Result<(), Stop> {
        let Cut { disk, bounds, .. } = self.ledger.cut(&self.disk, String::new());
        let floor = bounds.durable;
        self.go_on_with(disk.crash(seed), Bounds { written: floor, ..bounds }, floor)
    }

    fn go_on_with(&mut self, disk: MemoryStorage, bounds: Bounds, floor: u64) -> Result<(), Stop> {
        self.silence();
        self.end_life()?;
        self.disk = disk;
        self.open(bounds, floor)
    }

    /// Lets go of the log; every completion must have come by then.
    fn end_life(&mut self) -> Result<(), String> {
        self.log = None;
        match self.ledger.pending() {
            0 => Ok(()),
            n => Err(format!("{n} completions never came, or came twice if less than none")),
        }
    }

    fn disarm(&mut self) {
        self.disk.heal();
        self.armed = false;
    }

    /// No cuts and faults any more from the disk in hand.
    fn silence(&mut self) {
        self.disarm();
        self.disk.on_operation(|_| {});
    }

    pub(super) fn history(&mut self) -> &mut History<Types<S>> {
        let last = self.lives.len() - 1;
        &mut self.lives[last]
    }

    /// Lets the log finish what it does, at a calm pace.
    pub(super) fn settle(&mut self) -> Result<(), Stop> {
        if self.script.pace == Pace::Calm { self.idle() } else { Ok(()) }
    }

    pub(super) fn idle(&mut self) -> Result<(), Stop> {
        let Some(log) = &self.log else { return Ok(()) };
        let idle = log.wal.wait_idle();
        self.call("wait_idle", idle)?;
        if let Some(error) = self.ledger.failed() {
            self.call("a flush", Err(error))?;
        }
        self.ledger.change(|bounds| bounds.start_min = bounds.start_max);
        Ok(())
    }

    /// An error is wrong unless a fault is armed.
    pub(super) fn call<T>(&self, what: &str, result: Result<T, Error>) -> Result<T, Stop> {
        result.map_err(|e| if self.armed { Stop::Fault } else { Stop::Wrong(format!("{what} failed: {e}")) })
    }

    /// Writes down a record that is about to be appended.
    pub(super) fn foresee(&mut self, entry: Entry<Types<S>>) {
        let end = entry.end();
        self.history().push(entry);
        self.ledger.change(|bounds| bounds.appended = end);
    }

    /// It was not appended after all.
    pub(super) fn take_back(&mut self) {
        self.history().entries.pop();
        let end = self.history().end();
        self.ledger.change(|bounds| bounds.appended = end);
    }
}
