//! The commands and options, and the text of `--help`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::outcome::{FOLLOWING, LOOKING, MEASURING, REPAIRING, VERIFYING, help};
use crate::raw::RecordKind;

/// Look into chunked write-ahead logs, whatever their types, even while another process has them open.
///
/// Every command except 'repair --apply' and 'bench' only reads: it takes no lock, writes nothing, and
/// needs only permission to read.
#[derive(Debug, Parser)]
#[command(name = "chunked-wal", version, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Inspect(InspectArgs),
    Verify(VerifyArgs),
    Dump(DumpArgs),
    Follow(FollowArgs),
    Repair(RepairArgs),
    Bench(BenchArgs),
    /// Print a completion script for a shell
    ///
    /// For bash, for example: chunked-wal completions bash > /etc/bash_completion.d/chunked-wal
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Show a log's chunks, its end, and what else is in its directory
///
/// It reads the header, seal and first record of sealed chunks, and all of the newest chunk;
/// 'verify' reads every byte. LZ4 is the
/// compressed share of the stored payload bytes; a chunk that may have compressed payloads is read as a
/// whole. CHECKPOINT is the size of the chunk's first record.
#[derive(Debug, ClapArgs)]
#[command(after_help = help(LOOKING))]
pub(super) struct InspectArgs {
    /// The log's directory
    pub(super) dir: PathBuf,
    /// Write a page to this file instead: HTML, to look at in a browser or to attach to a report
    ///
    /// For the page every byte of the log is read. The page is complete in itself, and loads nothing. '-' is
    /// standard output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "format"])]
    pub(super) html: Option<PathBuf>,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

/// Check every byte of one or more logs
///
/// On a terminal it shows how much is checked, how fast, and how long the rest will take. The result is
/// one line for each log; with --json, one JSON object per line. Of several logs, the highest exit status
/// counts; one that can't be read has 3, whatever the reason.
#[derive(Debug, ClapArgs)]
#[command(after_help = help(VERIFYING))]
pub(super) struct VerifyArgs {
    /// The logs' directories
    #[arg(required = true, value_name = "DIR")]
    pub(super) dirs: Vec<PathBuf>,
    /// How many chunks to check at a time; default: one for each processor
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Look after damage, too: say which bytes are lost, and how many sound records follow them
    #[arg(long)]
    pub(super) salvage: bool,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

/// Print a log's records, oldest first
///
/// It prints all sound records: those that opening the log would replay, durable or not. Where a chunk
/// is damaged, it reports the damage on standard error and continues with the next chunk; with
/// --salvage, with the next sound record of the same chunk.
#[derive(Debug, ClapArgs)]
#[command(after_help = help(LOOKING))]
pub(super) struct DumpArgs {
    /// The log's directory, or the file of one chunk under any name, for example one that 'repair' put
    /// aside
    pub(super) dir: PathBuf,
    /// Continue at the next sound record after damage, and report skipped bytes on standard error
    ///
    /// Records keep their offsets. Records after a torn write may never have been acknowledged.
    #[arg(long)]
    pub(super) salvage: bool,
    /// Start with the first record at or after this global offset
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub(super) from: u64,
    #[command(flatten)]
    pub(super) print: PrintArgs,
}

/// Print records as they become durable, until interrupted
///
/// It starts with the next new record, or at --from; with --wait and no log there yet, with that log's first
/// record. It continues over rotations. If the log removes
/// records before they were printed, it reports that on standard error and continues with the oldest
/// record left.
#[derive(Debug, ClapArgs)]
#[command(after_help = help(FOLLOWING))]
pub(super) struct FollowArgs {
    /// The log's directory
    pub(super) dir: PathBuf,
    /// Where to start: 'start', 'end', or the global offset of a record
    ///
    /// Default: 'end'; 'start' if --wait waited for the log.
    #[arg(long, value_name = "WHERE")]
    pub(super) from: Option<From>,
    /// If there is no log yet, wait for one
    #[arg(long)]
    pub(super) wait: bool,
    /// Don't wait until records are durable: print records that a crash of the machine may still take
    /// back
    #[arg(long)]
    pub(super) written: bool,
    #[command(flatten)]
    pub(super) print: PrintArgs,
}

/// Where to start following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Start,
    End,
    Offset(u64),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(From::Start),
            "end" => Ok(From::End),
            _ => text.parse().map(From::Offset).map_err(|_| "neither 'start', 'end' nor an offset".into()),
        }
    }
}

