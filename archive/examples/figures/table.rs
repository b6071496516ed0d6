//! The table, and its place in `docs/benchmarks.md`.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use crate::ROUNDS;
use crate::distant::{BYTES_PER_S, LATENCY, NARROW_BYTES_PER_S};
use crate::restoring::{Restoring, SOURCES, Source};
use crate::stats::{median, with_range};
use crate::uploading::Uploading;
use crate::writing::{CASES, Case, Writing};

const BEGIN: &str = "<!-- archive: written by archive/examples/figures -->";
const END: &str = "<!-- End of archive. -->";

pub(crate) fn text(dir: &Path, writing: &Writing, uploading: &Uploading, restoring: &Restoring) -> String {
    let mut rows = Vec::new();
    written(writing, &mut rows);
    rows.push((
        format!("a log archived late: share of {:.0} MB/s that is used", BYTES_PER_S / 1e6),
        with_range(uploading),
        "–",
    ));
    restored(restoring, &mut rows);
    let rows: String =
        rows.iter().map(|(what, figure, goal)| format!("| {what} | {figure} | {goal} |\n")).collect();
    format!(
        "Measured on {}. Medians of {ROUNDS} rounds, with the\nleast and the greatest in parentheses. The distant \
         store takes {} ms for each request, and is behind a line of {:.0} MB/s.\n\n\
         | | | goal |\n| --- | ---: | ---: |\n{rows}",
        machine(dir),
        LATENCY.as_millis(),
        BYTES_PER_S / 1e6
    )
}

type Row = (String, String, &'static str);

fn written(writing: &Writing, rows: &mut Vec<Row>) {
    let alone = median(&writing[0].append_p99_ns);
    for (case, figures) in CASES.into_iter().zip(writing) {
        let name = match case {
            Case::Alone => "not archived".to_string(),
            Case::Directory => "archived in a directory".to_string(),
            Case::Distant => "archived in the distant store".to_string(),
            Case::Narrow => format!("the same, a line of {:.0} MB/s", NARROW_BYTES_PER_S / 1e6),
            Case::Away => "the store is away".to_string(),
        };
        if !figures.lag_p50_ms.is_empty() {
            let lags = [&figures.lag_p50_ms, &figures.lag_max_ms].map(|lags| with_range(lags));
            rows.push((format!("{name}: a lost machine costs, ms"), lags[0].clone(), "≤ 1000"));
            rows.push((format!("{name}: at most, ms"), lags[1].clone(), "≤ 1000"));
            rows.push((
                format!("{name}: uploaded ÷ logged"),
                with_range(&figures.uploaded_per_logged),
                "≤ 1.05",
            ));
        }
        let more = (median(&figures.append_p99_ns) / alone - 1.0) * 100.0;
        let (more, goal) = match case {
            Case::Alone => (String::new(), "–"),
            _ => (format!(": {more:+.0} %"), "≤ +5 %"),
        };
        rows.push((format!("{name}: append p99, ns"), with_range(&figures.append_p99_ns) + &more, goal));
        let syncs = [&figures.sync_p50_us, &figures.sync_p99_us].map(|syncs| with_range(syncs));
        rows.push((format!("{name}: sync p50, p99, µs"), syncs.join(", "), "–"));
    }
}

fn restored(restoring: &Restoring, rows: &mut Vec<Row>) {
    for (source, times) in SOURCES.into_iter().zip(&restoring.sources) {
        let name = match source {
            Source::Cached => "from a directory in the page cache",
            Source::Cold => "from a directory on the disk",
            Source::Distant => "from the distant store",
        };
        let parts = [&times.restore, &times.read, &times.replay].map(|times| with_range(times));
        rows.push((format!("{name}: restore; read; replay, ms"), parts.join("; "), "–"));
        if source != Source::Distant {
            rows.push((format!("{name}: a copy of the bytes, synced, ms"), with_range(&times.copy), "–"));
        }
        rows.push((format!("{name}: restore ÷ (read + replay)"), with_range(&times.ratios()), "≤ 1.2"));
    }
}

/// Replaces the table on the page.
pub(crate) fn write(page: &Path, table: &str) {
    let text = fs::read_to_string(page).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    fs::write(page, format!("{before}{BEGIN}\n\n{table}\n{END}{after}")).unwrap();
}

/// The day, and the machine that measured.
fn machine(dir: &Path) -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |(_, cpu)| cpu);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    format!("{}: {cpu}, {cores} cores, Linux {}, {}", &now[..10], kernel.trim(), disk(&mounts, dir))
}

/// The file system of the longest mount above a directory.
fn disk(mounts: &str, dir: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        dir.starts_with(at).then(|| (at.len(), format!("{kind} on {device}")))
    });
    mounts.max_by_key(|(len, _)| *len).map_or_else(|| "?".into(), |(_, disk)| disk)
}
