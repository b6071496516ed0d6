//! What happened, in order.

use std::collections::BTreeMap;

use chunked_wal::storage::{MemoryStorage, Storage};
use parking_lot::Mutex;

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A file is made.
    Create(usize),
    /// Bytes are written to a file, at a position.
    Write(usize, u64, Vec<u8>),
    /// A file is cut or made longer.
    SetLen(usize, u64),
    /// A file is synced, or that fails.
    Sync(usize, Done),
    /// A file gets another name.
    Rename(usize, Named),
    /// A file's name is removed.
    Remove(usize),
    /// The directory is synced, or that fails.
    SyncDir(Done),

    /// The program is about to append records, all of one batch: their ids.
    Append(Vec<u64>),
    /// The program is about to close the open chunk.
    Rotate,
    /// The call before it has failed, and changed nothing.
    Withdrawn,
    /// The program is about to ask for the removal of the oldest chunk, for a reason that ends at this offset.
    RemoveOldest(u64),
    /// The program has learned that everything below this offset is durable.
    Acknowledged(u64),
    /// The program opens the log.
    Opening,
    /// It has the log, with these records.
    Opened(Vec<u64>),
    /// It could not open the log, and no fault was the reason.
    Refused(String),
    /// The log is closed.
    Exit,
    /// The process ends: which files are left, with which name and which bytes.
    Down(Ended, BTreeMap<usize, (Named, Vec<u8>)>),
}

/// Whether a sync succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// It did.
    Ok,
    /// It did not, and what it was to make durable counts as clean.
    Failed,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was killed.
    Killed,
    /// The power failed.
    PowerLost,
}

/// What a file is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// A spare.
    Spare,
    /// The chunk with this id.
    Chunk(u64),
    /// The same, while it is renamed away and back.
    Away(u64),
}

impl Named {
    /// What a name says; `None` if the file is no business of the log's model.
    pub(crate) fn of(name: &str) -> Option<Self> {
        if name.starts_with("spare-") {
            return Some(Named::Spare);
        }
        let rest = name.strip_prefix("r-")?;
        let digits = |text: &str| text.replace('_', "").parse().ok();
        match rest.strip_suffix(".away") {
            Some(rest) => digits(rest.strip_suffix(".wal")?).map(Named::Away),
            None => digits(rest.strip_suffix(".wal")?).map(Named::Chunk),
        }
    }
}

/// When and how a process is to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// When.
    pub(crate) at: At,
    /// How.
    pub(crate) how: Ended,
    /// Which disk a power loss leaves.
    pub(crate) seed: u64,
}

/// Before which operation a process is to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    /// The one with this number, counted from 0.
    Operation(u64),
    /// The first sync of the directory after a chunk's file was renamed to a spare.
    SyncOfRemoval,
}

/// The events so far, and the files by name.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<Event>,
    disk: MemoryStorage,
    /// The number of the file at each name that a file has or may have again.
    files: BTreeMap<String, usize>,
    count: usize,
    operations: u64,
    cut: Option<Cut>,
    /// The disk that is left, once the process has ended. Nothing is recorded any more, unless it has failed.
    left: Option<MemoryStorage>,
    /// The end of a process that has failed: what it does afterwards comes before that on the tape.
    failed: Option<Event>,
    /// Whether a sync of the directory that fails is no failure of the log.
    is_moving: bool,
    is_opening: bool,
}

