//! Kills the leader, waits for another, and restarts the killed one; again and again.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::process::Process;
use crate::types::Status;

/// How long to wait for a new leader.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a leader leads before it is killed, and how long it stays dead.
const LEADS: Duration = Duration::from_millis(1200);
const DEAD: Duration = Duration::from_millis(300);

/// The results of the killer.
#[derive(Debug, Default)]
pub(crate) struct Killed {
    pub(crate) kills: u64,
    /// The time from each kill to the next leader.
    pub(crate) leaderless: Vec<Duration>,
}

/// Returns the leader's index in `nodes`, and its status.
pub(crate) async fn leader(nodes: &[Process]) -> Outcome<(usize, Status)> {
    let started = Instant::now();
    loop {
        let mut leads: Option<(usize, Status)> = None;
        for (at, node) in nodes.iter().enumerate() {
            // A dead node doesn't answer, and one that led before it slept may still claim to lead.
            if let Ok(status) = node.status().await
                && status.leads
                && leads.as_ref().is_none_or(|(_, other)| other.term < status.term)
            {
                leads = Some((at, status));
            }
        }
        if let Some(leads) = leads {
            return Ok(leads);
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("there was no leader for {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Kills leaders until `end`. All nodes run and have caught up when this returns.
pub(crate) async fn run(
    nodes: &mut [Process],
    cluster: &Path,
    http: &reqwest::Client,
    end: Instant,
) -> Outcome<Killed> {
    let mut killed = Killed::default();
    loop {
        tokio::time::sleep(LEADS).await;
        if Instant::now() >= end {
            return Ok(killed);
        }
        let (at, status) = leader(nodes).await?;
        nodes[at].kill().await?;
        killed.kills += 1;
        let began = Instant::now();
        let (next, _) = leader(nodes).await?;
        killed.leaderless.push(began.elapsed());
        println!("{:>6}: killed node {}, node {} leads", killed.kills, status.id, nodes[next].id);
        tokio::time::sleep(DEAD).await;
        nodes[at] = Process::start(status.id, cluster, http).await?;
        // A majority must have caught up before the next kill.
        let (_, status) = leader(nodes).await?;
        nodes[at].wait_applied(status.applied.unwrap_or(0)).await?;
    }
}
