//! The command `chunked-wal-archive` as a library: for a program that archives its log, and for the binary.

mod print;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use object_store::ObjectStore;

use crate::archive::{Archive, Keep, PruneMode, local_store};
use crate::error::{Error, STATUSES, USAGE};
use crate::restore::{RestoreFrom, RestoreTo};

/// Keep a copy of a log in an object store, and restore it to any second
#[derive(Debug, Parser)]
#[command(name = "chunked-wal-archive", version, max_term_width = 100, after_help = statuses())]
struct Command {
    #[command(subcommand)]
    action: Action,
    /// Print JSON, one object for each result
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Archive what a log makes durable, until interrupted; another process may have the log open
    Run(RunArgs),
    /// Keep a log no longer until it is archived. For when `run` is not going to run again
    Release(ReleaseArgs),
    /// Show what an archive has
    Status(StoreArg),
    /// Restore a log into a new directory
    Restore(RestoreArgs),
    /// Read every object of an archive, and check every hash and every record
    Verify(StoreArg),
    /// Remove the oldest chunks from an archive, but none that a pin keeps
    Prune(PruneArgs),
    /// Keep the chunk with an offset, and all that follow, from being pruned
    Pin(PinArgs),
    /// Remove a pin
    Unpin(UnpinArgs),
}

#[derive(Debug, Args)]
struct StoreArg {
    /// The archive: a directory, or `s3://bucket/path` in a build with that feature
    store: String,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The directory of the log. In it, the subscriber `archive` keeps the log from shrinking until it is archived
    log: PathBuf,
    #[command(flatten)]
    store: StoreArg,
    /// Only read the log, and don't keep it: it may remove chunks before they are archived
    #[arg(long)]
    no_pin: bool,
    /// Keep the log no longer once its end is more than this many bytes after what is archived
    #[arg(long, value_name = "N", conflicts_with = "no_pin")]
    pin_max_bytes: Option<u64>,
    /// Archive what is durable by now, and end
    #[arg(long)]
    once: bool,
    /// Wait for the log's directory
    #[arg(long)]
    wait: bool,
    /// Go on if the log removed chunks before they were archived
    #[arg(long)]
    skip_missing: bool,
    /// How long to wait between two looks at the log
    #[arg(long, value_parser = humantime::parse_duration, default_value = "250ms", value_name = "TIME")]
    pause: Duration,
}

#[derive(Debug, Args)]
struct ReleaseArgs {
    /// The directory of the log
    log: PathBuf,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    #[command(flatten)]
    store: StoreArg,
    /// The new directory, which must not exist
    dir: PathBuf,
    /// `latest`, a global offset, a time in UTC (`2026-11-20 11:09:08`), or how long ago (`90s`)
    #[arg(long, value_parser = parse_to, default_value = "latest", value_name = "WHEN")]
    to: RestoreTo,
    /// `nearest` checkpoint, `oldest`, or a global offset. `nearest` is enough if a checkpoint has the whole state
    #[arg(long, value_parser = parse_from, default_value = "nearest", value_name = "WHERE")]
    from: RestoreFrom,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "keep")]
struct KeepArgs {
    /// Keep every moment of this time up to now, such as `30days`
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME", group = "keep")]
    keep_age: Option<Duration>,
    /// Keep the newest chunks that have together at most this many bytes
    #[arg(long, value_name = "BYTES", group = "keep")]
    keep_bytes: Option<u64>,
    /// Keep the chunk with this global offset, and what follows
    #[arg(long, value_name = "OFFSET", group = "keep")]
    keep_from: Option<u64>,
}

#[derive(Debug, Args)]
struct PruneArgs {
    #[command(flatten)]
    store: StoreArg,
    #[command(flatten)]
    keep: KeepArgs,
    /// Only report what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct PinArgs {
    #[command(flatten)]
    store: StoreArg,
    /// The pin's name
    name: String,
    /// The global offset
    offset: u64,
}

#[derive(Debug, Args)]
struct UnpinArgs {
    #[command(flatten)]
    store: StoreArg,
    /// The pin's name
    name: String,
}

/// Why the command failed.
#[derive(Debug)]
struct Failure {
    status: u8,
    line: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { status: error.status(), line: error.to_string() }
    }
}

impl Failure {
    fn usage(line: String) -> Self {
        Failure { status: USAGE, line }
    }
}

