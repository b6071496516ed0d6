//! Medians and quantiles.

/// The middle of some values.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(&mut values.to_vec(), 0.5)
}

/// The value that a share of the values doesn't exceed; NaN of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// A median with the least and the greatest value in parentheses.
pub(crate) fn with_range(values: &[f64]) -> String {
    let of = |share| digits(quantile(&mut values.to_vec(), share));
    format!("{} ({}–{})", of(0.5), of(0.0), of(1.0))
}

/// Three significant digits.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
