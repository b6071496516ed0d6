//! Bars as an SVG picture: an axis with lines at round values, the limit as a baseline, our bars marked.
//!
//! The picture has colours for light and for dark, and loads nothing. `benches/peers` draws with this file too, so it
//! uses nothing but `std`.

use std::fmt::Write;

/// A picture of one or more charts.
pub(super) struct Picture<'a> {
    pub(super) charts: Vec<Chart<'a>>,
    /// Lines under the charts: when, and on which machine and disk.
    pub(super) footer: Vec<String>,
}

/// Bars with one axis.
pub(super) struct Chart<'a> {
    pub(super) title: String,
    /// What a value is, with its unit: `p50, µs`.
    pub(super) what: String,
    pub(super) better: Better,
    pub(super) groups: Vec<Group>,
    /// Writes a round value at the axis.
    pub(super) tick: &'a dyn Fn(f64) -> String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Lower,
    Higher,
}

/// Bars that are compared with each other.
pub(super) struct Group {
    /// Empty if there is only one group.
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    /// The value as it is written beside the bar.
    pub(super) shown: String,
    pub(super) kind: Kind,
}

#[allow(dead_code, reason = "`benches/peers` has bars of the last two kinds")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    /// What the disk or the system does by itself. The best one of a group is its baseline.
    Limit,
    Other,
    /// Does less than the others, so it is not compared.
    NotCompared,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Kind::Ours => "ours",
            Kind::Limit => "limit",
            Kind::Other => "other",
            Kind::NotCompared => "less",
        }
    }
}

pub(super) const WIDTH: f64 = 800.0;
const NAMES: f64 = 250.0;
const BARS: f64 = 420.0;
const LINE: f64 = 20.0;
pub(super) const MARGIN: f64 = 12.0;

/// Values that differ by more are drawn by decades, because the small bars would vanish.
const LINEAR_MAX: f64 = 50.0;

