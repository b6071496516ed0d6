//! Results, as text and as JSON.

use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::archive::{ArchiveStatus, PruneMode, Pruned, Verified};
use crate::archiver::ArchiverStatus;
use crate::progress::Progress;
use crate::restore::Restored;

/// Prints one line. If the reader has closed the pipe, the line is lost, and that is no failure.
fn out(line: impl std::fmt::Display) {
    let _output_closed = writeln!(std::io::stdout(), "{line}");
}

fn either(json: bool, object: Value, text: String) {
    if json { out(object) } else { out(text) }
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// A bar on standard error, if that is a terminal.
pub(super) fn bar() -> Progress {
    if !std::io::stderr().is_terminal() {
        return Progress::default();
    }
    let template = "{wide_bar} {percent:>3}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}";
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
    // The template is a constant, so it parses; otherwise the default one is used.
    let bar = match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    Progress::new(move |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        if done == total && total > 0 {
            bar.finish_and_clear();
        }
    })
}

/// A line on standard error that changes, if that is a terminal.
pub(super) fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

pub(super) fn line(status: &ArchiverStatus) -> String {
    let ArchiverStatus { end, uploaded_bytes, last_error, .. } = status;
    let error = last_error.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
    format!("archived up to {end}, {} uploaded{error}", HumanBytes(*uploaded_bytes))
}

pub(super) fn archiver(status: &ArchiverStatus, json: bool) {
    let object = json!({
        "epoch": status.epoch,
        "end": status.end,
        "sealed_upto": status.sealed_upto,
        "log_bytes": status.log_bytes,
        "uploaded_bytes": status.uploaded_bytes,
        "failures": status.failures,
        "last_error": status.last_error,
    });
    either(json, object, line(status));
}

pub(super) fn status(status: &ArchiveStatus, json: bool) {
    let object = json!({
        "log": status.log_id,
        "epoch": status.epoch,
        "manifest": status.manifest,
        "written": time(status.written),
        "start": status.start,
        "end": status.end,
        "sealed_upto": status.sealed_upto,
        "bytes": status.bytes,
        "oldest": status.oldest.map(time),
        "newest": status.newest.map(time),
        "pins": status.pins,
    });
    let of = |time_of: Option<SystemTime>| time_of.map_or("none".into(), time);
    let pins = status.pins.iter().map(|(name, from)| format!("\npin        {name} from {from}"));
    let pins: String = pins.collect();
    let text = format!(
        "log        {}\noffsets    {} to {}\ntimes      {} to {}\nbytes      {}\nmanifest   {} of epoch {}, written {}{pins}",
        status.log_id,
        status.start,
        status.end,
        of(status.oldest),
        of(status.newest),
        HumanBytes(status.bytes),
        status.manifest,
        status.epoch,
        time(status.written),
    );
    either(json, object, text);
}

pub(super) fn restored(restored: &Restored, json: bool) {
    let Restored { dir, start, end, chunks, records, downloaded_bytes, kept_bytes } = restored;
    let object = json!({
        "dir": dir.display().to_string(),
        "start": start,
        "end": end,
        "chunks": chunks,
        "records": records,
        "downloaded_bytes": downloaded_bytes,
        "kept_bytes": kept_bytes,
    });
    let text = format!(
        "restored '{}': offsets {start} to {end}; {}, {}, {} read",
        dir.display(),
        counted(*chunks, "chunk"),
        counted(*records, "record"),
        HumanBytes(*downloaded_bytes),
    );
    either(json, object, text);
}

pub(super) fn verified(verified: &Verified, json: bool) {
    let Verified { chunks, records, bytes, missing, findings } = verified;
    let object = json!({
        "verdict": if findings.is_empty() { "sound" } else { "corrupt" },
        "chunks": chunks,
        "records": records,
        "bytes": bytes,
        "missing": missing,
        "findings": findings,
    });
    let verdict = if findings.is_empty() { "sound" } else { "corrupt" };
    let (chunks, records) = (counted(*chunks, "chunk"), counted(*records, "record"));
    let mut text = format!("{verdict}; {chunks}, {records}, {}", HumanBytes(*bytes));
    for (from, to) in missing {
        text += &format!(
            "\nno records from offset {from} to {to}: the log removed them before they were archived"
        );
    }
    for finding in findings {
        text += &format!("\n{finding}");
    }
    either(json, object, text);
}

pub(super) fn pruned(pruned: &Pruned, mode: PruneMode, json: bool) {
    let Pruned { start, start_before, deleted } = pruned;
    let object = json!({
        "start": start,
        "start_before": start_before,
        "deleted": deleted,
        "dry_run": mode == PruneMode::Dry,
    });
    let text = match mode {
        PruneMode::Dry => format!("would remove the offsets from {start_before} to {start}"),
        PruneMode::Apply => {
            format!(
                "removed the offsets from {start_before} to {start}; {} deleted",
                counted(*deleted, "object")
            )
        }
    };
    either(json, object, text);
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
