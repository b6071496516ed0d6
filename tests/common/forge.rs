//! Chunk files made by hand, from the format's page alone: also what the log itself would never write.
//!
//! ```text
//! Forge::chunk(0).checkpoint("").action("a").synced().action("b").mark().zeros(512)
//! ```

use std::io::IoSlice;
use std::sync::Arc;

use chunked_wal::codeq::Encode;
use chunked_wal::storage::Storage;
use chunked_wal::{ChunkId, StorageFile};

use super::Disk;
use super::random::splitmix64;

pub const HEADER: u64 = 64;
pub const SEAL: u64 = 40;
pub const MARK: u64 = 16;

/// The log that all forged chunks are of.
pub const LOG_ID: [u8; 16] = *b"a log of our own";

/// A chunk file in the making.
#[derive(Debug, Clone)]
pub struct Forge {
    pub id: u64,
    pub bytes: Vec<u8>,
    /// The global offset after the last record.
    pub end: u64,
    /// The global offsets of all frames.
    pub at: Vec<u64>,
    pub records: u64,
    pub stored_crcs: Vec<u8>,
    /// What the next frames say was synced when they were made.
    pub synced: u64,
}

impl Forge {
    pub fn chunk(id: u64) -> Self {
        let mut forge = Forge {
            id,
            bytes: vec![0; HEADER as usize],
            end: id + HEADER,
            at: Vec::new(),
            records: 0,
            stored_crcs: Vec::new(),
            synced: id,
        };
        forge.bytes[..8].copy_from_slice(b"CHNKWAL\n");
        forge.bytes[8] = 1;
        forge.bytes[10] = HEADER as u8;
        forge.bytes[16..24].copy_from_slice(&id.to_le_bytes());
        let salt = forge.salt();
        forge.bytes[24..32].copy_from_slice(&salt.to_le_bytes());
        forge.bytes[32..48].copy_from_slice(&LOG_ID);
        forge.header(0, &[])
    }

    /// The chunk that begins where this one ends.
    pub fn next(&self) -> Self {
        Forge::chunk(self.end).header(56, &crc32c(&[&self.stored_crcs]).to_le_bytes())
    }

    /// Puts other bytes into the header, and makes its CRC right again.
    pub fn header(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32c(&[&self.bytes[..60]]);
        self.bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        self
    }

    /// Says that the file had an earlier life.
    pub fn used_before(self) -> Self {
        self.header(12, &[2])
    }

    pub fn checkpoint(self, all: &str) -> Self {
        self.record(2, &encoded(all))
    }

    pub fn action(self, word: &str) -> Self {
        self.record(1, &encoded(word))
    }

    pub fn actions(self, words: &[&str]) -> Self {
        words.iter().fold(self, |forge, word| forge.action(word))
    }

    pub fn record(self, kind: u8, payload: &[u8]) -> Self {
        self.flagged(kind, 0, payload)
    }

    /// A record with flags.
    pub fn flagged(mut self, kind: u8, flags: u8, payload: &[u8]) -> Self {
        self = self.frame(kind, flags, payload);
        self.records += 1;
        self.end = self.id + self.bytes.len() as u64;
        let stored = (self.at[self.at.len() - 1] - self.id) as usize;
        self.stored_crcs.extend_from_slice(&self.bytes[stored..stored + 4]);
        self
    }

    /// From here on, frames know that all records so far are durable.
    pub fn synced(mut self) -> Self {
        self.synced = self.end;
        self
    }

    pub fn mark(self) -> Self {
        self.mark_with(0)
    }

    /// The mark of a log that was closed.
    pub fn closing_mark(self) -> Self {
        self.mark_with(1)
    }

    fn mark_with(mut self, flags: u8) -> Self {
        let synced = std::mem::replace(&mut self.synced, self.id + self.bytes.len() as u64);
        self = self.frame(4, flags, &[]);
        self.synced = synced;
        self
    }

    pub fn seal(self) -> Self {
        let data_len = self.bytes.len() as u64;
        let mut payload = [self.records.to_le_bytes(), data_len.to_le_bytes()].concat();
        payload.extend_from_slice(&crc32c(&[&self.stored_crcs]).to_le_bytes());
        payload.extend_from_slice(&[0; 4]);
        self.synced().frame(3, 0, &payload)
    }

