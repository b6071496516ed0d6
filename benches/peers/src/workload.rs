//! The workloads by name.

use std::fmt;
use std::str::FromStr;

use anyhow::anyhow;
use serde::Deserialize;
use serde::Serialize;

/// A workload. The numbers are those of the goals in `docs/benchmarks.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Workload {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    S8,
    S9,
    S10,
}

impl Workload {
    pub(crate) const ALL: [Workload; 10] = {
        use Workload::*;
        [S1, S2, S3, S4, S5, S6, S7, S8, S9, S10]
    };

    /// The order of a run: those that take longest come last, in case the run is ended early.
    pub(crate) const IN_TURN: [Workload; 10] = {
        use Workload::*;
        [S1, S2, S10, S4, S7, S3, S8, S5, S9, S6]
    };

    pub(crate) fn title(self) -> &'static str {
        match self {
            Workload::S1 => "one thread, each append durable before the next",
            Workload::S2 => "many threads, each append durable before the thread's next",
            Workload::S3 => "one thread, each record with a completion of its own, waiting at the end",
            Workload::S4 => "append without sync, one at the end",
            Workload::S5 => "open and replay everything, cached",
            Workload::S6 => "open at the last checkpoint",
            Workload::S7 => "random reads of one record, cached",
            Workload::S8 => "durable appends while chunks rotate and old ones are removed",
            Workload::S9 => "what an idle log costs",
            Workload::S10 => "batches, each made durable by one blocking sync",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Workload::ALL.into_iter().find(|w| format!("{w:?}").eq_ignore_ascii_case(name));
        found.ok_or_else(|| anyhow!("no such workload: `{name}`; there are S1 to S10"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_either_case() {
        assert_eq!("s4".parse::<Workload>().unwrap(), Workload::S4);
        assert_eq!("S10".parse::<Workload>().unwrap(), Workload::S10);
        assert!("S11".parse::<Workload>().is_err());
    }
}
