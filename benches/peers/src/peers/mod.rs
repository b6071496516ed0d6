//! The logs that take part, each in a file of its own.

mod ours;

use crate::peer::Peer;

/// All of them, in the order in which they take turns and stand in tables.
pub(crate) fn all() -> Vec<&'static dyn Peer> {
    ours::ALL.iter().map(|peer| peer as &dyn Peer).collect()
}
