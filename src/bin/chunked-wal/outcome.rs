//! How a command ends: its exit status, and the one line of a failure.

use std::io;
use std::path::Path;

use chunked_wal::Error;

/// Wrong arguments.
pub(crate) const USAGE: u8 = 64;

const CANT_BE_READ: u8 = 3;
const NO_DIRECTORY: u8 = 4;
const NO_PERMISSION: u8 = 5;
const EMPTY: u8 = 6;
const NO_LOG: u8 = 7;
const NEWER: u8 = 8;
const LOCKED: u8 = 9;

/// The exit statuses, as `--help` shows them.
pub(crate) const HELP: &str = "\
Exit status:
   0  done, and nothing read is wrong: 'verify' reads every byte, 'inspect' does not
   1  a torn tail and nothing worse: a crash caught the last write; the next open cuts it off
   2  the log is corrupt
   3  the log can't be read: an error of the disk or the system
   4  there is no such directory
   5  no permission
   6  the directory is empty
   7  the directory has files, but none of a log
   8  the log needs a newer version of this command, or a build with more features
   9  another process has the log open (matters only to 'repair --apply')
  64  wrong arguments
'verify' may look at many logs, and returns only 0 to 3: the highest of all logs, with 3 for each
log that it can't read.";

/// The result of a command that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Sound,
    Torn,
    Corrupt,
    CantBeRead,
}

impl Outcome {
    pub(crate) fn code(self) -> u8 {
        match self {
            Outcome::Sound => 0,
            Outcome::Torn => 1,
            Outcome::Corrupt => 2,
            Outcome::CantBeRead => CANT_BE_READ,
        }
    }
}

/// Why a command didn't do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The reader of the output is gone, so there is nothing to report.
    OutputClosed,
    Message {
        code: u8,
        line: String,
    },
}

impl Failure {
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Failure::Message { code: USAGE, line: line.into() }
    }

    pub(crate) fn no_directory(dir: &Path, why: &str) -> Self {
        Failure::Message { code: NO_DIRECTORY, line: format!("'{}' {why}", dir.display()) }
    }

    pub(crate) fn empty(dir: &Path) -> Self {
        let line = format!("'{}' is empty: there is no log in it yet", dir.display());
        Failure::Message { code: EMPTY, line }
    }

    pub(crate) fn no_log(dir: &Path, files: usize) -> Self {
        let what =
            if files == 1 { "its only file isn't".into() } else { format!("none of its {files} files is") };
        let line = format!("'{}' is not a log's directory: {what} a chunk of a log", dir.display());
        Failure::Message { code: NO_LOG, line }
    }

    /// The failure of an operation on a file or directory.
    pub(crate) fn io(op: &str, path: &Path, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { NO_PERMISSION } else { CANT_BE_READ };
        Failure::Message { code, line: format!("{op} '{}' failed: {error}", path.display()) }
    }

    pub(crate) fn line(&self) -> &str {
        match self {
            Failure::OutputClosed => "the output is closed",
            Failure::Message { line, .. } => line,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Locked { .. } => LOCKED,
            Error::NotFound { .. } => EMPTY,
            Error::Unsupported { .. } => NEWER,
            Error::TornTail { .. } => Outcome::Torn.code(),
            _ if is_damage(&error) => Outcome::Corrupt.code(),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => NO_PERMISSION,
            _ => CANT_BE_READ,
        };
        Failure::Message { code, line: error.to_string() }
    }
}

/// An error of writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => {
                Failure::Message { code: CANT_BE_READ, line: format!("the output can't be written: {error}") }
            }
        }
    }
}

/// Whether an error means that bytes have changed since they were written.
pub(crate) fn is_damage(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt { .. }
            | Error::Gap { .. }
            | Error::ForeignChunk { .. }
            | Error::NotAChunk { .. }
            | Error::Decode { .. }
    )
}
