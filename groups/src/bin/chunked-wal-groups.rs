//! The command `chunked-wal-groups`: the groups of a log, and the log itself.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use chunked_wal::tools::Tool;
use chunked_wal_groups::{Error, GroupWal, Inspection, inspect};
use clap::{Parser, Subcommand};
use serde_json::json;

/// Look into a log of groups
///
/// Only reads, and takes no lock: another process may have the log open.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the groups, what each holds, and the space of the log
    ///
    /// Exit status: 0 done, 2 the log is corrupt or incomplete, 3 it can't be read, 64 wrong arguments.
    Inspect {
        /// The log's directory
        dir: PathBuf,
        /// Print one JSON object, with all groups
        #[arg(long)]
        json: bool,
        /// Show as many groups, those with the most bytes
        #[arg(long, default_value_t = 20)]
        top: usize,
    },
    /// dump, verify, follow, repair, …: the commands of chunked-wal, with this log's records decoded
    #[command(external_subcommand)]
    Log(Vec<OsString>),
}

const CORRUPT: u8 = 2;
const CANT_BE_READ: u8 = 3;
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output.
            let _output_closed = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match args.command {
        Command::Inspect { dir, json, top } => match inspect(dir) {
            Ok(inspection) => {
                let text = if json { as_json(&inspection) } else { as_text(&inspection, top) };
                // A reader that has enough closes the pipe.
                let _output_closed = std::io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                status(&error).into()
            }
        },
        Command::Log(args) => {
            let name = OsString::from("chunked-wal-groups");
            Tool::of::<GroupWal>().run([name].into_iter().chain(args))
        }
    }
}

fn status(error: &Error) -> u8 {
    use chunked_wal::Error as Wal;
    match error {
        Error::Wal(
            Wal::Corrupt { .. } | Wal::Gap { .. } | Wal::ForeignChunk { .. } | Wal::StateMachine { .. },
        )
        | Error::EntryMissing { .. } => CORRUPT,
        _ => CANT_BE_READ,
    }
}

fn as_text(inspection: &Inspection, top: usize) -> String {
    let Inspection { log, alive, chunks, holders, .. } = inspection;
    let mut text =
        format!("{} groups in {chunks} chunks: {log} bytes of log, {alive} alive\n", holders.len());
    if !holders.is_empty() {
        text.push_str(&format!(
            "{:>20} {:>12} {:>12} {:>14}  oldest chunk\n",
            "group", "first", "next", "bytes"
        ));
    }
    for holder in holders.iter().take(top) {
        let chunk = holder.oldest_chunk.file_name();
        let (group, first, next, bytes) = (holder.group, holder.first, holder.next, holder.bytes);
        text.push_str(&format!("{group:>20} {first:>12} {next:>12} {bytes:>14}  {chunk}\n"));
    }
    if holders.len() > top {
        text.push_str(&format!("and {} more: --top shows them\n", holders.len() - top));
    }
    text
}

fn as_json(inspection: &Inspection) -> String {
    let Inspection { log, alive, chunks, holders, .. } = inspection;
    let groups: Vec<_> = holders
        .iter()
        .map(|holder| {
            json!({
                "group": holder.group,
                "first": holder.first,
                "next": holder.next,
                "bytes": holder.bytes,
                "oldest_chunk": holder.oldest_chunk.0,
            })
        })
        .collect();
    format!("{}\n", json!({ "log": log, "alive": alive, "chunks": chunks, "groups": groups }))
}
