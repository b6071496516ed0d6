//! `inspect --html`: a page that is complete in itself.
//!
//! - It loads nothing, and everything from outside (names, paths, messages) is escaped.
//! - Without scripts it is whole; its script only sorts the table.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use super::chart::{Mark, Scale, bars, growth};
use super::{Report, Row, padded, rfc3339};
use crate::tools::outcome::Outcome;
use crate::tools::print;

/// Text for HTML, between tags or inside a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Marks that turn the direction of text around, and control characters.
            c if c.is_control()
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c) =>
            {
                escaped.extend(c.escape_unicode());
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The page. `ways` are the repairs to choose from: what each keeps, and its steps.
pub(super) fn page(report: &Report<'_>, ways: &[(&str, Vec<String>)]) -> String {
    let title = escape(&print::path(report.dir));
    let class = match report.outcome() {
        Outcome::Sound => "open",
        Outcome::Torn => "torn",
        Outcome::Corrupt | Outcome::CantBeRead => "damaged",
    };
    let (verdict, version) = (report.outcome().verdict(), env!("CARGO_PKG_VERSION"));
    let made = rfc3339(SystemTime::now()).unwrap_or_default();
    let sections = [
        figures(report),
        facts(report),
        opening(report),
        damage(report, ways),
        charts(report),
        table(report),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}: {verdict}</title>\n\
         <style>\n{}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p><span class=\"verdict {class}\">{verdict}</span></p>\n\
         <p class=\"quiet\">As it was on {made}; every byte was read by chunked-wal {version}.</p>\n{}\
         <script>\n{}</script>\n</body>\n</html>\n",
        include_str!("page.css"),
        sections.concat(),
        include_str!("page.js"),
    )
}

fn figures(report: &Report<'_>) -> String {
    let (records, bytes) = report.totals();
    let figure = |value: String, what: &str| format!("<li><b>{value}</b><span>{what}</span></li>\n");
    let mut text = figure(print::number(report.rows.len() as u64), "chunks");
    text += &figure(print::number(records), "records");
    text += &figure(print::bytes(bytes), "of log");
    let sum = |of: fn(&Row) -> u64| report.rows.iter().map(of).fold(0, u64::saturating_add);
    let (payload, compressed) = (sum(|row| row.look.payload), sum(|row| row.look.compressed));
    if compressed > 0 {
        text += &figure(percent(compressed as f64 / payload.max(1) as f64), "of stored payload is LZ4");
    }
    format!("<ul class=\"figures\">\n{text}</ul>\n")
}

fn facts(report: &Report<'_>) -> String {
    let name = |path: &std::path::PathBuf| escape(&print::name(path.file_name().unwrap_or_default()));
    let foreign: Vec<String> = report.listing.foreign.iter().map(name).collect();
    let offsets = match (report.rows.first(), report.rows.last()) {
        (Some(first), Some(last)) => format!("{} to {}", first.id.0, last.look.data_end),
        _ => "none".into(),
    };
    let subscribers: Vec<String> =
        report.holders.iter().map(|holder| escape(&report.holder_text(holder))).collect();
    let facts = [
        ("Log id", format!("<code>{}</code>", report.log_id().unwrap_or_else(|| "unknown".into()))),
        ("Offsets", offsets),
        ("Writer", if report.is_open { "a process has it open" } else { "none" }.into()),
        ("Spare files", report.listing.spares.len().to_string()),
        ("Subscribers", if subscribers.is_empty() { "none".into() } else { subscribers.join("<br>") }),
        ("Files of others", if foreign.is_empty() { "none".into() } else { foreign.join(", ") }),
    ];
    let rows: String = facts.iter().map(|(what, fact)| format!("<dt>{what}</dt><dd>{fact}</dd>\n")).collect();
    format!("<dl>\n{rows}</dl>\n")
}

