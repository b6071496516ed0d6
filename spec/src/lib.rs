//! Checks the log's protocol, `Log.tla`, with a model: the constants and the promises in one of the `.cfg` files.
//!
//! ```text
//! Log.tla ──┐
//!           ├─► check ─► Outcome: states, or a promise that is broken and how
//! a model ──┘
//! ```
//!
//! - Every state that the model allows is looked at, unless the model is larger than the caller allows.
//! - A model that can't be parsed or evaluated is an [`Outcome::Invalid`], never a success.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tla_checker::ast::{Env, Spec};
use tla_checker::checker::format_trace_with_diffs;
use tla_checker::checker::{CheckResult, CheckStats, CheckerConfig, Counterexample, check as check_all};
use tla_checker::config::{apply_config, parse_cfg};
use tla_checker::parser::parse;

/// What a check has found.
#[derive(Debug)]
pub enum Outcome {
    /// Every promise holds in every state.
    Holds(Explored),
    /// The shortest way to a state in which a promise doesn't hold.
    Broken {
        /// The promise's name in `Log.tla`.
        promise: String,
        /// The actions that led there, in order.
        actions: Vec<String>,
        /// What each step changed, as text.
        trace: String,
    },
    /// The model has more states than the caller allowed.
    TooLarge(Explored),
    /// The specification or the model can't be read or evaluated.
    Invalid(String),
}

/// How much was looked at.
#[derive(Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps from one state to the next.
    pub steps: usize,
    /// The number of states on the longest of the shortest ways to a state.
    pub depth: usize,
    /// How often each action was taken.
    pub actions: BTreeMap<String, usize>,
}

/// The specification that a model is of, by the model's folder.
pub fn spec_of(model: &Path) -> &'static str {
    let is_in = |folder: &str| model.iter().any(|part| part == folder);
    match (is_in("groups"), is_in("archive")) {
        (true, _) => "Groups.tla",
        (_, true) => "Archive.tla",
        _ => "Log.tla",
    }
}

/// The folder with the specifications.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Checks a specification with a model, both given as text, and looks at no more than `states_max` states.
pub fn check(spec: &str, model: &str, states_max: usize) -> Outcome {
    let (spec, constants, config) = match load(spec, model, states_max) {
        Ok(loaded) => loaded,
        Err(message) => return Outcome::Invalid(message),
    };
    match check_all(&spec, &constants, &config) {
        CheckResult::Ok(stats) => Outcome::Holds(explored(stats)),
        CheckResult::MaxStatesExceeded(stats) => Outcome::TooLarge(explored(stats)),
        CheckResult::InvariantViolation(example, _) => broken(&spec, &example),
        CheckResult::NextError(error, trace, _) | CheckResult::InvariantError(error, trace, _) => {
            let trace = format_trace_with_diffs(&trace, &spec.vars);
            Outcome::Invalid(format!("{trace}{error}"))
        }
        other => Outcome::Invalid(format!("{other:?}")),
    }
}

fn load(spec: &str, model: &str, states_max: usize) -> Result<(Spec, Env, CheckerConfig), String> {
    let mut spec = parse(spec).map_err(|e| e.to_string())?;
    let mut constants = Env::new();
    let mut config = CheckerConfig {
        max_states: states_max,
        max_depth: usize::MAX,
        quiet: true,
        // At the bounds of a model nothing more happens.
        allow_deadlock: true,
        ..CheckerConfig::default()
    };
    let warnings = apply_config(&parse_cfg(model)?, &mut spec, &mut constants, &mut config, &[], &[], true)?;
    match warnings.first() {
        None => Ok((spec, constants, config)),
        Some(warning) => Err(warning.clone()),
    }
}

fn explored(stats: CheckStats) -> Explored {
    let named = |(name, count): (Option<std::sync::Arc<str>>, usize)| Some((name?.to_string(), count));
    Explored {
        states: stats.states_explored,
        steps: stats.transitions,
        depth: stats.max_depth_reached,
        actions: stats.transitions_by_action.into_iter().filter_map(named).collect(),
    }
}

fn broken(spec: &Spec, example: &Counterexample) -> Outcome {
    let promise = spec.invariant_names.get(example.violated_invariant).cloned().flatten();
    Outcome::Broken {
        promise: promise.map_or_else(|| "a promise without a name".to_string(), |name| name.to_string()),
        actions: example.actions.iter().flatten().map(ToString::to_string).collect(),
        trace: changes(&format_trace_with_diffs(&example.trace, &spec.vars)),
    }
}

/// Of a trace, what each step changed.
fn changes(trace: &str) -> String {
    let mut kept = String::new();
    for line in trace.lines() {
        match line.split_once("(was: ") {
            Some((now, _)) => kept += now.trim_end(),
            None if line.starts_with("State") => kept += line,
            None => continue,
        }
        kept.push('\n');
    }
    kept
}

impl Outcome {
    /// The outcome in a few lines, for people.
    pub fn summary(&self) -> String {
        match self {
            Outcome::Holds(explored) => format!("holds: {}", explored.summary()),
            Outcome::TooLarge(explored) => format!("not finished: {}", explored.summary()),
            Outcome::Broken { promise, actions, .. } => {
                format!("{promise} is broken by {}", actions.join(", "))
            }
            Outcome::Invalid(message) => format!("can't be checked: {message}"),
        }
    }
}

impl Explored {
    fn summary(&self) -> String {
        let Explored { states, steps, depth, actions } = self;
        let mut text = format!("{states} states, {steps} steps, depth {depth}");
        for (action, count) in actions {
            let _never_fails = write!(text, "\n    {action:<20} {count:>10}");
        }
        text
    }
}

/// Reads a file of this package.
pub fn read(path: impl AsRef<Path>) -> std::io::Result<String> {
    std::fs::read_to_string(folder().join(path))
}
