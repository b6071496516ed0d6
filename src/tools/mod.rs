//! The command `chunked-wal` as a library: a binary of five lines that shows *your* records decoded.
//!
//! ```no_run
//! use std::process::ExitCode;
//! # struct MyLog;
//! # impl chunked_wal::WalTypes for MyLog {
//! #     type Action = String;
//! #     type Checkpoint = u64;
//! #     type Callback = ();
//! # }
//!
//! fn main() -> ExitCode {
//!     chunked_wal::tools::main::<MyLog>()
//! }
//! ```
//!
//! It has every command of `chunked-wal`. `dump` and `follow` show each record as its `Debug` prints it, and
//! `verify` also decodes each record. [`Tool::with_json`] is for types that serde can serialize: then `--json`
//! prints records as JSON objects. [`Tool::raw`] is the command `chunked-wal` itself, for logs of any types.
//!
//! ```text
//! arguments ─► command ─► Outcome: the exit status
//!                 │   └─► Failure: one line on standard error, and an exit status
//!                 └─ Storage, Types (how a record is shown)
//! ```
//!
//! - Each command is in its own file, and prints to standard output.
//! - Every command except `repair --apply` and `bench` only reads: it takes no lock.

mod args;
mod aside;
mod bench;
mod dump;
mod follow;
mod inspect;
mod look;
mod outcome;
mod print;
mod repair;
mod survey;
mod types;
mod verify;
mod void;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches};

use self::args::{Args, Command};
use self::outcome::{Failure, Outcome};
use self::types::Types;
use crate::record::WalTypes;
use crate::storage::{DiskStorage, Storage};

/// Runs the command for logs of the types `W`: `dump` and `follow` show each record as `Debug` prints it.
///
/// The same as `Tool::of::<W>().main()`. It reads the program's arguments, blocks until the command is done,
/// and returns the exit status that `--help` explains.
pub fn main<W: WalTypes>() -> ExitCode {
    Tool::of::<W>().main()
}

/// The command line, for logs of certain types on a certain storage.
///
/// ```no_run
/// use std::process::ExitCode;
/// use chunked_wal::tools::Tool;
/// # struct MyLog;
/// # impl chunked_wal::WalTypes for MyLog {
/// #     type Action = String;
/// #     type Checkpoint = u64;
/// #     type Callback = ();
/// # }
///
/// fn main() -> ExitCode {
///     // Actions and checkpoints are `serde::Serialize`: `--json` prints them as JSON.
///     Tool::with_json::<MyLog>().main()
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Tool {
    /// `None`: records are their bytes.
    types: Option<Types>,
    storage: Arc<dyn Storage>,
}

impl Tool {
    /// For logs of any types: records are shown as bytes.
    pub fn raw() -> Self {
        Tool { types: None, storage: Arc::new(DiskStorage) }
    }

    /// For logs of the types `W`: records are shown as `Debug` prints them, in JSON as one string.
    pub fn of<W: WalTypes>() -> Self {
        Tool { types: Some(Types::debug::<W>()), ..Tool::raw() }
    }

    /// As [`of`](Self::of), but in JSON a record is what serde makes of it.
    ///
    /// A record that JSON can't hold, for example one with a map whose keys are not strings, is shown as
    /// [`of`](Self::of) shows it.
    pub fn with_json<W>() -> Self
    where
        W: WalTypes<Action: serde::Serialize, Checkpoint: serde::Serialize>,
    {
        Tool { types: Some(Types::json::<W>()), ..Tool::raw() }
    }

    /// For logs on another storage than the real disk, for example one that encrypts its files.
    ///
    /// `repair --apply` copies and renames a damaged chunk's file as it is on the real disk, and `bench`
    /// measures the real disk.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Runs the command that the program's arguments name; blocks until it is done.
    ///
    /// Results are printed to standard output, and a failure as one line to standard error. Returns the exit
    /// status that `--help` explains.
    pub fn main(&self) -> ExitCode {
        self.run(std::env::args_os())
    }

    /// As [`main`](Self::main), with these arguments in the place of the program's; the first one is the name that
    /// `--help` shows. For a program that has the command as a part of its own.
    pub fn run(&self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        let parsed = Args::command().name(print::program()).try_get_matches_from(args);
        let args = match parsed.and_then(|matches| Args::from_arg_matches(&matches)) {
            Ok(args) => args,
            Err(error) => {
                // Help and version go to standard output with success; the rest is a usage error.
                let _output_closed = error.print();
                return if error.use_stderr() { outcome::USAGE.into() } else { ExitCode::SUCCESS };
            }
        };
        match self.command(args.command) {
            Ok(outcome) => outcome.code().into(),
            Err(Failure::OutputClosed) => ExitCode::SUCCESS,
            Err(Failure::Message { code, line }) => {
                print::complain(&line);
                code.into()
            }
        }
    }

    fn command(&self, command: Command) -> Result<Outcome, Failure> {
        match command {
            Command::Inspect(args) => inspect::run(self, &args),
            Command::Verify(args) => verify::run(self, &args),
            Command::Dump(args) => dump::run(self, &args),
            Command::Follow(args) => follow::run(self, &args),
            Command::Repair(args) => repair::run(self, &args),
            Command::Bench(args) => bench::run(&args),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Args::command(), print::program(), &mut script);
                print::all(&script)?;
                Ok(Outcome::Sound)
            }
        }
    }
}
