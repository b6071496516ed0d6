//! A single-file database, as small as one can be: a header that holds the checkpoint, and a region.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use chunked_wal::embedded::{Checkpoint, EmbeddedReader, EmbeddedWal, Region, Result};
use chunked_wal::storage::{Access, MemoryStorage, Storage, StorageFile};

pub(crate) const PATH: &str = "/database";

/// Not at a sector's boundary, and of a length that leaves a rest.
pub(crate) const REGION: Region = Region { offset: 1000, len: 1029 };

/// What no log may touch.
const GUARD: u8 = 0xA5;

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) disk: MemoryStorage,
    pub(crate) region: Region,
}

impl Host {
    pub(crate) fn new(region: Region) -> Self {
        let disk = MemoryStorage::default();
        let mut bytes = vec![GUARD; (region.offset + region.len) as usize + 600];
        bytes[..16].fill(0);
        bytes[region.offset as usize..][..region.len as usize].fill(0);
        disk.write_file(PATH, &bytes).unwrap();
        Host { disk, region }
    }

    pub(crate) fn on(&self, disk: MemoryStorage) -> Self {
        Host { disk, region: self.region }
    }

    pub(crate) fn file(&self, access: Access) -> Arc<dyn StorageFile> {
        self.disk.open(Path::new(PATH), access).unwrap()
    }

    /// What the header says; a sector is never torn.
    pub(crate) fn stored(&self) -> Checkpoint {
        let bytes = self.disk.read_file(PATH).unwrap();
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Checkpoint { position: number(0), sequence: number(8) }
    }

    pub(crate) fn store(&self, checkpoint: Checkpoint) -> std::io::Result<()> {
        let Checkpoint { position, sequence } = checkpoint;
        let bytes = [position.to_le_bytes(), sequence.to_le_bytes()].concat();
        let file = self.file(Access::ReadWrite);
        file.write_at(&[IoSlice::new(&bytes)], 0)?;
        file.sync()
    }

    pub(crate) fn open(&self) -> Result<EmbeddedWal> {
        EmbeddedWal::open(self.file(Access::ReadWrite), self.region, self.stored())
    }

    pub(crate) fn read(&self) -> Result<EmbeddedReader> {
        EmbeddedReader::open(self.file(Access::Read), self.region, self.stored())
    }

    /// Checkpoint, header, release.
    pub(crate) fn checkpoint(&self, wal: &mut EmbeddedWal) -> Checkpoint {
        let checkpoint = wal.checkpoint().unwrap();
        self.store(checkpoint).unwrap();
        wal.checkpoint_stored(checkpoint).unwrap();
        checkpoint
    }

    /// Flips a bit of the byte at a position of the log.
    pub(crate) fn damage(&self, position: u64) {
        let at = self.region.offset + position % (self.region.len / 8 * 8);
        self.disk.flip_bit(PATH, at * 8 + 3).unwrap();
    }

    pub(crate) fn assert_rest_untouched(&self) {
        let bytes = self.disk.read_file(PATH).unwrap();
        let inside = self.region.offset as usize..(self.region.offset + self.region.len / 8 * 8) as usize;
        for (at, byte) in bytes.iter().enumerate().skip(16) {
            let expected = if at >= (self.region.offset + self.region.len) as usize { GUARD } else { *byte };
            let expected = if at < inside.start { GUARD } else { expected };
            let unused = inside.end..(self.region.offset + self.region.len) as usize;
            assert_eq!(*byte, if unused.contains(&at) { 0 } else { expected }, "byte {at}");
        }
    }
}

pub(crate) fn pending(wal: &EmbeddedWal) -> Vec<(u64, Vec<u8>)> {
    wal.pending().collect::<Result<_>>().unwrap()
}
