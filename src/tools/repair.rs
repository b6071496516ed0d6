//! `repair`: describes what could be kept of a damaged log, and, on request, keeps it.
//!
//! ```text
//!   chunks   |  A  |  B  x      |  C  |  D  |        x: the first damage
//!   before   |  A  |  B |cut                         C, D dropped, newest first
//!   behind                      |  C  |  D  |        A, B dropped, oldest first
//!   all      |  A  |  B  |mend| |  C  |  D  |        proven bytes are written again, nothing is lost
//! ```
//!
//! - Where everything can be kept, there is no other choice.
//! - Nothing that is given up is deleted: a chunk is copied before it is cut, and renamed instead of
//!   dropped.
//! - A crash during a repair leaves a log that can be repaired again: chunks go one by one from the end
//!   that is given up, each rename durable before the next, and the cut comes last.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::{Keep, RepairArgs};
use super::aside::{copy, free_name, sync_dir};
use super::look::{LogLook, Look, State, look};
use super::outcome::{Failure, Outcome};
use super::survey::{is_open, survey};
use super::{Tool, print, void};
use crate::config::Config;
use crate::directory::{WalLock, put_aside};
use crate::error::{Damage, Error};
use crate::position::ChunkId;
use crate::raw;
use crate::raw::{Raw, RawChunk};
use crate::wal::ChunkedWal;

/// One step of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The chunk with this index is renamed.
    Drop(usize),
    /// The chunk with this index is copied, then ended at this global offset.
    Cut(usize, u64),
    /// The seal or header of the chunk with this index is written again, in its place.
    Mend(usize),
}

/// A way to make the log sound.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    keep: Keep,
    steps: Vec<Step>,
}

pub(super) fn run(tool: &Tool, args: &RepairArgs) -> Result<Outcome, Failure> {
    if let Some(offset) = args.void {
        return void::run(tool, args, offset);
    }
    survey(&*tool.storage, &args.dir)?;
    // The lock is taken before the look, so that the result stays true.
    let lock = if args.apply { Some(lock(tool, &args.dir)?) } else { None };
    let mut log = examine(tool, &args.dir)?;
    if lock.is_some() || !is_open(&args.dir) {
        log.judge_spares(tool, &args.dir)?;
    }
    let is_torn = matches!(log.chunks.last(), Some((_, Look { state: State::Torn { .. }, .. })));
    let is_torn = is_torn && (lock.is_some() || !is_open(&args.dir));
    let outcome = match log.chunks.iter().any(|(_, look)| look.damage().next().is_some()) {
        true => Outcome::Corrupt,
        false if is_torn => Outcome::Torn,
        false => Outcome::Sound,
    };
    let mut repair = Repair {
        tool,
        args,
        outcome,
        plans: plans(&log, is_torn).into_iter().map(|plan| plan.describe(tool, &args.dir, &log)).collect(),
        done: Vec::new(),
        left: None,
    };
    let damage = describe_damage(args, &log, outcome);
    repair.say(&damage)?;
    let result = match (outcome, &lock) {
        (Outcome::Sound, _) => Ok(Outcome::Sound),
        (_, None) => repair.propose().map(|()| outcome),
        (_, Some(lock)) => repair.apply(lock, &log),
    };
    if args.report.is_json() {
        // Report also the steps done before a failure.
        print::all(format!("{:#}\n", repair.json(&damage)).as_bytes())?;
    }
    result
}

/// Takes the log's lock.
pub(super) fn lock(tool: &Tool, dir: &Path) -> Result<WalLock, Failure> {
    Ok(ChunkedWal::<Raw>::options(Config::new(dir)).storage(Arc::clone(&tool.storage)).acquire_lock()?)
}

/// A repair, and what it has to say.
struct Repair<'a> {
    tool: &'a Tool,
    args: &'a RepairArgs,
    outcome: Outcome,
    plans: Vec<DescribedPlan>,
    /// What was done.
    done: Vec<String>,
    /// The chunks and records that are left after a repair.
    left: Option<(u64, u64)>,
}

/// A plan with each step in words.
struct DescribedPlan {
    keep: Keep,
    steps: Vec<(Step, String)>,
}

impl Plan {
    fn describe(self, tool: &Tool, dir: &Path, log: &LogLook) -> DescribedPlan {
        let describe = |step| (step, describe(tool, dir, log, step));
        DescribedPlan { keep: self.keep, steps: self.steps.into_iter().map(describe).collect() }
    }
}

