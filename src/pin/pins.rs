//! The pins of an open log: which chunks may go, and which pins break for that.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::file::{directories, name_of};
use super::holder::state_of;
use super::{Holder, HolderKind, PinOptions, PinState, WalPin, file};
use crate::error::{Error, PinFault, Result};
use crate::flush::Metrics;
use crate::format::{Cursor, CursorFile, Notice, NoticeKind};
use crate::panics::report;
use crate::storage::Storage;

/// The pins of an open log.
#[derive(Debug)]
pub(crate) struct Pins {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    log_id: [u8; 16],
    metrics: Arc<Metrics>,
    held: Mutex<Held>,
    /// As the last drain found it.
    over_budget: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    next_id: u64,
    pins: BTreeMap<u64, Named>,
    /// The subscribers as this process knows them, by their directories.
    seen: HashMap<PathBuf, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The first sequence number and the offset: a reopened subscriber has the same ones.
    place: (u64, u64),
    since: Instant,
    /// The notice that this process has made durable. A notice that is only read may be in the page cache alone,
    /// because the process that wrote it was killed before its sync, or the sync failed.
    told: Option<Notice>,
}

#[derive(Debug)]
struct Named {
    name: String,
    offset: u64,
    options: PinOptions,
    moved: Instant,
    is_broken: bool,
}

/// A pin as a drain sees it.
#[derive(Debug)]
struct Hold {
    name: String,
    offset: u64,
    options: PinOptions,
    moved: Instant,
    state: PinState,
    whose: Whose,
}

#[derive(Debug)]
enum Whose {
    Pin(u64),
    /// With its directory.
    Subscriber(PathBuf, Stored),
}

/// What a subscriber's file has; `None` if that can't be read.
type Stored = Option<(Cursor, Option<Notice>)>;

/// The chunk that a drain has before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    /// The global offset after its last record.
    pub(crate) end: u64,
    /// When it was closed, or found closed by an open.
    pub(crate) closed: Instant,
    /// The global offset after the log's last record.
    pub(crate) appended: u64,
    /// Whether the log is over its soft budget, without the chunks before this one.
    pub(crate) is_over_budget: bool,
}

/// One drain, which looks at the pins once.
#[derive(Debug)]
pub(crate) struct Drain<'p> {
    pins: &'p Pins,
    holds: Option<Vec<Hold>>,
}