/// What recovery would do.
fn opening(report: &Report<'_>) -> String {
    let (records, bytes) = report.totals();
    let newest = report.rows.last().map_or(0, |row| row.look.records);
    let replay = format!(
        "replays {} of {}, {}; with <code>Replay::FromLastCheckpoint</code> the {} of the newest chunk",
        print::count(records, "record"),
        print::count(report.rows.len() as u64, "chunk"),
        print::bytes(bytes),
        print::count(newest, "record"),
    );
    let damaged = || report.rows.iter().flat_map(|row| row.look.damage());
    let what = if report.is_open {
        format!("A process has the log open. Once it is closed, opening {replay}.")
    } else if damaged().next().is_some() {
        match report.rows.iter().all(|row| !row.look.is_bad()) {
            true => "Opening is refused, and changes nothing. With <code>OpenOptions::mend</code> the damaged bytes are \
                     written again, and nothing is lost."
                .to_string(),
            false => "Opening is refused, and changes nothing: acknowledged records are damaged.".to_string(),
        }
    } else if let Some((row, lost, cut_at)) = report.torn() {
        let torn = escape(&print::torn(lost, row.look.data_end, cut_at));
        format!("Opening cuts off the torn tail ({torn}), then {replay}.")
    } else if report.ended_unmarked() {
        format!("The last writer did not close the log, and lost nothing. Opening {replay}.")
    } else {
        format!("Opening changes no record: it {replay}.")
    };
    format!("<h2>When it is opened</h2>\n<p>{what}</p>\n")
}

fn damage(report: &Report<'_>, ways: &[(&str, Vec<String>)]) -> String {
    let items = |lines: &mut dyn Iterator<Item = String>| -> String {
        lines.map(|line| format!("<li>{}</li>\n", escape(&line))).collect()
    };
    let found = items(&mut report.damage());
    let undecodable = report.rows.iter().filter_map(|row| row.look.undecodable.as_ref());
    let undecodable = items(&mut undecodable.map(|(error, count)| {
        if *count == 1 {
            error.to_string()
        } else {
            format!("{error} ({} like this in the chunk)", print::number(*count))
        }
    }));
    let mut text = String::new();
    if !found.is_empty() || !undecodable.is_empty() {
        let _infallible = write!(text, "<h2>Damage</h2>\n<ul>\n{found}{undecodable}</ul>\n");
    }
    if !ways.is_empty() && !report.is_open {
        text += "<h2>What a repair could do</h2>\n<p>Restoring the damaged files from a copy is always better.</p>\n";
        for (keep, steps) in ways {
            let steps = items(&mut steps.iter().cloned());
            let _infallible =
                write!(text, "<p><code>chunked-wal repair --keep {keep}</code></p>\n<ul>\n{steps}</ul>\n");
        }
    }
    text
}