/// How records are printed.
#[derive(Debug, ClapArgs)]
pub(super) struct PrintArgs {
    /// Stop after this many records
    #[arg(long, short = 'n', value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Print only records of this kind
    #[arg(long, value_enum)]
    pub(super) kind: Option<Kind>,
    /// How to print records; default: 'decoded' in a program of the log's own types, else 'hex'
    #[arg(long, short, value_enum, conflicts_with = "json")]
    pub(super) format: Option<Format>,
    /// The same as --format json
    #[arg(long)]
    pub(super) json: bool,
}

impl PrintArgs {
    /// The format asked for.
    pub(super) fn format(&self) -> Option<Format> {
        if self.json { Some(Format::Json) } else { self.format }
    }
}

/// How a result is printed.
#[derive(Debug, ClapArgs)]
pub(super) struct ReportArgs {
    /// Print JSON: sizes in bytes, times in RFC 3339
    #[arg(long)]
    json: bool,
    /// How to print the result; '-f json' is the same as --json
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text, hide_default_value = true)]
    format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// Text for people
    Text,
    /// As --json
    Json,
}

impl ReportArgs {
    pub(super) fn is_json(&self) -> bool {
        self.json || self.format == ReportFormat::Json
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Action,
    Checkpoint,
}

impl Kind {
    pub(super) fn is(self, kind: RecordKind) -> bool {
        matches!(
            (self, kind),
            (Kind::Action, RecordKind::Action) | (Kind::Checkpoint, RecordKind::Checkpoint)
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One line each: offset, kind, size of the frame, and the record as its type shows it; only in a program
    /// that was built with the log's own types
    Decoded,
    /// One line each: offset, kind, size of the frame, payload in hexadecimal
    Hex,
    /// The same, with the payload as text; unprintable characters are escaped
    Utf8,
    /// One JSON object per line
    Json,
    /// The payloads alone, one after the other, with nothing between them
    Raw,
}

/// Report what is wrong with a damaged log and how it could be opened again; with --apply, do it
///
/// Restoring the damaged files from a copy is always better, because a repair gives up records that
/// were acknowledged. Without --apply nothing is changed.
///
/// With --apply it takes the log's lock, so no process may have the log open. It first copies a chunk
/// that it will cut to a file of the same name with '.broken' appended, and renames chunks that it
/// drops in the same way. The log ignores these files; remove them when they are no longer needed.
///
/// Damage in the newest chunk leaves one choice: the records before it are kept. Damage before that
/// leaves two, and --keep must choose: keep the chunks before the damage, where the whole log then
/// ends; or keep the chunks after it, so that the log starts with the first checkpoint there.
#[derive(Debug, ClapArgs)]
#[command(after_help = help(REPAIRING))]
pub(super) struct RepairArgs {
    /// The log's directory
    pub(super) dir: PathBuf,
    /// Apply the repair
    #[arg(long)]
    pub(super) apply: bool,
    /// Take out the one record at this global offset, which its codec can't decode
    ///
    /// From then on the log skips this record. A copy beside the chunk keeps the chunk's old bytes.
    #[arg(long, value_name = "OFFSET", conflicts_with = "keep")]
    pub(super) void: Option<u64>,
    /// What to keep where there is a choice
    #[arg(long, value_enum)]
    pub(super) keep: Option<Keep>,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Keep {
    /// The records before the first damage
    Before,
    /// The chunks after the last damage
    Behind,
    /// All records, where the damaged bytes can be written again
    All,
}

/// Measure a disk, and the log on that disk
///
/// It works in a new directory inside DIR, and removes that directory at the end. It never touches a
/// log.
#[derive(Debug, ClapArgs)]
#[command(after_help = help(MEASURING))]
pub(super) struct BenchArgs {
    /// A directory on the disk to measure
    pub(super) dir: PathBuf,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(super) seconds: f64,
    /// Bytes of payload in a small record
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(super) size: u32,
    /// Also draw the results as a picture: an SVG file
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.01..=600.0).contains(&seconds) { Ok(seconds) } else { Err("allowed: 0.01 to 600".into()) }
}
