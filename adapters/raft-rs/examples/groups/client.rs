//! A client: writes to groups at random, and keeps what was acknowledged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::wire::{Connection, Frame, Kind};
use crate::{PROCESSES, preferred};

/// How long to wait while a group has no leader, or a process is down.
const PAUSE: Duration = Duration::from_millis(20);

/// A write: no two are the same.
pub(crate) type Value = [u8; 8];

pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) groups: u64,
    pub(crate) dir: PathBuf,
}

impl Client {
    /// Writes until it is stopped; returns the acknowledged writes with their groups. A write without an answer is not
    /// tried again, because it may take effect.
    pub(crate) fn run(self, stop: &AtomicBool) -> Vec<(u64, Value)> {
        let mut rng = fastrand::Rng::with_seed(self.number.into());
        let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
        let mut leaders: BTreeMap<u64, u64> = BTreeMap::new();
        let mut acknowledged = Vec::new();
        for nth in 0_u32.. {
            if stop.load(Relaxed) {
                break;
            }
            let group = rng.u64(..self.groups);
            let leader = leaders.get(&group).copied().unwrap_or_else(|| preferred(group));
            let value = ((u64::from(self.number) << 32) | u64::from(nth)).to_le_bytes();
            let write = Frame::new(Kind::Write, group, value.to_vec());
            let connection = match connections.remove(&leader) {
                Some(connection) => Ok(connection),
                None => Connection::open(&self.dir, leader),
            };
            let answer = connection.and_then(|mut connection| {
                let answer = connection.ask(&write)?;
                connections.insert(leader, connection);
                Ok(answer)
            });
            match answer {
                Ok(answer) if answer.kind == Kind::Done => acknowledged.push((group, value)),
                Ok(answer) if PROCESSES.contains(&answer.number) && answer.number != leader => {
                    leaders.insert(group, answer.number);
                }
                _ => {
                    leaders.insert(group, PROCESSES[rng.usize(..PROCESSES.len())]);
                    thread::sleep(PAUSE);
                }
            }
        }
        acknowledged
    }
}