impl Repair<'_> {
    /// Prints text for people, as it happens; JSON comes at the end.
    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.args.report.is_json() { Ok(()) } else { print::all(text.as_bytes()) }
    }

    /// Prints what the repair would do.
    fn propose(&self) -> Result<(), Failure> {
        let mut text = String::new();
        for plan in &self.plans {
            if self.plans.len() > 1 {
                text += &format!("with --keep {}:\n", name(plan.keep));
            }
            for (_, what) in &plan.steps {
                text += &format!("  would {what}\n");
            }
        }
        text += match self.plans.len() {
            0 => "nothing sound is left: restore the files from a copy\n",
            1 => "nothing was changed; --apply does it\n",
            _ => "nothing was changed; --apply with one of the two does it\n",
        };
        self.say(&text)
    }

    fn apply(&mut self, lock: &WalLock, log: &LogLook) -> Result<Outcome, Failure> {
        let chosen = self.choose()?;
        if let DescribedPlan { keep: Keep::Before, steps, .. } = &self.plans[chosen] {
            let dropped =
                steps.iter().filter_map(|(step, _)| if let Step::Drop(i) = step { Some(*i) } else { None });
            let newest = dropped.min().unwrap_or(log.chunks.len()).checked_sub(1);
            if let (Some(i), Some(log_id)) = (newest, log.log_id) {
                for path in put_aside(&*self.tool.storage, lock.dir(), log_id, log.chunks[i].0)? {
                    let name = print::name(path.file_name().unwrap_or_default());
                    let done = format!("give up a spare that begins like a later chunk; renamed to {name}");
                    self.say(&format!("done: {done}\n"))?;
                    self.done.push(done);
                }
            }
        }
        for i in 0..self.plans[chosen].steps.len() {
            let (step, what) = &self.plans[chosen].steps[i];
            let done = what.clone() + &apply(lock, log, *step)?;
            self.say(&format!("done: {done}\n"))?;
            self.done.push(done);
        }
        let log = examine(self.tool, &self.args.dir)?;
        let (chunks, records) =
            (log.chunks.len() as u64, log.chunks.iter().map(|(_, look)| look.records).sum());
        self.left = Some((chunks, records));
        let verb = if chunks == 1 { "is left" } else { "are left" };
        let (chunks, records) = (print::count(chunks, "chunk"), print::count(records, "record"));
        self.say(&format!("repaired: {chunks} with {records} {verb}\n"))?;
        Ok(Outcome::Sound)
    }

    /// The index of the plan to apply.
    fn choose(&self) -> Result<usize, Failure> {
        let several = self.plans.len() > 1;
        let is_wanted = |plan: &DescribedPlan| self.args.keep.map_or(!several, |keep| keep == plan.keep);
        if let Some(chosen) = self.plans.iter().position(is_wanted) {
            return Ok(chosen);
        }
        let ways: Vec<_> = self.plans.iter().map(|plan| name(plan.keep)).collect();
        Err(match ways.as_slice() {
            [] => Failure::Message {
                code: Outcome::Corrupt.code(),
                line: "nothing sound is left, and nothing was changed: restore the files from a copy".into(),
            },
            ways => {
                Failure::usage(format!("nothing was changed: choose --keep {}", ways.join(" or --keep ")))
            }
        })
    }

    fn json(&self, damage: &str) -> Value {
        let steps =
            |plan: &DescribedPlan| plan.steps.iter().map(|(_, what)| what.clone()).collect::<Vec<_>>();
        let plans = self.plans.iter().map(|plan| json!({ "keep": name(plan.keep), "steps": steps(plan) }));
        json!({
            "dir": print::path(&self.args.dir),
            "verdict": self.outcome.verdict(),
            "damage": if self.outcome == Outcome::Sound { Vec::new() } else { damage.lines().collect() },
            "plans": plans.collect::<Vec<_>>(),
            "done": self.done,
            "left": self.left.map(|(chunks, records)| json!({ "chunks": chunks, "records": records })),
        })
    }
}

fn examine(tool: &Tool, dir: &Path) -> Result<LogLook, Failure> {
    let listing = survey(&*tool.storage, dir)?;
    let one = |(i, id): (usize, &ChunkId)| Ok((*id, look(tool, dir, *id, listing.place(i), &mut |_| {})?));
    let looks: Result<Vec<_>, Failure> = listing.chunks.iter().enumerate().map(one).collect();
    Ok(LogLook::of(tool, dir, looks?))
}

/// What could be kept of a log, and by which steps; for a log that is open its end is still being written.
pub(super) fn ways(
    tool: &Tool,
    dir: &Path,
    log: &LogLook,
    is_open: bool,
) -> Vec<(&'static str, Vec<String>)> {
    let is_torn = matches!(log.chunks.last(), Some((_, Look { state: State::Torn { .. }, .. })));
    // The next open cuts off a torn tail by itself.
    if log.chunks.iter().all(|(_, look)| look.damage().next().is_none()) {
        return Vec::new();
    }
    let steps = |plan: &Plan| plan.steps.iter().map(|step| describe(tool, dir, log, *step)).collect();
    plans(log, is_torn && !is_open).iter().map(|plan| (name(plan.keep), steps(plan))).collect()
}

