//! The command `chunked-wal`: looks into any log, whatever its types, even while another process has
//! the log open; repairs a damaged log on request; measures a disk.
//!
//! Each command is in its own file. All of them return an [`Outcome`](outcome::Outcome), which is the
//! exit status, or a [`Failure`](outcome::Failure), which is one line and an exit status.

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
mod verify;
mod void;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Args, Command};
use crate::outcome::{Failure, Outcome};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output with success; the rest is a usage error.
            let _output_closed = error.print();
            return if error.use_stderr() { outcome::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match run(args.command) {
        Ok(outcome) => outcome.code().into(),
        Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Message { code, line }) => {
            eprintln!("chunked-wal: {line}");
            code.into()
        }
    }
}

fn run(command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Follow(args) => follow::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "chunked-wal", &mut script);
            print::all(&script)?;
            Ok(Outcome::Sound)
        }
    }
}
