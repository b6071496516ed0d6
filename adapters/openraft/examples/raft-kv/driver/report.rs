//! The table at the end.

use std::fmt;
use std::time::Duration;

use super::faults::Struck;
use super::history::Totals;
use crate::server::types::{Map, Status};

/// What happened, and whether it was right.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) struck: Struck,
    pub(crate) totals: Totals,
    pub(crate) keys: usize,
    /// The keys whose histories are not linearizable.
    pub(crate) refused: Vec<usize>,
    /// Each node's state at the end.
    pub(crate) nodes: Vec<(Status, Map)>,
}

impl Report {
    fn nodes_agree(&self) -> bool {
        self.nodes.windows(2).all(|two| two[0].1 == two[1].1)
    }

    /// Returns what is wrong, if anything is.
    pub(crate) fn complaint(&self) -> Option<String> {
        if !self.refused.is_empty() {
            return Some(format!("not linearizable: keys {:?}", self.refused));
        }
        if !self.nodes_agree() {
            return Some("the nodes have different states".to_string());
        }
        (self.totals.writes == 0 || self.totals.reads == 0).then(|| "nothing was written or read".to_string())
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> String {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or("-".to_string(), |d| format!("{:.1} ms", d.as_secs_f64() * 1000.0))
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "NO" }.to_string()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { writes, reads, open, latencies, without_leader } = &self.totals;
        let mut latencies = latencies.clone();
        latencies.sort_unstable();
        let term = self.nodes.iter().map(|(status, _)| status.term).max().unwrap_or(0);
        let purged = self.nodes.iter().map(|(status, _)| status.purged.unwrap_or(0)).min().unwrap_or(0);
        let Struck { counts, stopped_by_full_disk } = &self.struck;
        let faults = counts.iter().map(|(fault, count)| (format!("fault: {fault}"), count.to_string()));
        let others = [
            ("nodes stopped by a full disk", stopped_by_full_disk.to_string()),
            ("writes acknowledged", writes.to_string()),
            ("writes without an answer", open.to_string()),
            ("reads", reads.to_string()),
            ("latency p50", percentile(&latencies, 50)),
            ("latency p99", percentile(&latencies, 99)),
            ("longest time without a leader", format!("{:.2} s", without_leader.as_secs_f64())),
            ("elections", term.to_string()),
            ("entries purged, by every node", purged.to_string()),
            ("all nodes agree", yes(self.nodes_agree())),
            ("keys checked", self.keys.to_string()),
            ("linearizable", yes(self.refused.is_empty())),
            ("seed", self.seed.to_string()),
        ];
        let others = others.into_iter().map(|(name, value)| (name.to_string(), value));
        for (name, value) in faults.chain(others) {
            writeln!(f, "  {name:<32} {value:>12}")?;
        }
        Ok(())
    }
}