impl Pins {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        dir: &Path,
        log_id: [u8; 16],
        metrics: Arc<Metrics>,
    ) -> Self {
        let (held, over_budget) = (Mutex::default(), AtomicBool::new(false));
        Pins { storage, dir: dir.to_owned(), log_id, metrics, held, over_budget }
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Sets a pin at an offset whose chunk is not drained.
    pub(crate) fn pin(self: &Arc<Self>, name: &str, offset: u64, options: PinOptions) -> WalPin {
        let mut held = self.held.lock();
        let id = held.next_id;
        held.next_id += 1;
        let moved = Instant::now();
        held.pins.insert(id, Named { name: name.to_string(), offset, options, moved, is_broken: false });
        WalPin::new(name, self.clone(), id)
    }

    pub(super) fn remove(&self, id: u64) {
        self.held.lock().pins.remove(&id);
    }

    /// The offset and state of a pin.
    pub(super) fn pin_of(&self, id: u64) -> Option<(u64, PinState)> {
        let held = self.held.lock();
        let pin = held.pins.get(&id)?;
        Some((pin.offset, self.state_of(pin)))
    }

    fn state_of(&self, pin: &Named) -> PinState {
        match (pin.is_broken, self.over_budget.load(Relaxed)) {
            (true, _) => PinState::Broken,
            (false, true) => PinState::OverBudget,
            (false, false) => PinState::Holds,
        }
    }

    pub(super) fn advance(&self, id: u64, offset: u64) -> Result<()> {
        let mut held = self.held.lock();
        let Some(pin) = held.pins.get_mut(&id) else { return Ok(()) };
        let current = pin.offset;
        let fault = if pin.is_broken {
            PinFault::Broken { offset: current }
        } else if offset < current {
            PinFault::Backwards { offset, current }
        } else {
            if offset > current {
                (pin.offset, pin.moved) = (offset, Instant::now());
            }
            return Ok(());
        };
        Err(Error::Pin { name: pin.name.clone(), reason: fault })
    }

    /// Begins a drain.
    pub(crate) fn drain(&self) -> Drain<'_> {
        Drain { pins: self, holds: None }
    }

    /// The name of the pin that is farthest behind, if it is before the global offset `open`.
    pub(crate) fn oldest_before(&self, open: u64) -> Option<String> {
        let holds = self.look().ok()?.into_iter();
        let holds = holds.filter(|hold| hold.state != PinState::Broken && hold.offset < open);
        holds.min_by_key(|hold| hold.offset).map(|hold| hold.name)
    }

    /// All pins, in any order.
    pub(crate) fn holders(&self, appended: u64) -> Result<Vec<Holder>> {
        let holder = |hold: Hold| Holder {
            kind: hold.kind(),
            bytes: appended.saturating_sub(hold.offset),
            age: hold.moved.elapsed(),
            name: hold.name,
            offset: hold.offset,
            state: hold.state,
        };
        Ok(self.look()?.into_iter().map(holder).collect())
    }

    /// All pins now.
    ///
    /// # Errors
    ///
    /// The directory can't be listed, so subscribers are not known.
    fn look(&self) -> Result<Vec<Hold>> {
        let mut subscribers = Vec::new();
        for dir in directories(&*self.storage, &self.dir)? {
            subscribers.extend(self.read(&dir).map(|stored| (dir, stored)));
        }
        let mut held = self.held.lock();
        let of_pin = |(id, pin): (&u64, &Named)| Hold {
            name: pin.name.clone(),
            offset: pin.offset,
            options: pin.options,
            moved: pin.moved,
            state: self.state_of(pin),
            whose: Whose::Pin(*id),
        };
        let mut holds: Vec<_> = held.pins.iter().map(of_pin).collect();
        held.seen.retain(|dir, _| subscribers.iter().any(|(of, _)| of == dir));
        for (dir, stored) in subscribers {
            let place = stored.map_or((0, 0), |(cursor, _)| (cursor.first_sequence, cursor.offset));
            let now = Instant::now();
            let seen = held.seen.entry(dir.clone()).or_insert(Seen { place, since: now, told: None });
            if seen.place != place {
                (seen.place, seen.since) = (place, now);
            }
            holds.push(Hold::of_subscriber(dir, stored, seen.since));
        }
        Ok(holds)
    }

    /// What a subscriber's file has, or that it can't be read; `None` if the log is not kept for it.
    fn read(&self, dir: &Path) -> Option<Stored> {
        let found = match file::read(&*self.storage, dir) {
            // One look while the subscriber moves for the first time could fall between its two slots.
            Ok(CursorFile::New) => file::read(&*self.storage, dir),
            found => found,
        };
        match found {
            Ok(CursorFile::New) => None,
            Ok(CursorFile::Stored(cursor, _)) if cursor.log_id != self.log_id => None,
            Ok(CursorFile::Stored(cursor, notice)) => Some(Some((cursor, notice))),
            Ok(CursorFile::Damaged) | Err(_) => Some(None),
        }
    }

    /// Breaks a pin, before the chunk goes that it needs, unless it has moved on meanwhile. An error if a subscriber can't
    /// be told.
    fn break_pin(&self, hold: &mut Hold, chunk: &Ahead) -> Result<()> {
        match &mut hold.whose {
            Whose::Pin(id) => {
                let mut held = self.held.lock();
                let Some(pin) = held.pins.get_mut(id).filter(|pin| pin.offset < chunk.end) else {
                    return Ok(());
                };
                pin.is_broken = true;
            }
            Whose::Subscriber(dir, Some((cursor, notice))) => {
                if let Some(Some((now, of_now))) = self.read(dir)
                    && now.offset >= chunk.end
                {
                    (hold.offset, *cursor, *notice) = (now.offset, now, of_now);
                    return self.rely(hold, chunk);
                }
                *notice = Some(self.tell(dir, cursor, NoticeKind::Broken)?);
            }
            // It is unbreakable.
            Whose::Subscriber(_, None) => return Ok(()),
        }
        hold.state = PinState::Broken;
        report(|| self.metrics.broken_pin_count.fetch_add(1, Relaxed));
        let lag = chunk.appended.saturating_sub(hold.offset);
        report(|| {
            log::warn!(
                "pin '{}' broke at offset {}, {lag} bytes behind: its chunks go",
                hold.name,
                hold.offset
            );
        });
        Ok(())
    }

    /// Tells a subscriber something about its cursor; returns the notice, which is durable.
    fn tell(&self, dir: &Path, cursor: &Cursor, kind: NoticeKind) -> Result<Notice> {
        let notice = Notice { sequence: cursor.sequence, offset: cursor.offset, kind };
        let note = |told| {
            if let Some(seen) = self.held.lock().seen.get_mut(dir) {
                seen.told = told;
            }
        };
        note(None);
        file::tell(&*self.storage, dir, &notice)?;
        note(Some(notice));
        Ok(notice)
    }

    /// Whether this process has made that notice durable.
    fn has_told(&self, dir: &Path, notice: Notice) -> bool {
        self.held.lock().seen.get(dir).is_some_and(|seen| seen.told == Some(notice))
    }
}

