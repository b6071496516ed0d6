//! The messages between a server and its disk.
//!
//! ```text
//! length of head, 4 bytes | length of bytes, 4 bytes | head, as JSON | bytes
//! ```
//!
//! The head is a [`Request`] or an [`Answer`]; the bytes are those that are written or read.

use std::io;
use std::io::ErrorKind;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The number of an open file, or of a lock that is held.
pub(super) type Handle = u64;

/// A call of [`Storage`](chunked_wal::storage::Storage).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Request {
    CreateDir(PathBuf),
    ResolveDir(PathBuf),
    List(PathBuf),
    Create(PathBuf),
    OpenToRead(PathBuf),
    OpenToWrite(PathBuf),
    Rename(PathBuf, PathBuf),
    RenameNew(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
    Lock(PathBuf),
    /// Closes a file, or releases a lock.
    Close(Handle),
    File(Handle, FileRequest),
}

/// A call of [`StorageFile`](chunked_wal::storage::StorageFile).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum FileRequest {
    ReadAt { len: usize, position: u64 },
    WriteAt { position: u64 },
    NextData(u64),
    Sync,
    Allocate(u64),
    SetLen(u64),
    Len,
}

/// The result of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Done {
    Nothing,
    Path(PathBuf),
    Names(Vec<String>),
    Handle(Handle),
    /// A lock that another process holds.
    Locked,
    Number(u64),
    Position(Option<u64>),
}

/// A result, or the number of the error.
pub(super) type Answer = Result<Done, i32>;

/// The system's number for an error.
pub(super) fn errno(error: &io::Error) -> i32 {
    let by_kind = match error.kind() {
        ErrorKind::NotFound => Errno::NOENT,
        ErrorKind::AlreadyExists => Errno::EXIST,
        ErrorKind::NotADirectory => Errno::NOTDIR,
        ErrorKind::IsADirectory => Errno::ISDIR,
        ErrorKind::CrossesDevices => Errno::XDEV,
        ErrorKind::InvalidInput => Errno::INVAL,
        _ => Errno::IO,
    };
    error.raw_os_error().unwrap_or(by_kind.raw_os_error())
}

/// The length of a message's lengths.
pub(super) const LENGTHS: usize = 8;

/// Returns a message's bytes.
pub(super) fn encode(head: &impl Serialize, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let head = serde_json::to_vec(head)?;
    let mut message = Vec::with_capacity(LENGTHS + head.len() + bytes.len());
    for part in [&head[..], bytes] {
        let len = u32::try_from(part.len()).map_err(|_| ErrorKind::InvalidInput)?;
        message.extend(len.to_le_bytes());
    }
    message.extend(head);
    message.extend(bytes);
    Ok(message)
}

/// Returns the lengths of a message's head and of its bytes.
pub(super) fn lengths(message: [u8; LENGTHS]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = message;
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize)
}

/// Returns a message's head; `rest` comes after the lengths, and keeps the bytes.
pub(super) fn decode<T: DeserializeOwned>(rest: &mut Vec<u8>, head_len: usize) -> io::Result<T> {
    let bytes = rest.split_off(head_len);
    let head = serde_json::from_slice(rest)?;
    *rest = bytes;
    Ok(head)
}
