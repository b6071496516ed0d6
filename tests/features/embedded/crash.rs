//! The log is cut at every operation of its file. Each state that a crash may leave is opened, used, and cut again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use chunked_wal::embedded::{EmbeddedWal, Error, Region, Result};
use chunked_wal::storage::{Evictions, FreshSpace, MemoryStorage, ReservedSizes};

use super::host::Host;

/// The disks of a cut: all are listed if there are at most this many; otherwise this many are drawn.
const DISKS: usize = 64;

/// The host's knowledge.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Every record that may be there, from sequence 1 on.
    records: Vec<Vec<u8>>,
    /// The number of acknowledged records.
    acknowledged: usize,
    /// Numbers of records that end inside a batch: no crash may leave one of these numbers.
    inside_batches: HashSet<usize>,
}

/// The disk before an operation, and what the host knew then.
struct Cut {
    disk: MemoryStorage,
    known: Known,
}

#[derive(Debug, Clone)]
enum Step {
    /// This many records of this length, with one sync.
    Append(usize, usize),
    /// The same without a sync: each by itself.
    Defer(usize, usize),
    Flush,
    /// As many records of this length as fit.
    Fill(usize),
    /// A checkpoint, stored.
    Checkpoint,
    /// A checkpoint that the host never stores.
    Forget,
    Reopen,
}

/// A host at work, which is watched.
struct Run {
    host: Host,
    known: Arc<Mutex<Known>>,
    cuts: Arc<Mutex<Vec<Cut>>>,
}

impl Run {
    fn new(host: Host, known: Known) -> Self {
        let known = Arc::new(Mutex::new(known));
        let cuts = Arc::new(Mutex::new(Vec::new()));
        let (disk, cut_known, cut_list) = (host.disk.clone(), known.clone(), cuts.clone());
        host.disk.on_operation(move |op| {
            if op.kind.is_change() {
                let known = cut_known.lock().unwrap().clone();
                cut_list.lock().unwrap().push(Cut { disk: disk.kill(), known });
            }
        });
        Run { host, known, cuts }
    }

    /// All that was appended is durable.
    fn acknowledge(&self) {
        let mut known = self.known.lock().unwrap();
        known.acknowledged = known.records.len();
    }

    fn append(&self, wal: &mut EmbeddedWal, records: Vec<Vec<u8>>) -> bool {
        self.append_by(records, |records| wal.append_batch(records).map(|_| self.acknowledge()))
    }

