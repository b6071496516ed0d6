//! [`CrashTest`]: workload after workload, on as many threads as there are, until enough was seen.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Subject;
use super::dice::mix;
use super::explore::{Explorer, Found, Tally};
use super::failure::{CrashFailure, Place, minimize, replay};
use super::plan::{Plan, Prepare, Tune};
use super::route::Route;
use super::script::Script;
use super::workload::record;
use crate::config::Config;
use crate::storage::MemoryStorage;

/// Crash-tests a state machine on its log: made with [`new`](Self::new), ended by [`run`](Self::run).
///
/// See the [module](super) for what it does and an example.
pub struct CrashTest<S> {
    subject: S,
    seed: u64,
    states: u64,
    states_per_cut: u64,
    threads: usize,
    script: Option<Script>,
    route: Option<Route>,
    tune: Option<Tune>,
    prepare: Option<Prepare>,
    on_progress: Option<OnProgress>,
}

type OnProgress = Box<dyn Fn(&CrashReport) + Send + Sync>;

/// What a crash test did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CrashReport {
    /// Disks opened and judged.
    pub states: u64,
    /// Scripts run.
    pub workloads: u64,
    /// Places at which a workload was cut: every operation of its storage.
    pub cuts: u64,
    /// Cuts of which every disk that a crash may leave was opened.
    pub exhausted_cuts: u64,
    /// States that were left by the end of the process alone.
    pub kills: u64,
    /// States that were left by a crash during the recovery of another, or right behind it.
    pub second_crashes: u64,
    /// States with a torn write at their end, cut off by recovery.
    pub torn_tails: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl CrashReport {
    fn of(tally: &Tally, started: Instant) -> Self {
        CrashReport {
            states: tally.states.load(Relaxed),
            workloads: tally.workloads.load(Relaxed),
            cuts: tally.cuts.load(Relaxed),
            exhausted_cuts: tally.listed.load(Relaxed),
            kills: tally.kills.load(Relaxed),
            second_crashes: tally.second.load(Relaxed),
            torn_tails: tally.torn.load(Relaxed),
            elapsed: started.elapsed(),
        }
    }

    /// How fast it went.
    pub fn states_per_second(&self) -> u64 {
        (self.states as f64 / self.elapsed.as_secs_f64().max(0.001)) as u64
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CrashReport {
            states, workloads, cuts, exhausted_cuts, kills, second_crashes, torn_tails, ..
        } = self;
        write!(f, "{states} states of {cuts} cuts ({exhausted_cuts} exhausted) in {workloads} workloads; ")?;
        write!(f, "{kills} kills, {second_crashes} second crashes, {torn_tails} torn tails; ")?;
        write!(f, "{:.1} s, {} states/s", self.elapsed.as_secs_f64(), self.states_per_second())
    }
}

impl<S: Subject> CrashTest<S> {
    /// A test of `subject`: of 20,000 states, from seed 0, on all cores.
    pub fn new(subject: S) -> Self {
        CrashTest {
            subject,
            seed: 0,
            states: 20_000,
            states_per_cut: 12,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            script: None,
            route: None,
            tune: None,
            prepare: None,
            on_progress: None,
        }
    }

    /// Draws other workloads, and other crashes.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Ends once so many states were judged; the workloads under way are finished.
    pub fn states(mut self, states: u64) -> Self {
        self.states = states;
        self
    }

    /// How many disks to draw at each cut, where they are too many to go through them all.
    pub fn states_per_cut(mut self, states: u64) -> Self {
        self.states_per_cut = states;
        self
    }

    /// How many threads to use.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Runs this script, with other crashes each time, instead of scripts drawn from the seed.
    pub fn script(mut self, script: Script) -> Self {
        self.script = Some(script);
        self
    }

    /// Changes the settings of every log, after the script's are made; the directory stays.
    pub fn config(mut self, tune: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        self.tune = Some(Box::new(tune));
        self
    }

