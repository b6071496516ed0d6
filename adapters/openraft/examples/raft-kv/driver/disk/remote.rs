//! [`RemoteDisk`]: the server's side, a [`Storage`] whose every call is a question to the [driver's
//! side](super::host).

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunked_wal::storage::{Access, Storage, StorageFile};
use parking_lot::Mutex;

use super::protocol::{Answer, Done, FileRequest, Handle, LENGTHS, Request, decode, encode, lengths};

/// A disk in another process.
#[derive(Debug, Clone)]
pub(crate) struct RemoteDisk {
    connections: Arc<Connections>,
}

#[derive(Debug)]
struct Connections {
    socket: PathBuf,
    /// Those that no call uses: a call that waits, such as a sync, delays no other.
    idle: Mutex<Vec<UnixStream>>,
}

impl RemoteDisk {
    pub(crate) fn new(socket: PathBuf) -> Self {
        RemoteDisk { connections: Arc::new(Connections { socket, idle: Mutex::default() }) }
    }

    fn ask(&self, request: &Request) -> io::Result<Done> {
        Ok(self.exchange(request, &[])?.0)
    }

    /// Sends a request and its bytes; returns the answer and its bytes.
    fn exchange(&self, request: &Request, bytes: &[u8]) -> io::Result<(Done, Vec<u8>)> {
        let Connections { socket, idle } = &*self.connections;
        let free = idle.lock().pop();
        let mut stream = match free {
            Some(stream) => stream,
            None => UnixStream::connect(socket)?,
        };
        stream.write_all(&encode(request, bytes)?)?;
        let mut both = [0; LENGTHS];
        stream.read_exact(&mut both)?;
        let (head_len, bytes_len) = lengths(both);
        let mut rest = vec![0; head_len + bytes_len];
        stream.read_exact(&mut rest)?;
        let answer: Answer = decode(&mut rest, head_len)?;
        idle.lock().push(stream);
        answer.map(|done| (done, rest)).map_err(io::Error::from_raw_os_error)
    }

    fn handle(&self, request: &Request) -> io::Result<RemoteHandle> {
        match self.ask(request)? {
            Done::Handle(number) => Ok(RemoteHandle { disk: self.clone(), number }),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(done: &Done) -> io::Error {
    io::Error::other(format!("the disk gives another answer than was asked for: {done:?}"))
}

fn path(done: Done) -> io::Result<PathBuf> {
    match done {
        Done::Path(path) => Ok(path),
        other => Err(unexpected(&other)),
    }
}

impl Storage for RemoteDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        path(self.ask(&Request::CreateDir(dir.to_owned()))?)
    }

    fn resolve_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        path(self.ask(&Request::ResolveDir(dir.to_owned()))?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        match self.ask(&Request::List(dir.to_owned()))? {
            Done::Names(names) => Ok(names.into_iter().map(OsString::from).collect()),
            other => Err(unexpected(&other)),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(self.handle(&Request::Create(path.to_owned()))?))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let request = match access {
            Access::Read => Request::OpenToRead(path.to_owned()),
            Access::ReadWrite => Request::OpenToWrite(path.to_owned()),
        };
        Ok(Arc::new(self.handle(&request)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask(&Request::Rename(from.to_owned(), to.to_owned())).map(drop)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask(&Request::RenameNew(from.to_owned(), to.to_owned())).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask(&Request::Remove(path.to_owned())).map(drop)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.ask(&Request::SyncDir(dir.to_owned())).map(drop)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        match self.ask(&Request::Lock(path.to_owned()))? {
            Done::Locked => Ok(None),
            Done::Handle(number) => Ok(Some(Box::new(RemoteHandle { disk: self.clone(), number }))),
            other => Err(unexpected(&other)),
        }
    }
}

/// An open file, or a lock that is held. Dropping it closes the file, or releases the lock.
#[derive(Debug)]
struct RemoteHandle {
    disk: RemoteDisk,
    number: Handle,
}

impl Drop for RemoteHandle {
    fn drop(&mut self) {
        // The driver closes all handles of a process that is gone.
        let _already_closed = self.disk.ask(&Request::Close(self.number));
    }
}

impl RemoteHandle {
    fn ask(&self, request: FileRequest) -> io::Result<Done> {
        self.disk.ask(&Request::File(self.number, request))
    }
}

impl StorageFile for RemoteHandle {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let request = Request::File(self.number, FileRequest::ReadAt { len: buf.len(), position });
        let (_, bytes) = self.disk.exchange(&request, &[])?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        match self.ask(FileRequest::NextData(position))? {
            Done::Position(position) => Ok(position),
            other => Err(unexpected(&other)),
        }
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let request = Request::File(self.number, FileRequest::WriteAt { position });
        match self.disk.exchange(&request, &bytes)?.0 {
            Done::Number(n) => Ok(n as usize),
            other => Err(unexpected(&other)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.ask(FileRequest::Sync).map(drop)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.ask(FileRequest::Allocate(len)).map(drop)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ask(FileRequest::SetLen(len)).map(drop)
    }

    fn len(&self) -> io::Result<u64> {
        match self.ask(FileRequest::Len)? {
            Done::Number(len) => Ok(len),
            other => Err(unexpected(&other)),
        }
    }
}
