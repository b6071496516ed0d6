//! Measurements in a process of their own: memory, because a process that has done other things keeps
//! some, and wake-ups, because those of other threads would be counted, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::bail;
use serde::Deserialize;
use serde::Serialize;

use crate::memory;
use crate::peer::Setup;
use crate::peer::payload;
use crate::peers;

/// The task of the process, in a directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) what: What,
    pub(crate) peer: String,
    pub(crate) dir: PathBuf,
    pub(crate) setup: Setup,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum What {
    /// Replays the log: the most memory that takes, `peak_bytes`.
    Replay,
    /// Opens the log: memory that stays in use, `bytes`, and open files, `files`.
    Open,
    /// Appends this many records, each durable before the next, while `strace` watches.
    Durable(u64),
    /// Keeps the log open and idle: how often its threads ran, `wakeups`.
    Idle(Duration),
}

pub(crate) type Measured = BTreeMap<String, f64>;

impl Task {
    /// Runs the task in a process of its own.
    pub(crate) fn run(&self) -> Result<Measured> {
        // Not by its path: this very program, even if it was rebuilt meanwhile.
        self.run_under(Command::new("/proc/self/exe"))
    }

    /// Runs the task with a command that is, or ends in, this program and its arguments.
    pub(crate) fn run_under(&self, mut command: Command) -> Result<Measured> {
        let task = serde_json::to_string(self)?;
        let output = command.args(["--child", &task]).output().context("start a process")?;
        if !output.status.success() {
            bail!("the process failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let out = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(out.lines().last().unwrap_or_default()).context("read the output of the process")
    }

    /// Runs the task in this process.
    pub(crate) fn execute(&self) -> Result<Measured> {
        let peer = peers::by_name(&self.peer).context("no such peer")?;
        let before = memory::reset_peak()?;
        let files = open_files()?;
        let mut measured = Measured::new();
        let mut report = |name: &str, value: u64| measured.insert(name.to_owned(), value as f64);
        match self.what {
            What::Replay => {
                report("records", peer.replay(&self.dir, &self.setup)?);
                report("peak_bytes", memory::peak()?.saturating_sub(before));
            }
            What::Open => {
                let log = peer.open(&self.dir, &self.setup)?;
                // Recovery has freed its own memory by then.
                std::thread::sleep(Duration::from_millis(100));
                report("bytes", memory::resident()?.saturating_sub(before));
                report("files", open_files()?.saturating_sub(files));
                drop(log);
            }
            What::Durable(count) => {
                let mut log = peer.open(&self.dir, &self.setup)?;
                log.set_payload(&payload(64));
                for _ in 0..count {
                    log.append_durable()?;
                }
                report("records", count);
                drop(log);
            }
            What::Idle(time) => {
                let mut log = peer.open(&self.dir, &self.setup)?;
                log.set_payload(&payload(64));
                log.append_durable()?;
                log.wait_idle()?;
                std::thread::sleep(Duration::from_millis(100));
                let before = switches_of_others()?;
                std::thread::sleep(time);
                report("wakeups", switches_of_others()?.saturating_sub(before));
                drop(log);
            }
        }
        Ok(measured)
    }
}

fn open_files() -> Result<u64> {
    Ok(fs::read_dir("/proc/self/fd")?.count() as u64)
}

/// How often this process's other threads were switched away from, voluntarily or not.
fn switches_of_others() -> Result<u64> {
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_string_lossy() == own {
            continue;
        }
        let status = fs::read_to_string(task.path().join("status"))?;
        for line in status.lines() {
            if let Some((name, count)) = line.split_once(':')
                && name.ends_with("voluntary_ctxt_switches")
            {
                sum += count.trim().parse::<u64>()?;
            }
        }
    }
    Ok(sum)
}
