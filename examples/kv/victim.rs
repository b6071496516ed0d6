//! The parent's side of the child that is killed.

use std::io::{BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal::codeq::Encode;

use crate::import::{Acknowledged, How, Line};
use crate::record::Action;
use crate::report::Progress;
use crate::{CHILD, Outcome};

const SIGKILL: i32 = 9;

/// What a child did until it was killed.
#[derive(Debug, Default)]
pub(crate) struct Killed {
    /// How many records were acknowledged when it was killed.
    pub(crate) kill_at: u64,
    /// How many records were acknowledged in all: some of the child's lines were still in the pipe.
    pub(crate) acknowledged: u64,
    /// The latencies of durable appends, one at a time and in groups.
    pub(crate) one: Vec<Duration>,
    pub(crate) many: Vec<Duration>,
    /// The time from the child's start to the kill.
    pub(crate) took: Duration,
}

/// The actions as a child reads them.
pub(crate) fn encode(actions: &[Action]) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    for action in actions {
        action.encode(&mut bytes)?;
    }
    Ok(bytes)
}

/// Starts a child that imports the actions, and kills it once `kill_at` of them are acknowledged.
/// `None` if the child finished before that.
pub(crate) fn import_and_kill(
    dir: &Path,
    chunk_max_size: u64,
    encoded: &[u8],
    kill_at: u64,
    progress: &mut Progress,
) -> Outcome<Option<Killed>> {
    let started = Instant::now();
    let (mut victim, stdin, stdout) = Victim::spawn(dir, chunk_max_size)?;
    feed(stdin, encoded.to_vec());
    let mut lines = BufReader::new(stdout);
    let mut seen = Killed::default();
    let mut done = false;
    while seen.acknowledged < kill_at {
        match Line::read(&mut lines)? {
            Some(Line::Acknowledged(acknowledged)) => seen.take(acknowledged)?,
            Some(Line::Done) | None => break,
        }
        progress.at(seen.acknowledged);
    }
    victim.0.kill()?;
    seen.took = started.elapsed();
    seen.kill_at = seen.acknowledged;
    // The child's last lines count: they were acknowledged before the kill.
    while let Some(line) = Line::read(&mut lines)? {
        match line {
            Line::Acknowledged(acknowledged) => seen.take(acknowledged)?,
            Line::Done => done = true,
        }
        progress.at(seen.acknowledged);
    }
    let status = victim.0.wait()?;
    match status.signal() {
        Some(SIGKILL) if !done && seen.kill_at >= kill_at => Ok(Some(seen)),
        Some(SIGKILL) => Ok(None),
        _ if status.success() => Ok(None),
        _ => Err(format!("the child that imports failed by itself: {status}").into()),
    }
}

impl Killed {
    fn take(&mut self, acknowledged: Acknowledged) -> Outcome<()> {
        let Acknowledged { how, applied, took } = acknowledged;
        if applied <= self.acknowledged {
            let before = self.acknowledged;
            return Err(format!("check failed: {applied} acknowledged after {before}: out of order").into());
        }
        self.acknowledged = applied;
        match how {
            How::One => self.one.push(took),
            How::Many => self.many.push(took),
        }
        Ok(())
    }
}

/// A child that is killed when this is dropped.
struct Victim(Child);

impl Victim {
    fn spawn(dir: &Path, chunk_max_size: u64) -> Outcome<(Self, ChildStdin, ChildStdout)> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--dir")
            .arg(dir)
            .args([CHILD, &chunk_max_size.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let victim = Victim(child);
        match (stdin, stdout) {
            (Some(stdin), Some(stdout)) => Ok((victim, stdin, stdout)),
            _ => Err("the child has no pipes".into()),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Both are errors if the child has ended already.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Writes to the child from another thread, so that the two processes never wait for each other.
fn feed(mut stdin: ChildStdin, bytes: Vec<u8>) {
    thread::spawn(move || {
        // A child that was killed reads no more.
        let _killed = stdin.write_all(&bytes);
    });
}
