//! [`CrashFailure`]: what is wrong, and the shortest way there that was found.

use std::fmt;
use std::time::{Duration, Instant};

use super::Subject;
use super::explore::{Explorer, Found, Tally};
use super::plan::Plan;
use super::route::Route;
use super::script::{Pace, Script};
use super::workload::record;

/// A crash test found something wrong.
///
/// Its text says what, after which steps, and how to see it again:
/// [`CrashTest::replay`](super::CrashTest::replay) takes [`replay`](Self::replay).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CrashFailure {
    /// What is wrong.
    pub wrong: String,
    /// The seed of the whole test.
    pub seed: u64,
    /// The workload that failed, of those that the seed stands for.
    pub workload: u64,
    /// The workload, shortened as far as it still fails.
    pub script: Script,
    /// How many steps it had before.
    pub steps_before: usize,
    /// What [`CrashTest::replay`](super::CrashTest::replay) takes: the script and the way to the
    /// disk that failed.
    pub replay: String,
    /// What the storage was about to do when the power went, and what it did before that, oldest
    /// first.
    pub operations: Vec<String>,
}

impl fmt::Display for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CrashFailure { wrong, seed, workload, script, steps_before, replay, operations } = self;
        write!(f, "crash test failed: ")?;
        for line in wrong.lines() {
            // A state of the user's may be as large as it likes.
            let shown: String = line.chars().take(LINE_MAX).collect();
            writeln!(f, "{shown}{}", if shown.len() < line.len() { " ..." } else { "" })?;
        }
        writeln!(
            f,
            "in workload {workload} of seed {seed}, {} of its {steps_before} steps being enough",
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

/// Characters shown of a line that tells what is wrong.
const LINE_MAX: usize = 300;

/// Operations shown of those before the crash.
const SHOWN: usize = 12;

/// Where something was found wrong.
pub(super) struct Place {
    pub(super) seed: u64,
    pub(super) workload: u64,
}

/// Shortens a script for as long as it fails, and tells how it does.
pub(super) fn minimize<S: Subject>(
    plan: &Plan<'_, S>,
    script: Script,
    found: Found,
    place: &Place,
) -> CrashFailure {
    let deadline = Instant::now() + PATIENCE;
    let steps_before = script.steps.len();
    let mut best = Failing { script, found, operations: Vec::new() };
    for states in [SEARCH, 4 * SEARCH] {
        // The way there is found anew in any case: it was one of many threads that found the first.
        if let Some(again) = fails(plan, &best.script, states, deadline) {
            best = again;
            break;
        }
    }
    let calm = Script { pace: Pace::Calm, ..best.script.clone() };
    if calm != best.script
        && let Some(again) = fails(plan, &calm, SEARCH, deadline)
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
            match fails(plan, &shorter, SEARCH, deadline) {
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

/// How long a script is shortened.
const PATIENCE: Duration = Duration::from_secs(20);

/// Disks to go through before a script counts as one that doesn't fail.
const SEARCH: u64 = 3000;

/// A script that fails, and how.
struct Failing {
    script: Script,
    found: Found,
    operations: Vec<String>,
}

/// Runs a script and goes through about so many disks, until one is wrong.
fn fails<S: Subject>(plan: &Plan<'_, S>, script: &Script, states: u64, deadline: Instant) -> Option<Failing> {
    let recording = record(plan, script);
    let operations = |upto: usize| {
        let cuts = &recording.cuts[..recording.cuts.len().min(upto + 1)];
        let done: Vec<&String> = cuts.iter().flat_map(|cut| &cut.done).collect();
        let shown = done[done.len().saturating_sub(SHOWN)..].iter().copied();
        shown.chain(cuts.last().map(|cut| &cut.next)).cloned().collect()
    };
    if let Some((step, wrong)) = &recording.wrong {
        let mut script = script.clone();
        script.steps.truncate(step + 1);
        let found = Found {
            route: Route::default(),
            wrong: format!("{wrong} (in step {step}, with no crash behind it)"),
        };
        return Some(Failing { script, found, operations: operations(recording.cuts.len()) });
    }
    let tally = Tally::default();
    let per_cut = (states / recording.cuts.len().max(1) as u64).clamp(3, 200);
    let mut explorer = Explorer::new(plan, script, &recording, &tally, (per_cut, states));
    for index in 0..recording.cuts.len() {
        if let Err(found) = explorer.cut(index) {
            let mut script = script.clone();
            // What came behind the crash has no part in it.
            script.steps.truncate(recording.cuts[index].bounds.step + 1);
            return Some(Failing { script, found, operations: operations(index) });
        }
        if Instant::now() > deadline {
            return None;
        }
    }
    None
}

/// Runs a script, goes one way, and if that leads nowhere any more, looks around.
pub(super) fn replay<S: Subject>(plan: &Plan<'_, S>, script: &Script, route: &Route) -> Option<CrashFailure> {
    let steps_before = script.steps.len();
    let tell = |found: Found, operations| {
        let replay = format!("{script} @ {}", found.route);
        let script = script.clone();
        CrashFailure { wrong: found.wrong, seed: 0, workload: 0, script, steps_before, replay, operations }
    };
    let recording = record(plan, script);
    if recording.wrong.is_none() {
        let tally = Tally::default();
        let explorer = Explorer::new(plan, script, &recording, &tally, (0, route.salt));
        if let Err(found) = explorer.follow(route) {
            return Some(tell(found, Vec::new()));
        }
    }
    let deadline = Instant::now() + 2 * PATIENCE;
    let mut searches = (1..=8).map(|search| search * SEARCH);
    let failing = searches.find_map(|states| fails(plan, script, states, deadline))?;
    Some(tell(failing.found, failing.operations))
}
