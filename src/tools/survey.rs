//! Whether a directory has a log in it, and whether a process has the log open.

use std::io;
use std::path::{Path, PathBuf};

use super::outcome::Failure;
use super::{Tool, print};
use crate::directory::{LOCK_NAME, Unnamed};
use crate::error::{Error, lock_holder, old_log_advice};
use crate::position::ChunkId;
use crate::raw::{Listing, RawChunk};
use crate::storage::Storage;

/// Lists a log's directory; for anything else, fails with a line that says what it is.
pub(super) fn survey(storage: &dyn Storage, dir: &Path) -> Result<Listing, Failure> {
    let listing = match Listing::of_storage(storage, dir) {
        Ok(listing) => listing,
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            let why = "is a file; a log is a directory".to_string();
            let log = dir.parent().filter(|parent| has_log(storage, parent));
            return Err(Failure::no_directory(dir, &(why + &did_you_mean(log))));
        }
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::no_directory(dir, "does not exist: no such directory"));
        }
        Err(error) => return Err(error.into()),
    };
    // Files that only have the names of chunks are not a log.
    let is_foreign =
        |id: &ChunkId| matches!(RawChunk::open_on(storage, dir, *id), Err(Error::NotAChunk { .. }));
    if !listing.chunks.is_empty() && !listing.chunks.iter().all(is_foreign) {
        return Ok(listing);
    }
    let files = listing.chunks.len() + listing.foreign.len();
    let hint = match old_log(storage, dir, &listing) {
        Some(advice) => format!("; {advice}"),
        None => did_you_mean(log_inside(storage, dir, &listing).as_deref()),
    };
    Err(if files == 0 { Failure::empty(dir) } else { Failure::no_log(dir, files, &hint) })
}

/// What to do with the log in `dir` if it has an older format.
fn old_log(storage: &dyn Storage, dir: &Path, listing: &Listing) -> Option<&'static str> {
    match RawChunk::open_on(storage, dir, *listing.chunks.first()?) {
        Err(Error::NotAChunk { found, .. }) => old_log_advice(&found),
        _ => None,
    }
}

/// The spare that continues a log which no process has open, because a crash has taken its name back.
pub(super) fn unnamed(tool: &Tool, dir: &Path, listing: &Listing, is_open: bool) -> Option<Unnamed> {
    // An open log may be about to name it; what is wrong otherwise is reported without it.
    if is_open { None } else { Unnamed::find(&*tool.storage, dir, listing).ok()? }
}

impl Unnamed {
    /// What is to be said of it.
    pub(super) fn text(&self) -> String {
        let name = print::name(self.path.file_name().unwrap_or_default());
        format!("{name} continues the log at offset {}: open the log to take it over", self.id().0)
    }
}

/// A directory inside `dir` that has a log; the one named `log` first.
fn log_inside(storage: &dyn Storage, dir: &Path, listing: &Listing) -> Option<PathBuf> {
    // The name of a directory ends in a slash, which a path's file name leaves out.
    let name = |path: &PathBuf| {
        path.to_string_lossy().ends_with('/').then(|| path.file_name().map(ToOwned::to_owned))?
    };
    let mut names: Vec<_> = listing.foreign.iter().filter_map(name).collect();
    names.sort_by_key(|name| name != "log");
    names.into_iter().map(|name| dir.join(name)).find(|inside| has_log(storage, inside))
}

fn has_log(storage: &dyn Storage, dir: &Path) -> bool {
    Listing::of_storage(storage, dir).is_ok_and(|listing| !listing.chunks.is_empty())
}

fn did_you_mean(log: Option<&Path>) -> String {
    let shown =
        |log: &Path| if log.as_os_str().is_empty() { ".".to_string() } else { log.display().to_string() };
    log.map_or_else(String::new, |log| format!("; did you mean '{}'?", shown(log)))
}

/// Whether a process has the log open, as far as the system reports it.
///
/// Trying the lock would find out, too, but would make an open that happens at that moment fail.
pub(super) fn is_open(dir: &Path) -> bool {
    lock_holder(&dir.join(LOCK_NAME)).is_some()
}
