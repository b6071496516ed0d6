//! How a command ends: its exit status, and the one line of a failure.

use std::io;
use std::path::Path;

use super::print::count;
use crate::error::Error;

/// Wrong arguments.
pub(super) const USAGE: u8 = 64;

const CANT_BE_READ: u8 = 3;
const NO_DIRECTORY: u8 = 4;
const NO_PERMISSION: u8 = 5;
const EMPTY: u8 = 6;
const NO_LOG: u8 = 7;
const NEWER: u8 = 8;
const LOCKED: u8 = 9;

/// Every exit status, in the words of `--help`.
const STATUSES: [(u8, &str); 11] = [
    (0, "done, and nothing read is wrong"),
    (1, "a torn tail and nothing worse: a crash caught the last write; the next open cuts it off"),
    (2, "the log is corrupt"),
    (CANT_BE_READ, "the log can't be read: an error of the disk or the system"),
    (NO_DIRECTORY, "there is no such directory"),
    (NO_PERMISSION, "no permission"),
    (EMPTY, "the directory is empty"),
    (NO_LOG, "the directory has files, but none of a log"),
    (NEWER, "the log needs a newer version of this command, or a build with more features"),
    (LOCKED, "another process has the log open"),
    (USAGE, "wrong arguments"),
];

/// The statuses of the commands that look at one log.
pub(super) const LOOKING: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, USAGE];
/// Those of `follow`, to which a torn end is a write under way.
pub(super) const FOLLOWING: &[u8] = &[0, 2, 3, 4, 5, 6, 7, 8, USAGE];
/// `verify` may look at many logs: one that can't be read counts as 3, whatever the reason.
pub(super) const VERIFYING: &[u8] = &[0, 1, 2, 3, USAGE];
pub(super) const REPAIRING: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, LOCKED, USAGE];
/// `bench` reads no log.
pub(super) const MEASURING: &[u8] = &[0, 3, 4, 5, USAGE];

/// The exit statuses of a command, as `--help` shows them.
pub(super) fn help(statuses: &[u8]) -> String {
    let lines = STATUSES.iter().filter(|(code, _)| statuses.contains(code));
    let lines: Vec<String> = lines.map(|(code, what)| format!("  {code:>2}  {what}")).collect();
    format!("Exit status:\n{}", lines.join("\n"))
}

/// The result of a command that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Sound,
    Torn,
    Corrupt,
    CantBeRead,
}

impl Outcome {
    pub(super) fn code(self) -> u8 {
        match self {
            Outcome::Sound => 0,
            Outcome::Torn => 1,
            Outcome::Corrupt => 2,
            Outcome::CantBeRead => CANT_BE_READ,
        }
    }

    /// The outcome in words, for a log.
    pub(super) fn verdict(self) -> &'static str {
        match self {
            Outcome::Sound => "sound",
            Outcome::Torn => "torn tail",
            Outcome::Corrupt => "corrupt",
            Outcome::CantBeRead => "can't be read",
        }
    }
}

/// Why a command didn't do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The reader of the output is gone, so there is nothing to report.
    OutputClosed,
    Message {
        code: u8,
        line: String,
    },
}

impl Failure {
    pub(super) fn usage(line: impl Into<String>) -> Self {
        Failure::Message { code: USAGE, line: line.into() }
    }

    pub(super) fn no_directory(dir: &Path, why: &str) -> Self {
        Failure::Message { code: NO_DIRECTORY, line: format!("'{}' {why}", dir.display()) }
    }

    pub(super) fn empty(dir: &Path) -> Self {
        let line = format!("'{}' is empty: there is no log in it yet", dir.display());
        Failure::Message { code: EMPTY, line }
    }

    /// `hint`: more to say, from the semicolon on; may be empty.
    pub(super) fn no_log(dir: &Path, files: usize, hint: &str) -> Self {
        let what = if files == 1 {
            "its only file isn't".into()
        } else {
            format!("none of its {} is", count(files as u64, "file"))
        };
        let line = format!("'{}' is not a log's directory: {what} a chunk of a log{hint}", dir.display());
        Failure::Message { code: NO_LOG, line }
    }

    /// The failure of an operation on a file or directory.
    pub(super) fn io(op: &str, path: &Path, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { NO_PERMISSION } else { CANT_BE_READ };
        Failure::Message { code, line: format!("{op} '{}' failed: {error}", path.display()) }
    }

    /// Whether there may be a log later: the directory is missing, or has none yet.
    pub(super) fn is_no_log_yet(&self) -> bool {
        matches!(self, Failure::Message { code: NO_DIRECTORY | EMPTY | NO_LOG, .. })
    }

    pub(super) fn line(&self) -> &str {
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
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt { .. }
            | Error::Gap { .. }
            | Error::ForeignChunk { .. }
            | Error::NotAChunk { .. }
            | Error::Decode { .. }
    )
}
