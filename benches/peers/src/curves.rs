//! Curves over time or size as an SVG picture: one under the other, with one horizontal axis.

use std::fmt::Write as _;

use crate::bars;
use crate::bars::MARGIN;
use crate::bars::WIDTH;
use crate::bars::round_values;
use crate::plot::tick;

/// A figure at several places of the horizontal axis.
pub(crate) struct Curve {
    /// With its unit.
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

const LEFT: f64 = 90.0;
const HEIGHT: f64 = 90.0;

/// Draws curves whose values are at `places` of an axis with this name.
pub(crate) fn svg(title: &str, axis: &str, places: &[f64], curves: &[Curve], footer: &[String]) -> String {
    let mut out = String::new();
    bars::text(&mut out, "title", MARGIN, MARGIN + 15.0, "start", title);
    let across = Axis { from: LEFT, to: WIDTH - 2.0 * MARGIN, max: greatest(places) };
    let mut top = MARGIN + 30.0;
    for Curve { name, values } in curves {
        bars::text(&mut out, "marked", MARGIN, top + 12.0, "start", name);
        top += 22.0;
        let bottom = top + HEIGHT;
        let up = Axis { from: bottom, to: top, max: greatest(values) };
        for value in round_values(up.max) {
            let y = up.place(value);
            line(&mut out, "line", [across.from, y], [across.to, y]);
            bars::text(&mut out, "quiet", LEFT - 8.0, y + 4.0, "end", &tick(value));
        }
        let points = places.iter().zip(values).filter(|(_, value)| value.is_finite());
        let points: Vec<String> = points
            .map(|(place, value)| format!("{:.1},{:.1}", across.place(*place), up.place(*value)))
            .collect();
        let _ = writeln!(out, "<polyline class=\"curve\" points=\"{}\"/>", points.join(" "));
        line(&mut out, "axis", [across.from, bottom], [across.to, bottom]);
        for value in round_values(across.max) {
            bars::text(&mut out, "quiet", across.place(value), bottom + 14.0, "middle", &tick(value));
        }
        top = bottom + 24.0;
    }
    bars::text(&mut out, "quiet", across.to, top, "end", axis);
    bars::page(out, top + 4.0, footer)
}

/// The greatest value, or 1 if none is positive: an axis needs a length.
fn greatest(values: &[f64]) -> f64 {
    let greatest = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    if greatest > 0.0 { greatest } else { 1.0 }
}

/// Maps 0 to `from` and `max` to `to`.
struct Axis {
    from: f64,
    to: f64,
    max: f64,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        self.from + value / self.max * (self.to - self.from)
    }
}

fn line(out: &mut String, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
    let _ = writeln!(
        out,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_its_first_place_to_its_last() {
        let curve = |values: &[f64]| Curve { name: "rate < 1".to_owned(), values: values.to_vec() };
        let drawn = svg("title", "s", &[0.0, 5.0, 10.0], &[curve(&[0.0, 4.0, 2.0])], &["machine".to_owned()]);
        for part in
            ["rate &lt; 1", "machine", ">title<", "points=\"90.0,154.0 433.0,64.0 776.0,109.0\"", ">10<"]
        {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        // Nothing to draw is drawn, too, and so is what could not be measured.
        assert!(svg("t", "s", &[], &[curve(&[])], &[]).contains("points=\"\""));
        assert!(
            svg("t", "s", &[0.0, 1.0], &[curve(&[f64::NAN, 0.0])], &[]).contains("points=\"776.0,154.0\"")
        );
    }
}
