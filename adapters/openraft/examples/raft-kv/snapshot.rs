//! Snapshots on the disk: one file, which is the whole old one or the whole new one, whenever the power
//! fails.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use chunked_wal::codec::MessagePack;
use openraft::{BasicNode, LogId, SnapshotMeta};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::types::{Map, NodeId};

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
    dir: PathBuf,
    /// The last entry of the snapshot on the disk. Locked while another is written.
    newest: Mutex<Option<LogId<NodeId>>>,
}

impl Snapshots {
    /// Opens a directory of snapshots, made if missing, and reads the newest one.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Option<(Meta, Map)>)> {
        fs::create_dir_all(dir)?;
        let found = load(&dir.join("snapshot"))?;
        let newest = Mutex::new(found.as_ref().and_then(|(meta, _)| meta.last_log_id));
        Ok((Snapshots { dir: dir.to_owned(), newest }, found))
    }

    /// Makes a snapshot durable, unless there is a newer one already. Only then may the log before it
    /// be purged.
    pub(crate) async fn save(&self, meta: &Meta, map: Map) -> io::Result<()> {
        let mut newest = self.newest.lock().await;
        if *newest > meta.last_log_id {
            return Ok(());
        }
        let (dir, stored) = (self.dir.clone(), Stored { meta: meta.clone(), map });
        tokio::task::spawn_blocking(move || store(&dir, &stored)).await.map_err(io::Error::other)??;
        *newest = meta.last_log_id;
        Ok(())
    }

    /// Returns the newest snapshot.
    pub(crate) async fn load(&self) -> io::Result<Option<(Meta, Map)>> {
        let _not_while_it_is_written = self.newest.lock().await;
        let path = self.dir.join("snapshot");
        tokio::task::spawn_blocking(move || load(&path)).await.map_err(io::Error::other)?
    }
}

fn store(dir: &Path, stored: &Stored) -> io::Result<()> {
    let new = dir.join("snapshot.new");
    let mut file = File::create(&new)?;
    let mut bytes = Vec::new();
    MessagePack::write(stored, &mut bytes)?;
    file.write_all(&bytes)?;
    // Before the rename, so that the name never leads to half a snapshot.
    file.sync_all()?;
    fs::rename(&new, dir.join("snapshot"))?;
    // Before any entry is purged because of it.
    File::open(dir)?.sync_all()
}

fn load(path: &Path) -> io::Result<Option<(Meta, Map)>> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let stored: Stored = MessagePack::read(&bytes[..])
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("'{}': {e}", path.display())))?;
    Ok(Some((stored.meta, stored.map)))
}
