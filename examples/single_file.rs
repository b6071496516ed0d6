//! A bank in one file: header, log and accounts together. It is killed in mid-transfer, again and
//! again, and no money is lost.
//!
//! ```text
//! cargo run --release --features embedded --example single_file
//!
//! the file   | header 4 KiB: checkpoint | region 64 KiB: the log | accounts 8 KiB |
//! ```

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use chunked_wal::embedded::{Checkpoint, EmbeddedWal, Region};

const REGION: Region = Region { offset: 4096, len: 64 << 10 };
const ACCOUNTS_AT: u64 = REGION.offset + REGION.len;
const ACCOUNTS: usize = 1024;
const START_WITH: u64 = 1000;

const KILLS: u64 = 20;

struct Bank {
    file: File,
    wal: EmbeddedWal,
    /// The accounts after the last record. The file has them as of the checkpoint, or newer.
    accounts: Vec<u64>,
}

impl Bank {
    fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let len = ACCOUNTS_AT + 8 * ACCOUNTS as u64;
        if file.metadata()?.len() < len {
            let accounts: Vec<u8> = (0..ACCOUNTS).flat_map(|_| START_WITH.to_le_bytes()).collect();
            file.write_all_at(&accounts, ACCOUNTS_AT)?;
            file.sync_all()?;
        }
        let mut header = [0; 16];
        file.read_exact_at(&mut header, 0)?;
        let checkpoint = Checkpoint { position: number(&header[..8]), sequence: number(&header[8..]) };
        let mut bytes = vec![0; 8 * ACCOUNTS];
        file.read_exact_at(&mut bytes, ACCOUNTS_AT)?;
        let mut accounts: Vec<u64> = bytes.chunks(8).map(number).collect();

        let wal = EmbeddedWal::open(file.try_clone()?, REGION, checkpoint)?;
        for item in wal.pending() {
            apply(&mut accounts, &item?.1);
        }
        Ok(Bank { file, wal, accounts })
    }

    /// Transfers money, durably. One record has both accounts, so a crash leaves both changed or none.
    fn transfer(&mut self, from: usize, to: usize, amount: u64) -> Result<u64, Box<dyn Error>> {
        let amount = amount.min(self.accounts[from]);
        // The record has the new balances, not the changes: applying it twice does no harm.
        let mut record = Vec::new();
        for (account, balance) in [(from, self.accounts[from] - amount), (to, self.accounts[to] + amount)] {
            record.extend_from_slice(&(account as u64).to_le_bytes());
            record.extend_from_slice(&balance.to_le_bytes());
        }
        let sequence = self.wal.append(&record)?;
        apply(&mut self.accounts, &record);
        if self.wal.should_checkpoint() {
            self.checkpoint()?;
        }
        Ok(sequence)
    }

    fn checkpoint(&mut self) -> Result<(), Box<dyn Error>> {
        let accounts: Vec<u8> = self.accounts.iter().flat_map(|balance| balance.to_le_bytes()).collect();
        self.file.write_all_at(&accounts, ACCOUNTS_AT)?;
        // The sync of the checkpoint covers the accounts, too.
        let checkpoint = self.wal.checkpoint()?;
        let header = [checkpoint.position.to_le_bytes(), checkpoint.sequence.to_le_bytes()].concat();
        self.file.write_all_at(&header, 0)?;
        self.file.sync_data()?;
        Ok(self.wal.checkpoint_stored(checkpoint)?)
    }
}

fn apply(accounts: &mut [u64], record: &[u8]) {
    for change in record.chunks(16) {
        accounts[number(&change[..8]) as usize] = number(&change[8..]);
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// Transfers money until the process is killed; prints each durable sequence.
fn transfer_for_ever(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut bank = Bank::open(path)?;
    let mut out = std::io::stdout().lock();
    for n in bank.wal.stats().last_sequence.. {
        let (from, to) = (n * 7919 % ACCOUNTS as u64, n * 104_729 % (ACCOUNTS as u64 - 1));
        let to = if to == from { ACCOUNTS as u64 - 1 } else { to };
        writeln!(out, "{}", bank.transfer(from as usize, to as usize, n % 100)?)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(path) = std::env::args().nth(1) {
        return transfer_for_ever(Path::new(&path));
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("bank");
    for kill in 1..=KILLS {
        let mut child = Command::new(std::env::current_exe()?).arg(&path).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
        let mut durable = 0;
        for line in lines.by_ref().take((kill * 137 % 600) as usize + 1) {
            durable = line?.parse()?;
        }
        child.kill()?; // SIGKILL
        child.wait()?;
        for line in lines.map_while(Result::ok) {
            durable = line.parse().unwrap_or(durable); // was in the pipe
        }

        let bank = Bank::open(&path)?;
        let stats = bank.wal.stats();
        let money: u64 = bank.accounts.iter().sum();
        println!(
            "killed after {durable} transfers: {} are there, {} of them only in the log; {money} in all",
            stats.last_sequence, stats.pending_records
        );
        if stats.last_sequence < durable || money != START_WITH * ACCOUNTS as u64 {
            return Err("money was lost".into());
        }
    }
    Ok(())
}
