//! Helpers: chunks made frame by frame with an encoder of their own, so that a mistake in the
//! format's code can't hide in both.

#![allow(clippy::unwrap_used)]

mod batches;
mod damage;
mod encoding;
mod ends;
mod model;
mod salvage;

use std::cell::Cell;

use super::*;

const SALT: u64 = 0x0123_4567_89AB_CDEF;
const MARK: u8 = Kind::SyncMark as u8;
const ACTION: u8 = Kind::Action as u8;
const CHECKPOINT: u8 = Kind::Checkpoint as u8;

fn header(chunk_id: u64, features: u32) -> Header {
    let log_id = std::array::from_fn(|i| i as u8);
    Header { chunk_id, features, salt: SALT, log_id, created_ms: 0x0000_019A_9B3C_4D5E, previous_crc: 0 }
}

/// What makes a raw frame; `raw` is the encoder, by the words of the format's page.
#[derive(Debug, Clone, Copy)]
struct Raw {
    kind: u8,
    flags: u8,
    unsynced: u32,
    salt: u64,
    offset: u64,
}

/// Bytes 8 to 12.
fn marks_of(raw: Raw) -> u32 {
    u32::from(raw.kind) | u32::from(raw.flags) << 4 | raw.unsynced << 8
}

fn check_of(raw: Raw, len: u32) -> u32 {
    let splitmix64 = |n: u64| {
        let x = raw.salt.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    };
    let fields = u64::from(len) | u64::from(marks_of(raw)) << 32;
    let sum = fields
        .wrapping_mul(splitmix64(1) | 1)
        .wrapping_add(raw.offset.wrapping_mul(splitmix64(2) | 1))
        .wrapping_add(splitmix64(3));
    (sum >> 32) as u32
}

/// A header with a right `check` and any CRC.
fn raw_header(raw: Raw, len: u32, crc: u32) -> Vec<u8> {
    let mut bytes = crc.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(marks_of(raw).to_le_bytes());
    bytes.extend(check_of(raw, len).to_le_bytes());
    bytes
}

fn raw_frame(raw: Raw, payload: &[u8]) -> Vec<u8> {
    let mut bytes = raw_header(raw, payload.len() as u32, 0);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let crc = raw_crc(&bytes, raw.salt, raw.offset);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn raw_crc(frame: &[u8], salt: u64, offset: u64) -> u32 {
    crc32c(&[&(salt ^ offset).to_le_bytes()[..], &[0; 4], &frame[4..]].concat())
}

/// The CRC-32C of these bytes, bit by bit, as the polynomial is defined.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| crc >> 1 ^ (0x82F6_3B78 * (crc & 1));
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A record as a scan should yield it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    offset: u64,
    size: u64,
    kind: Kind,
    payload: Vec<u8>,
}

/// A chunk in the making.
#[derive(Debug, Clone)]
struct Chunk {
    header: Header,
    bytes: Vec<u8>,
    records: Vec<Record>,
    crcs: Vec<u8>,
}

impl Chunk {
    /// The header and a checkpoint.
    fn new(header: Header) -> Self {
        let mut chunk =
            Self { header, bytes: header.encode().to_vec(), records: Vec::new(), crcs: Vec::new() };
        chunk.record(Kind::Checkpoint, b"", header.chunk_id);
        chunk
    }

    /// In a file without an earlier life, and in one with.
    fn both() -> [Self; 2] {
        [0, FEATURE_EARLIER_LIFE].map(|features| Self::new(header(4096, features)))
    }

    /// The global offset of the next frame.
    fn end(&self) -> u64 {
        self.header.chunk_id + self.bytes.len() as u64
    }

    /// The file position of a global offset.
    fn at(&self, offset: u64) -> usize {
        (offset - self.header.chunk_id) as usize
    }

    fn raw(&self, kind: u8, synced: u64) -> Raw {
        let offset = self.end();
        Raw { kind, flags: 0, unsynced: unsynced(offset, synced), salt: SALT, offset }
    }

    /// A frame of any kind, which isn't counted as a record.
    fn frame(&mut self, raw: Raw, payload: &[u8]) -> u64 {
        let offset = self.end();
        self.bytes.extend(raw_frame(raw, payload));
        offset
    }

    /// An action or checkpoint, encoded when everything below `synced` was durable.
    fn record(&mut self, kind: Kind, payload: &[u8], synced: u64) -> u64 {
        self.record_with(self.raw(kind as u8, synced), kind, payload)
    }