impl Hold {
    fn of_subscriber(dir: PathBuf, stored: Stored, moved: Instant) -> Self {
        // Of one that can't be read nothing is known, and it could not be told.
        let options = stored.map_or_else(
            || PinOptions::new().unbreakable(),
            |(cursor, _)| PinOptions {
                max_bytes: cursor.max_bytes,
                max_age: Duration::from_millis(cursor.max_age_ms),
                is_unbreakable: cursor.is_unbreakable,
            },
        );
        Hold {
            name: name_of(&dir),
            // Of a place that can't be read, every record may be needed.
            offset: stored.map_or(0, |(cursor, _)| cursor.offset),
            options,
            moved,
            state: stored
                .and_then(|(_, notice)| notice)
                .map_or(PinState::Holds, |notice| state_of(notice.kind)),
            whose: Whose::Subscriber(dir, stored),
        }
    }

    fn kind(&self) -> HolderKind {
        match self.whose {
            Whose::Pin(_) => HolderKind::Pin,
            Whose::Subscriber(..) => HolderKind::Subscriber,
        }
    }

    fn needs(&self, chunk: &Ahead) -> bool {
        self.state != PinState::Broken && self.offset < chunk.end
    }

    /// Whether it may break, so that the chunk can go.
    fn may_break(&self, chunk: &Ahead) -> bool {
        let PinOptions { max_bytes, max_age, is_unbreakable } = self.options;
        let stood = self.moved.elapsed().min(chunk.closed.elapsed());
        chunk.appended.saturating_sub(self.offset) > max_bytes
            || stood > max_age
            || (chunk.is_over_budget && !is_unbreakable)
    }
}

impl Drain<'_> {
    /// Whether the chunk may go, which is the oldest one. If pins must break for that, they do.
    pub(crate) fn may_take(&mut self, chunk: &Ahead) -> bool {
        match self.try_take(chunk) {
            Ok(may_go) => may_go,
            Err(error) => {
                report(|| {
                    log::warn!("no chunk is drained, because its subscribers can't be read or told: {error}")
                });
                false
            }
        }
    }

    fn try_take(&mut self, chunk: &Ahead) -> Result<bool> {
        let pins = self.pins;
        let holds = match &mut self.holds {
            Some(holds) => holds,
            none => none.insert(pins.begin_drain(chunk)?),
        };
        if holds.iter().any(|hold| hold.needs(chunk) && !hold.may_break(chunk)) {
            return Ok(false);
        }
        // What can fail comes first, and pins in memory last, so that none breaks in vain.
        for hold in holds.iter_mut().filter(|hold| !hold.needs(chunk)) {
            pins.rely(hold, chunk)?;
        }
        for hold in holds.iter_mut().rev().filter(|hold| hold.needs(chunk)) {
            pins.break_pin(hold, chunk)?;
        }
        Ok(true)
    }
}

impl Pins {
    /// Looks at the pins, and tells them how the budget is.
    fn begin_drain(&self, chunk: &Ahead) -> Result<Vec<Hold>> {
        self.over_budget.store(chunk.is_over_budget, Relaxed);
        let mut holds = self.look()?;
        let kind = if chunk.is_over_budget { NoticeKind::Over } else { NoticeKind::Within };
        for hold in &mut holds {
            if let Whose::Subscriber(dir, Some((cursor, notice))) = &mut hold.whose
                && hold.state != PinState::Broken
                && hold.state != state_of(kind)
            {
                *notice = Some(self.tell(dir, cursor, kind)?);
                hold.state = state_of(kind);
            }
        }
        let holding = holds.iter().filter(|hold| hold.state != PinState::Broken);
        let oldest = holding.clone().map(|hold| hold.offset).min().unwrap_or(chunk.appended);
        report(|| self.metrics.pin_count.set(holding.count() as u64));
        report(|| self.metrics.pinned_bytes.set(chunk.appended.saturating_sub(oldest)));
        Ok(holds)
    }

    /// Makes sure that a subscriber's cursor is durable, if the chunk goes because of that cursor; or that it has broken.
    fn rely(&self, hold: &mut Hold, chunk: &Ahead) -> Result<()> {
        let Whose::Subscriber(dir, Some((cursor, notice))) = &mut hold.whose else { return Ok(()) };
        let kind = notice.map_or(NoticeKind::Within, |notice| notice.kind);
        let durable = notice.filter(|notice| self.has_told(dir, *notice));
        if !durable.is_some_and(|durable| kind == NoticeKind::Broken || durable.offset >= chunk.end) {
            *notice = Some(self.tell(dir, cursor, kind)?);
        }
        Ok(())
    }
}
