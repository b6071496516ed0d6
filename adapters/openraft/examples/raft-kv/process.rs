//! A server's process. It ends with this process, however this process ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::types::{NodeId, Status};
use crate::{Outcome, address};

/// How long a server may take to start listening, or to reach an awaited state.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: NodeId,
    cluster: PathBuf,
    http: reqwest::Client,
    /// The child; this process holds the other end of its standard input, which closes when this
    /// process ends.
    child: Child,
}

impl Process {
    /// Starts a server, and waits until it listens.
    pub(crate) async fn start(id: NodeId, cluster: &Path, http: &reqwest::Client) -> Outcome<Self> {
        address::forget(cluster, id);
        let child = Command::new(std::env::current_exe()?)
            .args(["node", &id.to_string()])
            .arg(cluster)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut process = Process { id, cluster: cluster.to_owned(), http: http.clone(), child };
        let started = Instant::now();
        while process.status().await.is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("node {id} ended: {status}").into());
            }
            process.check(started, "listen").await?;
        }
        Ok(process)
    }

    async fn check(&self, since: Instant, what: &str) -> Outcome<()> {
        if since.elapsed() > PATIENCE {
            return Err(format!("node {} doesn't {what} within {PATIENCE:?}", self.id).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Outcome<()> {
        self.child.kill().await?;
        address::forget(&self.cluster, self.id);
        Ok(())
    }

    pub(crate) async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let url = address::url(&self.cluster, self.id, path)?;
        Ok(self.http.get(url).timeout(PATIENCE).send().await?.json().await?)
    }

    pub(crate) async fn status(&self) -> Outcome<Status> {
        self.get("/status").await
    }

    /// Waits until the server has applied an entry.
    pub(crate) async fn wait_applied(&self, index: u64) -> Outcome<()> {
        let started = Instant::now();
        while self.status().await?.applied < Some(index) {
            self.check(started, "catch up").await?;
        }
        Ok(())
    }
}