    /// An action of a batch that goes on after it.
    fn more(&mut self, payload: &[u8], synced: u64) -> u64 {
        self.record_with(Raw { flags: FLAG_MORE, ..self.raw(ACTION, synced) }, Kind::Action, payload)
    }

    fn record_with(&mut self, raw: Raw, kind: Kind, payload: &[u8]) -> u64 {
        let offset = self.frame(raw, payload);
        let start = self.at(offset);
        let size = (self.bytes.len() - start) as u64;
        self.crcs.extend(&self.bytes[start..start + 4]);
        self.records.push(Record { offset, size, kind, payload: payload.to_vec() });
        offset
    }

    fn action(&mut self, payload: &[u8], synced: u64) -> u64 {
        self.record(Kind::Action, payload, synced)
    }

    fn mark(&mut self) -> u64 {
        self.frame(self.raw(MARK, self.end()), b"")
    }

    fn seal(&mut self) -> u64 {
        let seal = Seal {
            records: self.records.len() as u64,
            data_len: self.bytes.len() as u64,
            data_crc: crc32c(&self.crcs),
        };
        self.seal_with(seal)
    }

    fn seal_with(&mut self, seal: Seal) -> u64 {
        let offset = self.end();
        self.bytes.extend(seal.frame(offset, 0, &Salt::new(SALT)));
        offset
    }

    fn zeros(&mut self, n: usize) {
        self.bytes.resize(self.bytes.len() + n, 0);
    }

    fn flip(&mut self, offset: u64, bit: usize) {
        let at = self.at(offset) + bit / 8;
        self.bytes[at] ^= 1 << (bit % 8);
    }

    fn scan(&self) -> Seen {
        scan_all(&self.bytes[..], &self.header, false, 128)
    }
}

/// All that a scan says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    records: Vec<Record>,
    end: ScanEnd,
    proven: u64,
}

fn scan_all<R: ReadAt>(source: R, header: &Header, successor: bool, buffer: usize) -> Seen {
    finish(&mut Scan::new(source, header, successor, buffer)).unwrap()
}

/// Takes what is left of a scan.
fn finish<R: ReadAt>(scan: &mut Scan<R>) -> io::Result<Seen> {
    let mut records = Vec::new();
    let mut kept = Kept::default();
    while let Some(frame) = scan.next()? {
        let Frame { offset, size, kind, flags, payload, .. } = frame;
        kept.keep(&frame);
        assert!(flags & !(FLAG_LZ4 | FLAG_MORE) == 0);
        records.push(Record { offset, size, kind, payload: payload.to_vec() });
        assert_eq!(scan.last_segment(), Some((offset, size)));
        assert!(scan.end().is_none());
    }
    assert!(scan.next()?.is_none());
    kept.check(&records);
    let end = scan.end().cloned().unwrap();
    Ok(Seen { records, end, proven: scan.proven() })
}

/// Slices of the memory that payloads were read into, kept to the end of a scan: nothing may have been read over them.
#[derive(Default)]
struct Kept {
    #[cfg(feature = "bytes")]
    payloads: Vec<bytes::Bytes>,
}

impl Kept {
    fn keep(&mut self, _frame: &Frame<'_>) {
        #[cfg(feature = "bytes")]
        self.payloads.push(_frame.owner.share(_frame.payload));
    }

    fn check(&self, _records: &[Record]) {
        #[cfg(feature = "bytes")]
        assert!(self.payloads.iter().eq(_records.iter().map(|record| &record.payload)));
    }
}

/// Counts reads, notes the largest, and fails the one with a given number.
struct Disk<'a> {
    bytes: &'a [u8],
    /// What `len` says; more than there is, for a file that shrinks.
    len: u64,
    fail: Option<usize>,
    reads: Cell<usize>,
    largest: Cell<usize>,
}

impl<'a> Disk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let len = bytes.len() as u64;
        Self { bytes, len, fail: None, reads: Cell::new(0), largest: Cell::new(0) }
    }
}

impl ReadAt for Disk<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.reads.replace(self.reads.get() + 1);
        self.largest.set(self.largest.get().max(buf.len()));
        if self.fail == Some(read) {
            buf.fill(0xEE);
            return Err(io::Error::other("a bad sector"));
        }
        self.bytes.read_at(buf, position)
    }
}
