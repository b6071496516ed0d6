//! Importing: the same actions written durably in two ways, by a process that is killed meanwhile.
//!
//! ```text
//! parent ── actions, in the log's own codec ──► stdin   child: append, sync
//!        ◄── "one 17 840", "many 640 2100" ─── stdout          append, append, … flush, continue
//! ```
//!
//! A line of the child says how it wrote, how many actions are acknowledged by now, and how many
//! microseconds the last of these took. The child prints it after the log's acknowledgement, never
//! before.

use std::io;
use std::io::{BufRead, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use chunked_wal::codeq::Decode;
use chunked_wal::{Callback, Error};

use crate::Outcome;
use crate::record::Action;
use crate::store::{Missing, Store};

/// How many actions are first written one by one, at most, to measure that, and for how long.
const ONE_BY_ONE_MAX: usize = 500;
const ONE_BY_ONE_TIME: Duration = Duration::from_secs(1);

/// Actions that share a flush, and flushes that may wait for the disk at a time.
pub(crate) const GROUP: usize = 8;
pub(crate) const IN_FLIGHT_MAX: usize = 16;

/// The last line of a child that was not killed.
const DONE: &str = "done";

/// The callback of a flush: passes the result to the importing thread.
///
/// It runs on the log's own thread, which must not wait, so it does nothing that could wait: the
/// channel has no bound, and the receiver does the printing.
#[derive(Debug)]
pub(crate) struct Acknowledge {
    applied: u64,
    started: Instant,
    to: Sender<Result<Acknowledged, Error>>,
}

impl Callback for Acknowledge {
    fn complete(self, result: Result<(), Error>) {
        let took = self.started.elapsed();
        let acknowledged = Acknowledged { how: How::Many, applied: self.applied, took };
        let _receiver_gone = self.to.send(result.map(|()| acknowledged));
    }
}

/// The log's acknowledgement that the first `applied` actions are durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) how: How,
    pub(crate) applied: u64,
    /// The time from the append of a flush's first action to the acknowledgement.
    pub(crate) took: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    /// Append, sync, and so on: each action waits for the disk by itself.
    One,
    /// Group commit: many flushes wait for one sync.
    Many,
}

/// Writes up to [`ONE_BY_ONE_MAX`] of the actions, each durable before the next.
pub(crate) fn one_by_one(
    store: &mut Store,
    actions: &mut impl Iterator<Item = Outcome<Action>>,
    mut report: impl FnMut(Acknowledged) -> Outcome<()>,
) -> Outcome<()> {
    let started = Instant::now();
    for action in actions.take(ONE_BY_ONE_MAX) {
        let appending = Instant::now();
        store.append(action?)?;
        store.sync()?;
        report(Acknowledged { how: How::One, applied: store.applied(), took: appending.elapsed() })?;
        if started.elapsed() > ONE_BY_ONE_TIME {
            break;
        }
    }
    Ok(())
}

/// Writes all of the actions, a few per flush, without waiting for one flush before the next: the
/// flushes that come during a sync share the next one.
pub(crate) fn in_groups(
    store: &mut Store,
    actions: &mut impl Iterator<Item = Outcome<Action>>,
    mut report: impl FnMut(Acknowledged) -> Outcome<()>,
) -> Outcome<()> {
    let (to, acknowledged) = mpsc::channel();
    let mut in_flight = 0;
    loop {
        let started = Instant::now();
        let before = store.applied();
        for action in actions.by_ref().take(GROUP) {
            store.append(action?)?;
        }
        let applied = store.applied();
        if applied == before {
            break;
        }
        store.flush(Acknowledge { applied, started, to: to.clone() })?;
        in_flight += 1;
        in_flight -= take_acknowledged(&acknowledged, in_flight, IN_FLIGHT_MAX, &mut report)?;
    }
    take_acknowledged(&acknowledged, in_flight, 1, &mut report)?;
    Ok(())
}

/// Reports acknowledgements, and waits for more while `max` or more flushes are under way. Returns how
/// many flushes were acknowledged.
fn take_acknowledged(
    acknowledged: &Receiver<Result<Acknowledged, Error>>,
    in_flight: usize,
    max: usize,
    report: &mut impl FnMut(Acknowledged) -> Outcome<()>,
) -> Outcome<usize> {
    let mut taken = 0;
    while taken < in_flight {
        let next = match acknowledged.try_recv() {
            Ok(next) => next,
            Err(_) if in_flight - taken < max => break,
            Err(_) => acknowledged.recv()?,
        };
        report(next?)?;
        taken += 1;
    }
    Ok(taken)
}

/// The child process: imports the actions from stdin, and reports on stdout.
pub(crate) fn child(dir: &Path, chunk_max_size: u64) -> Outcome<()> {
    let mut stdin = io::stdin().lock();
    let mut actions = std::iter::from_fn(move || next_action(&mut stdin).transpose());
    let mut stdout = io::stdout().lock();
    // One write per line, without buffering: a written line is in the pipe even if the process is
    // killed in the next moment.
    let mut say = |line: String| stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());

    let mut store = Store::open(dir, chunk_max_size, Missing::Create)?;
    one_by_one(&mut store, &mut actions, |acknowledged| Ok(say(Line::from(acknowledged).to_string())?))?;
    in_groups(&mut store, &mut actions, |acknowledged| Ok(say(Line::from(acknowledged).to_string())?))?;
    store.close()?;
    Ok(say(Line::Done.to_string())?)
}

fn next_action(stdin: &mut impl BufRead) -> Outcome<Option<Action>> {
    if stdin.fill_buf()?.is_empty() {
        return Ok(None);
    }
    Ok(Some(Action::decode(stdin)?))
}

/// A line from child to parent.
#[derive(Debug)]
pub(crate) enum Line {
    Acknowledged(Acknowledged),
    Done,
}

impl From<Acknowledged> for Line {
    fn from(acknowledged: Acknowledged) -> Self {
        Line::Acknowledged(acknowledged)
    }
}

impl Line {
    /// Reads the next line; `None` at the end. A line that the kill cut short doesn't count.
    pub(crate) fn read(from: &mut impl BufRead) -> Outcome<Option<Self>> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        line.strip_suffix('\n').map(str::parse).transpose()
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Line::Acknowledged(Acknowledged { how, applied, took }) => {
                let how = if *how == How::One { "one" } else { "many" };
                writeln!(f, "{how} {applied} {}", took.as_micros())
            }
            Line::Done => writeln!(f, "{DONE}"),
        }
    }
}

impl FromStr for Line {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let words: Vec<_> = line.split(' ').collect();
        let (how, applied, us) = match words[..] {
            [DONE] => return Ok(Line::Done),
            ["one", applied, us] => (How::One, applied, us),
            ["many", applied, us] => (How::Many, applied, us),
            _ => return Err(format!("the child printed an unknown line: '{line}'").into()),
        };
        let took = Duration::from_micros(us.parse()?);
        Ok(Line::Acknowledged(Acknowledged { how, applied: applied.parse()?, took }))
    }
}