fn charts(report: &Report<'_>) -> String {
    let mark = |row: &Row, value: f64, shown: String| Mark {
        at: row.header.as_ref().map_or(0.0, |header| seconds(header.created_at)),
        value,
        state: row.state(report.is_open),
        hint: format!("{} ({}): {shown}", padded(row.id), row.state(report.is_open)),
    };
    let marks = |of: &dyn Fn(&Row) -> (f64, String)| -> Vec<Mark> {
        let marks = report.rows.iter().map(|row| {
            let (value, shown) = of(row);
            mark(row, value, shown)
        });
        marks.collect()
    };
    let mut text = String::from("<h2>Chunks</h2>\n");
    let states = ["sealed", "open", "torn", "damaged", "removed"];
    let used =
        states.into_iter().filter(|state| report.rows.iter().any(|row| row.state(report.is_open) == *state));
    let legend: String = used.map(|state| format!("<li class=\"{state}\">{state}</li>\n")).collect();
    let _infallible = write!(text, "<ul class=\"legend\">\n{legend}</ul>\n");
    let dated: Vec<&Row> = report.rows.iter().filter(|row| row.header.is_some()).collect();
    if let (Some(Some(first)), Some(Some(last))) =
        (dated.first().map(|row| row.header.as_ref()), dated.last().map(|row| row.header.as_ref()))
        && first.created_at != last.created_at
    {
        let created =
            |row: &&Row| row.header.as_ref().and_then(|header| header.created.clone()).unwrap_or_default();
        let marks: Vec<Mark> = dated
            .iter()
            .map(|row| {
                let grown = row.id.0 - dated[0].id.0;
                mark(row, grown as f64, format!("started {} at offset {}", created(row), row.id.0))
            })
            .collect();
        let ends = [first, last].map(|header| header.created.as_deref().unwrap_or_default());
        text += &growth(
            "Growth: bytes after the start of the oldest chunk, when each chunk was started",
            &marks,
            ends,
        );
    }
    text += &bars(
        "Size of each chunk",
        Scale::Bytes,
        &marks(&|row| (row.bytes() as f64, print::bytes(row.bytes()))),
    );
    let records = |row: &Row| (row.look.records as f64, print::count(row.look.records, "record"));
    text += &bars("Records of each chunk", Scale::Count, &marks(&records));
    if report.rows.iter().any(|row| row.lz4().is_some()) {
        let share = |row: &Row| (row.lz4().unwrap_or(0.0) * 100.0, percent(row.lz4().unwrap_or(0.0)));
        text += &bars("Share of LZ4 in the stored payload", Scale::Percent, &marks(&share));
    }
    text
}

fn table(report: &Report<'_>) -> String {
    // The second word of a head is its class.
    let heads = [
        "Chunk",
        "State word",
        "Started word",
        "Records",
        "Size",
        "File",
        "Checkpoint",
        "LZ4",
        "Reused word",
    ];
    let head = |name: &str| match name.split_once(' ') {
        Some((name, class)) => format!("<th class=\"{class}\"><button>{name}</button></th>"),
        None => format!("<th><button>{name}</button></th>"),
    };
    let mut text = format!(
        "<div class=\"table\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n",
        heads.map(head).concat()
    );
    for row in report.rows {
        let header = row.header.as_ref();
        let state = row.state(report.is_open);
        let created = header.and_then(|header| header.created.as_deref()).unwrap_or("-");
        let file = header.map(|header| header.file_len);
        let lz4 = row.lz4();
        let cells = [
            cell("", &number_key(row.id.0), &format!("<code>{}</code>", padded(row.id))),
            cell("word", state, &format!("<span class=\"{state}\">{state}</span>")),
            cell("word", &number_key(header.map_or(0, |header| seconds(header.created_at) as u64)), created),
            cell("", &number_key(row.look.records), &print::number(row.look.records)),
            cell("", &number_key(row.bytes()), &print::bytes(row.bytes())),
            cell("", &number_key(file.unwrap_or(0)), &file.map_or("-".into(), print::bytes)),
            cell(
                "",
                &number_key(row.look.checkpoint.unwrap_or(0)),
                &row.look.checkpoint.map_or("-".into(), print::bytes),
            ),
            cell("", &number_key((lz4.unwrap_or(0.0) * 1e6) as u64), &lz4.map_or("-".into(), percent)),
            cell("word", "", header.map_or("-", |header| if header.is_reused { "yes" } else { "no" })),
        ];
        let _infallible = writeln!(text, "<tr>{}</tr>", cells.concat());
    }
    text + "</tbody>\n</table></div>\n"
}

/// A cell with the key that it is sorted by.
fn cell(class: &str, key: &str, content: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let key = if key.is_empty() { content } else { key };
    format!("<td{class} data-key=\"{key}\">{content}</td>")
}

/// Sorts as text as the number does.
fn number_key(n: u64) -> String {
    format!("{n:020}")
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_a_tag() {
        assert_eq!(
            escape("<a b='c' d=\"e\">&\u{1b}\u{202e}"),
            "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;\\u{1b}\\u{202e}"
        );
    }
}