    fn append_by(&self, records: Vec<Vec<u8>>, append: impl FnOnce(&[Vec<u8>]) -> Result<()>) -> bool {
        let before = self.known.lock().unwrap().clone();
        let first = before.records.len() + 1;
        self.known.lock().unwrap().records.extend(records.iter().cloned());
        self.known.lock().unwrap().inside_batches.extend(first..first + records.len() - 1);
        match append(&records) {
            Ok(()) => true,
            Err(Error::RegionFull { .. }) => {
                *self.known.lock().unwrap() = before;
                false
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn steps(&self, wal: EmbeddedWal, steps: &[Step], attempt: u64) {
        let mut wal = wal;
        for step in steps {
            match step {
                Step::Append(count, len) => {
                    let first = self.known.lock().unwrap().records.len() + 1;
                    let records = (first..first + count).map(|n| record(n, attempt, *len)).collect();
                    self.append(&mut wal, records);
                }
                Step::Fill(len) => loop {
                    let next = self.known.lock().unwrap().records.len() + 1;
                    if !self.append(&mut wal, vec![record(next, attempt, *len)]) {
                        break;
                    }
                },
                Step::Defer(count, len) => {
                    for _ in 0..*count {
                        let next = self.known.lock().unwrap().records.len() + 1;
                        let records = vec![record(next, attempt, *len)];
                        self.append_by(records, |records| wal.append_deferred(&records[0]).map(drop));
                    }
                }
                Step::Flush => {
                    wal.flush().unwrap();
                    self.acknowledge();
                }
                Step::Checkpoint => {
                    self.host.checkpoint(&mut wal);
                    self.acknowledge();
                }
                Step::Forget => {
                    wal.checkpoint().unwrap();
                    self.acknowledge();
                }
                Step::Reopen => {
                    wal = self.host.open().unwrap();
                    self.acknowledge();
                }
            }
        }
        self.host.assert_rest_untouched();
    }

    fn finish(self) -> Vec<Cut> {
        self.host.disk.on_operation(|_| {});
        std::mem::take(&mut *self.cuts.lock().unwrap())
    }
}

/// Equal in length and nearly in content, so that a lost record leaves room for just another one with nearly the same
/// bytes. Its first bytes say which attempt it was.
fn record(sequence: usize, attempt: u64, len: usize) -> Vec<u8> {
    let mut text = format!("{sequence}.{attempt} ").into_bytes();
    text.resize(len.max(text.len()), b'x');
    text
}

/// Counts, and what was seen already.
#[derive(Default)]
struct Tally {
    seen: HashSet<(u64, usize, usize)>,
    disks: usize,
    deeper: usize,
    shorter: usize,
    looked_back: usize,
}

/// Opens the log that a crash left. It holds all acknowledged records, and only records that were appended.
fn judge(host: &Host, known: &Known, tally: &mut Tally) -> (EmbeddedWal, Known) {
    let stored = host.stored();
    let wal = host.open().unwrap_or_else(|e| panic!("{stored:?}: {e}"));
    let found = wal.pending().collect::<Result<Vec<_>>>().unwrap();
    let first = stored.sequence as usize;
    for (n, (sequence, bytes)) in found.iter().enumerate() {
        assert_eq!(*sequence as usize, first + n + 1);
        let expected = known.records.get(first + n);
        assert_eq!(Some(bytes), expected, "record {sequence}");
    }
    let last = first + found.len();
    assert!(!known.inside_batches.contains(&last), "part of a batch, up to record {last}");
    assert!(last >= known.acknowledged, "{last} of {} are left", known.acknowledged);
    // Whatever else is in the ring leads up to these, without a gap.
    let history = wal.history().unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert!(history.ends_with(&found), "{} of {}", history.len(), found.len());
    let oldest = last + 1 - history.len();
    for (n, (sequence, bytes)) in history.iter().enumerate() {
        assert_eq!((*sequence as usize, Some(bytes)), (oldest + n, known.records.get(oldest + n - 1)));
    }
    tally.looked_back += usize::from(history.len() > found.len());
    tally.shorter += usize::from(last < known.records.len());
    let records = known.records[..last].to_vec();
    let inside_batches = known.inside_batches.iter().copied().filter(|n| *n < last).collect();
    (wal, Known { acknowledged: last, records, inside_batches })
}

/// Goes through the disks that crashes may leave, and on from some of them.
fn explore(host: &Host, cuts: Vec<Cut>, level: u64, tally: &mut Tally) {
    for (at, Cut { disk, known }) in cuts.into_iter().enumerate() {
        let mut disks = disk.crash_states(DISKS).unwrap_or_default();
        let drawn = if disks.is_empty() { DISKS as u64 } else { 8 };
        // Also where all are listed: tears inside a sector are not among them.
        disks.extend((0..drawn).map(|seed| disk.crash(seed * 1000 + at as u64)));
        disks.push(disk.kill());
        for (n, disk) in disks.into_iter().enumerate() {
            if !tally.seen.insert((disk.digest(), known.records.len(), known.acknowledged)) {
                continue;
            }
            tally.disks += 1;
            let deeper = level < 3 && (n + at) % [1, 4, 9][level as usize] == 0;
            if !deeper {
                judge(&host.on(disk), &known, tally);
                continue;
            }
            tally.deeper += 1;
            // The recovery is cut, and the work after it.
            let run = Run::new(host.on(disk), known.clone());
            let (wal, after) = judge(&run.host, &known, tally);
            *run.known.lock().unwrap() = after;
            let more: &[Step] = match n % 4 {
                0 => &[Step::Append(1, 40)],
                1 => &[Step::Append(2, 40), Step::Checkpoint],
                2 => &[Step::Defer(2, 40), Step::Append(1, 0), Step::Defer(1, 40)],
                _ => &[Step::Checkpoint, Step::Append(1, 40), Step::Reopen, Step::Append(1, 0)],
            };
            run.steps(wal, more, level + 1);
            let again = run.finish();
            explore(host, again, level + 1, tally);
        }
    }
}

fn test(region: Region, steps: &[Step], tally: &mut Tally) {
    test_on(Host::new(region), steps, 0, tally);
}

fn test_on(host: Host, steps: &[Step], level: u64, tally: &mut Tally) {
    let run = Run::new(host.clone(), Known::default());
    let wal = host.open().unwrap();
    run.steps(wal, steps, 0);
    let cuts = run.finish();
    assert!(!cuts.is_empty());
    tally.seen.clear();
    explore(&host, cuts, level, tally);
}

#[test]
fn every_cut_leaves_all_that_was_acknowledged() {
    use Step::{Append, Checkpoint, Defer, Fill, Flush, Forget, Reopen};

    let small = Region { offset: 504, len: 544 };
    // Sectors inside and at both ends.
    let large = Region { offset: 1000, len: 2309 };
    let mut tally = Tally::default();
    for (region, steps) in [
        (small, &[][..]),
        (small, &[Append(1, 40), Append(1, 40)]),
        (small, &[Append(4, 40), Reopen, Append(1, 40)]),
        (small, &[Fill(40), Checkpoint, Fill(40), Checkpoint, Append(2, 40)]),
        (small, &[Defer(4, 40), Flush, Defer(2, 40), Checkpoint, Defer(5, 40), Append(1, 40)]),
        (small, &[Append(2, 40), Defer(3, 40), Reopen, Defer(1, 100), Forget, Defer(2, 0), Flush]),
        (large, &[Defer(3, 600), Flush, Checkpoint, Defer(2, 600), Defer(6, 40), Append(1, 40)]),
        (small, &[Fill(0), Reopen, Checkpoint, Reopen, Fill(13)]),
        (small, &[Fill(40), Forget, Reopen, Checkpoint, Append(1, 40)]),
        (small, &[Append(1, 40), Forget, Append(1, 40), Forget, Fill(40), Checkpoint, Append(1, 40)]),
        (small, &[Append(1, 390), Checkpoint, Append(1, 390), Checkpoint, Append(1, 390)]),
        (large, &[Append(2, 600), Append(1, 40), Checkpoint, Append(3, 600), Append(1, 40)]),
        (large, &[Append(20, 40), Checkpoint, Append(20, 40), Reopen, Append(8, 40), Checkpoint]),
    ] {
        test(region, steps, &mut tally);
    }
    // Seams come to other places of the sectors, with each of these.
    for n in 0..24 {
        let region = Region { offset: 100 + n as u64 * 37, len: 600 + n as u64 * 61 };
        let len = 20 + n * 11;
        test(
            region,
            &[Append(2, len), Checkpoint, Append(3, len), Reopen, Fill(len), Checkpoint],
            &mut tally,
        );
    }
    let Tally { disks, deeper, shorter, looked_back, .. } = tally;
    assert!(looked_back > disks / 10, "{looked_back}");
    println!("{disks} disks, {deeper} of them cut again; {shorter} lacked what nobody was told of");
    assert!(disks > 10_000 && deeper > disks / 10 && shorter > disks / 10, "{disks} {deeper} {shorter}");
}

#[test]
fn less_kind_disks_lose_nothing_either() {
    use Step::{Append, Checkpoint, Defer, Flush, Reopen};

    let switches: [fn(&MemoryStorage); 4] = [
        |disk| disk.set_reserved_sizes(ReservedSizes::MayBeLost),
        |disk| disk.set_fresh_space(FreshSpace::OlderBytes),
        |disk| disk.set_evictions(Evictions::Drawn(7)),
        |disk| {
            disk.set_reserved_sizes(ReservedSizes::MayBeLost);
            disk.set_fresh_space(FreshSpace::OlderBytes);
            disk.set_evictions(Evictions::Drawn(7));
        },
    ];
    let steps =
        [Defer(3, 300), Flush, Checkpoint, Defer(2, 300), Defer(6, 40), Append(1, 40), Reopen, Defer(2, 0)];
    let mut tally = Tally::default();
    for switch in switches {
        let host = Host::new(Region { offset: 1000, len: 1709 });
        switch(&host.disk);
        test_on(host, &steps, 1, &mut tally);
    }
    assert!(tally.disks > 1000 && tally.shorter > 100, "{} {}", tally.disks, tally.shorter);
}
