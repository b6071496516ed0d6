//! A durable key-value store on a chunked write-ahead log, and a tour of the log's promises.
//!
//! `cargo run --release --example kv` imports the text of this repository in a child process, kills the
//! child in mid-write, and checks that every acknowledged record is there and nothing else. `cargo run
//! --release --example kv help` shows the other commands.
//!
//! Read it in this order:
//!
//! - `record`: the actions, the checkpoint, and their bytes
//! - `state`: the state machine that the log is replayed into
//! - `store`: log, state and snapshots together, and why a crash is harmless at any moment
//! - `snapshot`: a snapshot's file
//! - `import`: durable appends, one at a time and in groups
//! - `tour`, with `victim` (the child that is killed), `input` and `report`

mod import;
mod input;
mod record;
mod report;
mod snapshot;
mod state;
mod store;
mod tour;
mod victim;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::record::Action;
use crate::report::Progress;
use crate::store::{Missing, Store};

/// The result of nearly every function here.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "\
A durable key-value store on a chunked write-ahead log.

kv [tour [PATH]]      import text, be killed, recover: shows the log's promises
kv import PATH        import a text file, or all in a folder; each file is a key
kv get KEY            print the values of a key, a line for each
kv set KEY VALUE      set a key to one value
kv append KEY VALUE   add a value to a key
kv delete KEY         remove a key
kv dump               print all keys and values
kv snapshot           write a snapshot, remove the log before it
kv help               print this

--dir DIR             where the store is; default: .kv. For the tour: an empty or
                      new directory; default: a temporary one
";

const DEFAULT_DIR: &str = ".kv";
const CHUNK_MAX_SIZE: u64 = 1 << 20;

/// The command by which the tour starts this program; not for people.
const CHILD: &str = "import-from-stdin";