    /// Any frame, right in all its checks.
    pub fn frame(mut self, kind: u8, flags: u8, payload: &[u8]) -> Self {
        let offset = self.id + self.bytes.len() as u64;
        let (len, unsynced) = (payload.len() as u32, ((offset - self.synced) / 8).min(0xFF_FFFF) as u32);
        let marks = u32::from(kind) | u32::from(flags) << 4 | unsynced << 8;
        let fields = [len, marks, check(self.salt(), offset, len, marks)].map(u32::to_le_bytes);
        let mut padded = payload.to_vec();
        padded.resize(payload.len().next_multiple_of(8), 0);
        let place = (self.salt() ^ offset).to_le_bytes();
        let crc = crc32c(&[&place, &[0; 4], fields.as_flattened(), &padded]);
        self.at.push(offset);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes.extend_from_slice(fields.as_flattened());
        self.bytes.extend_from_slice(&padded);
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn zeros(self, n: usize) -> Self {
        self.raw(&vec![0; n])
    }

    /// Without the last `n` bytes.
    pub fn cut(mut self, n: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - n);
        self
    }

    /// With one byte of the `i`th frame's payload changed.
    pub fn decayed(mut self, i: usize) -> Self {
        let at = (self.at[i] - self.id) as usize + 16;
        self.bytes[at] ^= 0x10;
        self
    }

    /// With zeros where the `i`th frame was.
    pub fn lost(mut self, i: usize) -> Self {
        let from = (self.at[i] - self.id) as usize;
        let to = self.at.get(i + 1).map_or(self.bytes.len(), |next| (next - self.id) as usize);
        self.bytes[from..to].fill(0);
        self
    }

    /// Puts the file on a disk, durable.
    pub fn put(&self, disk: &Disk) {
        disk.storage.write_file(disk.config.chunk_path(ChunkId(self.id)), &self.bytes).unwrap();
    }

    /// Puts the file on a disk as a killed process may leave it: the bytes from the global offset
    /// `durable` on are written, and not synced.
    pub fn put_written(&self, disk: &Disk, durable: u64) -> Arc<dyn StorageFile> {
        let Disk { storage, config } = disk;
        storage.create_dir(&config.dir).unwrap();
        let file = storage.create(&config.chunk_path(ChunkId(self.id))).unwrap();
        storage.sync_dir(&config.dir).unwrap();
        let durable = (durable - self.id) as usize;
        file.allocate(self.bytes.len() as u64).unwrap();
        file.write_at(&[IoSlice::new(&self.bytes[..durable])], 0).unwrap();
        file.sync().unwrap();
        file.write_at(&[IoSlice::new(&self.bytes[durable..])], durable as u64).unwrap();
        file
    }

    /// Puts the file on a disk as a process leaves it that is killed between rename and directory
    /// sync.
    pub fn put_renamed(&self, disk: &Disk) {
        let Disk { storage, config } = disk;
        let spare = config.dir.join(spare_name(self.id));
        storage.write_file(&spare, &self.bytes).unwrap();
        storage.rename(&spare, &config.chunk_path(ChunkId(self.id))).unwrap();
    }

    fn salt(&self) -> u64 {
        self.id ^ 0x0123_4567_89AB_CDEF
    }
}

pub fn spare_name(number: u64) -> String {
    format!("spare-{number:016x}.tmp")
}

/// What the codec makes of a word.
pub fn encoded(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    word.to_string().encode(&mut bytes).unwrap();
    bytes
}

/// The CRC-32C of these bytes, bit by bit.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, _| crc >> 1 ^ (0x82F6_3B78 * (crc & 1));
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !parts.iter().copied().flatten().fold(!0, byte)
}

/// The field `check` of a header, by the format's page.
pub fn check(salt: u64, offset: u64, len: u32, marks: u32) -> u32 {
    let fields = u64::from(len) | u64::from(marks) << 32;
    let sum = fields
        .wrapping_mul(splitmix64(salt, 1) | 1)
        .wrapping_add(offset.wrapping_mul(splitmix64(salt, 2) | 1))
        .wrapping_add(splitmix64(salt, 3));
    (sum >> 32) as u32
}

/// The header of an action of `len` bytes: right in its check, wrong in its checksum.
pub fn begun_frame(salt: u64, offset: u64, len: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    bytes[8] = 1;
    bytes[12..].copy_from_slice(&check(salt, offset, len, 1).to_le_bytes());
    bytes
}
