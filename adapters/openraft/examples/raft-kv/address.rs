//! A server's address, in a file: the system assigns another port at every start, so that no port is
//! ever taken.

use std::io;
use std::path::{Path, PathBuf};

use crate::types::NodeId;

/// A server's directory, in the cluster's directory.
pub(crate) fn node_dir(cluster: &Path, id: NodeId) -> PathBuf {
    cluster.join(format!("node-{id}"))
}

fn file(cluster: &Path, id: NodeId) -> PathBuf {
    cluster.join(format!("node-{id}.address"))
}

/// Publishes a server's address.
pub(crate) fn publish(cluster: &Path, id: NodeId, address: &str) -> io::Result<()> {
    let new = cluster.join(format!("node-{id}.address.new"));
    std::fs::write(&new, address)?;
    // A reader finds the whole old address or the whole new one.
    std::fs::rename(new, file(cluster, id))
}

/// Removes a server's address.
pub(crate) fn forget(cluster: &Path, id: NodeId) {
    let _was_not_there = std::fs::remove_file(file(cluster, id));
}

/// Returns the URL of a path at a server; an error while the server doesn't listen.
pub(crate) fn url(cluster: &Path, id: NodeId, path: &str) -> io::Result<String> {
    let address = std::fs::read_to_string(file(cluster, id))?;
    Ok(format!("http://{address}{path}"))
}
