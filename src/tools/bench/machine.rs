//! When and where was measured.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Lines for people: the day in UTC, the machine, and the disk of `dir`, as far as the system tells.
pub(super) fn describe(dir: &Path) -> Vec<String> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let day = now.split('T').next().unwrap_or_default();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let cpu = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cpu = cpu.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let system =
        if kernel.is_empty() { std::env::consts::OS.to_string() } else { format!("Linux {}", kernel.trim()) };
    let disk = fs::canonicalize(dir).ok().and_then(|dir| file_system(&read("/proc/self/mounts"), &dir));
    vec![
        format!("{day}: {cpu}, {cores} cores, {system}"),
        format!("on {}", disk.as_deref().unwrap_or("an unknown file system")),
    ]
}

/// The type and device of the last mount of the longest path above `dir`.
fn file_system(mounts: &str, dir: &Path) -> Option<String> {
    let above = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, at, kind) = (words.next()?, words.next()?, words.next()?);
        dir.starts_with(at).then(|| (at.len(), format!("{kind} on {device}")))
    });
    above.max_by_key(|(len, _)| *len).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts_and_of_two_the_last() {
        let mounts = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/b /data xfs rw 0 0\n/dev/c /data btrfs rw 0 0\n";
        let found = |dir: &str| file_system(mounts, Path::new(dir));
        assert_eq!(found("/data/log").as_deref(), Some("btrfs on /dev/c"));
        assert_eq!(found("/database").as_deref(), Some("ext4 on /dev/a"));
        assert_eq!(file_system("", Path::new("/")), None);
    }
}
