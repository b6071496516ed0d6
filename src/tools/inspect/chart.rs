//! Charts of a log's chunks, as SVG inside a page: its style sheet has the colours.

use std::fmt::Write;

use super::html::escape;
use crate::tools::print::{bytes, number};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 190.0;
/// The room for labels: left of the axis, and under it.
const LEFT: f64 = 84.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 8.0;

/// More columns than this are too thin to be seen: then a column is the largest of several chunks.
const COLUMNS_MAX: usize = 300;

/// A mark in a chart.
pub(super) struct Mark {
    /// The position on the axis of time; ignored by [`bars`].
    pub(super) at: f64,
    pub(super) value: f64,
    /// The class of the style sheet.
    pub(super) state: &'static str,
    /// What a pointer on the mark shows.
    pub(super) hint: String,
}

/// How a chart's values are written, and which steps are round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Bytes,
    Count,
    Percent,
}

impl Scale {
    fn text(self, value: f64) -> String {
        match self {
            // A round step needs no fraction.
            Scale::Bytes => bytes(value as u64).replace(".00 ", " "),
            Scale::Count => number(value as u64),
            Scale::Percent => format!("{value:.0} %"),
        }
    }

    /// A round step that divides `max` into two to five parts.
    fn step(self, max: f64) -> f64 {
        let (mut unit, factor, digits): (f64, f64, &[f64]) = match self {
            Scale::Bytes => (1.0, 1024.0, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]),
            Scale::Count => (1.0, 10.0, &[1.0, 2.0, 5.0]),
            Scale::Percent => return 25.0,
        };
        loop {
            if let Some(digit) = digits.iter().find(|digit| max / (unit * **digit) <= 4.0) {
                return unit * digit;
            }
            unit *= factor;
        }
    }
}

/// A bar for each mark, from left to right.
pub(super) fn bars(title: &str, scale: Scale, marks: &[Mark]) -> String {
    let max = if scale == Scale::Percent { 100.0 } else { largest(marks) };
    let mut svg = frame(scale, max);
    let group = marks.len().div_ceil(COLUMNS_MAX).max(1);
    let columns = marks.len().div_ceil(group);
    let pitch = (WIDTH - LEFT - RIGHT) / columns.max(1) as f64;
    let width = (pitch - if pitch > 4.0 { 2.0 } else { 0.0 }).min(48.0);
    for (i, group) in marks.chunks(group).enumerate() {
        let Some(mark) = group.iter().max_by(|a, b| a.value.total_cmp(&b.value)) else { continue };
        // What is wrong must be seen, however small it is.
        let state =
            group.iter().map(|mark| mark.state).find(|state| *state != "sealed").unwrap_or(mark.state);
        let height = (mark.value / max * (HEIGHT - TOP - BOTTOM)).max(2.0);
        let (x, y) = (LEFT + i as f64 * pitch + (pitch - width) / 2.0, HEIGHT - BOTTOM - height);
        let hint = escape(&mark.hint);
        put(
            &mut svg,
            format_args!(
                "<rect class=\"bar {state}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{hint}</title></rect>\n"
            ),
        );
    }
    ends(
        &mut svg,
        "oldest chunk",
        if group > 1 { "newest chunk; a bar is the largest of several" } else { "newest chunk" },
    );
    figure(title, &svg)
}

/// The marks over time, joined. `ends` are the first and the last moment.
pub(super) fn growth(title: &str, marks: &[Mark], ends_at: [&str; 2]) -> String {
    let max = largest(marks);
    let mut svg = frame(Scale::Bytes, max);
    let (first, last) =
        marks.iter().fold((f64::MAX, f64::MIN), |(a, b), mark| (a.min(mark.at), b.max(mark.at)));
    let place = |mark: &Mark| {
        let x = LEFT + 6.0 + (mark.at - first) / (last - first).max(1e-9) * (WIDTH - LEFT - RIGHT - 12.0);
        (x, HEIGHT - BOTTOM - mark.value / max * (HEIGHT - TOP - BOTTOM))
    };
    let mut path = String::new();
    for mark in marks {
        let (x, y) = place(mark);
        put(&mut path, format_args!("{x:.1},{y:.1} "));
    }
    put(&mut svg, format_args!("<polyline class=\"path\" points=\"{}\"/>\n", path.trim_end()));
    let radius = if marks.len() > 100 { 2.0 } else { 3.5 };
    for mark in marks {
        let ((x, y), hint) = (place(mark), escape(&mark.hint));
        let state = mark.state;
        put(
            &mut svg,
            format_args!(
                "<circle class=\"dot {state}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"><title>{hint}</title></circle>\n"
            ),
        );
    }
    ends(&mut svg, ends_at[0], ends_at[1]);
    figure(title, &svg)
}

fn largest(marks: &[Mark]) -> f64 {
    marks.iter().map(|mark| mark.value).fold(1.0, f64::max)
}

/// The axis, lines at round values, and their labels.
fn frame(scale: Scale, max: f64) -> String {
    let mut svg = String::new();
    let step = scale.step(max);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for i in 0_u32.. {
        let value = f64::from(i) * step;
        if value > max * 1.001 {
            break;
        }
        let y = bottom - value / max * (bottom - TOP);
        let class = if i == 0 { "axis" } else { "grid" };
        put(
            &mut svg,
            format_args!(
                "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                LEFT - 8.0,
                y + 4.0,
                scale.text(value)
            ),
        );
    }
    svg
}

/// What the ends of the horizontal axis are.
fn ends(svg: &mut String, left: &str, right: &str) {
    let y = HEIGHT - 6.0;
    let (left, right) = (escape(left), escape(right));
    put(
        svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{y}\">{left}</text><text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{right}</text>\n",
            WIDTH - RIGHT
        ),
    );
}

fn figure(title: &str, svg: &str) -> String {
    let title = escape(title);
    format!(
        "<figure><figcaption>{title}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n{svg}</svg></figure>\n"
    )
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _infallible = text.write_fmt(what);
}
