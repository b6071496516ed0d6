//! The goals of this crate, and whether it reaches them.

use crate::contest::Report;
use crate::contest::Row;
use crate::workload::Workload;

/// A goal for one metric of a workload.
pub(crate) struct Goal {
    workload: Workload,
    metric: &'static str,
    cases: Cases,
    /// The contestants to judge: the best one with this name, with or without a suffix in parentheses.
    ours: &'static str,
    /// The contestant that is the limit.
    limit: Option<&'static str>,
    checks: &'static [Check],
    pub(crate) text: &'static str,
}

/// The cases of a workload that a goal applies to.
enum Cases {
    All,
    These(&'static [&'static str]),
    Last,
}

/// A bound for a figure: a rate must be at least, everything else at most, this many times another
/// figure.
enum Check {
    Limit(f64),
    BestPeer(f64),
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
    const REUSED: Option<&str> = Some("raw reused");
    const GROUP: Option<&str> = Some("raw group commit");
    const STILL: Option<&str> = Some("ours, not rotating");
    &[
        goal(S1, "p50", REUSED, &[Limit(1.05)], "≤ 1.05 × limit"),
        goal(S1, "p99", REUSED, &[Limit(1.2)], "≤ 1.2 × limit"),
        Goal { cases: These(&["8 threads"]), ..goal(S2, "rate", GROUP, &[BestPeer(1.3)], "≥ 1.3 × best peer") },
        Goal { cases: These(&["64 threads"]), ..goal(S2, "rate", GROUP, &[BestPeer(2.0)], "≥ 2 × best peer") },
        goal(S3, "rate", Some("raw handover"), &[Limit(0.7), BestPeer(2.0)], "≥ 0.7 × limit, ≥ 2 × best peer"),
        goal(S4, "append", Some("raw copy + CRC + write"), &[Limit(1.1)], "≤ 1.1 × limit"),
        Goal { cases: These(&["256 B", "4 KiB"]), ..goal(S5, "per record", Some("raw read + CRC"), &[Limit(1.3)], "≤ 1.3 × limit") },
        goal(S5, "peak memory", None, &[Value(8.0)], "≤ 8 MiB"),
        Goal { cases: Last, ..goal(S6, "open", None, &[Case("10 k", 1.5), Value(10.0)], "≤ 1.5 × at 10 k, < 10 ms") },
        goal(S7, "per read", Some("raw pread + CRC"), &[Limit(1.1)], "≤ 1.1 × limit"),
        Goal { cases: These(&["2 threads"]), ..goal(S7, "rate", Some("raw pread + CRC"), &[Case("1 thread", 1.9)], "≥ 1.9 × one thread") },
        Goal { ours: "ours, mapped", ..goal(S7, "per read", Some("raw map + CRC"), &[Limit(1.2)], "mapped: ≤ 1.2 × limit") },
        Goal { ours: "ours, rotating", ..goal(S8, "p99.9", STILL, &[Limit(1.5)], "≤ 1.5 × without rotation") },
        Goal { ours: "ours, rotating", ..goal(S8, "longest `append`", Some("raw"), &[Value(50.0)], "≤ 50 µs") },
        goal(S9, "wake-ups", None, &[Value(0.0)], "none"),
        goal(S9, "memory", None, &[Value(64.0)], "≤ 64 MiB"),
        goal(S9, "open files", None, &[Value(16.0)], "none for each closed chunk"),
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
            Cases::Last => drop(cases.drain(..cases.len().saturating_sub(1))),
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
        let is_ours = |row: &Row| {
            row.contestant.strip_prefix(self.ours).is_some_and(|way| way.is_empty() || way.starts_with(" ("))
        };
        let ours = best(case, &is_ours)?;
        let limit = self.limit.and_then(|limit| best(case, &|row| row.contestant == limit));
        let is_peer = |row: &Row| !row.contestant.starts_with(OURS) && !row.contestant.starts_with("raw");
        let best_peer = best(case, &is_peer);
        let reached = self.checks.iter().all(|check| {
            let (bound, factor) = match check {
                Check::Limit(factor) => (limit.map(|row| row.median), *factor),
                Check::BestPeer(factor) => (best_peer.map(|row| row.median), *factor),
                Check::Case(other, factor) => (best(other, &is_ours).map(|row| row.median), *factor),
                Check::Value(value) => (Some(1.0), *value),
            };
            let Some(bound) = bound.map(|bound| bound * factor) else { return false };
            if more_is_better(self.metric) { ours.median >= bound } else { ours.median <= bound }
        });
        Some(Judgement { goal: self, ours, limit, best_peer, reached })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: Workload, case: &str, contestant: &str, metric: &'static str, median: f64) -> Row {
        let rounds = vec![median];
        let (case, contestant) = (case.to_owned(), contestant.to_owned());
        Row { workload, case, contestant, metric, unit: "", median, rounds, not_compared: None }
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
            reached(vec![row("ours", 1.0), row("ours (wait_synced)", ours), row("a", 50.0), row("b", 100.0)])
        };
        assert_eq!(s2(130.0), [true]);
        assert_eq!(s2(129.0), [false]);
    }

    #[test]
    fn who_does_not_sync_is_no_best_peer() {
        let row = |name, median| row(Workload::S2, "8 threads", name, "rate", median);
        let mut rows = vec![row("ours", 130.0), row("a", 100.0), row("b", 10_000.0)];
        assert_eq!(reached(rows.clone()), [false]);
        rows[2].not_compared = Some("never calls fsync");
        assert_eq!(reached(rows), [true]);
    }

    #[test]
    fn the_longest_log_is_held_against_the_shortest() {
        let open = |last| {
            let row = |case, median| row(Workload::S6, case, "ours", "open", median);
            reached(vec![row("10 k", 4.0), row("1 M", 100.0), row("10 M", last)])
        };
        assert_eq!(open(6.0), [true]);
        assert_eq!(open(6.1), [false]);
    }
}
