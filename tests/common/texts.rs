//! Crash tests of any texts: what the log is replayed into is their number and a hash of them all.

use chunked_wal::{ChunkId, Segment, StateMachine, WalRecord, WalTypes};

/// Actions are texts of any length.
pub struct Texts;

impl WalTypes for Texts {
    type Action = String;
    type Checkpoint = String;
    type Callback = ();
}

#[derive(Default)]
pub struct Hash {
    count: u64,
    hash: u64,
    /// What a checkpoint is made longer with.
    filler: &'static str,
}

impl Hash {
    pub fn filled_with(filler: &'static str) -> Self {
        Hash { filler, ..Hash::default() }
    }
}

impl StateMachine<Texts> for Hash {
    type Error = String;

    fn apply(&mut self, record: &WalRecord<Texts>, _: ChunkId, _: Segment) -> Result<(), String> {
        match record {
            WalRecord::Action(text) => {
                self.count += 1;
                let mixed = text.bytes().fold(self.hash, |hash, byte| hash.rotate_left(7) ^ u64::from(byte));
                self.hash = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            }
            WalRecord::Checkpoint(text) => {
                let mut parts = text.split(' ');
                let (count, hash) = parts.next().zip(parts.next()).ok_or("no checkpoint")?;
                self.count = count.parse().map_err(|_| "no count")?;
                self.hash = hash.parse().map_err(|_| "no hash")?;
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> String {
        format!("{} {}{}", self.count, self.hash, self.filler.repeat((self.hash % 8) as usize))
    }
}
