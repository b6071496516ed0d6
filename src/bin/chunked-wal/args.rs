//! What can be asked for, and the words of `--help`.

use std::path::PathBuf;

use chunked_wal::raw::RecordKind;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::outcome::HELP;

/// Look into chunked write-ahead logs, whatever their types, also while another process has them open.
///
/// Every command but 'repair --apply' and 'bench' only reads: it takes no lock, writes nothing, and
/// needs no permission but to read.
#[derive(Debug, Parser)]
#[command(name = "chunked-wal", version, after_help = HELP, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
/// Of sealed chunks it reads header, seal and first record, of the newest all. LZ4 is the share of
/// payload bytes, as stored, that are compressed; a chunk that may have such is read as a whole.
/// CHECKPOINT is the size of the chunk's first record.
#[derive(Debug, ClapArgs)]
#[command(after_help = HELP)]
pub(crate) struct InspectArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// Print one JSON object: sizes in bytes, times in RFC 3339
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check every byte of one or more logs
///
/// On a terminal it shows how far it is, how fast, and how long it will take. The result is one line
/// for each log, or a JSON object in a line with --json.
#[derive(Debug, ClapArgs)]
#[command(after_help = HELP)]
pub(crate) struct VerifyArgs {
    /// The logs' directories
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// How many chunks to check at a time; one for each processor unless given
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Look behind damage, too: say which bytes are lost, and how many sound records follow them
    #[arg(long)]
    pub(crate) salvage: bool,
    /// Print a JSON object for each log, in a line of its own
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print a log's records, oldest first
///
/// It prints all sound records: those that opening the log would replay, durable or not. Where a chunk
/// is damaged it says so on standard error and goes on with the next; with --salvage, with the next sound
/// record of the same chunk.
#[derive(Debug, ClapArgs)]
#[command(after_help = HELP)]
pub(crate) struct DumpArgs {
    /// The log's directory, or one chunk's file by any name, such as 'repair' puts aside
    pub(crate) dir: PathBuf,
    /// Go on at the next sound record behind damage, and say on standard error which bytes are skipped
    ///
    /// Records keep their offsets. Those behind a torn write may never have been acknowledged.
    #[arg(long)]
    pub(crate) salvage: bool,
    /// Begin with the first record at or behind this global offset
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub(crate) from: u64,
    #[command(flatten)]
    pub(crate) print: PrintArgs,
}

/// Print records as they become durable, until interrupted
///
/// It begins with what comes next, or where --from says. It goes on over rotations. If the log removes
/// records before they were printed, it says so on standard error and goes on with the oldest that is
/// left.
#[derive(Debug, ClapArgs)]
#[command(after_help = HELP)]
pub(crate) struct FollowArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// Where to begin: 'start', 'end', or the global offset of a record
    #[arg(long, value_name = "WHERE", default_value = "end")]
    pub(crate) from: From,
    /// Don't wait for records to be durable: print what a crash of the machine may still take back
    #[arg(long)]
    pub(crate) written: bool,
    #[command(flatten)]
    pub(crate) print: PrintArgs,
}

/// Where to begin to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
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
pub(crate) struct PrintArgs {
    /// End after so many records
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Only records of this kind
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// How payloads are printed
    #[arg(long, short, value_enum, default_value_t = Format::Hex)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Action,
    Checkpoint,
}

impl Kind {
    pub(crate) fn is(self, kind: RecordKind) -> bool {
        matches!(
            (self, kind),
            (Kind::Action, RecordKind::Action) | (Kind::Checkpoint, RecordKind::Checkpoint)
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line each: offset, kind, size of the frame, payload in hexadecimal
    Hex,
    /// The same, payload as text; what isn't printable is escaped
    Utf8,
    /// A JSON object in a line each
    Json,
    /// The payloads alone, one behind the other, nothing between them
    Raw,
}

/// Say what is wrong with a damaged log and how it could be opened again; with --apply, do it
///
/// Restoring the damaged files from a copy is always better: a repair gives up records that had been
/// acknowledged. Nothing is changed without --apply.
///
/// With --apply it takes the log's lock, so no process may have the log open. It first copies a chunk
/// that it will cut to a file of the same name with '.broken' behind, and renames chunks that it drops
/// in the same way. The log leaves such files alone; remove them when nobody wants them any more.
///
/// Damage in the newest chunk leaves one way: what stands before it is kept. Damage before that leaves
/// two, and --keep has to say which: the chunks before it, and the whole log ends there; or the chunks
/// behind it, and the log begins with the first checkpoint there.
#[derive(Debug, ClapArgs)]
#[command(after_help = HELP)]
pub(crate) struct RepairArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// Do it
    #[arg(long)]
    pub(crate) apply: bool,
    /// Take out the one record at this global offset, which its codec can't decode
    ///
    /// The log passes over its place from then on. The chunk's old bytes are kept in a copy beside.
    #[arg(long, value_name = "OFFSET", conflicts_with = "keep")]
    pub(crate) void: Option<u64>,
    /// What to keep where there is a choice
    #[arg(long, value_enum)]
    pub(crate) keep: Option<Keep>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    /// What stands before the first damage
    Before,
    /// What stands behind the last damage
    Behind,
    /// All, where what is damaged can be written anew
    All,
}

/// Measure what a disk can do, and what the log makes of it
///
/// It works in a new directory inside DIR, which it removes in the end. It never touches a log.
#[derive(Debug, ClapArgs)]
#[command(after_help = HELP)]
pub(crate) struct BenchArgs {
    /// A directory on the disk in question
    pub(crate) dir: PathBuf,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Bytes of payload in a small record
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) size: u32,
    /// Write the results as a picture, too: an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.01..=600.0).contains(&seconds) { Ok(seconds) } else { Err("allowed: 0.01 to 600".into()) }
}
