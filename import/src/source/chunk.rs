//! The records of one chunk's file, as the old codecs decode them.

use std::fs::File;
use std::io;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use chunked_wal::ChunkId;
use chunked_wal_02::{WALRecord, WalTypes};
use codeq::Decode;

use super::{Place, Torn};
use crate::error::{Error, Result};

/// How much is read at a time.
const READ: usize = 1 << 20;

/// A chunk's file, read from its start.
#[derive(Debug)]
pub(super) struct ChunkRecords {
    reader: BufReader<File>,
    path: PathBuf,
    id: ChunkId,
    /// Where the next record starts, or the undecodable one.
    position: u64,
    /// The file's length.
    len: u64,
}

impl ChunkRecords {
    pub(super) fn open(path: PathBuf, id: ChunkId) -> Result<Self> {
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let len = file.metadata().map_err(Error::io("look at", &path))?.len();
        Ok(ChunkRecords { reader: BufReader::with_capacity(READ, file), path, id, position: 0, len })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.len
    }

    pub(super) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(super) fn place(&self) -> Place {
        let offset = self.id.0.saturating_add(self.position);
        Place { path: self.path.clone(), offset, position: self.position }
    }

    /// The bytes from here on, as a torn tail.
    pub(super) fn torn(&self) -> Torn {
        let Place { path, offset, position } = self.place();
        Torn { path, offset, bytes: self.len - position }
    }

    /// Reads the next record, and puts all of its bytes into `bytes`. After an error, the position is still the one
    /// before the record.
    pub(super) fn next<W: WalTypes>(&mut self, bytes: &mut Vec<u8>) -> io::Result<WALRecord<W>> {
        bytes.clear();
        let record = WALRecord::decode(Copying { reader: &mut self.reader, bytes })?;
        self.position += bytes.len() as u64;
        Ok(record)
    }
}

/// Keeps what is read through it.
struct Copying<'a, R> {
    reader: &'a mut R,
    bytes: &'a mut Vec<u8>,
}

impl<R: Read> Read for Copying<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        self.bytes.extend_from_slice(&buf[..n]);
        Ok(n)
    }
}