    /// Sets switches of every new disk; what a crash leaves of it keeps them. Those that are not its
    /// [`MemoryStorage`]'s defaults say whether the log's promises cover them. A
    /// [`replay`](Self::replay) needs the same.
    pub fn disk(mut self, prepare: impl Fn(&MemoryStorage) + Send + Sync + 'static) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// Runs what a failure gave as its [`replay`](CrashFailure::replay), and nothing else.
    ///
    /// # Errors
    ///
    /// What can't be read in `text`.
    pub fn replay(mut self, text: &str) -> Result<Self, String> {
        let (script, route) = text.split_once('@').unwrap_or((text, ""));
        self.script = Some(script.parse()?);
        self.route = Some(route.trim().parse()?);
        Ok(self)
    }

    /// Calls `f` about once a second, on the thread that runs the test.
    pub fn on_progress(mut self, f: impl Fn(&CrashReport) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Box::new(f));
        self
    }

    /// Runs the test.
    ///
    /// # Errors
    ///
    /// The first thing found wrong, with a workload made as short as possible; that may take 20
    /// seconds more.
    pub fn run(self) -> Result<CrashReport, Box<CrashFailure>> {
        let plan = Plan { subject: &self.subject, tune: self.tune.as_ref(), prepare: self.prepare.as_ref() };
        let started = Instant::now();
        if let (Some(route), Some(script)) = (&self.route, &self.script) {
            let failure = replay(&plan, script, route);
            let report = CrashReport { elapsed: started.elapsed(), workloads: 1, ..CrashReport::default() };
            return failure.map_or(Ok(report), |failure| Err(Box::new(failure)));
        }
        let shared = Progress::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.threads).map(|_| scope.spawn(|| self.work(&plan, &shared))).collect();
            let mut told = started;
            while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                shared.wait();
                if let Some(on_progress) = &self.on_progress
                    && told.elapsed() >= Duration::from_secs(1)
                {
                    told = Instant::now();
                    on_progress(&CrashReport::of(&shared.tally, started));
                }
            }
        });
        match shared.found.into_inner() {
            None => Ok(CrashReport::of(&shared.tally, started)),
            Some((workload, found)) => {
                let place = Place { seed: self.seed, workload };
                Err(Box::new(minimize(&plan, self.draw(workload), found, &place)))
            }
        }
    }

    fn draw(&self, workload: u64) -> Script {
        self.script.clone().unwrap_or_else(|| Script::draw(mix(self.seed).wrapping_add(mix(workload))))
    }

    /// Takes workload after workload.
    fn work(&self, plan: &Plan<'_, S>, shared: &Progress) {
        while !shared.ended.load(Relaxed) && shared.tally.states.load(Relaxed) < self.states {
            let workload = shared.next.fetch_add(1, Relaxed);
            if let Err(found) = self.workload(plan, workload, shared) {
                shared.found.lock().get_or_insert((workload, found));
                shared.ended.store(true, Relaxed);
            }
        }
        shared.ended.store(true, Relaxed);
        shared.changed.notify_all();
    }

    fn workload(&self, plan: &Plan<'_, S>, workload: u64, shared: &Progress) -> Result<(), Found> {
        let script = self.draw(workload);
        let recording = record(plan, &script);
        shared.tally.workloads.fetch_add(1, Relaxed);
        if let Some((step, wrong)) = &recording.wrong {
            return Err(Found { route: Route::default(), wrong: format!("{wrong} (in step {step})") });
        }
        let draws = (self.states_per_cut, mix(mix(self.seed) ^ workload) >> 32);
        let mut explorer = Explorer::new(plan, &script, &recording, &shared.tally, draws);
        for index in 0..recording.cuts.len() {
            explorer.cut(index)?;
            if shared.found.lock().is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// What the threads of a test share.
#[derive(Default)]
struct Progress {
    tally: Tally,
    next: AtomicU64,
    ended: AtomicBool,
    found: Mutex<Option<(u64, Found)>>,
    changed: Condvar,
    waiting: Mutex<()>,
}

impl Progress {
    /// Waits for about a second, or for the end.
    fn wait(&self) {
        let patience = if self.ended.load(Relaxed) { 10 } else { 1000 };
        self.changed.wait_for(&mut self.waiting.lock(), Duration::from_millis(patience));
    }
}

impl<S> fmt::Debug for CrashTest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashTest")
            .field("seed", &self.seed)
            .field("states", &self.states)
            .field("script", &self.script)
            .finish_non_exhaustive()
    }
}
