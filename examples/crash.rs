//! Crash-tests the log for as long as you like.
//!
//! ```text
//! cargo run --release --example crash -- --states 1000000 --seed 7
//! cargo run --release --example crash -- --states 1000000 --unkind on    # a disk that is less kind
//! cargo run --release --example crash -- --replay 'size=512 spares=1; a7x3 s r @ 7#57:s123'
//! ```
//!
//! Workloads are drawn from the seed and cut at every operation of the storage; the disks that a crash
//! may leave there are opened and compared with the appended records. The result is a count, or, with
//! exit code 1, a failure with the shortest script that shows it.

use std::hash::{DefaultHasher, Hasher};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use chunked_wal::storage::{Evictions, FreshSpace, MemoryStorage, ReservedSizes, TornRenames};
use chunked_wal::testing::{CrashTest, Subject};
use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord, WalTypes};

const USAGE: &str = "crash [--states N] [--seed S] [--threads T] [--unkind on|off] [--replay SCRIPT]";

/// Actions are texts of any length; a checkpoint is a hash of all of them.
struct Texts;

impl WalTypes for Texts {
    type Action = String;
    type Checkpoint = u64;
    type Callback = ();
}

struct HashOfAll(u64);

impl StateMachine<Texts> for HashOfAll {
    type Error = std::convert::Infallible;

    fn apply(&mut self, record: &WalRecord<Texts>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        match record {
            WalRecord::Action(text) => {
                let mut hasher = DefaultHasher::new();
                hasher.write_u64(self.0);
                hasher.write(text.as_bytes());
                self.0 = hasher.finish();
            }
            WalRecord::Checkpoint(hash) => self.0 = *hash,
        }
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        self.0
    }
}

/// Texts from nothing to 5000 bytes, mostly short.
struct AnyText;

impl Subject for AnyText {
    type Types = Texts;
    type StateMachine = HashOfAll;

    fn state_machine(&self) -> HashOfAll {
        HashOfAll(0)
    }

    fn action(&self, n: u64) -> String {
        let len = match n % 16 {
            0..=9 => n % 64,
            10..=14 => n % 600,
            _ => n % 5000,
        };
        (0..len).map(|i| char::from(b'a' + ((n + i * i) % 26) as u8)).collect()
    }
}

fn main() -> ExitCode {
    let test = match test_from(std::env::args().skip(1)) {
        Ok(test) => test,
        Err(wrong) => {
            eprintln!("{wrong}\nusage: {USAGE}");
            return ExitCode::from(2);
        }
    };
    // One line that changes on a terminal, a new line each time elsewhere.
    let end = if std::io::stderr().is_terminal() { "  \r" } else { "\n" };
    let progress = move |report: &_| {
        eprint!("{report}{end}");
        let _unseen = std::io::stderr().flush();
    };
    match test.on_progress(progress).run() {
        Ok(report) => {
            println!("{report}\nnothing wrong");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Turns on every switch of the disk that the log's promises cover.
fn unkind(disk: &MemoryStorage) {
    disk.set_reserved_sizes(ReservedSizes::MayBeLost);
    disk.set_fresh_space(FreshSpace::OlderBytes);
    disk.set_evictions(Evictions::Drawn(11));
    disk.set_torn_renames(TornRenames::Possible);
}

fn test_from(mut args: impl Iterator<Item = String>) -> Result<CrashTest<AnyText>, String> {
    let mut test = CrashTest::new(AnyText).states(100_000);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name}: '{value}' is no number"));
        test = match name.as_str() {
            "--states" => test.states(number()?),
            "--seed" => test.seed(number()?),
            "--threads" => test.threads(number()? as usize),
            "--unkind" if value == "on" => test.disk(unkind),
            "--unkind" if value == "off" => test,
            "--replay" => test.replay(&value)?,
            _ => return Err(format!("{name} is unknown")),
        };
    }
    Ok(test)
}