/// The text that explains the exit statuses, for `--help`.
fn statuses() -> String {
    let lines = STATUSES.iter().map(|(code, what)| format!("  {code:>2}  {what}"));
    format!("Exit status:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Parses the program's arguments and runs the command. `--help` explains the exit status.
pub fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            // Help and version go to standard output, and are no failures.
            let _output_closed = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match command.run() {
        Ok(status) => status.into(),
        Err(Failure { status, line }) => {
            eprintln!("chunked-wal-archive: {line}");
            status.into()
        }
    }
}

impl Command {
    fn run(&self) -> Result<u8, Failure> {
        let json = self.json;
        match &self.action {
            Action::Run(args) => run::run(args, json)?,
            Action::Release(args) => run::release(&args.log)?,
            Action::Status(args) => print::status(&args.archive()?.status()?, json),
            Action::Restore(args) => {
                let progress = print::bar();
                let restored = args.store.archive()?.restore(args.from, args.to, &args.dir, &progress)?;
                print::restored(&restored, json);
            }
            Action::Verify(args) => {
                let verified = args.archive()?.verify(&print::bar())?;
                print::verified(&verified, json);
                return Ok(if verified.findings.is_empty() { 0 } else { 2 });
            }
            Action::Prune(args) => {
                let mode = if args.dry_run { PruneMode::Dry } else { PruneMode::Apply };
                print::pruned(&args.store.archive()?.prune(args.keep.keep(), mode)?, mode, json);
            }
            Action::Pin(args) => args.store.archive()?.pin(&args.name, args.offset)?,
            Action::Unpin(args) => args.store.archive()?.unpin(&args.name)?,
        }
        Ok(0)
    }
}

impl KeepArgs {
    fn keep(&self) -> Keep {
        match (self.keep_age, self.keep_bytes) {
            (Some(age), _) => Keep::Age(age),
            (_, Some(bytes)) => Keep::Bytes(bytes),
            // One of the three is there, or the arguments are wrong.
            _ => Keep::From(self.keep_from.unwrap_or_default()),
        }
    }
}

impl StoreArg {
    /// The store of an archive that must exist.
    fn archive(&self) -> Result<Archive, Failure> {
        if !self.is_url() && !Path::new(&self.store).is_dir() {
            return Err(Failure { status: 4, line: format!("'{}': there is no such directory", self.store) });
        }
        Ok(Archive::new(self.open()?))
    }

    fn is_url(&self) -> bool {
        self.store.contains("://")
    }

    /// The store; a directory is made if it doesn't exist.
    fn open(&self) -> Result<Arc<dyn ObjectStore>, Failure> {
        if self.is_url() { cloud(&self.store) } else { Ok(local_store(Path::new(&self.store))?) }
    }
}

/// The store of a URL, with the credentials and settings in the environment's `AWS_…`.
#[cfg(feature = "s3")]
fn cloud(url: &str) -> Result<Arc<dyn ObjectStore>, Failure> {
    use object_store::aws::AmazonS3Builder;
    use object_store::prefix::PrefixStore;
    let wrong = |error: object_store::Error| Failure::usage(error.to_string());
    let Some((_, path)) = url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        return Err(Failure::usage(format!("'{url}' is neither a directory nor s3://bucket/path")));
    };
    let store = AmazonS3Builder::from_env().with_url(url).build().map_err(wrong)?;
    Ok(Arc::new(PrefixStore::new(store, path)))
}

#[cfg(not(feature = "s3"))]
fn cloud(url: &str) -> Result<Arc<dyn ObjectStore>, Failure> {
    Err(Failure::usage(format!("'{url}': this build takes directories only; build it with the feature `s3`")))
}

fn parse_to(text: &str) -> Result<RestoreTo, String> {
    if text == "latest" {
        return Ok(RestoreTo::Latest);
    }
    if let Ok(offset) = text.parse() {
        return Ok(RestoreTo::Offset(offset));
    }
    let ago = humantime::parse_duration(text).ok().and_then(|ago| SystemTime::now().checked_sub(ago));
    let Some(time) = ago.or_else(|| humantime::parse_rfc3339_weak(text).ok()) else {
        return Err(
            "neither `latest`, nor an offset, nor a time such as `2026-11-20 11:09:08` or `90s`".into()
        );
    };
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(RestoreTo::TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

fn parse_from(text: &str) -> Result<RestoreFrom, String> {
    match text {
        "nearest" => Ok(RestoreFrom::Nearest),
        "oldest" => Ok(RestoreFrom::Oldest),
        offset => offset
            .parse()
            .map(RestoreFrom::Offset)
            .map_err(|_| "neither `nearest`, nor `oldest`, nor an offset".into()),
    }
}
