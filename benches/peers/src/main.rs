//! The same workloads on this crate, on other logs and on raw system calls.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml              everything, 17 minutes
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --quick   some minutes
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- docs RESULTS.json… what runs have saved
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- compare OLD.json NEW.json
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- scale     this log alone, large
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first error"))]

// The pictures of `chunked-wal bench` are drawn with it too.
#[path = "../../../src/tools/bench/bars.rs"]
mod bars;
mod child;
mod contest;
mod context;
mod curves;
mod docs;
mod goals;
mod groups;
mod machine;
mod memory;
mod peer;
mod peers;
mod plot;
mod raft;
mod raw;
mod results;
mod scale;
mod stats;
mod syncs;
mod table;
mod watchdog;
mod ways;
mod workload;
mod workloads;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use clap::Parser;
use clap::Subcommand;

use crate::context::Context;
use crate::context::Scale;
use crate::machine::Machine;
use crate::peer::Peer;
use crate::peers::walrus;
use crate::results::Results;
use crate::workload::Workload;

/// The log's documents.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

/// The same workloads on this crate, on other logs and on raw system calls.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    /// All workloads in a few minutes, less exact.
    #[arg(long)]
    quick: bool,

    /// All workloads in seconds, only to see that they run: the figures mean nothing.
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,

    /// The workloads to run, like S1,S4; all unless given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,

    /// The logs to measure, by the beginnings of their names; all unless given. The raw limits are
    /// always measured.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,

    /// Where the logs are put: a directory on the disk to measure, made if missing. Emptied of what was
    /// put there at the end.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/logs"))]
    dir: PathBuf,

    /// A directory for the results: `results.json`, written after each workload, and plots as SVG.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/results"))]
    out: PathBuf,

    /// Writes the results into docs/benchmarks.md, between the marks there, and into docs/benchmarks/: plots,
    /// and the figures as JSON under the log's version.
    #[arg(long, conflicts_with_all = ["smoke", "only", "peers"])]
    write_docs: bool,

    /// Instead of measuring, counts with `strace` the calls of each log for a durable append.
    #[arg(long)]
    check_syncs: bool,

    #[command(subcommand)]
    command: Option<Command>,

    /// The task of a child process, passed from this program to itself.
    #[arg(long, hide = true)]
    child: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes results of one or more runs into docs/, as --write-docs does. A case that is in two files is
    /// taken from the later one.
    Docs {
        #[arg(required = true)]
        results: Vec<PathBuf>,
    },

    /// Compares two files of results, like those in docs/benchmarks/.
    Compare { old: PathBuf, new: PathBuf },

    /// Measures this log alone where it is large: many bytes, many chunks, a long time.
    Scale(scale::Options),

    /// Measures ways to make a batch durable that the log does not use, beside the one that it uses.
    Ways(ways::Options),

    /// Measures raft's entries through this crate's raft store, through raft-log, and as plain records.
    Raft(raft::Options),

    /// Measures many groups in one log, through chunked-wal-groups and through raft-engine.
    Groups(groups::Options),
}

fn main() -> Result<()> {
    let options = Options::parse();
    match &options.command {
        Some(Command::Docs { results }) => return docs::write(Path::new(DOCS), &Results::merged(results)?),
        Some(Command::Compare { old, new }) => {
            print!("{}", results::compare(old, new)?);
            return Ok(());
        }
        Some(Command::Scale(scale)) => return scale::run(scale),
        Some(Command::Ways(ways)) => return ways::run(ways),
        Some(Command::Groups(groups)) => return groups::run(groups),
        Some(Command::Raft(raft)) => return raft::run(raft),
        None => {}
    }
    if let Some(task) = &options.child {
        let task: child::Task = serde_json::from_str(task)?;
        println!("{}", serde_json::to_string(&task.execute()?)?);
        return Ok(());
    }
    let Some(links) = std::env::var_os(walrus::DIR_VARIABLE) else {
        return Err(run_again(&options.dir.join("links"))).context("run this program again");
    };
    fs::create_dir_all(&options.dir).with_context(|| format!("make {}", options.dir.display()))?;
    let dir = tempfile::Builder::new().prefix("run-").tempdir_in(&options.dir)?;
    let scale = match (options.quick, options.smoke) {
        (true, _) => Scale::quick(),
        (_, true) => Scale::smoke(),
        _ => Scale::full(),
    };
    let machine = Machine::of(dir.path())?;
    eprintln!("{machine:#?}");
    if machine.is_memory() {
        eprintln!("What is put into {} is never on a disk: give a --dir that is.", options.dir.display());
    }
    let context = Context { scale, dir: dir.path().canonicalize()?, peers: chosen(&options.peers)? };
    if options.check_syncs {
        print!("{}", syncs::table(&context)?);
    } else {
        measure(&options, &context, machine)?;
    }
    let _none_made = fs::remove_dir_all(links);
    Ok(())
}

/// The peers whose names start with one of these; all if there are none.
fn chosen(prefixes: &[String]) -> Result<Vec<&'static dyn Peer>> {
    for prefix in prefixes {
        let known = peers::all().iter().any(|peer| peer.name().starts_with(prefix));
        ensure!(known, "no such log: `{prefix}`; there are {}", peers::names().join(", "));
    }
    let mut peers = peers::all();
    peers.retain(|peer| prefixes.is_empty() || prefixes.iter().any(|prefix| peer.name().starts_with(prefix)));
    Ok(peers)
}

fn measure(options: &Options, context: &Context, machine: Machine) -> Result<()> {
    let out = &options.out;
    fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let mut results = Results::new(machine)?;
    for workload in Workload::IN_TURN {
        if options.only.is_empty() || options.only.contains(&workload) {
            let started = Instant::now();
            workloads::run(workload, context, &mut results.report);
            eprintln!("{workload}: {:.0} s in all", started.elapsed().as_secs_f64());
            // Now, in case the run is ended early.
            results.write(&out.join("results.json"))?;
            let plot = out.join(format!("{workload}.svg").to_lowercase());
            plot::draw(&results.report, &results.machine, workload, &plot)?;
        }
    }
    let report = &results.report;
    print!("{}", table::markdown(report));
    let failed = report.failures.len();
    ensure!(failed == 0 || !options.smoke, "{failed} failed");
    if options.write_docs {
        docs::write(Path::new(DOCS), &results)?;
    }
    Ok(())
}

/// Runs this program again with `walrus-rust`'s variables in its environment. Returns only if that
/// fails.
fn run_again(links: &Path) -> std::io::Error {
    let Ok(program) = std::env::current_exe() else { return std::io::ErrorKind::NotFound.into() };
    std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(walrus::QUIET_VARIABLE, "1")
        .env(walrus::DIR_VARIABLE, links)
        .exec()
}
