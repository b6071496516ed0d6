//! Runs a script on a disk in memory, with a cut before every operation of the disk.
//!
//! ```text
//! script ─► Runner ─► log ─► MemoryStorage ─► tape: a cut for each operation
//!              │                                │
//!              └─► lives: appended records ──────┴─► Recording
//! ```
//!
//! - A life lasts from one open to the next. Each life has its own history, because a crash may take
//!   records away.
//! - A record is in the history before the log gets it, so that no cut can have a record that the
//!   history doesn't know.

pub(crate) mod promises;
pub(crate) mod setup;
mod steps;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::Error;
use crate::record::{StateMachine, WalTypes};
use crate::recovery::Replay;
use crate::storage::MemoryStorage;
use crate::testing::check::history::{Bounds, Entry, History};
use crate::testing::check::watched::Watched;
use crate::testing::check::{Claims, Refusal, Types, Wal};
use crate::testing::crash::Left;
use crate::testing::record::promises::{Cut, Promises, Tape};
use crate::testing::record::setup::Setup;
use crate::testing::script::{Pace, Script};
use crate::testing::{Subject, check};

/// The result of running a workload.
pub(crate) struct Recording<W: WalTypes> {
    pub(crate) cuts: Vec<Cut>,
    pub(crate) lives: Vec<History<W>>,
    /// The step that failed, and how, if one did.
    pub(crate) wrong: Option<(usize, String)>,
}

/// Why a step ended early.
pub(crate) enum Stop {
    /// The log reported a fault that the script had armed.
    Fault,
    Wrong(String),
}

impl From<String> for Stop {
    fn from(wrong: String) -> Self {
        Stop::Wrong(wrong)
    }
}

/// Runs a script.
pub(crate) fn record<S: Subject>(setup: &Setup<'_, S>, script: &Script) -> Recording<Types<S>> {
    let tape = Arc::new(Tape::default());
    let compression = setup.config(script).compression;
    let history = History::of_new_log(setup.subject.state_machine().checkpoint(), compression);
    let bounds = Bounds { appended: history.end(), opening: true, ..Bounds::default() };
    let disk = setup.disk();
    disk.set_torn_renames(script.torn_renames);
    let mut runner = Runner {
        setup,
        script,
        promises: Promises::new(bounds.clone()),
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

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic: {}", text.unwrap_or("(no message)"))
}

/// A running script.
pub(crate) struct Runner<'a, S: Subject> {
    pub(crate) setup: &'a Setup<'a, S>,
    pub(crate) script: &'a Script,
    pub(crate) tape: Arc<Tape>,
    pub(crate) promises: Arc<Promises>,
    pub(crate) disk: MemoryStorage,
    pub(crate) log: Option<Log<S>>,
    pub(crate) lives: Vec<History<Types<S>>>,
    /// Whether a fault is armed: then errors are expected.
    pub(crate) armed: bool,
    step: usize,
}

/// An open log and its state machine.
pub(crate) struct Log<S: Subject> {
    pub(crate) wal: Wal<S>,
    pub(crate) machine: Watched<Types<S>, S::StateMachine>,
}

