//! [`CrashFailure`]: a failure, and the shortest script found that shows it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::testing::Subject;
use crate::testing::crash::Route;
use crate::testing::explore::{Explorer, Finding, Tally};
use crate::testing::record::record;
use crate::testing::record::setup::Setup;
use crate::testing::script::{Pace, Script};

/// The failure that a crash test found.
///
/// Its text says what is wrong, after which steps, and how to reproduce it:
/// [`CrashTest::replay`](crate::testing::CrashTest::replay) takes [`replay`](Self::replay).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CrashFailure {
    /// What is wrong.
    pub wrong: String,
    /// The seed of the whole test.
    pub seed: u64,
    /// The number of the failed workload among those drawn from the seed.
    pub workload: u64,
    /// The workload, shortened as long as it still fails.
    pub script: Script,
    /// How many steps it had before shortening.
    pub steps_before: usize,
    /// The script and the route to the disk that failed, for
    /// [`CrashTest::replay`](crate::testing::CrashTest::replay).
    pub replay: String,
    /// The storage's next operation when the power went, preceded by its earlier operations, oldest
    /// first.
    pub operations: Vec<String>,
}

impl fmt::Display for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CrashFailure { wrong, seed, workload, script, steps_before, replay, operations } = self;
        write!(f, "crash test failed: ")?;
        for line in wrong.lines() {
            // A user's state may be of any size.
            let shown: String = line.chars().take(LINE_MAX).collect();
            writeln!(f, "{shown}{}", if shown.len() < line.len() { " ..." } else { "" })?;
        }
        writeln!(
            f,
            "in workload {workload} of seed {seed}, shortened to {} of its {steps_before} steps",
            script.steps.len()
        )?;
        if let Some((next, done)) = operations.split_last() {
            writeln!(f, "the last operations of the storage:")?;
            done.iter().try_for_each(|operation| writeln!(f, "  {operation}"))?;
            writeln!(f, "  -- crash, before: {next}")?;
        }
        write!(f, "replay: \"{replay}\"")
    }
}

impl std::error::Error for CrashFailure {}

/// The most characters shown of a line that describes the failure.
const LINE_MAX: usize = 300;

/// The most operations shown of those before the crash.
const SHOWN: usize = 12;

/// The workload in which a failure was found.
pub(crate) struct Place {
    pub(crate) seed: u64,
    pub(crate) workload: u64,
}

/// Shortens a script for as long as it fails, and describes its failure.
pub(crate) fn minimize<S: Subject>(
    setup: &Setup<'_, S>,
    script: Script,
    found: Finding,
    place: &Place,
) -> CrashFailure {
    let deadline = Instant::now() + PATIENCE;
    let steps_before = script.steps.len();
    let mut best = Failing { script, found, operations: Vec::new() };
    for states in [SEARCH, 4 * SEARCH] {
        // The route is searched again in any case, because the first one came from one of many threads.
        if let Some(again) = fails(setup, &best.script, states, deadline) {
            best = again;
            break;
        }
    }
    let calm = Script { pace: Pace::Calm, ..best.script.clone() };
    if calm != best.script
        && let Some(again) = fails(setup, &calm, SEARCH, deadline)
    {
        best = again;
    }
    let mut size = best.script.steps.len().next_power_of_two();
    while size > 0 {
        let mut at = 0;
        while at < best.script.steps.len() && Instant::now() < deadline {
            let mut shorter = best.script.clone();
            let end = (at + size).min(shorter.steps.len());
            shorter.steps.drain(at..end);
            match fails(setup, &shorter, SEARCH, deadline) {
                Some(again) => best = again,
                None => at += size,
            }
        }
        size /= 2;
    }
    let Failing { script, found, operations } = best;
    let Place { seed, workload } = *place;
    let replay = format!("{script} @ {}", found.route);
    CrashFailure { wrong: found.wrong, seed, workload, script, steps_before, replay, operations }
}

/// How long a script is shortened at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many disks to check before a script counts as one that doesn't fail.
const SEARCH: u64 = 3000;

/// A script that fails, and its failure.
struct Failing {
    script: Script,
    found: Finding,
    operations: Vec<String>,
}

/// Runs a script and checks about `states` disks, until one fails.
fn fails<S: Subject>(
    setup: &Setup<'_, S>,
    script: &Script,
    states: u64,
    deadline: Instant,
) -> Option<Failing> {
    let recording = record(setup, script);
    let operations = |upto: usize| {
        let cuts = &recording.cuts[..recording.cuts.len().min(upto + 1)];
        let done: Vec<&String> = cuts.iter().flat_map(|cut| &cut.done).collect();
        let shown = done[done.len().saturating_sub(SHOWN)..].iter().copied();
        shown.chain(cuts.last().map(|cut| &cut.next)).cloned().collect()
    };
    if let Some((step, wrong)) = &recording.wrong {
        let mut script = script.clone();
        script.steps.truncate(step + 1);
        let found =
            Finding { route: Route::default(), wrong: format!("{wrong} (in step {step}, without a crash)") };
        return Some(Failing { script, found, operations: operations(recording.cuts.len()) });
    }
    let tally = Tally::default();
    let per_cut = (states / recording.cuts.len().max(1) as u64).clamp(3, 200);
    let mut explorer = Explorer::new(setup, script, &recording, &tally, (per_cut, states));
    for index in 0..recording.cuts.len() {
        if let Err(found) = explorer.cut(index) {
            let mut script = script.clone();
            // Steps after the crash have no part in it.
            script.steps.truncate(recording.cuts[index].bounds.step + 1);
            return Some(Failing { script, found, operations: operations(index) });
        }
        if Instant::now() > deadline {
            return None;
        }
    }
    None
}

/// Runs a script and follows one route; if that shows no failure any more, explores other routes.
pub(crate) fn replay<S: Subject>(
    setup: &Setup<'_, S>,
    script: &Script,
    route: &Route,
) -> Option<CrashFailure> {
    let steps_before = script.steps.len();
    let failure = |found: Finding, operations| {
        let replay = format!("{script} @ {}", found.route);
        let script = script.clone();
        CrashFailure { wrong: found.wrong, seed: 0, workload: 0, script, steps_before, replay, operations }
    };
    let recording = record(setup, script);
    if recording.wrong.is_none() {
        let tally = Tally::default();
        let explorer = Explorer::new(setup, script, &recording, &tally, (0, route.salt));
        if let Err(found) = explorer.follow(route) {
            return Some(failure(found, Vec::new()));
        }
    }
    let deadline = Instant::now() + 2 * PATIENCE;
    let mut searches = (1..=8).map(|search| search * SEARCH);
    let failing = searches.find_map(|states| fails(setup, script, states, deadline))?;
    Some(failure(failing.found, failing.operations))
}
