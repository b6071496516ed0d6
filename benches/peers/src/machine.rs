//! The machine that measured.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

/// The facts about the machine that a reader needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Type, device and options of the logs' file system.
    pub(crate) filesystem: String,
    /// The day, in UTC.
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        let cpu = field(&fs::read_to_string("/proc/cpuinfo")?, "model name").unwrap_or("unknown").to_owned();
        let memory = fs::read_to_string("/proc/meminfo")?;
        let memory =
            field(&memory, "MemTotal").and_then(|kib| kib.strip_suffix(" kB")).context("no MemTotal")?;
        let dir = dir.canonicalize()?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let date = time::OffsetDateTime::now_utc().date();
        Ok(Machine {
            cpu,
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: memory.parse::<u64>()? / 1024,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            filesystem: filesystem(&mounts, &dir).unwrap_or_else(|| "unknown".to_owned()),
            date: date.to_string(),
        })
    }

    /// Whether files there are never on a disk.
    pub(crate) fn is_memory(&self) -> bool {
        ["tmpfs", "ramfs"].iter().any(|name| self.filesystem.starts_with(name))
    }
}

/// The value after a name and a colon.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// Type, device and options of the last mount of the longest path above `dir`.
fn filesystem(mounts: &str, dir: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, at) = (fields.next()?, fields.next()?);
        let (kind, options) = (fields.next()?, fields.next()?);
        dir.starts_with(at).then(|| (at.len(), format!("{kind} on {device} ({options})")))
    });
    mounts.max_by_key(|(len, _)| *len).map(|(_, shown)| shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,nosuid 0 0\n/dev/b /tmp/x xfs rw 0 0\n";
        let of = |dir| filesystem(mounts, Path::new(dir)).unwrap();
        assert_eq!(of("/home"), "ext4 on /dev/a (rw)");
        assert_eq!(of("/tmp/y"), "tmpfs on tmpfs (rw,nosuid)");
        assert_eq!(of("/tmp/x/y"), "xfs on /dev/b (rw)");
    }
}
