//! [`Inspection`]: the groups of a log that another process may have open.

use std::path::Path;

use chunked_wal::raw::Listing;
use chunked_wal::{ReadUpTo, WalReader, WalRecord};

use crate::error::Result;
use crate::holders::{Holder, holders_of};
use crate::index::Index;
use crate::record::GroupWal;

/// How many times a log is read whose chunks are removed meanwhile.
const ATTEMPTS: usize = 5;

/// What a directory's log has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The bytes of the log, from its oldest chunk to its end.
    pub log: u64,
    /// The bytes of all records that are alive.
    pub alive: u64,
    /// The number of chunks.
    pub chunks: usize,
    /// What each group holds, the group with the most bytes first.
    pub holders: Vec<Holder>,
}

/// Reads the log in `dir`, all of it, without a lock and without changing anything. Blocks meanwhile.
///
/// ```no_run
/// let inspection = chunked_wal_groups::inspect("/var/lib/my-store/groups")?;
/// println!("{} groups", inspection.holders.len());
/// # Ok::<(), chunked_wal_groups::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Wal`](crate::Error::Wal): damage, or no log. [`Error::EntryMissing`](crate::Error::EntryMissing). A process
/// that reclaims fast may remove chunks while they are read; after a few attempts that is an error of a missing chunk.
pub fn inspect(dir: impl AsRef<Path>) -> Result<Inspection> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match attempt(dir.as_ref()) {
            Err(_removed) if left > 0 => {}
            done => return done,
        }
    }
}

fn attempt(dir: &Path) -> Result<Inspection> {
    // To the last written record: what was appended anew before the oldest chunk went is written, and maybe not yet
    // proven to be durable.
    let reader = WalReader::<GroupWal>::read_only_options(dir).up_to(ReadUpTo::Written).open()?;
    let mut index = Index::default();
    for read in reader.records() {
        let (chunk, at, record) = read?;
        if let WalRecord::Action(record) = record {
            index.record(&record, chunk, at)?;
        }
    }
    index.check()?;
    let chunks = Listing::of(dir)?.chunks;
    let log = reader.end() - reader.start();
    Ok(Inspection { log, alive: index.alive(), chunks: chunks.len(), holders: holders_of(&index, &chunks) })
}
