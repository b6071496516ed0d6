//! The log is cut at every operation of its storage, and what a crash may leave there is opened.
//!
//! `CRASH_STATES` and `CRASH_SEED` ask for more, or for others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use chunked_wal::storage::{Evictions, FreshSpace, MemoryStorage, ReservedSizes, TornRenames};
use chunked_wal::testing::{CrashFailure, CrashReport, CrashTest, Script, Subject};
use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord};

use crate::common::{Disk, Hash, Texts};

/// Lengths from nothing to more than a chunk, many of them equal: a record that is lost makes room
/// for just another one.
struct AnyText;

impl Subject for AnyText {
    type Types = Texts;
    type StateMachine = Hash;

    fn state_machine(&self) -> Hash {
        Hash::default()
    }

    fn action(&self, n: u64) -> String {
        let len = match n % 16 {
            0 => 0,
            1..=5 => 20,
            6..=9 => n % 64,
            10..=13 => n % 300,
            14 => 480 + n % 64,
            _ => n % 5000,
        };
        (0..len).map(|i| char::from(b'a' + ((n.wrapping_mul(31) + i * i) % 26) as u8)).collect()
    }
}

/// The states of each run of all tests, of which there are several a day.
const STATES: u64 = 120_000;

fn setting(name: &str, unless_set: u64) -> u64 {
    std::env::var(name).map_or(unless_set, |n| n.parse().expect(name))
}

