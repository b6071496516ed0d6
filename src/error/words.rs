//! The parts of an error's sentence that depend on its fields: mostly what to do.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use super::holder::lock_holder;

/// Chunks of chunked-wal 0.2, on which raft-log 0.4 is built, and those of raft-log before that have the same names, and
/// start with a record of this type, a checkpoint.
const BEGINNING_OF_OLD: [u8; 4] = [0, 0, 0, 5];

/// What to do about a failed operation, from the semicolon on; empty where there is nothing to add.
pub(super) fn io_advice(op: &str, error: &io::Error) -> &'static str {
    let is_for_writing = matches!(op, "lock" | "open for writing" | "remove" | "rename");
    match error.kind() {
        io::ErrorKind::NotADirectory => {
            "; a log is a directory, and this is a file, or a file is on the path to it: move that file, or \
             choose another directory"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; opening a log writes to its directory: to only read it, use `WalReader::open_read_only`, else \
             mount the file system writable"
        }
        io::ErrorKind::PermissionDenied if is_for_writing => {
            "; opening a log takes the permission to write: to only read it, use `WalReader::open_read_only`, \
             else run as the user that owns the log"
        }
        io::ErrorKind::PermissionDenied if op == "create directory" => {
            "; make the directory first, for the user that this program runs as, or choose another one"
        }
        _ => "",
    }
}

/// Who keeps old chunks from being removed, to follow on "remove old chunks".
pub(super) fn held_by(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(", which pin '{name}' keeps (see `holders`)"))
}

/// Which writer holds the lock at `path`, as far as the system reports it at this moment.
pub(super) fn lock_holder_now(path: &Path) -> Cow<'static, str> {
    match lock_holder(path) {
        Some(pid) if pid == i64::from(std::process::id()) => "this process has this log open already".into(),
        Some(pid) if pid > 0 => format!("process {pid} has this log open").into(),
        _ => "another writer has this log open".into(),
    }
}

/// How a file starts that is not a chunk.
pub(super) fn beginning(found: &[u8]) -> Cow<'static, str> {
    match found {
        [] => "the file is empty".into(),
        _ => format!("its first bytes are {found:02x?}").into(),
    }
}

pub(super) fn no_chunk_advice(found: &[u8]) -> &'static str {
    let elsewhere =
        "restore it from a copy, or move it out of the log's directory if it never was one of its chunks";
    old_log_advice(found).unwrap_or(elsewhere)
}

/// What to do with a log of an older format; `None` if a file that starts like this is of none.
pub(crate) fn old_log_advice(found: &[u8]) -> Option<&'static str> {
    found.starts_with(&BEGINNING_OF_OLD).then_some(
        "a log of raft-log or of chunked-wal 0.2 starts like this, and this version doesn't read it: \
         `chunked-wal-import OLD NEW` carries its records over into a new directory",
    )
}

/// What a file needs, what this build has, and how to read the file.
pub(super) fn unsupported(what: &str, found: u64, known: u64) -> String {
    if what == "format version" {
        return format!(
            "has format version {found}, and this version of chunked-wal reads up to {known}: open it with a newer version"
        );
    }
    let how = match what.split_once("cargo feature") {
        Some((_, feature)) => {
            format!("with a build that has the cargo feature{}", feature.trim_end_matches(')'))
        }
        None => "with a newer version".to_string(),
    };
    format!("needs {what} {found:#x}, and this build knows {known:#x}: open it {how}")
}
