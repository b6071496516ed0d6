//! A server's process. It ends with this process, however this process ends.

use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::process::{Child, ChildStdin, Command};

use crate::Outcome;
use crate::driver::node::Start;
use crate::server::addresses::Addresses;
use crate::server::types::{NodeId, Status};

/// How long a server may take to start listening, or to reach an awaited state.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a server may take to return its status. A paused one returns none.
const STATUS_PATIENCE: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: NodeId,
    addresses: Addresses,
    http: reqwest::Client,
    child: Child,
    /// The other end of its standard input, which closes when this process ends. Not in the child,
    /// because waiting for the child would close it.
    _stdin: Option<ChildStdin>,
}

/// The program of the servers: this one.
fn program() -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    if cfg!(test) {
        command.args(["--exact", "driver::tests::is_a_server_as_a_child", "--nocapture"]);
    }
    Ok(command)
}

impl Process {
    /// Starts a server, and waits until it listens. Its error output goes to a file in the cluster's
    /// directory.
    pub(crate) async fn start(start: &Start, http: &reqwest::Client) -> Outcome<Self> {
        let addresses = Addresses::new(&start.cluster);
        addresses.forget(start.id);
        let (name, value) = start.variable()?;
        let mut child = program()?
            .env(name, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(error_output(&start.cluster, start.id)?)
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let mut process = Process { id: start.id, addresses, http: http.clone(), child, _stdin: stdin };
        let started = Instant::now();
        while process.status().await.is_err() {
            process.must_run()?;
            process.check(started, "listen").await?;
        }
        Ok(process)
    }

    /// Returns an error if the process has ended.
    pub(crate) fn must_run(&mut self) -> Outcome<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("node {} has ended: {status}", self.id).into()),
        }
    }

    async fn check(&self, since: Instant, what: &str) -> Outcome<()> {
        if since.elapsed() > PATIENCE {
            return Err(format!("node {} doesn't {what} within {PATIENCE:?}", self.id).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }

    /// SIGKILL, unless the process has ended.
    pub(crate) async fn kill(mut self) -> Outcome<()> {
        if self.child.try_wait()?.is_none() {
            self.child.kill().await?;
        }
        self.addresses.forget(self.id);
        Ok(())
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(kill_process(pid.ok_or("the process has ended")?, signal)?)
    }

    /// Waits until the process ends by itself; `None` if it does not.
    pub(crate) async fn wait_end(&mut self, patience: Duration) -> Outcome<Option<ExitStatus>> {
        Ok(tokio::time::timeout(patience, self.child.wait()).await.ok().transpose()?)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, patience: Duration) -> Outcome<T> {
        let url = self.addresses.url(self.id, path)?;
        Ok(self.http.get(url).timeout(patience).send().await?.json().await?)
    }

    pub(crate) async fn status(&self) -> Outcome<Status> {
        self.get("/status", STATUS_PATIENCE).await
    }

    /// Waits until the server has applied an entry.
    pub(crate) async fn wait_applied(&mut self, index: u64) -> Outcome<()> {
        let started = Instant::now();
        // On a busy machine, one answer may be late.
        while self.status().await.ok().and_then(|status| status.applied) < Some(index) {
            self.must_run()?;
            self.check(started, "catch up").await?;
        }
        Ok(())
    }
}

/// The file with a server's error output, that of its earlier processes included.
fn error_output(cluster: &Path, id: NodeId) -> std::io::Result<File> {
    File::options().create(true).append(true).open(cluster.join(format!("node-{id}.log")))
}