fn main() -> ExitCode {
    let (dir, command) = match parse(std::env::args_os().skip(1).collect()) {
        Ok(parsed) => parsed,
        Err(message) => {
            complain(&format!("{message}\n\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match run(dir.as_deref(), command) {
        Ok(()) => ExitCode::SUCCESS,
        // `kv dump | head`: the reader needs no more.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Whether stdout was closed by its reader. The log's own errors are of another type.
fn is_broken_pipe(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn complain(message: &str) {
    let _stderr_closed = writeln!(io::stderr(), "kv: {}", message.trim_end());
}

#[derive(Debug)]
enum Command {
    Tour(Option<PathBuf>),
    Import(PathBuf),
    Get(String),
    Write(Action),
    Dump,
    Snapshot,
    Help,
    Child { chunk_max_size: u64 },
}

/// Reads the arguments: `--dir DIR` anywhere, a command, and what it needs.
fn parse(args: Vec<OsString>) -> Result<(Option<PathBuf>, Command), String> {
    let mut dir = None;
    let mut words = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--dir") => dir = Some(PathBuf::from(args.next().ok_or("--dir needs a directory")?)),
            Some("--") => words.extend(args.by_ref()),
            Some("--help" | "-h") => return Ok((dir, Command::Help)),
            Some(option) if option.starts_with("--") => return Err(format!("unknown option {option}")),
            _ => words.push(arg),
        }
    }
    let Some((name, rest)) = words.split_first() else { return Ok((dir, Command::Tour(None))) };
    let command = match (name.to_str().unwrap_or_default(), rest) {
        ("tour", []) => Command::Tour(None),
        ("tour", [path]) => Command::Tour(Some(path.into())),
        ("import", [path]) => Command::Import(path.into()),
        ("get", [key]) => Command::Get(text(key)?),
        ("set", [key, value]) => Command::Write(Action::set(text(key)?, text(value)?)),
        ("append", [key, value]) => Command::Write(Action::append(text(key)?, text(value)?)),
        ("delete", [key]) => Command::Write(Action::delete(text(key)?)),
        ("dump", []) => Command::Dump,
        ("snapshot", []) => Command::Snapshot,
        ("help", []) => Command::Help,
        (CHILD, [size]) => {
            let chunk_max_size = text(size)?.parse().map_err(|e| format!("{CHILD}: {e}"))?;
            Command::Child { chunk_max_size }
        }
        ("tour" | "import" | "get" | "set" | "append" | "delete" | "dump" | "snapshot" | "help", _) => {
            return Err(format!("'{}' does not take {} arguments", name.display(), rest.len()));
        }
        _ => return Err(format!("unknown command '{}'", name.display())),
    };
    Ok((dir, command))
}

fn text(arg: &OsString) -> Result<String, String> {
    arg.to_str().map(str::to_string).ok_or_else(|| format!("'{}' is not UTF-8", arg.display()))
}

fn run(dir: Option<&Path>, command: Command) -> Outcome<()> {
    let kept = dir.unwrap_or(Path::new(DEFAULT_DIR));
    match command {
        Command::Tour(path) => tour::run(dir, path.as_deref()),
        Command::Import(path) => import(kept, &path),
        Command::Get(key) => get(kept, &key),
        Command::Write(action) => write(kept, action),
        Command::Dump => dump(kept),
        Command::Snapshot => snapshot(kept),
        Command::Help => Ok(io::stdout().write_all(USAGE.as_bytes())?),
        Command::Child { chunk_max_size } => import::child(kept, chunk_max_size),
    }
}

fn import(dir: &Path, path: &Path) -> Outcome<()> {
    let files = input::read(path)?;
    let actions = input::actions(&files);
    let mut store = Store::open(dir, CHUNK_MAX_SIZE, Missing::Create)?;
    let (before, count) = (store.applied(), actions.len() as u64);
    let mut progress = Progress::new(count);
    import::in_groups(&mut store, &mut actions.into_iter().map(Ok), |acknowledged| {
        progress.at(acknowledged.applied - before);
        Ok(())
    })?;
    progress.stop();
    store.snapshot_if_due()?;
    store.close()?;
    let (files, records) = (report::counted(files.len() as u64, "file"), report::counted(count, "record"));
    Ok(writeln!(io::stdout(), "imported {files}, {records}, all durable")?)
}

fn get(dir: &Path, key: &str) -> Outcome<()> {
    let store = Store::open(dir, CHUNK_MAX_SIZE, Missing::Fail)?;
    let values = store.map().get(key).ok_or_else(|| no_such_key(key))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for value in values {
        writeln!(out, "{value}")?;
    }
    out.flush()?;
    store.close()
}

fn write(dir: &Path, action: Action) -> Outcome<()> {
    let deletes = matches!(action, Action::Delete { .. });
    let missing = if deletes { Missing::Fail } else { Missing::Create };
    let mut store = Store::open(dir, CHUNK_MAX_SIZE, missing)?;
    if let Action::Delete { key } = &action
        && !store.map().contains_key(key)
    {
        return Err(no_such_key(key));
    }
    store.append(action)?;
    store.sync()?;
    store.snapshot_if_due()?;
    store.close()
}

fn dump(dir: &Path) -> Outcome<()> {
    let store = Store::open(dir, CHUNK_MAX_SIZE, Missing::Fail)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (key, values) in store.map() {
        for value in values {
            writeln!(out, "{key}\t{value}")?;
        }
    }
    out.flush()?;
    store.close()
}

fn snapshot(dir: &Path) -> Outcome<()> {
    let mut store = Store::open(dir, CHUNK_MAX_SIZE, Missing::Fail)?;
    let snapshot = store.snapshot()?;
    store.close()?;
    let removed = report::counted(snapshot.chunks_removed as u64, "chunk");
    let written = match snapshot.bytes {
        Some(bytes) => format!("snapshot of {} written", report::bytes(bytes)),
        None => "nothing new since the last snapshot".to_string(),
    };
    Ok(writeln!(io::stdout(), "{written}, {removed} removed")?)
}

fn no_such_key(key: &str) -> Box<dyn Error + Send + Sync> {
    format!("no such key: '{key}'").into()
}
