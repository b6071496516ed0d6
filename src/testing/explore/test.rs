//! [`CrashTest`]: runs workload after workload, on several threads, until enough states were checked.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::config::Config;
use crate::random::mix;
use crate::storage::MemoryStorage;
use crate::testing::Subject;
use crate::testing::crash::Route;
use crate::testing::explore::failure::{CrashFailure, Place, minimize, replay};
use crate::testing::explore::{Explorer, Finding, Tally};
use crate::testing::record::record;
use crate::testing::record::setup::{Prepare, Setup, Tune};
use crate::testing::script::Script;

/// A crash test of a state machine on its log: made with [`new`](Self::new), run with
/// [`run`](Self::run).
///
/// The [module](crate::testing) has a description and an example.
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
    /// Disks opened and checked.
    pub states: u64,
    /// Scripts run.
    pub workloads: u64,
    /// Positions at which a workload was cut: every operation of its storage.
    pub cuts: u64,
    /// Cuts with all their possible disks opened.
    pub exhausted_cuts: u64,
    /// States after a kill of the process, without a power loss.
    pub kills: u64,
    /// States after a crash during the recovery of another state, or right after it.
    pub second_crashes: u64,
    /// States with a torn write at their end, which recovery cut off.
    pub torn_tails: u64,
    /// How long the test took.
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

    /// Returns the states checked per second.
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
    /// Returns a test of `subject` with 20,000 states, from seed 0, on all cores.
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

    /// Sets the seed from which workloads and crashes are drawn.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many states to check; workloads under way are finished.
    pub fn states(mut self, states: u64) -> Self {
        self.states = states;
        self
    }

    /// Sets how many disks to draw at each cut that has too many to open all.
    pub fn states_per_cut(mut self, states: u64) -> Self {
        self.states_per_cut = states;
        self
    }

    /// Sets how many threads to use.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Runs this script, with other crashes each time, instead of scripts drawn from the seed.
    pub fn script(mut self, script: Script) -> Self {
        self.script = Some(script);
        self
    }

    /// Changes the settings of every log, after the script's settings; the directory stays.
    pub fn config(mut self, tune: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        self.tune = Some(Box::new(tune));
        self
    }

    /// Sets switches of every new disk; the disks that a crash leaves keep them. The documentation of
    /// [`MemoryStorage`]'s switches says whether the log's promises cover them. A
    /// [`replay`](Self::replay) needs the same switches.
    pub fn disk(mut self, prepare: impl Fn(&MemoryStorage) + Send + Sync + 'static) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// Runs the [`replay`](CrashFailure::replay) of a failure, and nothing else.
    ///
    /// # Errors
    ///
    /// A description of the part of `text` that can't be parsed.
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
    /// The first failure, with a workload made as short as possible; shortening may take 20 seconds
    /// more.
    pub fn run(self) -> Result<CrashReport, Box<CrashFailure>> {
        let setup =
            Setup { subject: &self.subject, tune: self.tune.as_ref(), prepare: self.prepare.as_ref() };
        let started = Instant::now();
        if let (Some(route), Some(script)) = (&self.route, &self.script) {
            let failure = replay(&setup, script, route);
            let report = CrashReport { elapsed: started.elapsed(), workloads: 1, ..CrashReport::default() };
            return failure.map_or(Ok(report), |failure| Err(Box::new(failure)));
        }
        let shared = Progress::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.threads).map(|_| scope.spawn(|| self.work(&setup, &shared))).collect();
            let mut reported = started;
            while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                shared.wait();
                if let Some(on_progress) = &self.on_progress
                    && reported.elapsed() >= Duration::from_secs(1)
                {
                    reported = Instant::now();
                    on_progress(&CrashReport::of(&shared.tally, started));
                }
            }
        });
        match shared.found.into_inner() {
            None => Ok(CrashReport::of(&shared.tally, started)),
            Some((workload, found)) => {
                let place = Place { seed: self.seed, workload };
                Err(Box::new(minimize(&setup, self.draw(workload), found, &place)))
            }
        }
    }

    fn draw(&self, workload: u64) -> Script {
        self.script.clone().unwrap_or_else(|| Script::draw(mix(self.seed).wrapping_add(mix(workload))))
    }

    /// Runs workload after workload.
    fn work(&self, setup: &Setup<'_, S>, shared: &Progress) {
        while !shared.ended.load(Relaxed) && shared.tally.states.load(Relaxed) < self.states {
            let workload = shared.next.fetch_add(1, Relaxed);
            if let Err(found) = self.workload(setup, workload, shared) {
                shared.found.lock().get_or_insert((workload, found));
                shared.ended.store(true, Relaxed);
            }
        }
        shared.ended.store(true, Relaxed);
        shared.changed.notify_all();
    }

    fn workload(&self, setup: &Setup<'_, S>, workload: u64, shared: &Progress) -> Result<(), Finding> {
        let script = self.draw(workload);
        let recording = record(setup, &script);
        shared.tally.workloads.fetch_add(1, Relaxed);
        if let Some((step, wrong)) = &recording.wrong {
            return Err(Finding { route: Route::default(), wrong: format!("{wrong} (in step {step})") });
        }
        let draws = (self.states_per_cut, mix(mix(self.seed) ^ workload) >> 32);
        let mut explorer = Explorer::new(setup, &script, &recording, &shared.tally, draws);
        for index in 0..recording.cuts.len() {
            explorer.cut(index)?;
            if shared.found.lock().is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// The state that the threads of a test share.
#[derive(Default)]
struct Progress {
    tally: Tally,
    next: AtomicU64,
    ended: AtomicBool,
    found: Mutex<Option<(u64, Finding)>>,
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
