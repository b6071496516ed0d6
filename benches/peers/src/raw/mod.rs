//! Raw system calls: the limit that each workload is held against. Where there are several ways, the best one in a run
//! is the limit.

pub(crate) mod append;
pub(crate) mod completions;
pub(crate) mod crc;
pub(crate) mod file;
pub(crate) mod frame;
pub(crate) mod group;
pub(crate) mod leader;
pub(crate) mod pipeline;
pub(crate) mod read;
pub(crate) mod replay;
pub(crate) mod sync;
