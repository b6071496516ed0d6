//! `docs/benchmarks.md`: this program writes the part between two marks, people write the rest.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;

use crate::contest::Report;
use crate::machine::Machine;
use crate::peer::Fit;
use crate::peers;
use crate::plot;
use crate::results::Results;
use crate::table;
use crate::workload::Workload;

const BEGIN: &str = "<!-- Written by benches/peers from here on: do not edit. -->\n";
const END: &str = "<!-- Written by benches/peers up to here. -->\n";

/// Writes results into `benchmarks.md` and `benchmarks/` of the documents: the tables, the plots, and the
/// figures of this release, to be compared with those of others.
pub(crate) fn write(docs: &Path, results: &Results) -> Result<()> {
    for (option, why) in [("--smoke", "measures nothing"), ("--peers", "leaves logs out")] {
        let has = |command: &String| command.split([' ', '=']).any(|argument| argument == option);
        ensure!(!results.commands.iter().any(has), "not results for the documents: {option} {why}");
    }
    let Results { machine, report, .. } = results;
    for workload in Workload::ALL {
        if !report.rows.iter().any(|row| row.workload == workload) {
            eprintln!("No figures of {workload}: its tables and goals are left out.");
        }
    }
    let plots = docs.join("benchmarks");
    fs::create_dir_all(&plots)?;
    let mut drawn = Vec::new();
    for workload in Workload::ALL {
        let name = format!("{workload}.svg").to_lowercase();
        if plot::draw(report, machine, workload, &plots.join(&name))? {
            drawn.push((workload, name));
        }
    }
    results.write(&plots.join(format!("{}.json", results.version)))?;
    replace_in(&docs.join("benchmarks.md"), BEGIN, END, &section(results, &drawn))
}

/// Replaces the text of a page between two marks.
pub(crate) fn replace_in(path: &Path, begin: &str, end: &str, text: &str) -> Result<()> {
    let page = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let page = replace(&page, begin, end, text).with_context(|| {
        format!("{} has no place for the results, between {begin:?} and {end:?}", path.display())
    })?;
    fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

fn replace(page: &str, begin: &str, end: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{text}\n{end}{after}"))
}

fn section(results: &Results, drawn: &[(Workload, String)]) -> String {
    let mut out = String::new();
    let Results { machine, report, commands, .. } = results;
    let Machine { cpu, cores, memory_mib, kernel, filesystem, date } = machine;
    let _ = writeln!(
        out,
        "Measured on {date}: {cpu}, {cores} cores, {memory_mib} MiB of memory, Linux {kernel},"
    );
    let _ = writeln!(out, "the logs on {filesystem}. Run as:\n");
    let command =
        |arguments| format!("cargo run --release --manifest-path benches/peers/Cargo.toml -- {arguments}");
    let commands: Vec<String> = commands.iter().map(command).collect();
    let _ = writeln!(out, "```text\n{}\n```\n", commands.join("\n"));
    let _ = writeln!(out, "## Goals\n\n{}", table::goals(report));
    for workload in Workload::ALL {
        let tables = table::workload(report, workload);
        if tables.is_empty() {
            continue;
        }
        let _ = writeln!(out, "## {workload}: {}\n", workload.title());
        if let Some((_, name)) = drawn.iter().find(|(drawn, _)| *drawn == workload) {
            let _ = writeln!(out, "![{workload}](benchmarks/{name})\n");
        }
        out.push_str(&tables);
    }
    let _ = writeln!(out, "## Logs left out of a workload\n\n{}", left_out(report));
    out.truncate(out.trim_end().len() + 1);
    out
}

/// Lists the peers that don't take part in a workload or are not compared, and why.
fn left_out(report: &Report) -> String {
    let mut out = String::new();
    for peer in peers::all() {
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for workload in Workload::ALL {
            let (Fit::No(why) | Fit::DoesNotSync(why)) = peer.fit(workload) else { continue };
            if why == peers::AS_THE_FIRST {
                continue;
            }
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, workloads)) => workloads.push(workload.to_string()),
                None => reasons.push((why, vec![workload.to_string()])),
            }
        }
        if !reasons.is_empty() {
            let reasons: Vec<String> =
                reasons.iter().map(|(why, workloads)| format!("{}: {why}", workloads.join(", "))).collect();
            let _ = writeln!(out, "- {}: {}.", peer.name(), reasons.join("; "));
        }
    }
    for failure in &report.failures {
        let _ = writeln!(
            out,
            "- {} {}, {}: {}.",
            failure.workload, failure.case, failure.contestant, failure.error
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_outside_the_marks_is_kept() {
        let page = format!("# By hand\n\n{BEGIN}old\n{END}\nMore by hand\n");
        let replace = |page: &str, text| replace(page, BEGIN, END, text);
        let once = replace(&page, "new").unwrap();
        assert_eq!(once, format!("# By hand\n\n{BEGIN}\nnew\n{END}\nMore by hand\n"));
        assert_eq!(replace(&once, "new").unwrap(), once);
        assert!(replace("no marks", "new").is_none());
    }
}
