//! A disk that outlives its server, and loses power on command.
//!
//! ```text
//! server's process                                driver's process
//! LogStore, Snapshots ─► RemoteDisk ── socket ──► Disk ─► MemoryStorage
//!                                                  ├─ killed      all that was written is still there
//!                                                  ├─ power_off   only what was synced must be there
//!                                                  └─ limit       writes fail: the disk is full
//! ```
//!
//! The files are in the driver, on chunked-wal's [`MemoryStorage`], and the server reaches them through
//! a socket. So a killed server loses nothing that it wrote, as with a real disk, and a power loss still
//! takes what an earlier, killed process wrote and did not sync. What a power loss leaves is drawn from a
//! seed: unsynced writes, sizes and names are kept, lost or torn one by one. No privilege is needed, as
//! it is to mount a small file system, and no process has to be alive to lose power.

mod host;
mod protocol;
mod remote;
#[cfg(test)]
mod tests;

pub(crate) use self::host::Disk;
pub(crate) use self::remote::RemoteDisk;
