//! Runs of the real log of groups, drawn from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use chunked_wal::storage::MemoryStorage;
use chunked_wal::{ChunkedWal, Config, FlushTicket};
use chunked_wal_groups::{Error, GroupLog, GroupWal};
use chunked_wal_protocol::groups::{Change, Truth};

use crate::look::{Entry, Look};
use crate::replay::{Commit, Found, Rejected, Replay};

const GROUPS: usize = 3;

/// Entries of these runs have no higher index.
const INDEXES: usize = 60;

/// Random numbers: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % n
    }
}

/// A run: a few processes, one after the other, on one disk.
struct Run {
    dice: Dice,
    disk: MemoryStorage,
    config: Config,
    replay: Replay,
    ids: usize,
}

/// Does a run; returns how often each action was taken.
pub(crate) fn run(seed: u64) -> Result<BTreeMap<&'static str, usize>, Rejected> {
    let mut config = Config::new("/log");
    config.chunk_max_size = 1024;
    config.spare_chunks = 1;
    let replay = Replay::new(GROUPS, INDEXES);
    let mut run = Run { dice: Dice(seed), disk: MemoryStorage::default(), config, replay, ids: 0 };
    for _ in 0..2 + run.dice.below(3) {
        run.live()?;
    }
    Ok(run.replay.actions)
}

impl Run {
    /// One process, from its open to its crash or its end.
    fn live(&mut self) -> Result<(), Rejected> {
        let options =
            ChunkedWal::<GroupWal>::options(self.config.clone()).storage(Arc::new(self.disk.clone()));
        let log = GroupLog::<Entry>::open_with(options, 1.3).map_err(|error| error.to_string())?;
        self.compare(&log)?;
        for _ in 0..self.dice.below(60) {
            let ticket = self.commit(&log).map_err(|error| error.to_string())?;
            if self.dice.below(3) == 0 {
                ticket.wait().map_err(|error| error.to_string())?;
            }
            self.look(&log)?;
        }
        let left = if self.dice.below(4) == 0 {
            log.close().map_err(|error| error.to_string())?;
            self.disk.clone()
        } else {
            let synced = log.progress().synced;
            let before = self.disk.kill();
            self.replay.look(&Look::at(&before, &self.config)?, synced)?;
            let seed = self.dice.below(u64::MAX);
            if self.dice.below(4) == 0 { before } else { before.crash(seed) }
        };
        let look = Look::at(&left, &self.config)?;
        // What was written after the last look.
        self.replay.look(&Look { oldest: None, records: look.records.clone() }, 0)?;
        self.replay.look(&look, 0)?;
        self.disk = left.kill();
        self.replay.crashed(&look)
    }

    fn look(&mut self, log: &GroupLog<Entry>) -> Result<(), Rejected> {
        let synced = log.progress().synced;
        self.replay.look(&Look::at(&self.disk, &self.config)?, synced)
    }

    /// Makes one change or two in the log.
    fn commit(&mut self, log: &GroupLog<Entry>) -> Result<FlushTicket, Error> {
        self.ids += 1;
        let id = self.ids;
        let mut planned = self.planned();
        let mut changes = Vec::new();
        for _ in 0..1 + self.dice.below(4) / 3 {
            // Half of the changes are those of one busy group.
            let group = if self.dice.below(2) == 0 { 0 } else { self.dice.below(GROUPS as u64) as usize };
            let change = self.draw(&planned[group]);
            planned[group] = planned[group].after(change, id);
            changes.push((group, change));
        }
        let mut batch = log.batch();
        for (group, change) in &changes {
            let group = *group as u64;
            match change {
                Change::Append(index) => {
                    batch.append(group, &[Entry { index: *index as u64, id: id as u64 }])?;
                }
                Change::Truncate(from) => batch.truncate_from(group, *from as u64),
                Change::Purge(first) => batch.purge(group, *first as u64 - 1)?,
                Change::State => batch.set_state(group, &(id as u64))?,
                Change::Destroy => batch.destroy(group),
            }
        }
        self.replay.commits.push_back(Commit { changes, id });
        batch.ticket()
    }

    /// The groups after the commits that haven't been seen yet.
    fn planned(&self) -> Vec<Truth> {
        let mut planned: Vec<_> = self.replay.state.truth().iter().map(|group| Truth::clone(group)).collect();
        for Commit { changes, id } in &self.replay.commits {
            for (group, change) in changes {
                planned[*group] = planned[*group].after(*change, *id);
            }
        }
        planned
    }

    /// One of the changes that a group allows: half of the time an entry.
    fn draw(&mut self, group: &Truth) -> Change {
        loop {
            let kind = self.dice.below(20);
            let fits = |change: &Change| match change {
                Change::Append(_) => kind < 10,
                Change::State => (10..13).contains(&kind),
                Change::Truncate(from) => (13..15).contains(&kind) && from + 4 >= group.next,
                Change::Purge(first) => (15..19).contains(&kind) && *first <= group.first + 6,
                Change::Destroy => kind == 19,
            };
            let fitting: Vec<_> = group.changes().into_iter().filter(fits).collect();
            if !fitting.is_empty() {
                return fitting[self.dice.below(fitting.len() as u64) as usize];
            }
        }
    }

    /// Whether the log has what the model finds.
    fn compare(&self, log: &GroupLog<Entry>) -> Result<(), Rejected> {
        for group in 0..GROUPS {
            let number = group as u64;
            let bounds = log.bounds(number);
            let entries =
                bounds.clone().map_or(Ok(Vec::new()), |bounds| log.entries(number, bounds, u64::MAX));
            let entries = entries.map_err(|error| error.to_string())?;
            let state = log.state(number).map_err(|error| error.to_string())?;
            let found = Found {
                bounds: bounds.map(|bounds| (bounds.start as usize, bounds.end as usize)),
                ids: entries.iter().map(|entry| entry.id as usize).collect(),
                state: state.map(|state| state as usize),
            };
            self.replay.expect(group, &found)?;
        }
        Ok(())
    }
}