/// Returns the ways to repair the log.
fn plans(log: &LogLook, is_torn: bool) -> Vec<Plan> {
    let chunks = &log.chunks;
    // Mending comes before dropping, because the next chunk has the proof.
    let mends = |kept: Range<usize>| kept.filter(|i| chunks[*i].1.is_mendable).map(Step::Mend);
    let Some(first) = chunks.iter().position(|(_, look)| look.is_bad()) else {
        let last = chunks.len().saturating_sub(1);
        let mut steps: Vec<Step> = mends(0..chunks.len()).collect();
        let keep = if steps.is_empty() { Keep::Before } else { Keep::All };
        steps.extend(chunks.last().filter(|_| is_torn).map(|(_, look)| Step::Cut(last, look.data_end)));
        return if steps.is_empty() { Vec::new() } else { vec![Plan { keep, steps }] };
    };
    let mut plans = Vec::new();
    // Nothing of a foreign chunk is kept, however sound the chunk is.
    let look = &chunks[first].1;
    let is_ours = matches!(look.state, State::Damaged(Error::Corrupt { .. } | Error::Gap { .. }))
        && look.misplaced.is_none();
    let has_prefix = is_ours && look.records > 0;
    if first > 0 || has_prefix {
        let dropped = if has_prefix { first + 1 } else { first };
        let mut steps: Vec<Step> = mends(0..first).collect();
        steps.extend((dropped..chunks.len()).rev().map(Step::Drop));
        steps.extend(has_prefix.then_some(Step::Cut(first, look.data_end)));
        plans.push(Plan { keep: Keep::Before, steps });
    }
    let last = chunks.iter().rposition(|(_, look)| look.is_bad()).unwrap_or(first);
    // A whole chunk after a gap can be the oldest.
    let start = if chunks[last].1.is_whole() { last } else { last + 1 };
    if start < chunks.len() {
        let steps = mends(start..chunks.len()).chain((0..start).map(Step::Drop)).collect();
        plans.push(Plan { keep: Keep::Behind, steps });
    }
    plans
}

fn describe_damage(args: &RepairArgs, log: &LogLook, outcome: Outcome) -> String {
    let dir = args.dir.display();
    match outcome {
        Outcome::Sound => format!("{dir}: sound, nothing to repair\n"),
        Outcome::Torn => {
            let (id, look) = &log.chunks[log.chunks.len() - 1];
            let State::Torn { lost, cut_at } = look.state else { return String::new() };
            let torn = print::torn(lost, look.data_end, cut_at);
            format!("{dir}: {}: {torn}; nothing proves that any of it was durable\n", id.file_name())
        }
        _ => log.chunks.iter().flat_map(|(_, look)| look.damage()).map(|e| format!("{e}\n")).collect(),
    }
}

fn name(keep: Keep) -> &'static str {
    match keep {
        Keep::Before => "before",
        Keep::Behind => "behind",
        Keep::All => "all",
    }
}

/// Describes a step and its losses.
fn describe(tool: &Tool, dir: &Path, log: &LogLook, step: Step) -> String {
    match step {
        Step::Drop(i) => {
            let (id, look) = &log.chunks[i];
            let records = print::count(look.records, "sound record");
            let (name, bytes) = (id.file_name(), print::bytes(look.data_end - id.0));
            format!("drop {name}: loses {records}, {bytes}")
        }
        Step::Cut(i, at) => {
            let (id, look) = &log.chunks[i];
            let seal = RawChunk::open_on(&*tool.storage, dir, *id)
                .ok()
                .and_then(|chunk| chunk.seal().ok().flatten());
            let kept = print::count(look.records, "record");
            let lost = match (&look.state, seal) {
                (State::Torn { .. }, _) => "the torn write".into(),
                (_, Some(seal)) => print::count(seal.records.saturating_sub(look.records), "record"),
                (_, None) => "everything after it".into(),
            };
            format!("cut {} at offset {at}: keeps {kept}, loses {lost}", id.file_name())
        }
        Step::Mend(i) => {
            let (id, look) = &log.chunks[i];
            let what = match look.damage().last() {
                Some(Error::Corrupt { damage: Damage::HeaderBit, .. }) => "header",
                _ => "seal",
            };
            let records = print::count(look.records, "record");
            format!("write the {what} of {} again: keeps {records}, loses nothing", id.file_name())
        }
    }
}

/// Applies a step; returns what is to be said of the file that was put aside.
fn apply(lock: &WalLock, log: &LogLook, step: Step) -> Result<String, Failure> {
    let (Step::Drop(i) | Step::Cut(i, _) | Step::Mend(i)) = step;
    let (id, _) = log.chunks[i];
    if let Step::Mend(_) = step {
        raw::mend_chunk(lock, id, log.chunks.get(i + 1).map(|(id, _)| *id))?;
        return Ok(String::new());
    }
    let path = lock.dir().join(id.file_name());
    let aside = free_name(&path);
    match step {
        Step::Drop(_) => {
            fs::rename(&path, &aside).map_err(|e| Failure::io("rename", &path, &e))?;
            sync_dir(lock.dir())?;
        }
        Step::Cut(_, at) => {
            copy(&path, &aside)?;
            raw::cut_chunk(lock, id, at)?;
        }
        Step::Mend(_) => {}
    }
    let aside = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let how = if matches!(step, Step::Drop(_)) { "renamed" } else { "first copied" };
    Ok(format!("; {how} to {aside}"))
}
