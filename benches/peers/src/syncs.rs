//! Which peers sync: counts the calls that make data durable, as `strace` sees them, for each record
//! appended durably.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use anyhow::Result;

use crate::child::Task;
use crate::child::What;
use crate::context::Context;
use crate::peer::Peer;
use crate::peer::Setup;
use crate::table::number;

const RECORDS: u64 = 100;

/// Returns a Markdown table of each peer's calls for one record.
pub(crate) fn table(context: &Context) -> Result<String> {
    let mut out = String::from(
        "| calls for each durable append | `fdatasync` | `fsync` | `msync` | writes to files opened with `O_SYNC` or `O_DSYNC`, or with `RWF_DSYNC` |\n",
    );
    out.push_str("| --- | ---: | ---: | ---: | ---: |\n");
    for peer in &context.peers {
        let dir = context.dir.join(format!("syncs-{}", peer.name().replace(' ', "-")));
        fs::create_dir_all(&dir)?;
        let few = watch(*peer, &dir, 0)?;
        let many = watch(*peer, &dir, RECORDS)?;
        let _ = write!(out, "| {} |", peer.name());
        for (few, many) in few.iter().zip(many) {
            let _ = write!(out, " {} |", number((many as f64 - *few as f64) / RECORDS as f64));
        }
        out.push('\n');
        fs::remove_dir_all(&dir)?;
    }
    Ok(out)
}

fn watch(peer: &dyn Peer, dir: &Path, records: u64) -> Result<[u64; 4]> {
    let trace = dir.with_extension("strace");
    let mut strace = Command::new("strace");
    let calls = "trace=fsync,fdatasync,msync,pwritev2,openat,write,pwrite64,close";
    strace.args(["-f", "-y", "-e", calls, "-o"]).arg(&trace).arg(std::env::current_exe()?);
    let setup = Setup::forgetting(16 << 20);
    let task =
        Task { what: What::Durable(records), peer: peer.name().to_owned(), dir: dir.join("log"), setup };
    fs::create_dir_all(&task.dir)?;
    task.run_under(strace).context("is `strace` installed?")?;
    let counts = count(&fs::read_to_string(&trace)?);
    fs::remove_file(trace)?;
    fs::remove_dir_all(&task.dir)?;
    Ok(counts)
}

/// Counts `fdatasync`, `fsync`, `msync`, and writes that sync by themselves.
fn count(trace: &str) -> [u64; 4] {
    let mut counts = [0; 4];
    let mut synchronous = Vec::new();
    for line in trace.lines() {
        // "123 call(arguments) = result", with the file's path after a descriptor.
        let Some((_, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let Some((name, arguments)) = call.split_once('(') else { continue };
        let path =
            || arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
        match name {
            "fdatasync" => counts[0] += 1,
            "fsync" => counts[1] += 1,
            "msync" if arguments.contains("MS_SYNC") => counts[2] += 1,
            "openat" if arguments.contains("O_SYNC") || arguments.contains("O_DSYNC") => {
                let opened = arguments.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
                synchronous.extend(opened.map(|(path, _)| path));
            }
            "pwritev2" if arguments.contains("RWF_DSYNC") || arguments.contains("RWF_SYNC") => counts[3] += 1,
            "write" | "pwrite64" if path().is_some_and(|path| synchronous.contains(&path)) => counts[3] += 1,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_sync_are_counted() {
        let trace = "\
            1 openat(AT_FDCWD</x>, \"/a\", O_RDWR|O_SYNC|O_CLOEXEC) = 3</a>\n\
            1 openat(AT_FDCWD</x>, \"/b\", O_RDWR|O_CLOEXEC) = 4</b>\n\
            1 pwrite64(3</a>, \"\"..., 64, 0) = 64\n\
            2 pwrite64(4</b>, \"\"..., 64, 0) = 64\n\
            2 fdatasync(4</b>) = 0\n\
            2 fsync(4</b> <unfinished ...>\n\
            2 <... fsync resumed>) = 0\n\
            2 msync(0x7f00, 4096, MS_SYNC) = 0\n\
            2 msync(0x7f00, 4096, MS_ASYNC) = 0\n\
            2 pwritev2(4</b>, [], 1, 0, RWF_DSYNC) = 64\n";
        assert_eq!(count(trace), [1, 1, 1, 2]);
    }
}
