//! The table at the end.

use std::fmt;
use std::time::Duration;

use crate::client::Written;
use crate::killer::Killed;
use crate::types::{Map, Status};

/// The writes, and what each node has of them.
#[derive(Debug)]
pub(crate) struct Report {
    written: Written,
    killed: Killed,
    /// The highest term, which counts the elections.
    term: u64,
    purged: u64,
    lost: usize,
    agree: bool,
}

impl Report {
    /// Compares the acknowledged writes with each node's state.
    pub(crate) fn new(all: Vec<Written>, killed: Killed, nodes: &[(Status, Map)]) -> Self {
        let mut written = Written::default();
        for one in all {
            written.acknowledged.extend(one.acknowledged);
            written.latencies.extend(one.latencies);
            written.retries += one.retries;
        }
        written.latencies.sort_unstable();
        let lost_by = |map: &Map| {
            written.acknowledged.iter().filter(|(key, value)| map.get(*key) != Some(value)).count()
        };
        Report {
            term: nodes.iter().map(|(status, _)| status.term).max().unwrap_or(0),
            purged: nodes.iter().filter_map(|(status, _)| status.purged).min().unwrap_or(0),
            lost: nodes.iter().map(|(_, map)| lost_by(map)).max().unwrap_or(0),
            agree: nodes.windows(2).all(|two| two[0].1 == two[1].1),
            written,
            killed,
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.lost == 0 && self.agree && !self.written.acknowledged.is_empty()
    }

    fn percentile(sorted: &[Duration], percent: usize) -> String {
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or("-".to_string(), |d| format!("{:.1} ms", d.as_secs_f64() * 1000.0))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { written, killed, term, purged, lost, agree } = self;
        let mut leaderless = killed.leaderless.clone();
        leaderless.sort_unstable();
        let lines = [
            ("writes acknowledged", written.acknowledged.len().to_string()),
            ("writes tried again", written.retries.to_string()),
            ("leaders killed", killed.kills.to_string()),
            ("elections", term.to_string()),
            ("without a leader, p50", Self::percentile(&leaderless, 50)),
            ("entries purged, by every node", purged.to_string()),
            ("write p50", Self::percentile(&written.latencies, 50)),
            ("write p99", Self::percentile(&written.latencies, 99)),
            ("lost", lost.to_string()),
            ("all nodes agree", if *agree { "yes" } else { "no" }.to_string()),
        ];
        for (name, value) in lines {
            writeln!(f, "  {name:<30} {value:>12}")?;
        }
        Ok(())
    }
}
