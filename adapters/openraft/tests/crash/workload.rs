//! A workload on a store, cut at every operation of its disk.
//!
//! ```text
//! records     r0   r1   r2   r3   r4   r5   r6     as they were asked for, one by one
//!                       ▲ acknowledged     ▲ tried
//! possible              m2   m3   m4   m5  m6      what a store may come back as, one model for each
//! ```
//!
//! A cut remembers what is possible then, and the disks that a crash may leave.

use std::sync::Arc;

use chunked_wal::Config;
use chunked_wal::storage::{Fault, FaultHow, MemoryStorage};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use parking_lot::Mutex;

use crate::common::{Failed, Store, Vote, entry, log_id, open, truncate};
use crate::model::Model;
use crate::random::Random;

/// Disks that a crash may leave at one operation, and what each has to come back as: one of these.
pub(crate) struct Cut {
    pub(crate) possible: Arc<Vec<Model>>,
    pub(crate) disks: Vec<MemoryStorage>,
}

/// Of the disks that a crash may leave, so many are looked at for each cut: the one that loses all that
/// is not synced, the one that keeps it, and others.
const DISKS: u64 = 4;

pub(crate) struct Workload {
    pub(crate) config: Config,
    /// From the state that was acknowledged last to the state now.
    possible: Arc<Mutex<Arc<Vec<Model>>>>,
    cuts: Arc<Mutex<Vec<Cut>>>,
    /// Makes each vote and text another.
    count: u64,
    disk: MemoryStorage,
    store: Option<Store>,
    dice: Random,
    calm: bool,
    pub(crate) steps: Vec<String>,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Random::new(seed);
        let mut config = Config::new("/log");
        config.chunk_max_size = [64, 320, 600, 1200, 4096][dice.below(5) as usize];
        config.spare_chunks = dice.below(3);
        config.flush_batch_max_items = [1, 8192][dice.below(2) as usize];
        let calm = dice.below(3) > 0;
        Workload {
            config,
            possible: Arc::new(Mutex::new(Arc::new(vec![Model::default()]))),
            cuts: Arc::default(),
            count: 0,
            disk: MemoryStorage::default(),
            store: None,
            dice,
            calm,
            steps: Vec::new(),
        }
    }

    pub(crate) fn take_cuts(&self) -> Vec<Cut> {
        std::mem::take(&mut *self.cuts.lock())
    }

    /// The state with all that was tried.
    fn now(&self) -> Model {
        let possible = self.possible.lock();
        possible[possible.len() - 1].clone()
    }

    fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("open")
    }

    /// Opens what is on the disk, which has to be one of the models; history goes on from there.
    pub(crate) async fn open(&mut self, disk: MemoryStorage) -> Result<(), String> {
        self.disk = disk;
        self.watch();
        let mut store = open(&self.disk, self.config.clone()).map_err(|e| format!("doesn't open: {e}"))?;
        let found = Model::of(&mut store).await?;
        self.store = Some(store);
        let mut possible = self.possible.lock();
        if !possible.contains(&found) {
            return Err(format!("{found:#?}\nis none of {possible:#?}"));
        }
        // What was recovered is durable.
        *possible = Arc::new(vec![found]);
        Ok(())
    }

    /// Cuts at every operation from now on.
    fn watch(&mut self) {
        let (disk, possible, cuts) = (self.disk.clone(), self.possible.clone(), self.cuts.clone());
        let seed = self.dice.below(1 << 40);
        self.disk.on_operation(move |op| {
            if !op.kind.is_change() {
                return;
            }
            let possible = possible.lock().clone();
            let others = seed + op.number * DISKS;
            let seeds = [0, 1].into_iter().chain(others..others + DISKS - 2);
            let disks = seeds.map(|seed| disk.crash(seed)).collect();
            cuts.lock().push(Cut { possible, disks });
        });
    }

    /// What the next records lead to is possible from now on.
    fn try_records(&mut self, models: Vec<Model>) {
        Arc::make_mut(&mut self.possible.lock()).extend(models);
    }

    /// All that was tried is durable.
    fn acked(&mut self) {
        let now = self.now();
        *self.possible.lock() = Arc::new(vec![now]);
    }
}