impl<S: Subject> Runner<'_, S> {
    fn run(&mut self, bounds: Bounds) -> Result<(), String> {
        let mut outcome = self.open(bounds, 0);
        for (i, step) in self.script.steps.iter().enumerate() {
            if outcome.is_ok() {
                self.step = i;
                self.promises.change(|bounds| bounds.step = i);
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
        let end = self.promises.cut(&self.disk, "nothing more".to_string());
        self.tape.cuts.lock().push(end);
        Ok(())
    }

    /// Opens the current disk. Everything below `floor` must be there.
    pub(crate) fn open(&mut self, bounds: Bounds, floor: u64) -> Result<(), Stop> {
        let life = self.lives.len() - 1;
        let mut bounds = Bounds { life, step: self.step, ..bounds };
        self.promises = Promises::new(bounds.reopening(floor));
        self.promises.watch(&self.disk, &self.tape);
        let replay = if life.is_multiple_of(2) { Replay::All } else { Replay::FromLastCheckpoint };
        let opened = loop {
            let claims = Claims { history: &self.lives[life], bounds: &bounds, floor };
            let promises = self.promises.clone();
            let config = self.setup.config(self.script);
            let listen = |options: crate::wal::OpenOptions<_>| {
                let promises = promises.clone();
                options.on_chunk_persisted(move |persisted, _| promises.durable(persisted.synced))
            };
            match check::open(self.setup.subject, &self.disk, config, replay, listen, &claims) {
                Ok(opened) => break opened,
                Err(Refusal::Error(_)) if self.armed => self.disarm(),
                Err(Refusal::Error(e)) => return Err(Stop::Wrong(format!("the log can't be opened: {e}"))),
                Err(Refusal::Wrong(wrong)) => return Err(Stop::Wrong(wrong)),
            }
            bounds.opening = true;
        };
        let bounds = Bounds { life: life + 1, ..bounds.settled(opened.start, opened.history.end()) };
        self.lives.push(opened.history);
        self.promises.opened(bounds, opened.wal.progress_handle());
        self.log = Some(Log { wal: opened.wal, machine: opened.machine });
        self.settle()
    }

    /// Closes the log.
    pub(crate) fn close(&mut self) -> Result<(), Stop> {
        let Some(log) = self.log.take() else { return Ok(()) };
        let closed = log.wal.close();
        self.call("close", closed)?;
        let end = self.history().end();
        self.promises.durable(end);
        Ok(())
    }

    /// Closes the log and opens it again.
    pub(crate) fn reopen(&mut self) -> Result<(), Stop> {
        self.close()?;
        self.end_life()?;
        self.silence();
        let bounds = self.promises.promised();
        let floor = bounds.durable;
        self.open(bounds, floor)
    }

    /// Ends the process and opens the log again: all written bytes are there, but not all are durable.
    pub(crate) fn kill(&mut self) -> Result<(), Stop> {
        let Cut { disk, bounds, .. } = self.promises.cut(&self.disk, String::new());
        let floor = bounds.floor(&disk, Left::Killed);
        self.go_on_with(disk, bounds, floor)
    }

    /// Crashes the machine and opens the log again.
    pub(crate) fn crash(&mut self, seed: u64) -> Result<(), Stop> {
        let Cut { disk, bounds, .. } = self.promises.cut(&self.disk, String::new());
        let floor = bounds.durable;
        self.go_on_with(disk.crash(seed), Bounds { written: floor, ..bounds }, floor)
    }

    fn go_on_with(&mut self, disk: MemoryStorage, bounds: Bounds, floor: u64) -> Result<(), Stop> {
        self.silence();
        self.end_life()?;
        self.disk = disk;
        self.open(bounds, floor)
    }

    /// Drops the log; every completion must have come by then.
    fn end_life(&mut self) -> Result<(), String> {
        self.log = None;
        match self.promises.pending() {
            0 => Ok(()),
            n => Err(format!("{n} completions are outstanding (negative: delivered twice)")),
        }
    }

    fn disarm(&mut self) {
        self.disk.heal();
        self.armed = false;
    }

    /// Stops cuts and faults of the current disk.
    fn silence(&mut self) {
        self.disarm();
        self.disk.on_operation(|_| {});
    }

    pub(crate) fn history(&mut self) -> &mut History<Types<S>> {
        let last = self.lives.len() - 1;
        &mut self.lives[last]
    }

    /// Lets the log finish its work, if the pace is calm.
    pub(crate) fn settle(&mut self) -> Result<(), Stop> {
        if self.script.pace == Pace::Calm { self.idle() } else { Ok(()) }
    }

    pub(crate) fn idle(&mut self) -> Result<(), Stop> {
        let Some(log) = &self.log else { return Ok(()) };
        let idle = log.wal.wait_idle();
        self.call("wait_idle", idle)?;
        if let Some(error) = self.promises.failed() {
            self.call("a flush", Err(error))?;
        }
        self.promises.change(|bounds| bounds.start_min = bounds.start_max);
        Ok(())
    }

    /// An error is a failure unless a fault is armed.
    pub(crate) fn call<T>(&self, what: &str, result: Result<T, Error>) -> Result<T, Stop> {
        result.map_err(|e| if self.armed { Stop::Fault } else { Stop::Wrong(format!("{what} failed: {e}")) })
    }

    /// Adds a record that is about to be appended to the history.
    pub(crate) fn predict(&mut self, entry: Entry<Types<S>>) {
        let end = entry.end();
        self.history().push(entry);
        self.promises.change(|bounds| bounds.appended = end);
    }

    /// Removes the last record from the history, because it was not appended.
    pub(crate) fn take_back(&mut self) {
        self.history().entries.pop();
        let end = self.history().end();
        self.promises.change(|bounds| bounds.appended = end);
    }
}
