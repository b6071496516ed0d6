//! The command `chunked-wal-import` as a library: a program of a few lines imports logs of its own types.

use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};

use crate::convert::Convert;
use crate::error::{Error, STATUSES, USAGE};
use crate::import::Import;
use crate::report::Report;

// The arguments of the command.
#[expect(
    missing_docs,
    reason = "a comment for documentation would take the place of the command's own in --help"
)]
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The directory of the old log, which is only read
    pub old: PathBuf,
    /// The directory of the new log, which must not exist
    pub new: PathBuf,
    /// Only compare an imported log with the old one
    #[arg(long)]
    pub check: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Import an old log into a new directory, and check every record
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = statuses())]
struct OnlyImport {
    #[command(flatten)]
    import: ImportArgs,
}

/// The text that explains the exit statuses, for `--help`.
pub fn statuses() -> String {
    let lines = STATUSES.iter().map(|(code, what)| format!("  {code:>2}  {what}"));
    format!("Exit status:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Parses the program's arguments and runs the command; `convert` makes the converter of the log's records.
///
/// Prints the report to standard output, or one line about a failure to standard error. Blocks until the import is
/// done. `--help` explains the exit status.
pub fn main<C: Convert>(convert: impl Fn() -> C) -> ExitCode {
    match parse::<OnlyImport>() {
        Ok(args) => run(&args.import, convert),
        Err(code) => code,
    }
}

/// Parses the program's arguments; returns the exit status if there is nothing to run.
///
/// # Errors
///
/// The exit status: of wrong arguments, or of `--help` and `--version`, which are not failures.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        // Help and version go to standard output.
        let _output_closed = error.print();
        if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS }
    })
}

/// Runs the command with these arguments; otherwise as [`main`].
pub fn run<C: Convert>(args: &ImportArgs, convert: impl Fn() -> C) -> ExitCode {
    let import = Import::new(&args.old, &args.new);
    let result = if args.check { import.check(convert) } else { import.run(convert) };
    match result {
        Ok(report) => {
            let status = u8::from(report.torn.is_some());
            print(args, &report).map_or_else(output_failed, |()| status.into())
        }
        Err(error) => failed(&error),
    }
}

fn print(args: &ImportArgs, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.to_json())?
    } else {
        writeln!(out, "{report}")?
    }
    out.flush()
}

fn failed(error: &Error) -> ExitCode {
    eprintln!("chunked-wal-import: {error}");
    error.status().into()
}

/// A pipe that is closed early is not a failure: the import is done.
fn output_failed(error: io::Error) -> ExitCode {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return ExitCode::SUCCESS;
    }
    eprintln!("chunked-wal-import: the output can't be written: {error}");
    3.into()
}
