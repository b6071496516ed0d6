//! Memory of this process, as the kernel counts it.

use std::fs;

use anyhow::Context as _;
use anyhow::Result;

/// Bytes resident now; forgets how many there were at most.
pub(crate) fn reset_peak() -> Result<u64> {
    fs::write("/proc/self/clear_refs", "5").context("reset the peak of memory")?;
    status("VmRSS:")
}

/// The most bytes resident since the last [`reset_peak`].
pub(crate) fn peak() -> Result<u64> {
    status("VmHWM:")
}

/// Bytes resident now.
pub(crate) fn resident() -> Result<u64> {
    status("VmRSS:")
}

fn status(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no such line")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}
