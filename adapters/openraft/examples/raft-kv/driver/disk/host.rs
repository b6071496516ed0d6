//! [`Disk`]: the driver's side, files in memory for one server after the other.
//!
//! - Each process of a server has a [`Session`] with a socket of its own, so a request that a killed
//!   process left in its socket never reaches the disk of its successor.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use chunked_wal::storage::{Access, MemoryStorage, Storage, StorageFile};
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::protocol::{Answer, Done, FileRequest, Handle, LENGTHS, Request, decode, encode, errno, lengths};

/// A server's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    files: MemoryStorage,
    acknowledges_early: Arc<AtomicBool>,
    /// The tasks for the server's process. Dropping them closes its files and its socket.
    serving: JoinSet<()>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Disk { files: MemoryStorage::default(), acknowledges_early: Arc::default(), serving: JoinSet::new() }
    }

    /// From now on the disk acknowledges syncs, and does none of them. No store may do that: the check must
    /// refuse the histories of a cluster on such disks.
    pub(crate) fn acknowledge_early(&self) {
        self.acknowledges_early.store(true, Relaxed);
    }

    /// Serves a process at a socket that doesn't exist yet.
    pub(crate) fn attach(&mut self, socket: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(socket)?;
        let acknowledges_early = self.acknowledges_early.clone();
        let session = Session { files: self.files.clone(), acknowledges_early, open: Mutex::default() };
        self.serving.spawn(accept(listener, Arc::new(session)));
        Ok(())
    }

    /// The process is gone: its files are closed, and everything that it wrote is there.
    pub(crate) fn killed(&mut self) {
        self.serving = JoinSet::new();
        self.files = self.files.kill();
    }

    /// The power is gone, and the process with it: what it did not sync may be lost. `seed` draws what
    /// is left; 0 loses all that was not synced.
    pub(crate) fn power_off(&mut self, seed: u64) {
        self.serving = JoinSet::new();
        self.files = self.files.crash(seed);
    }

    /// Limits the disk to the space that is in use now.
    pub(crate) fn fill(&self) {
        self.files.set_capacity(Some(self.files.used()));
    }

    /// Lifts the limit.
    pub(crate) fn free(&self) {
        self.files.set_capacity(None);
    }
}

/// The files that one process has open.
#[derive(Debug)]
struct Session {
    files: MemoryStorage,
    acknowledges_early: Arc<AtomicBool>,
    open: Mutex<Handles>,
}

#[derive(Debug, Default)]
struct Handles {
    last: Handle,
    open: BTreeMap<Handle, Open>,
}

#[derive(Debug)]
enum Open {
    File(Arc<dyn StorageFile>),
    Lock(#[allow(dead_code, reason = "held until it is dropped")] Box<dyn Any + Send + Sync>),
}

async fn accept(listener: UnixListener, session: Arc<Session>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer(stream, session.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of one connection, until the process is gone.
async fn answer(mut stream: UnixStream, session: Arc<Session>) -> io::Result<()> {
    loop {
        let mut both = [0; LENGTHS];
        stream.read_exact(&mut both).await?;
        let (head_len, bytes_len) = lengths(both);
        let mut written = vec![0; head_len + bytes_len];
        stream.read_exact(&mut written).await?;
        let request = decode(&mut written, head_len)?;
        let mut read = Vec::new();
        let answer: Answer = session.perform(request, &written, &mut read).map_err(|e| errno(&e));
        stream.write_all(&encode(&answer, &read)?).await?;
    }
}

impl Session {
    fn opened(&self, open: Open) -> Done {
        let handles = &mut *self.open.lock();
        handles.last += 1;
        handles.open.insert(handles.last, open);
        Done::Handle(handles.last)
    }

    fn file(&self, handle: Handle) -> io::Result<Arc<dyn StorageFile>> {
        match self.open.lock().open.get(&handle) {
            Some(Open::File(file)) => Ok(file.clone()),
            _ => Err(Errno::BADF.into()),
        }
    }

    fn perform(&self, request: Request, written: &[u8], read: &mut Vec<u8>) -> io::Result<Done> {
        let files = &self.files;
        Ok(match request {
            Request::CreateDir(dir) => Done::Path(files.create_dir(&dir)?),
            Request::ResolveDir(dir) => Done::Path(files.resolve_dir(&dir)?),
            Request::List(dir) => {
                let names = files.list(&dir)?;
                Done::Names(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
            }
            Request::Create(path) => self.opened(Open::File(files.create(&path)?)),
            Request::OpenToRead(path) => self.opened(Open::File(files.open(&path, Access::Read)?)),
            Request::OpenToWrite(path) => self.opened(Open::File(files.open(&path, Access::ReadWrite)?)),
            Request::Rename(from, to) => nothing(files.rename(&from, &to))?,
            Request::RenameNew(from, to) => nothing(files.rename_new(&from, &to))?,
            Request::Remove(path) => nothing(files.remove(&path))?,
            Request::SyncDir(dir) => nothing(self.sync(|| files.sync_dir(&dir)))?,
            Request::Lock(path) => {
                files.lock(&path)?.map_or(Done::Locked, |lock| self.opened(Open::Lock(lock)))
            }
            Request::Close(handle) => {
                let closed = self.open.lock().open.remove(&handle);
                drop(closed);
                Done::Nothing
            }
            Request::File(handle, request) => {
                let file = self.file(handle)?;
                self.perform_in(file, request, written, read)?
            }
        })
    }

    fn perform_in(
        &self,
        file: Arc<dyn StorageFile>,
        request: FileRequest,
        written: &[u8],
        read: &mut Vec<u8>,
    ) -> io::Result<Done> {
        Ok(match request {
            FileRequest::ReadAt { len, position } => {
                read.resize(len, 0);
                let n = file.read_at(read, position)?;
                read.truncate(n);
                Done::Nothing
            }
            FileRequest::WriteAt { position } => {
                Done::Number(file.write_at(&[IoSlice::new(written)], position)? as u64)
            }
            FileRequest::NextData(position) => Done::Position(file.next_data(position)?),
            FileRequest::Sync => nothing(self.sync(|| file.sync()))?,
            FileRequest::Allocate(len) => nothing(file.allocate(len))?,
            FileRequest::SetLen(len) => nothing(file.set_len(len))?,
            FileRequest::Len => Done::Number(file.len()?),
        })
    }

    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.acknowledges_early.load(Relaxed) { Ok(()) } else { sync() }
    }
}

fn nothing(done: io::Result<()>) -> io::Result<Done> {
    done.map(|()| Done::Nothing)
}
