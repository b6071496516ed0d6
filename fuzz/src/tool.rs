//! The same directory, on a disk, by the command `chunked-wal`: each of its commands ends with a status that its
//! help lists, only `repair --apply` changes a file, and what was repaired opens.
//!
//! The command runs as a process, so its code is not what coverage guides. `TOOL` names it, or it is looked for
//! where `cargo build --release --features cli,lz4` puts it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chunked_wal::Error;
use chunked_wal::storage::MemoryStorage;

use crate::run::{Verdict, decode, examine};

/// Runs one input; a panic, a wait without end or a difference is a finding.
pub fn tool(data: &[u8]) -> String {
    let disk = decode(data);
    let verdict = examine(&disk.storage, &disk.config);
    let dir = tempfile::tempdir().expect("a directory for it");
    let dir = dir.path();
    for (path, bytes) in disk.storage.snapshot() {
        // A name that this file system would not have is in no such directory.
        let _no_such_name = path.file_name().map(|name| fs::write(dir.join(name), &bytes));
    }
    let before = files(dir);
    let looks = look(dir, &verdict);
    assert_eq!(before, files(dir), "changed by those who only look");
    let repaired = repair(dir, data);
    format!("{} | {looks} | {repaired}", verdict.kind)
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries =
        fs::read_dir(dir).expect("the directory is there").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.clone(), fs::read(&path).expect("a file that was written"))).collect()
}

/// What the command prints, and the status that it ends with.
fn command(args: &[&str], dir: &Path) -> (i32, String) {
    let tool = std::env::var("TOOL").unwrap_or_else(|_| "../target/release/chunked-wal".to_string());
    let Output { status, stdout, stderr } =
        Command::new(&tool).args(args).arg(dir).output().unwrap_or_else(|error| {
            eprintln!(
                "'{tool}' does not start: {error}; build it with `cargo build --release --features cli,lz4`"
            );
            std::process::exit(1)
        });
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let code = status.code().unwrap_or(-1);
    assert!((0..=9).contains(&code) || code == 64, "{args:?} ends with {status}: {err}");
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    (code, out.into_owned())
}

/// Those that only look; they and the log agree on what is sound.
fn look(dir: &Path, verdict: &Verdict) -> String {
    let (inspected, object) = command(&["inspect", "--json"], dir);
    let (verified, _) = command(&["verify", "--salvage", "--json"], dir);
    let (dumped, lines) = command(&["dump", "--salvage", "--format", "json"], dir);
    let (planned, _) = command(&["repair"], dir);
    if inspected <= 2 {
        assert!(object.trim().starts_with('{') && object.trim().ends_with('}'), "{object}");
    }
    match &verdict.outcome {
        Ok(replayed) if !replayed.is_empty() => {
            assert!(verified <= 1, "it opens, but 'verify' says {verified}");
            assert!(replayed.len() <= lines.lines().count(), "{} replayed of {lines}", replayed.len());
        }
        Err(error) if is_damage(error) => {
            assert!(verified >= 2, "it doesn't open, but 'verify' says {verified}");
        }
        _ => {}
    }
    format!("{inspected} {verified} {dumped} {planned}, {} records", lines.lines().count().min(9))
}

fn is_damage(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt { .. } | Error::Gap { .. } | Error::NotAChunk { .. } | Error::ForeignChunk { .. }
    )
}

/// What was repaired has nothing left to repair, and opens as far as its records can be decoded.
fn repair(dir: &Path, data: &[u8]) -> String {
    let keep = ["before", "behind", "all", ""][data.len() % 4];
    let args = ["repair", "--apply", "--keep", keep];
    let (code, _) = command(if keep.is_empty() { &args[..2] } else { &args }, dir);
    if code != 0 {
        return format!("{keep} {code}");
    }
    let storage = MemoryStorage::default();
    let disk = decode(&[]);
    for (path, bytes) in files(dir) {
        let name = path.file_name().unwrap_or_default();
        let _no_such_name = storage.write_file(disk.config.dir.join(name), &bytes);
    }
    let verdict = examine(&storage, &disk.config);
    assert!(!verdict.outcome.as_ref().is_err_and(is_damage), "repaired, but {:?}", verdict.outcome);
    format!("{keep} {}", verdict.kind)
}
