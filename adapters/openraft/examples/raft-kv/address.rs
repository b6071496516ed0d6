//! Where a server listens, told in a file: the system gives it another port at every start, so that no
//! port is ever taken by somebody else.

use std::io;
use std::path::{Path, PathBuf};

use crate::types::NodeId;

/// The directory of a server's own, in that of the cluster.
pub(crate) fn node_dir(cluster: &Path, id: NodeId) -> PathBuf {
    cluster.join(format!("node-{id}"))
}

fn file(cluster: &Path, id: NodeId) -> PathBuf {
    cluster.join(format!("node-{id}.address"))
}

/// Tells where a server listens.
pub(crate) fn tell(cluster: &Path, id: NodeId, address: &str) -> io::Result<()> {
    let new = cluster.join(format!("node-{id}.address.new"));
    std::fs::write(&new, address)?;
    // Whoever reads it finds all of the old one or all of the new one.
    std::fs::rename(new, file(cluster, id))
}

/// Forgets where a server listened.
pub(crate) fn forget(cluster: &Path, id: NodeId) {
    let _was_not_there = std::fs::remove_file(file(cluster, id));
}

/// The URL of something at a server; none while it doesn't listen.
pub(crate) fn url(cluster: &Path, id: NodeId, path: &str) -> io::Result<String> {
    let address = std::fs::read_to_string(file(cluster, id))?;
    Ok(format!("http://{address}{path}"))
}
