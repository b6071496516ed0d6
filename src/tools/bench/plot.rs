//! The results as a picture: two bar charts in one SVG.

use std::fmt::Write;

use super::{Row, Unit};
use crate::tools::print;

const WIDTH: f64 = 760.0;
const NAMES: f64 = 250.0;
const BARS: f64 = 390.0;
const BAR: f64 = 20.0;
const STEP: f64 = 30.0;
const HEAD: f64 = 46.0;

/// The colours of raw disk measurements, and of the log.
const RAW: &str = "#9aa5b1";
const LOG: &str = "#2f6fab";

/// Draws the rows.
pub(super) fn svg(rows: &[Row], record_size: u32) -> String {
    let mut body = String::new();
    let mut y = 10.0;
    let titles = [
        (Unit::Operations, format!("Durable records of {record_size} bytes, per second")),
        (Unit::Bytes, "Throughput, per second".to_string()),
    ];
    for (unit, title) in titles {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.unit == unit).collect();
        y = chart(&mut body, y, &title, &rows);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// Draws one chart, with its top at `y`; returns its bottom.
fn chart(body: &mut String, y: f64, title: &str, rows: &[&Row]) -> f64 {
    let most = rows.iter().map(|row| row.rate()).fold(1e-9, f64::max);
    // Writing to a string can't fail.
    let _ok = writeln!(
        body,
        "<text x=\"12\" y=\"{}\" font-size=\"15\" font-weight=\"bold\">{title}</text>",
        y + 22.0
    );
    for (i, row) in rows.iter().enumerate() {
        let top = y + HEAD + i as f64 * STEP;
        let text = top + BAR - 5.0;
        let width = (row.rate() / most * BARS).max(1.0);
        let colour = if row.is_raw { RAW } else { LOG };
        let value = match row.unit {
            Unit::Operations => format!("{:.0}", row.rate()),
            Unit::Bytes => print::bytes(row.rate() as u64),
        };
        let _ok = writeln!(
            body,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{value}</text>",
            NAMES - 8.0,
            row.name,
            NAMES + width + 6.0,
        );
    }
    y + HEAD + rows.len() as f64 * STEP + 8.0
}
