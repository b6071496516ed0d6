//! Addresses of servers, as files in a directory: the system assigns another port at every start, so
//! that no port is ever taken.

use std::io;
use std::path::{Path, PathBuf};

use super::types::NodeId;

/// A directory with a file for each server that listens.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    dir: PathBuf,
}

impl Addresses {
    pub(crate) fn new(dir: &Path) -> Self {
        Addresses { dir: dir.to_owned() }
    }

    fn file(&self, id: NodeId) -> PathBuf {
        self.dir.join(format!("node-{id}.address"))
    }

    /// Publishes a server's address.
    pub(crate) fn publish(&self, id: NodeId, address: &str) -> io::Result<()> {
        let new = self.dir.join(format!("node-{id}.address.new"));
        std::fs::write(&new, address)?;
        // A reader finds the whole old address or the whole new one.
        std::fs::rename(new, self.file(id))
    }

    /// Removes a server's address.
    pub(crate) fn forget(&self, id: NodeId) {
        let _was_not_there = std::fs::remove_file(self.file(id));
    }

    /// Returns a server's address; an error while it doesn't listen.
    pub(crate) fn address(&self, id: NodeId) -> io::Result<String> {
        std::fs::read_to_string(self.file(id))
    }

    /// Returns the URL of a path at a server; an error while the server doesn't listen.
    pub(crate) fn url(&self, id: NodeId, path: &str) -> io::Result<String> {
        Ok(format!("http://{}{path}", self.address(id)?))
    }
}
