//! What a part has measured: printed, saved as JSON, and written into a page, with its curves as a picture.
//!
//! ```text
//! tables, sentences ─► Markdown ─► the page, between the part's two marks
//! all of it ─────────► scale-PART.json
//! curves ────────────► scale-PART.svg
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anyhow::Result;
use serde::Serialize;

use crate::curves;
use crate::curves::Curve;
use crate::docs;
use crate::machine::Machine;
use crate::table::number;

/// Numbers in named columns.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<f64>>,
}

impl Table {
    pub(super) fn new(columns: &[&str]) -> Self {
        Table { columns: columns.iter().map(|column| (*column).to_owned()).collect(), rows: Vec::new() }
    }

    pub(super) fn markdown(&self) -> String {
        let mut out =
            format!("| {} |\n|{}\n", self.columns.join(" | "), " ---: |".repeat(self.columns.len()));
        for row in &self.rows {
            let row: Vec<String> = row.iter().map(|value| shown(*value)).collect();
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
        out
    }

    /// The values of one column.
    pub(super) fn column(&self, i: usize) -> Vec<f64> {
        self.rows.iter().map(|row| row[i]).collect()
    }

    /// The value of a column in the first row and in the last; NaN of nothing.
    pub(super) fn ends(&self, i: usize) -> [String; 2] {
        [self.rows.first(), self.rows.last()].map(|row| shown(row.map_or(f64::NAN, |row| row[i])))
    }
}

/// A count with all of its digits, anything else with three.
pub(super) fn shown(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { number(value) }
}

/// What a part has measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    /// The part's name on the command line.
    pub(super) part: String,
    pub(super) title: String,
    pub(super) command: String,
    pub(super) machine: Machine,
    pub(super) tables: Vec<Table>,
    /// How each cost grows.
    pub(super) sentences: Vec<String>,
    /// The first column is the horizontal axis, and each other one a curve.
    pub(super) curves: Table,
}

impl Outcome {
    fn markdown(&self) -> String {
        let Machine { cpu, cores, memory_mib, kernel, filesystem, date } = &self.machine;
        let filesystem = filesystem.split(" (").next().unwrap_or(filesystem);
        let mut out = format!("### {}\n\n", self.title);
        let _ = writeln!(
            out,
            "Measured on {date}: {cpu}, {cores} cores, {memory_mib} MiB of memory, Linux {kernel}, the log on\n\
             {filesystem}; `peers {}`.\n",
            self.command,
        );
        for table in &self.tables {
            let _ = writeln!(out, "{}", table.markdown());
        }
        for sentence in &self.sentences {
            let _ = writeln!(out, "- {sentence}");
        }
        out
    }

    fn svg(&self) -> String {
        let Table { columns, .. } = &self.curves;
        let of_column = |i: usize| Curve { name: columns[i].clone(), values: self.curves.column(i) };
        let all: Vec<Curve> = (1..columns.len()).map(of_column).collect();
        let Machine { cpu, cores, kernel, filesystem, date, .. } = &self.machine;
        let disk = filesystem.split(" (").next().unwrap_or(filesystem);
        let footer = vec![format!("{date}: {cpu}, {cores} cores, Linux {kernel}, the log on {disk}")];
        curves::svg(&self.title, &columns[0], &self.curves.column(0), &all, &footer)
    }

    /// Prints the tables, and saves everything in a directory.
    pub(super) fn save(&self, out: &Path) -> Result<()> {
        println!("\n{}", self.markdown());
        fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
        let file = |ending: &str| out.join(format!("scale-{}.{ending}", self.part));
        fs::write(file("json"), serde_json::to_string(self)? + "\n")?;
        fs::write(file("svg"), self.svg())?;
        Ok(())
    }

    /// Saves everything beside the page, and writes the tables, the sentences and the picture into the page.
    pub(super) fn write_docs(&self, docs: &Path) -> Result<()> {
        self.save(&docs.join("benchmarks"))?;
        let begin = format!("<!-- Written by benches/peers, scale --only {0}: do not edit. -->\n", self.part);
        let end = format!("<!-- End of {}. -->\n", self.part);
        let picture = format!("\n![{0}](benchmarks/scale-{1}.svg)\n", self.title, self.part);
        docs::replace_in(&docs.join("benchmarks.md"), &begin, &end, &format!("{}{picture}", self.markdown()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_saved_and_written_into_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table::new(&["chunks", "open, ms"]);
        table.rows = vec![vec![10_000.0, 1.5], vec![1_000_000.0, f64::NAN]];
        assert_eq!(table.ends(0), ["10000", "1000000"]);
        let outcome = Outcome {
            part: "chunks".to_owned(),
            title: "Many chunks".to_owned(),
            command: "scale".to_owned(),
            machine: Machine::of(dir.path()).unwrap(),
            tables: vec![table.clone()],
            sentences: vec!["Opening grows.".to_owned()],
            curves: table,
        };
        let page = dir.path().join("benchmarks.md");
        let begin = "<!-- Written by benches/peers, scale --only chunks: do not edit. -->\n";
        fs::write(&page, format!("# By hand\n{begin}old\n<!-- End of chunks. -->\nMore by hand\n")).unwrap();
        outcome.write_docs(dir.path()).unwrap();
        let written = fs::read_to_string(&page).unwrap();
        for part in [
            "# By hand\n<!--",
            "### Many chunks",
            "| 1000000 | – |",
            "- Opening grows.",
            "](benchmarks/scale-chunks.svg)",
            "-->\nMore by hand\n",
        ] {
            assert!(written.contains(part), "{part}: {written}");
        }
        assert!(!written.contains("old"), "{written}");
        let json = fs::read_to_string(dir.path().join("benchmarks/scale-chunks.json")).unwrap();
        assert!(json.contains("[1000000.0,null]"), "{json}");
        assert!(
            fs::read_to_string(dir.path().join("benchmarks/scale-chunks.svg")).unwrap().contains("open, ms")
        );
    }

    #[test]
    fn the_page_has_a_place_for_each_part() {
        let page =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md")).unwrap();
        for part in ["long", "chunks", "steady"] {
            assert!(page.contains(&format!(
                "<!-- Written by benches/peers, scale --only {part}: do not edit. -->\n"
            )));
            assert!(page.contains(&format!("<!-- End of {part}. -->\n")), "{part}");
        }
    }
}