fn passes(result: Result<CrashReport, Box<CrashFailure>>) -> CrashReport {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn every_cut_leaves_a_log_that_opens_with_all_it_promised() {
    let states = setting("CRASH_STATES", STATES);
    let report = passes(CrashTest::new(AnyText).states(states).seed(setting("CRASH_SEED", 1)).run());
    println!("{report}");
    assert!(report.states >= states);
    assert!(report.second_crashes > states / 10 && report.torn_tails > report.cuts / 100, "{report}");
    assert!(report.exhausted_cuts > report.cuts / 3, "{report}");
}

/// The others matter only to readers of a log that another process writes (listings), or are not covered
/// (sectors that can't be read any more, or whose neighbours go with them).
fn all_covered_switches(disk: &MemoryStorage) {
    disk.set_reserved_sizes(ReservedSizes::MayBeLost);
    disk.set_fresh_space(FreshSpace::OlderBytes);
    disk.set_evictions(Evictions::Drawn(11));
    disk.set_torn_renames(TornRenames::Possible);
}

/// Switches of the disk that are off unless set, and that the promises cover.
#[test]
fn hostile_disks_lose_nothing_either() {
    let switches: [fn(&MemoryStorage); 4] = [
        |disk| disk.set_reserved_sizes(ReservedSizes::MayBeLost),
        |disk| disk.set_fresh_space(FreshSpace::OlderBytes),
        |disk| disk.set_evictions(Evictions::Drawn(7)),
        all_covered_switches,
    ];
    let states = setting("CRASH_STATES", STATES) / 40;
    for switch in switches {
        let test = CrashTest::new(AnyText).states(states).seed(setting("CRASH_SEED", 1)).disk(switch);
        println!("{}", passes(test.run()));
    }
}

/// A lost record leaves a gap of just the next record's size, with the records after it still there.
struct EqualTexts;

impl Subject for EqualTexts {
    type Types = Texts;
    type StateMachine = Hash;

    fn state_machine(&self) -> Hash {
        Hash::default()
    }

    fn action(&self, n: u64) -> String {
        format!("{n:0120}")
    }
}

#[test]
fn equal_records_never_bring_back_abandoned_ones() {
    let states = setting("CRASH_STATES", STATES) / 10;
    println!("{}", passes(CrashTest::new(EqualTexts).states(states).seed(setting("CRASH_SEED", 1)).run()));
    // Unsynced records in several sectors, one crash or another, and a record of just their size.
    for seed in 0..60 {
        let script = format!("size=8192 spares=0; a1x3 s a4x3 w a7x3 w a10x3 w x{seed} a1x1 s a2x1 s");
        passes(CrashTest::new(EqualTexts).script(script.parse().unwrap()).states(1).run());
    }
}

/// Workloads small enough that nearly every disk that a crash may leave is opened.
#[test]
fn small_workloads_survive_every_crash_there_is() {
    for steps in [
        "",
        "a1x1 s",
        "a1x1 w a2x1 s",
        "r",
        "a1x1 r a2x1 s",
        "a1x1 s r r",
        "a1x1 r d1",
        "a1x1 r r d2",
        "a1x1 s a2x1 k",
        "a1x1 c a2x1 w k",
        "a1x1 w x1 a2x1 s",
        "a1x2 w x3 c",
        "b1x2",
        "r d1 r r",
        "a1x1 f0lie s",
        "r f2io r",
    ] {
        for spares in 0..3 {
            let script: Script = format!("size=4096 spares={spares} batch=1; {steps}").parse().unwrap();
            let report = passes(CrashTest::new(AnyText).script(script).states(1).run());
            assert!(report.exhausted_cuts * 10 >= report.cuts * 8, "{steps}: {report}");
        }
    }
}

/// Scripts that once found something.
#[test]
fn scripts_that_found_something_once_find_nothing_now() {
    for script in [
        // A lost record, a later one that is not lost, and a new one that fits between.
        "size=4096 spares=2; a1x1 s b17x3 x2 a33x1 s x3",
        // Files used again and again, torn in between.
        "size=256 spares=2; a1x6 r r d2 a17x4 r b33x4 x7 a1x3 r d2 a2x4 x9 b3x5 k",
        // A failed sync, after which the page cache looks clean.
        "size=512 spares=1; a1x2 s a3x1 w f0lie s a4x1 s x1 a5x2 s",
        // Removals at once, while the queue is full of other things.
        "size=64 spares=2 queue=300 pace=rush; a1x5 D2 a17x5 D3 k a2x3 D2 x4",
        // A kill during each phase, then power loss.
        "size=512 spares=0; a1x3 w k a2x3 w k r k d1 k x1",
        // A batch that breaks off where only zeros follow.
        "size=512 records=5 spares=0 batch=1 read=16 pace=rush; w B745238x2 p a660389x2 r B100793x3 p B693477x1",
    ] {
        let test = CrashTest::new(AnyText).script(script.parse().unwrap()).states_per_cut(24).states(1);
        passes(test.run());
    }
}

/// A log that syncs often has zeros written ahead of it, over and over, and is cut anywhere there.
#[test]
fn zeros_ahead_of_the_end_never_cost_what_was_synced() {
    for (size, spares, zeros) in [(65_536, 0, 4096), (65_536, 0, 1 << 18), (4096, 1, 4096)] {
        let often = "a1x1 s ".repeat(33);
        let script = format!(
            "size={size} spares={spares} zeros={zeros}; {often} a1x2 w a2x1 s r {often} x5 {often} a3x1 s"
        );
        let test = CrashTest::new(AnyText).script(script.parse().unwrap()).states_per_cut(4).states(1);
        println!("{}", passes(test.run()));
    }
}

/// The next chunk's file gets zeros while the open chunk fills, is taken with some of them or all, and the log is cut
/// anywhere there.
#[test]
fn zeros_in_the_next_chunks_file_never_cost_what_was_synced() {
    for (size, pace) in [(8192, "calm"), (24_576, "calm"), (24_576, "rush")] {
        let often = "a298x1 s ".repeat(33);
        let script = format!(
            "size={size} spares=1 zeros=4096 pace={pace}; {often} a1x2 w r {often} x5 {often} r a3x1 s c {often} D1"
        );
        let test = CrashTest::new(AnyText).script(script.parse().unwrap()).states_per_cut(4).states(1);
        println!("{}", passes(test.run()));
    }
}

/// A salt guards against frames of a file's earlier life; offsets do so too within one log, so that
/// no crash shows a salt that stays the same.
#[test]
fn each_life_of_a_file_has_a_salt_of_its_own() {
    let disk = Disk::with(|config| config.chunk_max_size = 256);
    let (mut wal, mut list) = disk.open();
    let mut salts = HashSet::new();
    for _ in 0..8 {
        wal.append_and_apply("a word".to_string(), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
        wal.sync().unwrap();
        let header = disk.storage.read_file(disk.config.chunk_path(wal.open_chunk_id())).unwrap();
        assert!(salts.insert(header[24..32].to_vec()));
        let ids = wal.drain_closed_chunks_while(|_| true);
        wal.remove_chunks(ids).unwrap();
        wal.wait_idle().unwrap();
    }
}

/// Actions are `<key>=<value>`; a checkpoint is all of them.
#[derive(Debug, Default, PartialEq)]
struct Map {
    values: BTreeMap<String, String>,
    changes: u64,
    bug: Bug,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Bug {
    #[default]
    None,
    /// The number of changes is in no checkpoint.
    Forgets,
    /// What `apply` does depends on how often it was called in this process.
    IsNotDeterministic,
    /// A checkpoint is added to what is there.
    Adds,
    /// A refused value has already changed something.
    DoesHalf,
}

static CALLS: AtomicU64 = AtomicU64::new(0);

impl StateMachine<Texts> for Map {
    type Error = &'static str;

    fn apply(&mut self, record: &WalRecord<Texts>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        match record {
            WalRecord::Action(change) => {
                let (key, value) = change.split_once('=').ok_or("no change")?;
                if self.bug == Bug::DoesHalf {
                    self.changes += 1;
                }
                if value.is_empty() {
                    return Err("no value");
                }
                if self.bug != Bug::DoesHalf {
                    self.changes += 1;
                }
                let mut value = value.to_string();
                if self.bug == Bug::IsNotDeterministic {
                    value += &CALLS.fetch_add(1, Relaxed).to_string();
                }
                self.values.insert(format!("{key}-{}", self.changes % 3), value);
            }
            WalRecord::Checkpoint(all) => {
                if self.bug != Bug::Adds {
                    self.values.clear();
                }
                let (changes, values) = all.split_once('\n').ok_or("no changes")?;
                self.changes = changes.parse().map_err(|_| "no number")?;
                for line in values.lines() {
                    let (key, value) = line.split_once('=').ok_or("no value")?;
                    let more = if self.bug == Bug::Adds { self.values.get(key).cloned() } else { None };
                    self.values.insert(key.to_string(), more.unwrap_or_default() + value);
                }
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> String {
        let changes = if self.bug == Bug::Forgets { 0 } else { self.changes };
        self.values.iter().fold(format!("{changes}\n"), |all, (key, value)| all + key + "=" + value + "\n")
    }
}

/// A map, with or without a bug.
struct AMap(Bug);

impl Subject for AMap {
    type Types = Texts;
    type StateMachine = Map;

    fn state_machine(&self) -> Map {
        Map { bug: self.0, ..Map::default() }
    }

    fn action(&self, n: u64) -> String {
        format!("key{}={}", n % 5, "v".repeat((n % 40) as usize))
    }

    fn check(&self, recovered: &Map, expected: &Map) -> Result<(), String> {
        if recovered == expected { Ok(()) } else { Err(format!("{recovered:?} is not {expected:?}")) }
    }
}

#[test]
fn a_state_machine_without_a_bug_passes() {
    let report = passes(CrashTest::new(AMap(Bug::None)).states(3000).run());
    assert!(report.states >= 3000);
}

#[test]
fn a_state_machine_with_a_bug_is_caught_with_a_short_script_that_fails_again() {
    for bug in [Bug::Forgets, Bug::IsNotDeterministic, Bug::Adds, Bug::DoesHalf] {
        let failure = CrashTest::new(AMap(bug)).states(20_000).run().expect_err("a bug");
        println!("{bug:?}: {failure}\n");
        assert!(failure.script.steps.len() <= 4, "{bug:?}: {failure}");
        assert!(failure.to_string().contains(&failure.replay));
        // Where threads race (`pace=rush`), not each time.
        let fails_again = || CrashTest::new(AMap(bug)).replay(&failure.replay).unwrap().run().is_err();
        assert!((0..5).any(|_| fails_again()), "a replay fails as the test did: {failure}");
    }
}

#[test]
fn a_script_is_its_text() {
    let text = "size=64 records=3 spares=0 buffer=100 queue=300 batch=3 read=64 zeros=8192 renames=torn pace=rush; \
                a1x2 b3x4 p w s r d1 D2 i c k x5 f1io f2done f3lie";
    let script: Script = text.parse().unwrap();
    assert_eq!(script.to_string(), text);
    for wrong in
        ["y", "a", "a1", "ax1", "f1", "f1no", "sizes=1", "size=x", "pace=slow", "renames=no", "s1", "é"]
    {
        assert!(wrong.parse::<Script>().is_err(), "{wrong}");
    }
    assert!(CrashTest::new(AnyText).replay("a1x1 @ 3:q1").is_err());
}
