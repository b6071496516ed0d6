//! The goals of this crate, and whether it reaches them.

use crate::contest::Report;
use crate::contest::Row;
use crate::workload::Workload;

/// A goal for one metric of a workload.
pub(crate) struct Goal {
    workload: Workload,
    metric: &'static str,
    cases: Cases,
    /// The contestant to judge: this one alone, however well another way of use does.
    ours: &'static str,
    /// The beginning of the limits' names: the best of these contestants is the limit.
    limit: Option<&'static str>,
    checks: &'static [Check],
    pub(crate) text: &'static str,
}

/// The cases of a workload that a goal applies to.
enum Cases {
    All,
    These(&'static [&'static str]),
    /// Those whose names have this part.
    With(&'static str),
    /// Those whose names don't have this part.
    Without(&'static str),
}

/// A bound for a figure: a rate must be at least, everything else at most, this many times another
/// figure.
enum Check {
    Limit(f64),
    BestPeer(f64),
    /// The figure of the peer of this name.
    Peer(&'static str, f64),
    /// The same contestant's figure in another case.
    Case(&'static str, f64),
    Value(f64),
}

/// A goal compared with a report, for one case.
pub(crate) struct Judgement<'a> {
    pub(crate) goal: &'static Goal,
    pub(crate) ours: &'a Row,
    pub(crate) limit: Option<&'a Row>,
    pub(crate) best_peer: Option<&'a Row>,
    pub(crate) reached: bool,
    /// Whether `reached` would be the other way round in another round: some of our rounds are on one
    /// side of the bound, some on the other.
    pub(crate) is_close: bool,
}

const OURS: &str = "ours";

#[rustfmt::skip]
static GOALS: &[Goal] = {
    use Cases::*;
    use Check::*;
    use Workload::*;
    const fn goal(workload: Workload, metric: &'static str, limit: Option<&'static str>, checks: &'static [Check], text: &'static str) -> Goal {
        Goal { workload, metric, cases: All, ours: OURS, limit, checks, text }
    }
    const RAW: Option<&str> = Some("raw");
    const STILL: Option<&str> = Some("ours, not rotating");
    const FRESH: &str = "fresh";
    const SMALL: Cases = These(&["64 B", "256 B"]);
    &[
        goal(S1, "p50", RAW, &[Limit(1.05)], "≤ 1.05 × limit"),
        goal(S1, "p99", RAW, &[Limit(1.2)], "≤ 1.2 × limit"),
        Goal { cases: With("8 threads"), ..goal(S2, "rate", RAW, &[BestPeer(1.3)], "≥ 1.3 × best peer") },
        Goal { cases: With("64 threads"), ..goal(S2, "rate", RAW, &[BestPeer(2.0)], "≥ 2 × best peer") },
        Goal { cases: With(FRESH), ..goal(S2, "rate", RAW, &[Limit(0.9)], "≥ 0.9 × limit") },
        Goal { cases: With(FRESH), ..goal(S2, "p99", RAW, &[Limit(1.3)], "≤ 1.3 × limit") },
        goal(S3, "rate", RAW, &[Limit(0.7), BestPeer(2.0)], "≥ 0.7 × limit, ≥ 2 × best peer"),
        goal(S4, "append", RAW, &[Limit(1.3)], "≤ 1.3 × limit"),
        Goal { cases: SMALL, ours: "ours (owned bytes)", ..goal(S5, "per record", RAW, &[Peer("commitlog", 1.0)], "owned bytes: ≤ commitlog") },
        Goal { cases: SMALL, ours: "ours (shared bytes)", ..goal(S5, "per record", RAW, &[Limit(1.5)], "shared bytes: ≤ 1.5 × limit") },
        goal(S5, "peak memory", None, &[Value(8.0)], "≤ 8 MiB"),
        Goal { cases: Without("all in"), ..goal(S6, "open", None, &[Value(2.0)], "≤ 2 ms") },
        Goal { cases: These(&["10 M"]), ..goal(S6, "open", None, &[Case("10 k", 1.5)], "≤ 1.5 × at 10 k") },
        goal(S7, "per read", Some("raw pread"), &[Limit(1.05)], "≤ 1.05 × limit"),
        Goal { cases: These(&["2 threads"]), ..goal(S7, "rate", Some("raw pread"), &[Case("1 thread", 1.9)], "≥ 1.9 × one thread") },
        Goal { cases: These(&["2 threads"]), ours: "ours, mapped", ..goal(S7, "rate", Some("raw map"), &[Case("1 thread", 1.9)], "mapped: ≥ 1.9 × one thread") },
        Goal { ours: "ours, mapped", ..goal(S7, "per read", Some("raw map"), &[Limit(1.5)], "mapped: ≤ 1.5 × limit") },
        Goal { ours: "ours, rotating", ..goal(S8, "p99.9", STILL, &[Limit(1.2)], "≤ 1.2 × without rotation") },
        Goal { ours: "ours, rotating", ..goal(S8, "longest `append`", RAW, &[Limit(1.0)], "≤ limit") },
        goal(S9, "wake-ups", None, &[Value(0.0)], "none"),
        goal(S9, "memory", None, &[Value(64.0)], "≤ 64 MiB"),
        goal(S9, "open files", None, &[Value(16.0)], "none for each closed chunk"),
        Goal { cases: Without(FRESH), ..goal(S10, "rate", RAW, &[Limit(0.9), BestPeer(1.0)], "≥ 0.9 × limit, ≥ best peer") },
        Goal { cases: With(FRESH), ..goal(S10, "rate", Some("raw allocated"), &[Limit(0.9), BestPeer(1.0)], "≥ 0.9 × limit, ≥ best peer") },
    ]
};

/// Compares all goals with a report; skips figures that were not measured.
pub(crate) fn judge(report: &Report) -> Vec<Judgement<'_>> {
    GOALS
        .iter()
        .flat_map(|goal| goal.cases(report).into_iter().filter_map(|case| goal.judge(report, case)))
        .collect()
}

/// Whether more of a metric is better.
pub(crate) fn more_is_better(metric: &str) -> bool {
    metric == "rate"
}

impl Goal {
    fn cases<'a>(&self, report: &'a Report) -> Vec<&'a str> {
        let mut cases: Vec<&str> = Vec::new();
        for row in report.rows.iter().filter(|row| row.workload == self.workload && row.metric == self.metric)
        {
            if !cases.contains(&row.case.as_str()) {
                cases.push(&row.case);
            }
        }
        match &self.cases {
            Cases::All => {}
            Cases::These(these) => cases.retain(|case| these.contains(case)),
            Cases::With(part) => cases.retain(|case| case.contains(part)),
            Cases::Without(part) => cases.retain(|case| !case.contains(part)),
        }
        cases
    }

    fn judge<'a>(&'static self, report: &'a Report, case: &str) -> Option<Judgement<'a>> {
        let best = |case: &str, is_one: &dyn Fn(&Row) -> bool| -> Option<&'a Row> {
            let rows = report.rows.iter().filter(|row| row.not_compared.is_none() && is_one(row));
            let rows = rows
                .filter(|row| row.workload == self.workload && row.case == case && row.metric == self.metric);
            let sign = if more_is_better(self.metric) { -1.0 } else { 1.0 };
            rows.min_by(|a, b| (sign * a.median).total_cmp(&(sign * b.median)))
        };
        let is_ours = |row: &Row| row.contestant == self.ours;
        let ours = best(case, &is_ours)?;
        let limit = self.limit.and_then(|limit| best(case, &|row| row.contestant.starts_with(limit)));
        let is_peer = |row: &Row| !row.contestant.starts_with(OURS) && !row.contestant.starts_with("raw");
        let best_peer = best(case, &is_peer);
        let bounds = self.checks.iter().map(|check| {
            let (bound, factor) = match check {
                Check::Limit(factor) => (limit.map(|row| row.median), *factor),
                Check::BestPeer(factor) => (best_peer.map(|row| row.median), *factor),
                Check::Peer(name, factor) => {
                    (best(case, &|row| row.contestant == *name).map(|row| row.median), *factor)
                }
                Check::Case(other, factor) => (best(other, &is_ours).map(|row| row.median), *factor),
                Check::Value(value) => (Some(1.0), *value),
            };
            bound.map(|bound| bound * factor)
        });
        let bounds: Option<Vec<f64>> = bounds.collect();
        // Without a figure to hold it against, a goal is not reached.
        let is_reached_by = |value: f64| {
            let is_within =
                |bound: &f64| if more_is_better(self.metric) { value >= *bound } else { value <= *bound };
            bounds.as_ref().is_some_and(|bounds| bounds.iter().all(is_within))
        };
        let reached = is_reached_by(ours.median);
        let (least, most) = ours.spread();
        let is_close = is_reached_by(least) != is_reached_by(most);
        Some(Judgement { goal: self, ours, limit, best_peer, reached, is_close })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: Workload, case: &str, contestant: &str, metric: &str, median: f64) -> Row {
        let rounds = vec![median];
        let (case, contestant, metric) = (case.to_owned(), contestant.to_owned(), metric.to_owned());
        Row { workload, case, contestant, metric, unit: String::new(), median, rounds, not_compared: None }
    }

    fn reached(rows: Vec<Row>) -> Vec<bool> {
        judge(&Report { rows, failures: Vec::new() }).iter().map(|judgement| judgement.reached).collect()
    }

    #[test]
    fn less_is_better_unless_it_is_a_rate() {
        let s1 = |ours| {
            let row = |name, median| row(Workload::S1, "64 B", name, "p50", median);
            reached(vec![row("raw reused", 100.0), row("ours", ours), row("okaywal", 10.0)])
        };
        assert_eq!(s1(105.0), [true]);
        assert_eq!(s1(105.1), [false]);
        let s2 = |ours| {
            let row = |name, median| row(Workload::S2, "8 threads", name, "rate", median);
            reached(vec![row("ours", ours), row("a", 50.0), row("b", 100.0)])
        };
        assert_eq!(s2(130.0), [true]);
        assert_eq!(s2(129.0), [false]);
    }

    #[test]
    fn who_does_not_sync_is_no_best_peer() {
        let row = |name, median| row(Workload::S2, "8 threads", name, "rate", median);
        let mut rows = vec![row("ours", 130.0), row("a", 100.0), row("b", 10_000.0)];
        assert_eq!(reached(rows.clone()), [false]);
        rows[2].not_compared = Some("never calls fsync".to_owned());
        assert_eq!(reached(rows), [true]);
    }

    #[test]
    fn the_limit_is_the_best_raw_one_and_ours_is_the_one_named() {
        let row = |name, median| row(Workload::S1, "64 B", name, "p50", median);
        let mut rows = vec![row("raw reused", 200.0), row("raw allocated", 100.0), row("ours", 110.0)];
        rows.push(row("ours (another way)", 90.0));
        assert_eq!(reached(rows.clone()), [false]);
        rows[2].median = 105.0;
        assert_eq!(reached(rows), [true]);
    }

    #[test]
    fn a_fresh_log_is_held_against_a_fresh_file() {
        let s10 = |case: &str| {
            let row = |name, median| row(Workload::S10, case, name, "rate", median);
            reached(vec![
                row("raw, a", 200.0),
                row("raw allocated, a", 100.0),
                row("ours", 90.0),
                row("b", 1.0),
            ])
        };
        assert_eq!(s10("1000 × 4 KiB"), [false]);
        assert_eq!(s10("1000 × 4 KiB, fresh log"), [true]);
    }

    #[test]
    fn a_goal_may_name_a_peer_and_another_way_of_use() {
        let row = |name, median| row(Workload::S5, "64 B", name, "per record", median);
        let mut rows =
            vec![row("raw", 20.0), row("commitlog", 40.0), row("nodedb-wal", 30.0), row("ours", 90.0)];
        rows.push(row("ours (owned bytes)", 40.0));
        assert_eq!(reached(rows.clone()), [true]);
        rows[4].median = 41.0;
        rows.push(row("ours (shared bytes)", 30.0));
        assert_eq!(reached(rows), [false, true]);
    }

    #[test]
    fn a_bound_within_the_rounds_is_close() {
        let is_close = |rounds: &[f64]| {
            let limit = row(Workload::S1, "64 B", "raw", "p50", 100.0);
            let ours = Row { rounds: rounds.to_vec(), ..row(Workload::S1, "64 B", "ours", "p50", 104.0) };
            judge(&Report { rows: vec![limit, ours], failures: Vec::new() })[0].is_close
        };
        assert!(is_close(&[103.0, 104.0, 106.0]));
        assert!(!is_close(&[103.0, 104.0, 105.0]));
        assert!(!is_close(&[106.0, 107.0]));
    }

    #[test]
    fn the_longest_log_is_held_against_the_shortest() {
        let open = |last| {
            let row = |case, median| row(Workload::S6, case, "ours", "open", median);
            reached(vec![row("10 k", 1.0), row("1 M", 100.0), row("10 M", last)])
        };
        assert_eq!(open(1.5), [true, false, true, true]);
        assert_eq!(open(1.6), [true, false, true, false]);
    }
}
