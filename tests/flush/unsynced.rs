//! How much may be written and not durable: recovery relies on it.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use chunked_wal::storage::{Access, MemoryStorage, Storage, StorageFile};
use chunked_wal::{ChunkedWal, Config, Flush, Segment, WalRecord};

use crate::common::*;

/// A disk that forgets what is written to files, and counts their syncs.
#[derive(Debug, Default)]
struct Forgetful {
    names: MemoryStorage,
    syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Forgotten(Arc<AtomicU64>);

impl Storage for Forgetful {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.names.create_dir(dir)
    }

    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.names.resolve_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.names.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.names.create(path)?;
        Ok(Arc::new(Forgotten(self.syncs.clone())))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.names.open(path, access)?;
        Ok(Arc::new(Forgotten(self.syncs.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.names.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.names.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.names.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.names.lock(path)
    }
}

impl StorageFile for Forgotten {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.fetch_add(1, SeqCst);
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
}

#[test]
fn two_gibibytes_without_a_sync_are_synced() {
    let storage = Arc::new(Forgetful::default());
    let syncs = storage.syncs.clone();
    let mut config = Config::new("/log");
    config.chunk_max_size = 8 << 30;
    config.zero_ahead_bytes = 0;
    let options = ChunkedWal::<LogOf<Vec<u8>>>::options(config).storage(storage);
    let mut wal = options.open(&mut Applied::default()).unwrap();
    let record = WalRecord::Action(vec![7; 32 << 20]);
    wal.sync().unwrap();
    syncs.store(0, SeqCst);
    for i in 0..65u64 {
        let segment: Segment = wal.append(&record).unwrap();
        wal.flush_ticket(Flush::Write).unwrap().wait().unwrap();
        assert!(segment.offset + segment.size - wal.progress().synced <= (2 << 30) + segment.size, "{i}");
        assert_eq!(syncs.load(SeqCst) > 0, wal.progress().synced > 1 << 30, "{i}");
    }
    assert_eq!(syncs.load(SeqCst), 1);
}
