//! Snapshots on the disk: one file, which is the whole old one or the whole new one, whenever the power
//! fails. It goes through the log's [`Storage`], so a test that takes power takes it from both.

use std::io;
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunked_wal::codec::MessagePack;
use chunked_wal::storage::{Access, Storage, StorageFile};
use openraft::{BasicNode, LogId, SnapshotMeta};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::types::{Map, NodeId};

pub(crate) type Meta = SnapshotMeta<NodeId, BasicNode>;

/// A snapshot: its last entry, and the map.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    meta: Meta,
    map: Map,
}

pub(crate) fn encode(map: &Map) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    MessagePack::write(map, &mut bytes)?;
    Ok(bytes)
}

pub(crate) fn decode(bytes: &[u8]) -> io::Result<Map> {
    MessagePack::read(bytes)
}

/// A server's snapshots.
#[derive(Debug)]
pub(crate) struct Snapshots {
    place: Place,
    /// The last entry of the snapshot on the disk. Locked while another is written.
    newest: Mutex<Option<LogId<NodeId>>>,
}

impl Snapshots {
    /// Opens a directory of snapshots, made if missing, and reads the newest one.
    pub(crate) fn open(storage: Arc<dyn Storage>, dir: &Path) -> io::Result<(Self, Option<(Meta, Map)>)> {
        let dir = storage.create_dir(dir)?;
        let place = Place { storage, dir };
        let found = place.load()?;
        let newest = Mutex::new(found.as_ref().and_then(|(meta, _)| meta.last_log_id));
        Ok((Snapshots { place, newest }, found))
    }

    /// Makes a snapshot durable, unless there is a newer one already. Only then may the log before it
    /// be purged.
    pub(crate) async fn save(&self, meta: &Meta, map: Map) -> io::Result<()> {
        let mut newest = self.newest.lock().await;
        if *newest > meta.last_log_id {
            return Ok(());
        }
        let (place, stored) = (self.place.clone(), Stored { meta: meta.clone(), map });
        tokio::task::spawn_blocking(move || place.store(&stored)).await.map_err(io::Error::other)??;
        *newest = meta.last_log_id;
        Ok(())
    }

    /// Returns the newest snapshot.
    pub(crate) async fn load(&self) -> io::Result<Option<(Meta, Map)>> {
        let _not_while_it_is_written = self.newest.lock().await;
        let place = self.place.clone();
        tokio::task::spawn_blocking(move || place.load()).await.map_err(io::Error::other)?
    }
}

/// Where the snapshot is.
#[derive(Debug, Clone)]
struct Place {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.dir.join("snapshot")
    }

    fn store(&self, stored: &Stored) -> io::Result<()> {
        let new = self.dir.join("snapshot.new");
        match self.storage.remove(&new) {
            // A crash may have left it.
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = self.storage.create(&new)?;
        let mut bytes = Vec::new();
        MessagePack::write(stored, &mut bytes)?;
        write_all(&*file, &bytes)?;
        // Before the rename, so that the name never leads to half a snapshot.
        file.sync()?;
        self.storage.rename(&new, &self.path())?;
        // Before any entry is purged because of it.
        self.storage.sync_dir(&self.dir)
    }

    fn load(&self) -> io::Result<Option<(Meta, Map)>> {
        let path = self.path();
        let file = match self.storage.open(&path, Access::Read) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let stored: Stored = MessagePack::read(&read_all(&*file)?[..])
            .map_err(|e| io::Error::new(ErrorKind::InvalidData, format!("'{}': {e}", path.display())))?;
        Ok(Some((stored.meta, stored.map)))
    }
}

fn write_all(file: &dyn StorageFile, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&[IoSlice::new(&bytes[done..])], done as u64)? {
            0 => return Err(ErrorKind::WriteZero.into()),
            n => done += n,
        }
    }
    Ok(())
}

fn read_all(file: &dyn StorageFile) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).map_err(|_| ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match file.read_at(&mut bytes[done..], done as u64)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(bytes)
}
