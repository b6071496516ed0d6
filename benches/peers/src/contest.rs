//! The contestants of one case take turns: each has one turn in every round, so that other load on the
//! machine affects all of them alike. Each round has another order, so that no contestant always comes
//! after the same one.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::context::Context;
use crate::peer::Fit;
use crate::peer::Peer;
use crate::stats::Random;
use crate::stats::median;
use crate::watchdog::watch;
use crate::workload::Workload;

/// One value of one turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value {
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

/// A turn: measures once.
pub(crate) type Turn<'a> = Box<dyn FnMut() -> Result<Vec<Value>> + 'a>;

/// The values of one contestant for one metric, from all rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) case: String,
    pub(crate) contestant: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    #[serde(deserialize_with = "number_or_nan")]
    pub(crate) median: f64,
    #[serde(deserialize_with = "numbers_or_nan")]
    pub(crate) rounds: Vec<f64>,
    /// Why the row is not to be compared: the contestant does not sync.
    pub(crate) not_compared: Option<String>,
}

/// JSON has no NaN: it is written as null.
fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers: Vec<Option<f64>> = Vec::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

impl Row {
    /// The least and the greatest value of all rounds.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let least = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    }
}

/// A contestant that failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) workload: Workload,
    pub(crate) case: String,
    pub(crate) contestant: String,
    pub(crate) error: String,
}

/// The figures of a run, and what failed.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) failures: Vec<Failure>,
}

/// The contestants that take turns in one case of a workload.
pub(crate) struct Contest<'a> {
    context: &'a Context,
    workload: Workload,
    case: String,
    dir: PathBuf,
    rounds: usize,
    started: Instant,
    entries: Vec<Entry<'a>>,
    report: &'a mut Report,
}

struct Entry<'a> {
    name: String,
    not_compared: Option<&'static str>,
    turn: Turn<'a>,
    values: Vec<Vec<Value>>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(
        context: &'a Context,
        workload: Workload,
        case: impl Into<String>,
        report: &'a mut Report,
    ) -> Self {
        let case = case.into();
        eprintln!("{workload:?} {case}: {}", workload.title());
        let dir = context.dir.join(format!("{workload:?}-{}", case.replace([' ', ','], "")));
        let rounds = context.scale.rounds;
        Contest { context, workload, case, dir, rounds, started: Instant::now(), entries: Vec::new(), report }
    }

    /// Sets the number of rounds of this contest.
    pub(crate) fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Adds a contestant that `prepare` sets up in its own directory. If that fails, the contestant is
    /// noted and left out.
    pub(crate) fn enter(&mut self, name: &str, prepare: impl FnOnce(&Path) -> Result<Turn<'a>>) {
        self.enter_as(name, None, prepare);
    }

    /// Adds every peer that can do the workload.
    pub(crate) fn enter_peers(&mut self, prepare: impl FnMut(&'a dyn Peer, &Path) -> Result<Turn<'a>>) {
        self.enter_peers_where(|_| true, prepare);
    }

    /// Adds every peer that can do the workload and is selected.
    pub(crate) fn enter_peers_where(
        &mut self,
        takes_part: impl Fn(&dyn Peer) -> bool,
        mut prepare: impl FnMut(&'a dyn Peer, &Path) -> Result<Turn<'a>>,
    ) {
        for &peer in self.context.peers.iter().filter(|peer| takes_part(**peer)) {
            let not_compared = match peer.fit(self.workload) {
                Fit::No(_) => continue,
                Fit::Yes => None,
                Fit::DoesNotSync(why) => Some(why),
            };
            self.enter_as(peer.name(), not_compared, |dir| prepare(peer, dir));
        }
    }

    fn enter_as(
        &mut self,
        name: &str,
        not_compared: Option<&'static str>,
        prepare: impl FnOnce(&Path) -> Result<Turn<'a>>,
    ) {
        let dir = self.dir.join(name.replace([' ', '(', ')'], "_"));
        let made = std::fs::create_dir_all(&dir).context("make a directory");
        let _watched = watch(format!("{} {}: {name}, getting ready,", self.workload, self.case));
        match made.and_then(|()| prepare(&dir)) {
            Ok(turn) => {
                self.entries.push(Entry { name: name.to_owned(), not_compared, turn, values: Vec::new() });
            }
            Err(error) => self.fail(name, &error),
        }
    }

    /// Runs all rounds and reports.
    pub(crate) fn run(mut self) {
        let prepared = self.started.elapsed().as_secs_f64();
        let mut random = Random::new(self.entries.len() as u64);
        for _ in 0..self.rounds {
            let mut failed = Vec::new();
            let mut order: Vec<usize> = (0..self.entries.len()).collect();
            random.shuffle(&mut order);
            for i in order {
                let entry = &mut self.entries[i];
                let _watched = watch(format!("{} {}: {}", self.workload, self.case, entry.name));
                match (entry.turn)() {
                    Ok(values) => entry.values.push(values),
                    Err(error) => failed.push((i, error)),
                }
            }
            // The last one first, so that the other places stay right.
            failed.sort_by_key(|(i, _)| std::cmp::Reverse(*i));
            for (i, error) in failed {
                let entry = self.entries.remove(i);
                self.fail(&entry.name, &error);
            }
        }
        for entry in std::mem::take(&mut self.entries) {
            self.report_rows(&entry);
        }
        let measured = self.started.elapsed().as_secs_f64() - prepared;
        self.clean_up();
        let cleaned = self.started.elapsed().as_secs_f64() - prepared - measured;
        eprintln!("  {prepared:.1} s to get ready, {measured:.1} s measured, {cleaned:.1} s to clean up");
    }

    /// Removes the logs, and waits until their space is free: some file systems take long for that, and
    /// would still be at it in the next case.
    fn clean_up(&self) {
        let _watched = watch(format!("{} {}: removing the logs", self.workload, self.case));
        let removed = std::fs::remove_dir_all(&self.dir);
        let synced = File::open(&self.context.dir).and_then(|dir| dir.sync_all());
        if let Err(error) = removed.and(synced) {
            eprintln!("  cannot remove {}: {error}", self.dir.display());
        }
    }

    fn report_rows(&mut self, entry: &Entry<'_>) {
        let Some(first) = entry.values.first() else { return };
        let mut line = format!("  {:24}", entry.name);
        for (i, Value { metric, unit, .. }) in first.iter().enumerate() {
            let rounds: Vec<f64> = entry.values.iter().map(|values| values[i].value).collect();
            let row = Row {
                workload: self.workload,
                case: self.case.clone(),
                contestant: entry.name.clone(),
                metric: (*metric).to_owned(),
                unit: (*unit).to_owned(),
                median: median(&rounds),
                rounds,
                not_compared: entry.not_compared.map(str::to_owned),
            };
            let (least, most) = row.spread();
            line.push_str(&format!(" {metric} {:.2} ({least:.2}–{most:.2}) {unit}  ", row.median));
            self.report.rows.push(row);
        }
        if entry.not_compared.is_some() {
            line.push_str("(does not sync)");
        }
        eprintln!("{line}");
    }

    fn fail(&mut self, contestant: &str, error: &anyhow::Error) {
        eprintln!("  {contestant}: {error:#}");
        self.report.failures.push(Failure {
            workload: self.workload,
            case: self.case.clone(),
            contestant: contestant.to_owned(),
            error: format!("{error:#}"),
        });
    }
}
