//! The results as a picture.

use super::bars::{Bar, Better, Chart, Group, Kind, Picture, svg};
use super::{Row, Unit, machine};
use crate::tools::args::BenchArgs;
use crate::tools::print;

/// Draws the rows.
pub(super) fn draw(rows: &[Row], args: &BenchArgs) -> String {
    let kind = |row: &Row| if row.is_raw { Kind::Limit } else { Kind::Ours };
    let chart = |title: String, what: &str, better, bars: Vec<Bar>, tick: &'static dyn Fn(f64) -> String| {
        let (what, groups) = (what.to_string(), vec![Group { name: String::new(), bars }]);
        Chart { title, what, better, groups, tick }
    };
    let of_unit = |unit: Unit| rows.iter().filter(move |row| row.unit == unit);
    let rates = |unit: Unit| {
        let bar = |row: &Row| Bar {
            name: row.name.clone(),
            value: row.rate(),
            shown: match unit {
                Unit::Operations => print::number(row.rate() as u64),
                Unit::Bytes => print::bytes(row.rate() as u64),
            },
            kind: kind(row),
        };
        of_unit(unit).map(bar).collect::<Vec<_>>()
    };
    let latencies = of_unit(Unit::Operations).filter_map(|row| {
        let median = row.percentile(50)?;
        let (name, value) = (row.name.clone(), median.as_secs_f64() * 1e6);
        Some(Bar { name, value, shown: print::micros(median), kind: kind(row) })
    });
    let size = print::number(args.size.into());
    let charts = vec![
        chart(
            format!("Durable records of {size} bytes"),
            "records a second",
            Better::Higher,
            rates(Unit::Operations),
            &|n| print::number(n as u64),
        ),
        chart(
            format!("Latency of a durable record of {size} bytes"),
            "p50, µs",
            Better::Lower,
            latencies.collect(),
            &|n| print::number(n as u64),
        ),
        chart("Throughput".to_string(), "MiB a second", Better::Higher, in_mib(rates(Unit::Bytes)), &|n| {
            print::number(n as u64)
        }),
    ];
    let measured = format!("chunked-wal {}, {} s for each row", env!("CARGO_PKG_VERSION"), args.seconds);
    let footer = machine::describe(&args.dir).into_iter().chain([measured]).collect();
    svg(&Picture { charts, footer })
}

/// So that the axis has round values.
fn in_mib(bars: Vec<Bar>) -> Vec<Bar> {
    bars.into_iter().map(|bar| Bar { value: bar.value / f64::from(1 << 20), ..bar }).collect()
}
