//! From a cut to the disks that a crash there may leave. Each disk is opened, checked and used, and
//! crashes again.
//!
//! ```text
//! cut ─► disks ─► open, check, append, sync, close
//!                   │            │             │
//!                   └─ cuts ─────┴── cut ──────┴── cut ─► disks ─► the same, a level deeper
//! ```

mod failure;
mod test;

pub use failure::CrashFailure;
pub use test::{CrashReport, CrashTest};

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

use crate::config::Config;
use crate::random::mix;
use crate::recovery::Replay;
use crate::storage::MemoryStorage;
use crate::testing::check::history::{Bounds, History};
use crate::testing::check::{Claims, Opened, Refusal, Types};
use crate::testing::crash::{Crossing, LISTED_MAX, Left, Route};
use crate::testing::dice::Dice;
use crate::testing::record::promises::Cut;
use crate::testing::record::setup::Setup;
use crate::testing::record::{Recording, panic_text};
use crate::testing::script::Script;
use crate::testing::{Subject, check};

/// A failure, and the route to it.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) route: Route,
    pub(crate) wrong: String,
}

/// How much was done, counted by all threads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) states: AtomicU64,
    pub(crate) workloads: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) listed: AtomicU64,
    pub(crate) kills: AtomicU64,
    pub(crate) second: AtomicU64,
    pub(crate) torn: AtomicU64,
}

/// Of a recovery's cuts about this many are explored; all, if there are no more.
const CROSSED: u64 = 10;

/// The most crashes one after the other.
const LEVELS_MAX: usize = 3;

/// How many recoveries there are for each one that is cut, by the number of crashes before.
const DEEPER_ONE_IN: [u64; LEVELS_MAX + 1] = [1, 12, 30, u64::MAX];

/// Explores the disks of one workload.
pub(crate) struct Explorer<'a, S: Subject> {
    setup: &'a Setup<'a, S>,
    script: &'a Script,
    recording: &'a Recording<Types<S>>,
    tally: &'a Tally,
    /// Disks to draw at each cut that has too many to list.
    per_cut: u64,
    /// Decides which disks are drawn.
    salt: u64,
    seen: HashSet<u64>,
}

impl<'a, S: Subject> Explorer<'a, S> {
    pub(crate) fn new(
        setup: &'a Setup<'a, S>,
        script: &'a Script,
        recording: &'a Recording<Types<S>>,
        tally: &'a Tally,
        (per_cut, salt): (u64, u64),
    ) -> Self {
        Explorer { setup, script, recording, tally, per_cut, salt, seen: HashSet::new() }
    }

    /// Explores the disks that a crash at one cut may leave.
    pub(crate) fn cut(&mut self, index: usize) -> Result<(), Finding> {
        let Some(cut) = self.recording.cuts.get(index) else { return Ok(()) };
        self.tally.cuts.fetch_add(1, Relaxed);
        let mut dice = Dice::new(mix(self.salt) ^ index as u64);
        let listed = cut.disk.crash_states(LISTED_MAX);
        let drawn = if listed.is_some() { self.per_cut / 3 } else { self.per_cut };
        let listed: Vec<_> = listed.into_iter().flatten().enumerate().collect();
        self.tally.listed.fetch_add(u64::from(!listed.is_empty()), Relaxed);
        let listed = listed.into_iter().map(|(i, disk)| (Left::Listed(i), disk));
        // Drawn even where all disks are listed, because the list has no tears inside a sector.
        let seeds = (0..drawn).map(|i| if i < 2 { i } else { dice.next() >> 32 });
        let drawn = seeds.map(|seed| (Left::Drawn(seed), cut.disk.crash(seed)));
        let disks: Vec<(Left, MemoryStorage)> = listed.chain(drawn).collect();
        for (left, disk) in disks {
            if self.is_new(&disk, &cut.bounds) {
                self.examine(disk, &self.claims(cut, left), self.route(Crossing { cut: index, left }), None)?;
            }
        }
        let left = Left::Killed;
        self.tally.kills.fetch_add(1, Relaxed);
        self.examine(
            cut.disk.kill(),
            &self.claims(cut, left),
            self.route(Crossing { cut: index, left }),
            None,
        )
    }

    /// Follows only one route.
    pub(crate) fn follow(&self, route: &Route) -> Result<(), Finding> {
        let Some((first, rest)) = route.crossings.split_first() else { return Ok(()) };
        let Some(cut) = self.recording.cuts.get(first.cut) else { return Ok(()) };
        let Some(disk) = first.left.of(&cut.disk) else { return Ok(()) };
        self.examine(disk, &self.claims(cut, first.left), self.route(*first), Some(rest))
    }

    fn route(&self, crossing: Crossing) -> Route {
        Route { salt: self.salt, crossings: vec![crossing] }
    }

