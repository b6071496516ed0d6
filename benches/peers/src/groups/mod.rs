//! Many groups in one log, through chunked-wal-groups and through raft-engine: memory, opening, space, pauses and
//! rates. Each task runs in a process of its own, in turns.
//!
//! ```text
//! peers groups                               ten minutes, on a quiet machine
//! peers groups --write docs/benchmarks.md    and writes the table into that page
//! ```

mod stores;
mod tasks;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use clap::Args;

use self::stores::Store;
use self::tasks::Task;
use crate::docs;
use crate::machine::Machine;
use crate::stats::Random;
use crate::stats::median;
use crate::table::with_range;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the logs are put: a directory on the disk to measure, made if missing.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/logs"))]
    dir: PathBuf,

    /// Writes the table into this page, between two comments.
    #[arg(long)]
    write: Option<PathBuf>,

    /// Turns of each log.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Does one task in `dir`, for this program itself.
    #[arg(long, hide = true, num_args = 3, value_names = ["STORE", "TASK", "GROUPS"])]
    task: Vec<String>,
}

const BEGIN: &str = "<!-- groups: written by benches/peers -->\n";
const END: &str = "<!-- End of groups. -->\n";

/// What is measured: a task, a number of groups, and the tasks that prepare its log.
const CASES: [(Task, u64, &[Task]); 7] = [
    (Task::Fill, 100_000, &[]),
    (Task::Reopen, 100_000, &[Task::Fill]),
    (Task::Hot, 1_000, &[Task::Fill]),
    (Task::Durable, 1, &[]),
    (Task::Durable, 100, &[]),
    (Task::Durable, 10_000, &[]),
    (Task::Durable, 100_000, &[]),
];

/// The values of each round, by case, figure and store.
type Figures = BTreeMap<(usize, String), BTreeMap<Store, Vec<f64>>>;

pub(crate) fn run(options: &Options) -> Result<()> {
    if let [store, task, groups] = &options.task[..] {
        let figures = Task::parse(task)?.run(Store::parse(store)?, &options.dir, groups.parse()?)?;
        for (name, value) in figures {
            println!("{name}={value}");
        }
        return Ok(());
    }
    fs::create_dir_all(&options.dir).with_context(|| format!("make {}", options.dir.display()))?;
    let dir = tempfile::Builder::new().prefix("groups-").tempdir_in(&options.dir)?;
    let machine = Machine::of(dir.path())?;
    let figures = measure_all(options, dir.path())?;
    let text = text(&machine, options, &figures);
    println!("{text}");
    match &options.write {
        Some(page) => docs::replace_in(page, BEGIN, END, &text),
        None => Ok(()),
    }
}

fn measure_all(options: &Options, dir: &Path) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut random = Random::new(23);
    for round in 0..options.rounds.max(1) {
        for (case, (task, groups, before)) in CASES.into_iter().enumerate() {
            let mut stores: Vec<_> = Store::ALL.into_iter().filter(|store| task.suits(*store)).collect();
            random.shuffle(&mut stores);
            for store in stores {
                let path = dir.join(format!("log-{round}-{case}-{}", store.name()));
                fs::create_dir(&path)?;
                for first in before {
                    in_child(store, *first, groups, &path)?;
                }
                for (name, value) in in_child(store, task, groups, &path)? {
                    figures.entry((case, name)).or_default().entry(store).or_default().push(value);
                }
                fs::remove_dir_all(path)?;
            }
        }
        eprintln!("round {}", round + 1);
    }
    Ok(figures)
}

fn in_child(store: Store, task: Task, groups: u64, dir: &Path) -> Result<Vec<(String, f64)>> {
    let groups = groups.to_string();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["groups", "--task", store.name(), task.name(), &groups, "--dir"]).arg(dir);
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{} {} failed: {}", store.name(), task.name(), output.status);
    let text = String::from_utf8(output.stdout)?;
    let figure = |line: &str| {
        let (name, value) = line.split_once('=').with_context(|| format!("no figure: {line}"))?;
        Ok((name.to_owned(), value.parse()?))
    };
    text.lines().map(figure).collect()
}

fn text(machine: &Machine, options: &Options, figures: &Figures) -> String {
    let Machine { cpu, cores, kernel, filesystem, date, .. } = machine;
    let disk = filesystem.split(" (").next().unwrap_or(filesystem);
    let mut table = String::from("| |");
    for store in Store::ALL {
        table.push_str(&format!(" {} |", store.title()));
    }
    table.push_str("\n| --- | ---: | ---: | ---: |\n");
    for ((case, name), of_store) in figures {
        table.push_str(&format!("| {name}, {} groups |", CASES[*case].1));
        for store in Store::ALL {
            let cell = of_store.get(&store).map_or("–".to_owned(), |values| with_range(values));
            table.push_str(&format!(" {cell} |"));
        }
        table.push('\n');
    }
    let ratio = |case: usize, name: &str| {
        let of = |store| Some(median(figures.get(&(case, name.to_owned()))?.get(&store)?));
        Some(of(Store::Ours)? / of(Store::RaftEngine)?)
    };
    let ratios: Vec<String> = (0..CASES.len())
        .filter(|case| CASES[*case].0 == Task::Durable)
        .filter_map(|case| Some(format!("{:.1} with {}", ratio(case, tasks::RATE)?, CASES[case].1)))
        .collect();
    format!(
        "Measured on {date}: {cpu}, {cores} cores, Linux {kernel}, {disk}. Medians of {} rounds, with the least and the\n\
         greatest in parentheses. Durable appends, ours ÷ raft-engine, by groups: {}.\n\n{table}",
        options.rounds.max(1),
        ratios.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_works_with_few_groups() {
        for store in Store::ALL {
            for task in [Task::Durable, Task::Fill, Task::Reopen] {
                if task.suits(store) {
                    let dir = tempfile::tempdir().unwrap();
                    Task::Fill.run(store, dir.path(), 10).unwrap();
                    let figures = task.run(store, dir.path(), 10).unwrap();
                    assert!(figures.iter().all(|(_, value)| value.is_finite()), "{store:?} {task:?}");
                }
            }
        }
    }

    #[test]
    fn the_page_has_a_place_for_the_table() {
        let page =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md")).unwrap();
        let (_, rest) = page.split_once(BEGIN).unwrap();
        assert!(rest.contains(END));
    }
}
