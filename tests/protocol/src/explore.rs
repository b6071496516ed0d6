//! All states of a model.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A model: a protocol within bounds.
pub trait Model {
    /// A state of it.
    type State: Clone + Debug + Hash;

    /// The first state.
    fn first(&self) -> Self::State;

    /// Calls `visit` with every step from a state, and its action.
    fn steps(&self, state: &Self::State, visit: &mut dyn FnMut(&'static str, Self::State));

    /// The first promise that doesn't hold in a state.
    fn broken(state: &Self::State) -> Option<&'static str>;
}

/// A constant in a `.cfg` file.
pub(crate) fn constant<'m>(model: &'m str, name: &str) -> Option<&'m str> {
    let value = |line: &'m str| line.trim().strip_prefix(name)?.trim().strip_prefix('=').map(str::trim);
    model.lines().find_map(value)
}

/// A constant that is a number.
pub(crate) fn number(model: &str, name: &str) -> Option<usize> {
    constant(model, name)?.parse().ok()
}

/// A constant that is `TRUE` or `FALSE`.
pub(crate) fn flag(model: &str, name: &str) -> Option<bool> {
    Some(constant(model, name)? == "TRUE")
}

/// A constant that is the set of the numbers from 1 up to some number, which is returned.
pub(crate) fn upto(model: &str, name: &str) -> Option<usize> {
    Some(constant(model, name)?.split(',').count())
}

/// The actions in a specification: those in `Next`, and in the definitions that `Log.tla` has for groups of them.
pub fn actions_of(spec: &str) -> Vec<&str> {
    let part = |name: &str| {
        let (_, part) = spec.split_once(&format!("\n{name} ==\n"))?;
        part.split_once("\n\n").map(|(part, _)| part)
    };
    let parts = ["Next", "Running", "Housekeeping", "OpeningOrClosing"];
    let names = parts.iter().filter_map(|name| part(name)).flat_map(str::lines).filter_map(action);
    names.filter(|name| !parts.contains(name)).collect()
}

/// The action in a line such as `\/ \E x \in Archivers : Start(x)`; `None` if it is more than an action.
fn action(line: &str) -> Option<&str> {
    let last = line.trim().strip_prefix("\\/ ")?.rsplit(" : ").next()?;
    let name = last.strip_suffix("(x)").unwrap_or(last);
    name.chars().all(char::is_alphanumeric).then_some(name)
}

/// How often each action was taken.
pub type Counts = BTreeMap<&'static str, usize>;

/// The outcome of [`explore`].
#[derive(Debug)]
pub struct Explored<S> {
    /// Different states.
    pub states: usize,
    /// How often each action was taken.
    pub actions: Counts,
    /// The first promise that doesn't hold, and the state.
    pub broken: Option<(&'static str, S)>,
}

/// A large model reports after this many states each.
const PROGRESS: usize = 10_000_000;

/// Looks at every state within the bounds, the nearest first; stops at a promise that is broken.
pub fn explore<M: Model>(model: &M) -> Explored<M::State> {
    explore_with(model, |_| None)
}

/// As [`explore`], where each state may have one step more: an error in the protocol.
pub fn explore_with<M: Model>(
    model: &M,
    error: impl Fn(&M::State) -> Option<M::State>,
) -> Explored<M::State> {
    let mut found = Explored { states: 0, actions: Counts::new(), broken: None };
    let mut seen = HashSet::new();
    let mut layer = vec![model.first()];
    seen.insert(fingerprint(&layer[0]));
    while !layer.is_empty() && found.broken.is_none() {
        let mut next = Vec::new();
        for state in layer {
            found.states += 1;
            if found.states.is_multiple_of(PROGRESS) {
                println!("{} states so far", found.states);
            }
            if let Some(promise) = M::broken(&state) {
                found.broken = Some((promise, state));
                break;
            }
            let mut taken = Vec::new();
            let mut visit = |action, state| {
                let step = (action, fingerprint(&state));
                if seen.insert(step.1) {
                    next.push(state);
                }
                // Two ways to fail may lead to the same state.
                if !taken.contains(&step) {
                    *found.actions.entry(action).or_default() += 1;
                    taken.push(step);
                }
            };
            model.steps(&state, &mut visit);
            if let Some(wrong) = error(&state) {
                visit("the error", wrong);
            }
        }
        layer = next;
    }
    found
}

/// Two states have the same one by a chance of about one in 10⁷ in a model of a million states.
fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