/// Steps.
impl Workload {
    pub(crate) async fn step(&mut self) -> Result<(), String> {
        let done = match self.dice.below(24) {
            0..=9 => self.append().await,
            10..=12 => self.vote().await,
            13..=14 => self.commit().await,
            15..=17 => self.truncate().await,
            18..=20 => self.purge().await,
            21 => return self.close().await,
            22 => return self.kill_or_crash().await,
            _ => {
                let how =
                    [FaultHow::Io, FaultHow::DoneButIo, FaultHow::SyncLies][self.dice.below(3) as usize];
                let nth = self.dice.below(12);
                self.steps.push(format!("fault {nth} {how:?}"));
                self.disk.fail(Fault::any(nth, how));
                Ok(())
            }
        };
        if done.is_err() {
            // A fault: the log is over. What it tried may be there or not.
            return self.kill_or_crash().await;
        }
        if self.calm {
            let _told_to_the_next = self.store().wal().wait_idle();
        }
        Ok(())
    }

    async fn append(&mut self) -> Result<(), Failed> {
        let mut model = self.now();
        let term = model.last.map_or(1, |last| last.leader_id.term) + self.dice.below(2);
        let (mut models, mut entries) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.dice.below(5) {
            let size = [0, 10, 100, 300, 1500][self.dice.below(5) as usize];
            let text = format!("{}{}", self.count(), "x".repeat(size));
            entries.push(entry(term, model.next(), &text));
            model.push(term, &text);
            models.push(model.clone());
        }
        self.steps.push(format!("append {} of term {term}", entries.len()));
        self.try_records(models);
        self.store().blocking_append(entries).await?;
        self.acked();
        Ok(())
    }

    async fn vote(&mut self) -> Result<(), Failed> {
        let mut model = self.now();
        let vote = Vote::new(self.count(), self.dice.below(3));
        model.vote = Some(vote);
        self.steps.push(format!("vote {vote}"));
        self.try_records(vec![model]);
        self.store().save_vote(&vote).await?;
        self.acked();
        Ok(())
    }

    /// Waits for nothing: nothing is acknowledged.
    async fn commit(&mut self) -> Result<(), Failed> {
        let mut model = self.now();
        model.committed = model.last;
        let committed = model.committed;
        self.steps.push("commit".to_string());
        self.try_records(vec![model]);
        self.store().save_committed(committed).await
    }

    async fn truncate(&mut self) -> Result<(), Failed> {
        let mut model = self.now();
        let since = model.next().saturating_sub(self.dice.below(6));
        self.steps.push(format!("truncate {since}"));
        model.truncate(since);
        let is_nothing = since >= self.now().next();
        if model != self.now() {
            self.try_records(vec![model]);
        }
        truncate(self.store(), since).await?;
        // A truncation of nothing appends no record, and waits for nothing.
        if !is_nothing {
            self.acked();
        }
        Ok(())
    }

    async fn purge(&mut self) -> Result<(), Failed> {
        let mut model = self.now();
        let first = model.purged.map_or(0, |purged| purged.index + 1);
        // Now and then beyond the last.
        let index = first + self.dice.below((model.next() - first) + 2);
        let upto = model.entries.get(&index).map_or(log_id(9, index), |(term, _)| log_id(*term, index));
        self.steps.push(format!("purge {upto}"));
        model.purge(upto);
        self.try_records(vec![model]);
        // In force, and perhaps not durable.
        self.store().purge(upto).await
    }

    async fn close(&mut self) -> Result<(), String> {
        self.steps.push("close".to_string());
        let closed = self.store.take().expect("open").close();
        if closed.is_ok() {
            self.acked();
        }
        self.disk.heal();
        self.open(self.disk.kill()).await
    }

    async fn kill_or_crash(&mut self) -> Result<(), String> {
        let kill = self.dice.below(2) == 0;
        let disk = if kill { self.disk.kill() } else { self.disk.crash(self.dice.below(1000)) };
        self.steps.push(if kill { "kill" } else { "crash" }.to_string());
        // What closing writes is on the disk of before.
        self.disk.on_operation(|_| {});
        drop(self.store.take());
        self.open(disk).await
    }
}
