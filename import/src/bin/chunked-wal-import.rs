//! The command `chunked-wal-import`, for logs that openraft's example `log-wal` wrote with raft-log.

use std::process::ExitCode;

use chunked_wal_import::{ImportArgs, LogWal, ToOpenraft, parse, run, statuses};
use clap::Parser;

/// Import the raft log of openraft's example log-wal (raft-log 0.4) into a new directory
///
/// The new log is one that chunked-wal's adapters for openraft open. Each record is checked: both logs are read again
/// and compared. The old directory is only read. If an import is interrupted, run it again.
///
/// Logs of other types, of raft-log or of chunked-wal 0.2, need a program of a few lines that has their codecs:
/// see docs/guide/import.md.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = statuses())]
struct Args {
    #[command(flatten)]
    import: ImportArgs,
}

fn main() -> ExitCode {
    match parse::<Args>() {
        Ok(args) => run(&args.import, ToOpenraft::<LogWal>::new),
        Err(code) => code,
    }
}
