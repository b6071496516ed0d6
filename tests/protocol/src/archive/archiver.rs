//! The steps of an archiver, in the order of archive.md.

use std::rc::Rc;

use super::{Archiver, By, Manifest, Part, Pc, Put, State};

impl State {
    fn archiver(&self, x: usize, pc: Pc) -> Option<&Archiver> {
        self.archivers.get(x).filter(|archiver| archiver.pc == pc)
    }

    fn with(mut self, x: usize, change: impl FnOnce(&mut Archiver)) -> State {
        change(&mut self.archivers[x]);
        self
    }

    /// The archiver finds that it is not the last one.
    fn fenced(self, x: usize) -> State {
        self.with(x, |archiver| *archiver = Archiver::off())
    }

    fn claim_next(mut self, x: usize, by: By, epoch: usize) -> Option<State> {
        if epoch > self.store.epochs.len() {
            return None;
        }
        self.store.send(Put::Epoch(epoch, by));
        Some(self.with(x, |archiver| *archiver = Archiver { pc: Pc::Claiming, by, epoch, ..Archiver::off() }))
    }

    /// `Start`
    pub fn start(mut self, x: usize) -> Option<State> {
        self.archiver(x, Pc::Off)?;
        self.told.lives += 1;
        let last = self.store.epochs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
        let by = By::Archiver(self.told.lives);
        self.claim_next(x, by, last + 1)
    }

    /// `Claimed`
    pub fn claimed(self, x: usize) -> Option<State> {
        let Archiver { by, epoch, .. } = *self.archiver(x, Pc::Claiming)?;
        if self.store.claimed(epoch)? == by {
            return Some(self.with(x, |archiver| archiver.pc = Pc::Claimed));
        }
        self.claim_next(x, by, epoch + 1)
    }

    /// Sends a manifest that follows on another.
    fn propose(mut self, x: usize, pc: Pc, base: &Manifest, new: &[Part]) -> Option<State> {
        let Archiver { by, epoch, .. } = self.archivers[x];
        let mut next = base.following(epoch, by);
        next.parts.extend(new);
        if !self.has_number(next.number) {
            return None;
        }
        let next = Rc::new(next);
        self.store.send(Put::Manifest(next.clone()));
        Some(self.with(x, |archiver| (archiver.pc, archiver.next) = (pc, next)))
    }

    /// `Join`
    pub fn join(self, x: usize) -> Option<State> {
        let highest = self.store.highest();
        if highest.epoch > self.archiver(x, Pc::Claimed)?.epoch {
            return Some(self.fenced(x));
        }
        self.propose(x, Pc::Joining, &highest, &[])
    }

    fn report(mut self, x: usize, manifest: Rc<Manifest>) -> State {
        let upto = manifest.end();
        self.told.back |= upto < self.archivers[x].reported;
        self.told.reported = self.told.reported.max(upto);
        self.with(x, |archiver| {
            archiver.read = archiver.read.max(upto);
            (archiver.pc, archiver.base, archiver.reported) = (Pc::Up, manifest, upto);
        })
    }

    /// `Joined`
    pub fn joined(self, x: usize) -> Option<State> {
        let next = self.archiver(x, Pc::Joining)?.next.clone();
        if !self.store.is_answered(&next) {
            return None;
        }
        if self.store.manifest(next.number) == Some(&next) {
            return Some(self.report(x, next));
        }
        Some(self.with(x, |archiver| archiver.pc = Pc::Claimed))
    }

    /// `Upload`
    pub fn upload(mut self, x: usize, uploads: usize) -> Option<State> {
        let Archiver { pc, read, epoch, .. } = self.archivers[x];
        let is_running = matches!(pc, Pc::Up | Pc::Publishing | Pc::Published);
        if !is_running || read >= self.log || self.archivers[x].sent.len() >= uploads {
            return None;
        }
        let part = Part { from: read, to: self.log, epoch };
        self.store.send(Put::Part(part));
        Some(self.with(x, |archiver| {
            archiver.read = part.to;
            archiver.sent.push(part);
        }))
    }

    /// `Acknowledged`
    pub fn acknowledged(self, x: usize) -> Option<State> {
        let archiver = &self.archivers[x];
        let next = archiver.sent.get(archiver.acked)?;
        if !self.store.parts.contains(next) {
            return None;
        }
        Some(self.with(x, |archiver| archiver.acked += 1))
    }

    /// `Publish`, of so many parts.
    pub fn publish(mut self, x: usize, count: usize) -> Option<State> {
        let base = self.archiver(x, Pc::Up)?.base.clone();
        let archiver = &mut self.archivers[x];
        archiver.acked = archiver.acked.checked_sub(count)?;
        let new: Vec<Part> = archiver.sent.drain(..count).collect();
        archiver.new.clone_from(&new);
        self.propose(x, Pc::Publishing, &base, &new)
    }

    /// `Published`
    pub fn published(self, x: usize) -> Option<State> {
        let Archiver { new, next, epoch, .. } = self.archiver(x, Pc::Publishing)?.clone();
        if !self.store.is_answered(&next) {
            return None;
        }
        if self.store.manifest(next.number) == Some(&next) {
            return Some(self.with(x, |archiver| archiver.pc = Pc::Published));
        }
        let highest = self.store.highest();
        if highest.epoch != epoch {
            return Some(self.fenced(x));
        }
        self.propose(x, Pc::Publishing, &highest, &new)
    }

    /// `Check`
    pub fn check(self, x: usize) -> Option<State> {
        let Archiver { next, epoch, .. } = self.archiver(x, Pc::Published)?.clone();
        if self.store.claimed(epoch + 1).is_some() {
            return Some(self.fenced(x));
        }
        Some(self.report(x, next))
    }

    /// `DeleteOld`, of one manifest.
    pub fn delete_old(mut self, x: usize, number: usize, kept: usize) -> Option<State> {
        let archiver = self.archiver(x, Pc::Up)?;
        if archiver.new.is_empty() || number + kept > archiver.base.number {
            return None;
        }
        self.store.manifests.get_mut(number - 1)?.take()?;
        Some(self)
    }

    /// `Kill`
    pub fn kill(self, x: usize) -> Option<State> {
        (self.archivers[x].pc != Pc::Off).then(|| self.fenced(x))
    }
}