/// An operation to be done, once it is known that the process has not ended.
pub(crate) enum Act<'a> {
    Create(&'a str),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    Rename(&'a str, &'a str),
    Remove(&'a str),
    SyncDir,
}

/// The directory of the log.
pub(crate) const DIR: &str = "/log";

impl Tape {
    /// Starts a process on a disk, which ends at `cut`.
    pub(crate) fn start(&self, disk: &MemoryStorage, cut: Option<Cut>) {
        let mut inner = self.inner.lock();
        inner.settle();
        inner.disk = disk.clone();
        inner.operations = 0;
        inner.cut = cut;
        inner.left = None;
    }

    /// Records a call or an answer.
    pub(crate) fn push(&self, event: Event) {
        let mut inner = self.inner.lock();
        if inner.left.is_none() || inner.failed.is_some() && matches!(event, Event::Acknowledged(_)) {
            match event {
                Event::Opening => inner.is_opening = true,
                Event::Opened(_) => inner.is_opening = false,
                _ => {}
            }
            inner.events.push(event);
        }
    }

    /// The disk that is left, if the process has ended.
    pub(crate) fn left(&self) -> Option<MemoryStorage> {
        self.inner.lock().left.clone()
    }

    /// Ends the process now.
    pub(crate) fn end(&self, how: Ended, seed: u64) -> MemoryStorage {
        let mut inner = self.inner.lock();
        inner.end(how, seed);
        inner.left.clone().unwrap_or_default()
    }

    /// The events.
    pub(crate) fn take(&self) -> Vec<Event> {
        let mut inner = self.inner.lock();
        inner.settle();
        std::mem::take(&mut inner.events)
    }

    /// The number of the file that has a name.
    pub(crate) fn file(&self, name: &str) -> usize {
        self.inner.lock().files.get(name).copied().unwrap_or(usize::MAX)
    }

    /// Does an operation and records it, or ends the process before it.
    pub(crate) fn act<T>(
        &self,
        act: Act<'_>,
        work: impl FnOnce() -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let mut inner = self.inner.lock();
        if let Some(Cut { at, how, seed }) = inner.cut
            && inner.is_at(at, &act)
        {
            inner.end(how, seed);
        }
        inner.operations += 1;
        if inner.left.is_some() {
            inner.note_after_failure(act);
            drop(inner);
            return work();
        }
        let outcome = work();
        inner.note(act, outcome.is_ok());
        outcome
    }
}

impl Inner {
    fn note(&mut self, act: Act<'_>, is_ok: bool) {
        let done = if is_ok { Done::Ok } else { Done::Failed };
        match act {
            Act::Sync(file) => self.events.push(Event::Sync(file, done)),
            Act::SyncDir => self.events.push(Event::SyncDir(done)),
            // A program that asks for what isn't there has changed nothing.
            _ if !is_ok => {}
            Act::Create(name) => self.create(name),
            Act::Write(file, at, bytes) => self.events.push(Event::Write(file, at, bytes)),
            Act::SetLen(file, len) => self.events.push(Event::SetLen(file, len)),
            Act::Rename(from, to) => self.rename(from, to),
            Act::Remove(name) => {
                if let Some(file) = self.files.get(name) {
                    self.events.push(Event::Remove(*file));
                }
            }
        }
        let act_failed = self.events.last().cloned();
        let is_final = match &act_failed {
            Some(Event::Sync(_, Done::Failed)) => true,
            Some(Event::SyncDir(Done::Failed)) => self.is_opening || !self.is_moving,
            _ => false,
        };
        if is_final {
            // Of what a log does after its last failure, the model knows only what it must not do.
            let seed = self.operations;
            self.end(if seed.is_multiple_of(2) { Ended::PowerLost } else { Ended::Killed }, seed);
            // A directory's sync fails on another thread than the worker's, which learns of it a little later.
            if matches!(act_failed, Some(Event::Sync(..))) {
                self.failed = self.events.pop();
            }
        }
    }

    /// Whether the next operation is that one.
    fn is_at(&self, at: At, next: &Act<'_>) -> bool {
        match at {
            At::Operation(number) => number == self.operations,
            At::SyncOfRemoval => {
                let renamed = matches!(self.events.last(), Some(Event::Rename(_, Named::Spare)));
                matches!(next, Act::SyncDir) && renamed && !self.is_opening
            }
        }
    }

    fn note_after_failure(&mut self, act: Act<'_>) {
        match act {
            Act::Sync(file) if self.failed.is_some() => self.events.push(Event::Sync(file, Done::Ok)),
            Act::Write(file, at, bytes) if self.failed.is_some() => {
                self.events.push(Event::Write(file, at, bytes));
            }
            _ => {}
        }
    }

    fn settle(&mut self) {
        self.events.extend(self.failed.take());
    }

    fn create(&mut self, name: &str) {
        if Named::of(name).is_some() {
            self.files.insert(name.to_string(), self.count);
            self.events.push(Event::Create(self.count));
            self.count += 1;
            self.is_moving = true;
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let (Some(file), Some(named)) = (self.files.get(from).copied(), Named::of(to)) {
            self.files.insert(to.to_string(), file);
            self.events.push(Event::Rename(file, named));
            self.is_moving = named == Named::Spare;
        }
    }

    fn end(&mut self, how: Ended, seed: u64) {
        if self.left.is_some() {
            return;
        }
        let disk = match how {
            Ended::Killed => self.disk.kill(),
            Ended::PowerLost => self.disk.crash(seed),
        };
        let names = disk.files(DIR);
        if how == Ended::PowerLost {
            self.files.retain(|name, _| names.contains(name));
        }
        let file = |name: &String| {
            let bytes = disk.read_file(format!("{DIR}/{name}")).unwrap_or_default();
            Some((*self.files.get(name)?, (Named::of(name)?, bytes)))
        };
        self.events.push(Event::Down(how, names.iter().filter_map(file).collect()));
        self.is_moving = false;
        self.left = Some(disk);
    }
}

/// The storage that a log starts on: a directory that is durable.
pub(crate) fn new_disk() -> std::io::Result<MemoryStorage> {
    let disk = MemoryStorage::default();
    disk.create_dir(DIR.as_ref())?;
    disk.sync_everything();
    Ok(disk)
}
