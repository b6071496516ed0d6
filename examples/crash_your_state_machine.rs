//! Crash-tests your own state machine: here a bank, in about a hundred lines.
//!
//! ```text
//! cargo run --release --example crash_your_state_machine
//! ```
//!
//! Write three things: the [`StateMachine`], actions for it, and, if you like, your own comparison.
//! [`CrashTest`] does the rest: it runs workloads, cuts the power at every operation of the storage,
//! opens the disk that is left, and compares your state machine with one that was never closed.
//!
//! The second half tests the same bank with a bug: its checkpoint forgets something. A test without a
//! restart would not see that. The crash test does, and prints the few steps that show it.

use std::collections::BTreeMap;

use chunked_wal::testing::{CrashTest, Subject};
use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord, WalTypes};

/// The types of the bank's log. Codecs for tuples and strings come with `codeq`; for your own types,
/// write two functions.
struct BankLog;

impl WalTypes for BankLog {
    /// `<from> <to> <amount> <note>`.
    type Action = String;
    /// `<account>=<money>`, and the number of transfers, a word each.
    type Checkpoint = String;
    type Callback = ();
}

/// Money by account, and how many transfers there were.
#[derive(Debug, Default, PartialEq)]
struct Bank {
    money: BTreeMap<String, i64>,
    transfers: u64,
    /// The bug: the checkpoint leaves out the number of transfers.
    forgetful: bool,
}

impl Bank {
    fn transfer(&mut self, action: &str) -> Result<(), String> {
        let [from, to, amount, _note] = action.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("not a transfer: {action}"));
        };
        let amount: i64 = amount.parse().map_err(|_| format!("no amount: {action}"))?;
        // Refuse first, then change: `apply` does all or nothing.
        if from == to {
            return Err("from an account to itself".to_string());
        }
        *self.money.entry(from.to_string()).or_default() -= amount;
        *self.money.entry(to.to_string()).or_default() += amount;
        self.transfers += 1;
        // Every tenth transfer costs a fee: the number of transfers is a part of the state.
        if self.transfers.is_multiple_of(10) {
            *self.money.entry(from.to_string()).or_default() -= 1;
            *self.money.entry("the bank".to_string()).or_default() += 1;
        }
        Ok(())
    }
}

impl StateMachine<BankLog> for Bank {
    type Error = String;

    fn apply(&mut self, record: &WalRecord<BankLog>, _: ChunkId, _: Segment) -> Result<(), String> {
        match record {
            WalRecord::Action(action) => self.transfer(action)?,
            WalRecord::Checkpoint(all) => {
                let mut lines: Vec<&str> = all.lines().collect();
                let transfers = lines.pop().unwrap_or("0");
                self.transfers = transfers.parse().map_err(|_| format!("no number: {transfers}"))?;
                self.money.clear();
                for line in lines {
                    let (account, money) = line.split_once('=').ok_or("no account")?;
                    let money = money.parse().map_err(|_| format!("no money: {line}"))?;
                    self.money.insert(account.to_string(), money);
                }
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> String {
        let transfers = if self.forgetful { 0 } else { self.transfers };
        let accounts = self.money.iter().map(|(account, money)| format!("{account}={money}\n"));
        accounts.collect::<String>() + &transfers.to_string()
    }
}

/// The subject of the test.
struct TheBank {
    forgetful: bool,
}

impl Subject for TheBank {
    type Types = BankLog;
    type StateMachine = Bank;

    /// The state before any action.
    fn state_machine(&self) -> Bank {
        Bank { forgetful: self.forgetful, ..Bank::default() }
    }

    /// The action of a number. The state machine may refuse some of them.
    fn action(&self, n: u64) -> String {
        // Now and then a long note makes the action larger than a chunk.
        let note = "x".repeat(if n.is_multiple_of(20) { 3000 } else { 0 });
        format!("client-{} client-{} {} {note}", n % 7, n % 5, n % 1000)
    }

    /// The checkpoints are compared anyway. This compares the rest, and checks an invariant.
    fn check(&self, recovered: &Bank, expected: &Bank) -> Result<(), String> {
        if recovered != expected {
            return Err(format!("two banks:\n  recovered: {recovered:?}\n  expected:  {expected:?}"));
        }
        match recovered.money.values().sum::<i64>() {
            0 => Ok(()),
            sum => Err(format!("{sum} has come from nowhere")),
        }
    }
}

fn main() {
    println!("a bank:");
    match CrashTest::new(TheBank { forgetful: false }).states(10_000).run() {
        Ok(report) => println!("{report}\n"),
        Err(failure) => {
            // Pass `failure.replay` to `CrashTest::replay`, in a test that you keep.
            println!("{failure}");
            std::process::exit(1);
        }
    }
    println!("a bank whose checkpoint forgets something:");
    match CrashTest::new(TheBank { forgetful: true }).states(10_000).run() {
        Ok(_) => {
            println!("it should have been found!");
            std::process::exit(1);
        }
        Err(failure) => println!("{failure}"),
    }
}
