//! `verify`: every byte of every chunk, several chunks at a time.
//!
//! ```text
//! chunks of all logs ─► queue ─► jobs threads, a scan each ─► looks ─► one result for each log
//! ```

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::args::VerifyArgs;
use super::look::{LogLook, Look, State, look, salvage};
use super::outcome::{Failure, Outcome};
use super::survey::{is_open, survey, unnamed};
use super::{Tool, print};
use crate::error::Error;
use crate::position::ChunkId;
use crate::raw::{ChunkPlace, Listing};
use crate::storage::Access;

/// A chunk to check.
struct Job {
    log: usize,
    id: ChunkId,
    place: ChunkPlace,
}

pub(super) fn run(tool: &Tool, args: &VerifyArgs) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let listings: Vec<Result<Listing, Failure>> =
        args.dirs.iter().map(|dir| survey(&*tool.storage, dir)).collect();
    let (jobs, bytes) = jobs_of(tool, args, &listings);
    let progress = progress_bar(bytes);
    let looks = check_all(tool, args, &jobs, &progress);
    progress.finish_and_clear();

    let mut looks = looks.into_iter().zip(&jobs).peekable();
    let mut outcome = Outcome::Sound;
    for (log, (dir, listing)) in args.dirs.iter().zip(listings).enumerate() {
        let mut of_log = Vec::new();
        let mut failure = None;
        while let Some((look, job)) = looks.next_if(|(_, job)| job.log == log) {
            match look {
                Ok(look) => of_log.push((job.id, look)),
                Err(error) => failure = failure.or(Some(Failure::from(error))),
            }
        }
        let result = match (listing, failure) {
            (Err(failure), _) | (Ok(_), Some(failure)) => LogResult::unread(dir, &failure),
            (Ok(listing), None) => {
                let mut log = LogLook::of(tool, dir, of_log);
                if !is_open(dir) {
                    log.judge_spares(tool, dir)?;
                }
                LogResult::of(tool, dir, &listing, &log, args.salvage)?
            }
        };
        outcome = outcome.max(result.outcome);
        result.print(args, started.elapsed())?;
    }
    Ok(outcome)
}

/// All chunks, and their bytes.
fn jobs_of(tool: &Tool, args: &VerifyArgs, listings: &[Result<Listing, Failure>]) -> (Vec<Job>, u64) {
    let mut jobs = Vec::new();
    let mut bytes = 0_u64;
    for (log, (dir, listing)) in args.dirs.iter().zip(listings).enumerate() {
        let Ok(listing) = listing else { continue };
        for (i, id) in listing.chunks.iter().enumerate() {
            jobs.push(Job { log, id: *id, place: listing.place(i) });
            let file = tool.storage.open(&dir.join(id.file_name()), Access::Read);
            let len = file.and_then(|file| file.len()).unwrap_or(0);
            bytes = bytes.saturating_add(len);
        }
    }
    (jobs, bytes)
}

fn progress_bar(bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{wide_bar} {percent:>3}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
    );
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(10));
    // The template is a constant, so it parses; otherwise the default one is used.
    let bar = match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.tick();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Looks at all chunks; the results are in the order of the jobs.
fn check_all(
    tool: &Tool,
    args: &VerifyArgs,
    jobs: &[Job],
    progress: &ProgressBar,
) -> Vec<Result<Look, Error>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.jobs.map_or(processors, usize::from).min(jobs.len());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Look, Error>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Relaxed);
                    let Some(job) = jobs.get(i) else { return };
                    let found = look(tool, &args.dirs[job.log], job.id, job.place, &mut |n| progress.inc(n));
                    done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((i, found));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, look)| look).collect()
}

/// The result for one log.
struct LogResult {
    dir: PathBuf,
    outcome: Outcome,
    chunks: u64,
    records: u64,
    bytes: u64,
    /// The faults, one line each.
    findings: Vec<String>,
}

impl LogResult {
    fn unread(dir: &Path, failure: &Failure) -> Self {
        LogResult {
            dir: dir.to_owned(),
            outcome: Outcome::CantBeRead,
            chunks: 0,
            records: 0,
            bytes: 0,
            findings: vec![failure.line().to_string()],
        }
    }

    fn of(
        tool: &Tool,
        dir: &Path,
        listing: &Listing,
        log: &LogLook,
        with_salvage: bool,
    ) -> Result<Self, Failure> {
        let is_open = is_open(dir);
        let mut result = LogResult {
            dir: dir.to_owned(),
            outcome: Outcome::Sound,
            chunks: log.chunks.len() as u64,
            records: 0,
            bytes: 0,
            findings: Vec::new(),
        };
        for (i, (id, look)) in log.chunks.iter().enumerate() {
            result.records = result.records.saturating_add(look.records);
            result.bytes = result.bytes.saturating_add(look.data_end - id.0);
            // The end of an open log is still being written.
            if let State::Torn { lost, cut_at } = look.state
                && !is_open
            {
                result.outcome = result.outcome.max(Outcome::Torn);
                result.findings.push(print::torn(lost, look.data_end, cut_at));
            }
            for error in look.damage() {
                result.outcome = result.outcome.max(Outcome::Corrupt);
                result.findings.push(error.to_string());
            }
            if let Some((error, count)) = &look.undecodable {
                result.outcome = result.outcome.max(Outcome::Corrupt);
                let more = match count - 1 {
                    0 => String::new(),
                    n => format!(" (and {} after that in the same chunk)", print::count(n, "record")),
                };
                result.findings.push(format!("{error}{more}"));
            }
            if with_salvage && matches!(look.state, State::Damaged(_) | State::Torn { .. }) {
                let is_newest = i + 1 == log.chunks.len();
                let place = if is_newest { ChunkPlace::Newest } else { ChunkPlace::Older };
                result.findings.extend(salvage(tool, dir, *id, place)?);
            }
        }
        let unnamed = unnamed(tool, dir, listing, is_open);
        result.findings.extend(unnamed.map(|unnamed| unnamed.text()));
        Ok(result)
    }

    fn print(&self, args: &VerifyArgs, elapsed: Duration) -> Result<(), Failure> {
        let LogResult { dir, chunks, records, bytes, findings, .. } = self;
        if args.report.is_json() {
            let line = json!({
                "dir": print::path(dir),
                "verdict": self.outcome.verdict(),
                "chunks": chunks,
                "records": records,
                "bytes": bytes,
                "findings": findings,
            });
            return print::all(format!("{line}\n").as_bytes());
        }
        if self.outcome == Outcome::CantBeRead {
            findings.iter().for_each(|finding| print::complain(finding));
            return Ok(());
        }
        let (dir, verdict) = (dir.display(), self.outcome.verdict());
        let (chunks, records) = (print::count(*chunks, "chunk"), print::count(*records, "record"));
        let mut text = format!("{dir}: {verdict}; {chunks}, {records}, {}", print::bytes(*bytes));
        if args.dirs.len() == 1 {
            let seconds = elapsed.as_secs_f64();
            let rate = print::bytes((*bytes as f64 / seconds.max(1e-6)) as u64);
            text += &format!(" in {seconds:.1} s, {rate}/s");
        }
        text.push('\n');
        for finding in findings {
            text += &format!("{dir}: {finding}\n");
        }
        print::all(text.as_bytes())
    }
}