const STYLE: &str = "
svg { --page: #ffffff; --ink: #1b1f24; --quiet: #59636e; --line: #d5dae0; --ours: #1f6fb5; --limit: #8a939d; --other: #a9c4e2; --less: #dfe3e8; }
@media (prefers-color-scheme: dark) {
  svg { --page: #14181d; --ink: #e6e9ed; --quiet: #9aa5b1; --line: #343b44; --ours: #6aa7e0; --limit: #7d8792; --other: #41597a; --less: #2a3038; }
}
text { fill: var(--ink); font: 13px sans-serif; }
.title { font-size: 15px; font-weight: bold; } .quiet { fill: var(--quiet); font-size: 11px; } .marked { font-weight: bold; }
.page { fill: var(--page); } .line { stroke: var(--line); } .axis { stroke: var(--quiet); }
.baseline { stroke: var(--ink); stroke-dasharray: 4 3; }
.curve { fill: none; stroke: var(--ours); stroke-width: 1.5; }
.ours { fill: var(--ours); } .limit { fill: var(--limit); } .other { fill: var(--other); } .less { fill: var(--less); }
";

/// Draws the picture.
pub(super) fn svg(picture: &Picture<'_>) -> String {
    let mut body = String::new();
    let mut y = MARGIN;
    for chart in &picture.charts {
        y = draw(&mut body, chart, y) + MARGIN;
    }
    page(body, y, &picture.footer)
}

/// A picture of what was drawn down to `bottom`, with lines under it.
pub(super) fn page(mut body: String, bottom: f64, footer: &[String]) -> String {
    let mut y = bottom;
    for line in footer {
        y += 14.0;
        text(&mut body, "quiet", MARGIN, y, "start", line);
    }
    let height = y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
    )
}

/// Draws one chart with its top at `top`; returns its bottom.
fn draw(out: &mut String, chart: &Chart<'_>, top: f64) -> f64 {
    let scale = Scale::of(chart);
    text(out, "title", MARGIN, top + 15.0, "start", &chart.title);
    let better = match chart.better {
        Better::Lower => "lower is better",
        Better::Higher => "higher is better",
    };
    let how = if scale.is_logarithmic { ", logarithmic" } else { "" };
    let has_limit = chart.groups.iter().any(|group| group.limit(chart.better).is_some());
    let dashed = if has_limit { "; dashed: the best that raw system calls do" } else { "" };
    text(out, "quiet", MARGIN, top + 32.0, "start", &format!("{}{how}; {better}{dashed}", chart.what));
    let start = top + 40.0;
    let lines: f64 = chart.groups.iter().map(|group| group.bars.len() as f64 + group.heads()).sum();
    let end = start + lines * LINE;
    for value in scale.ticks() {
        let x = scale.place(value);
        line(out, "line", x, start, end);
        text(out, "quiet", x, end + 14.0, "middle", &(chart.tick)(value));
    }
    let mut y = start;
    for group in &chart.groups {
        if group.heads() > 0.0 {
            text(out, "marked", MARGIN, y + 15.0, "start", &group.name);
            y += LINE;
        }
        let first = y;
        for bar in &group.bars {
            draw_bar(out, &scale, bar, y);
            y += LINE;
        }
        if let Some(limit) = group.limit(chart.better) {
            line(out, "baseline", scale.place(limit), first, y);
        }
    }
    line(out, "axis", NAMES, start, end);
    end + 24.0
}

fn draw_bar(out: &mut String, scale: &Scale, bar: &Bar, y: f64) {
    let width = (scale.place(bar.value) - NAMES).max(1.0);
    let (class, height) = (bar.kind.class(), LINE - 5.0);
    put(
        out,
        format_args!(
            "<rect class=\"{class}\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height}\"/>\n",
            y + 2.0
        ),
    );
    let (weight, name) = match bar.kind {
        Kind::Ours => ("marked", format!("\u{25b8} {}", bar.name)),
        _ => ("", bar.name.clone()),
    };
    text(out, weight, NAMES - 8.0, y + 14.0, "end", &name);
    text(out, weight, NAMES + width + 6.0, y + 14.0, "start", &bar.shown);
}

impl Group {
    /// Lines for the name.
    fn heads(&self) -> f64 {
        if self.name.is_empty() { 0.0 } else { 1.0 }
    }

    /// The baseline: the best that the system does by itself.
    fn limit(&self, better: Better) -> Option<f64> {
        let limits = self.bars.iter().filter(|bar| bar.kind == Kind::Limit).map(|bar| bar.value);
        match better {
            Better::Lower => limits.reduce(f64::min),
            Better::Higher => limits.reduce(f64::max),
        }
    }
}

/// Maps values to places on the horizontal axis.
struct Scale {
    is_logarithmic: bool,
    /// The value at the axis: 0, or with a logarithm a power of ten.
    min: f64,
    max: f64,
}

impl Scale {
    fn of(chart: &Chart<'_>) -> Self {
        let bars = || chart.groups.iter().flat_map(|group| &group.bars).filter(|bar| bar.value > 0.0);
        let compared = bars().filter(|bar| bar.kind != Kind::NotCompared);
        // Only a bar that is compared may not vanish.
        let min = compared.map(|bar| bar.value).fold(f64::INFINITY, f64::min);
        let max = bars().map(|bar| bar.value).fold(0.0, f64::max);
        if max <= 0.0 {
            return Scale { is_logarithmic: false, min: 0.0, max: 1.0 };
        }
        let is_logarithmic = max > LINEAR_MAX * min;
        // Half a decade below the smallest, so that its bar is seen.
        let min = if is_logarithmic { 10_f64.powf((min.log10() - 0.3).floor()) } else { 0.0 };
        Scale { is_logarithmic, min, max }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(self.min) / self.min).log10() / (self.max / self.min).log10()
        } else {
            value / self.max
        };
        NAMES + share * BARS
    }

    /// Round values within the axis.
    fn ticks(&self) -> Vec<f64> {
        if self.is_logarithmic {
            let decades = (self.max / self.min).log10() as i32;
            return (0..=decades).map(|i| self.min * 10_f64.powi(i)).collect();
        }
        round_values(self.max)
    }
}