    fn claims<'b>(&self, cut: &'b Cut, left: Left) -> Claims<'b, Types<S>>
    where
        'a: 'b,
    {
        let bounds = &cut.bounds;
        let floor = bounds.floor(&cut.disk, left);
        Claims { history: &self.recording.lives[bounds.life], bounds, floor }
    }

    /// Whether this disk has not been checked with the same bounds yet.
    fn is_new(&mut self, disk: &MemoryStorage, bounds: &Bounds) -> bool {
        let Bounds { durable, start_min, opening, life, .. } = *bounds;
        let numbers = [durable, start_min, u64::from(opening), life as u64];
        self.seen.insert(numbers.iter().fold(disk.digest(), |hash, number| mix(hash ^ mix(*number + 1))))
    }

    /// Opens a disk, checks and uses it; then makes it crash again, if `then` or the dice say so.
    fn examine(
        &self,
        disk: MemoryStorage,
        claims: &Claims<'_, Types<S>>,
        route: Route,
        then: Option<&[Crossing]>,
    ) -> Result<(), Finding> {
        self.tally.states.fetch_add(1, Relaxed);
        let mut dice = Dice::new(route.number());
        let level = route.crossings.len();
        let deeper = match then {
            Some(rest) => !rest.is_empty(),
            None => dice.one_in(DEEPER_ONE_IN[level]),
        };
        let way =
            (self.config(&mut dice), dice.pick(&[Replay::All, Replay::All, Replay::FromLastCheckpoint]));
        let cuts = Arc::new(Mutex::new(Vec::new()));
        if deeper {
            let (cuts, watched) = (cuts.clone(), disk.clone());
            disk.on_operation(move |op| {
                if op.kind.is_change() {
                    // Copied under the lock: a copy that was taken before the log was open, and pushed after, would
                    // be judged by what an open log promises.
                    let mut cuts = cuts.lock();
                    cuts.push(watched.kill());
                }
            });
        }
        let n = dice.below(1_000_000);
        let judged = catch_unwind(AssertUnwindSafe(|| self.open_and_use(&disk, way, claims, n, &cuts)));
        disk.on_operation(|_| {});
        let judged = judged.unwrap_or_else(|panic| Err(panic_text(&*panic)));
        let used = judged.map_err(|wrong| Finding { route: route.clone(), wrong })?;
        if deeper {
            let cuts = std::mem::take(&mut *cuts.lock());
            self.cross(&used, &cuts, claims, &route, then, &mut dice)?;
        }
        Ok(())
    }

    fn config(&self, dice: &mut Dice) -> Config {
        let mut script = self.script.clone();
        // Another setting for reading must not change what is on disk.
        if dice.one_in(2) {
            script.chunk_max_size = dice.pick(&[64, 512, 4096]);
            script.chunk_max_records = u64::MAX;
            script.spare_chunks = dice.below(3);
            script.read_buffer_size = dice.pick(&[1, 100, 4096, 4096, 4096, 4096]);
        }
        self.setup.config(&script)
    }

    fn open_and_use(
        &self,
        disk: &MemoryStorage,
        (config, replay): (Config, Replay),
        claims: &Claims<'_, Types<S>>,
        n: u64,
        cuts: &Cuts,
    ) -> Result<Used<S>, String> {
        let opened = check::open(self.setup.subject, disk, config, replay, |options| options, claims);
        let mut opened = opened.map_err(|refusal| match refusal {
            Refusal::Error(e) => format!("the log can't be opened: {e}"),
            Refusal::Wrong(wrong) => wrong,
        })?;
        if opened.was_torn {
            self.tally.torn.fetch_add(1, Relaxed);
        }
        let opening = cuts.lock().len();
        cuts.lock().push(disk.kill());
        let (start, end) = (opened.start, opened.history.end());
        opened.append(self.setup.subject, n)?;
        let Opened { wal, history, .. } = opened;
        wal.close().map_err(|e| format!("close failed: {e}"))?;
        cuts.lock().push(disk.kill());
        let closed = claims.bounds.settled(start, history.end());
        let using = Bounds { durable: end, written: end, ..closed.clone() };
        Ok(Used { opening, history, using, closed })
    }

    /// Crashes during the recovery, and at every operation after it.
    fn cross(
        &self,
        used: &Used<S>,
        cuts: &[MemoryStorage],
        claims: &Claims<'_, Types<S>>,
        route: &Route,
        then: Option<&[Crossing]>,
        dice: &mut Dice,
    ) -> Result<(), Finding> {
        let opening = claims.bounds.reopening(claims.floor);
        for (cut, disk) in cuts.iter().enumerate() {
            let left = match then {
                None if dice.below(cuts.len() as u64) >= CROSSED => continue,
                None => Left::draw(dice),
                Some([next, ..]) if next.cut == cut => next.left,
                Some(_) => continue,
            };
            let Some(disk) = left.of(disk) else { continue };
            self.tally.second.fetch_add(1, Relaxed);
            let (history, bounds) = match cut {
                _ if cut < used.opening => (claims.history, &opening),
                _ if cut + 1 < cuts.len() => (&used.history, &used.using),
                _ => (&used.history, &used.closed),
            };
            let floor = bounds.floor(&disk, left);
            let route = route.with(Crossing { cut, left });
            let rest = then.map(|then| then.split_first().map_or(then, |(_, rest)| rest));
            self.examine(disk, &Claims { history, bounds, floor }, route, rest)?;
        }
        Ok(())
    }
}

/// Copies of a disk, one before each operation.
type Cuts = Mutex<Vec<MemoryStorage>>;

/// A log that was opened, used and closed.
struct Used<S: Subject> {
    /// How many cuts came before the log was open; the last cut is after the close.
    opening: usize,
    history: History<Types<S>>,
    using: Bounds,
    closed: Bounds,
}