/// A few round values from 0 to `max`, which is positive.
pub(super) fn round_values(max: f64) -> Vec<f64> {
    let unit = 10_f64.powf(max.log10().floor());
    let step = [0.2, 0.25, 0.5, 1.0, 2.0].map(|n| n * unit).into_iter().find(|step| max / step <= 5.0);
    let step = step.unwrap_or(2.0 * unit);
    (0..=(max / step) as u32).map(|i| f64::from(i) * step).collect()
}

fn line(out: &mut String, class: &str, x: f64, top: f64, bottom: f64) {
    put(
        out,
        format_args!(
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>\n"
        ),
    );
}

pub(super) fn text(out: &mut String, class: &str, x: f64, y: f64, anchor: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    put(
        out,
        format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>\n"
        ),
    );
}

/// Writing to a string can't fail.
fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    let _ok = out.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: f64, kind: Kind) -> Bar {
        Bar { name: name.to_string(), value, shown: format!("{value:.0}"), kind }
    }

    fn chart(better: Better, values: &[f64]) -> Chart<'static> {
        let bars = values.iter().map(|value| bar("x", *value, Kind::Other)).collect();
        let groups = vec![Group { name: String::new(), bars }];
        Chart {
            title: "a < b".to_string(),
            what: "µs".to_string(),
            better,
            groups,
            tick: &|value| format!("{value}"),
        }
    }

    #[test]
    fn bars_that_would_vanish_are_drawn_by_decades() {
        let places = |values: &[f64]| {
            let scale = Scale::of(&chart(Better::Lower, values));
            values
                .iter()
                .map(|value| ((scale.place(*value) - NAMES) / BARS * 100.0).round())
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&[10.0, 20.0, 40.0]), [25.0, 50.0, 100.0]);
        assert_eq!(places(&[5.0, 50.0, 5000.0]), [19.0, 46.0, 100.0]);
        assert_eq!(places(&[0.0, 0.0]), [0.0, 0.0]);
        let mut chart = chart(Better::Lower, &[50.0, 1.0]);
        chart.groups[0].bars[1].kind = Kind::NotCompared;
        assert!(!Scale::of(&chart).is_logarithmic, "for the sake of a bar that is not compared");
        chart.groups[0].bars[1].kind = Kind::Ours;
        chart.groups[0].bars[1].value = 0.9;
        assert!(Scale::of(&chart).is_logarithmic);
    }

    #[test]
    fn an_axis_has_a_few_round_values() {
        let ticks = |values: &[f64]| Scale::of(&chart(Better::Lower, values)).ticks();
        assert_eq!(ticks(&[40.0]), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(&[130.0]), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(&[5.0, 5000.0]), [1.0, 10.0, 100.0, 1000.0]);
        for max in 1..2000 {
            assert!(
                (2..=7).contains(&ticks(&[f64::from(max)]).len()),
                "{max}: {:?}",
                ticks(&[f64::from(max)])
            );
        }
    }

    #[test]
    fn a_picture_says_what_is_better_marks_ours_and_has_a_baseline() {
        let mut chart = chart(Better::Lower, &[100.0]);
        chart.groups[0].bars = vec![
            bar("raw", 80.0, Kind::Limit),
            bar("slow raw", 90.0, Kind::Limit),
            bar("ours", 85.0, Kind::Ours),
        ];
        let drawn = svg(&Picture { charts: vec![chart], footer: vec!["2026, a machine".to_string()] });
        for part in [
            "lower is better",
            "a &lt; b",
            "\u{25b8} ours",
            "class=\"baseline\"",
            "2026, a machine",
            "prefers-color-scheme: dark",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        // At the better one of the two limits.
        let scale = Scale { is_logarithmic: false, min: 0.0, max: 90.0 };
        assert!(drawn.contains(&format!("class=\"baseline\" x1=\"{:.1}\"", scale.place(80.0))), "{drawn}");
    }
}
