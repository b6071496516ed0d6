//! The command, as a process.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::{TestLog, compare, original_in};

pub(crate) const COMMAND: &str = env!("CARGO_BIN_EXE_chunked-wal-archive");

fn run(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    Command::new(COMMAND).args(args.iter().map(|arg| arg.as_ref())).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    assert_eq!(code(output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn run_status_restore_verify_prune() {
    let dir = tempfile::tempdir().unwrap();
    let [log_dir, store, restored] = ["log", "archive", "restored"].map(|name| dir.path().join(name));
    let mut log = TestLog::on_disk(&log_dir);
    log.append(60).unwrap();
    log.wal.close().unwrap();
    let end = json(&run(&[&"run", &log_dir, &store, &"--once", &"--json"]))["end"].as_u64().unwrap();
    let status = json(&run(&[&"status", &store, &"--json"]));
    assert_eq!((status["start"].as_u64(), status["end"].as_u64()), (Some(0), Some(end)));
    assert_eq!(json(&run(&[&"verify", &store, &"--json"]))["verdict"], "sound");
    let newest = status["newest"].as_str().unwrap();
    let args: [&dyn AsRef<std::ffi::OsStr>; 8] =
        [&"restore", &store, &restored, &"--from", &"oldest", &"--to", &newest, &"--json"];
    assert_eq!(json(&run(&args))["end"].as_u64(), Some(end));
    assert_eq!(compare(&restored, original_in(&log_dir)), 60);
    // The log is kept for the next run, until it is released.
    let place = log_dir.join("subscribers/archive/cursor");
    assert!(place.exists());
    assert_eq!(code(&run(&[&"release", &log_dir])), 0);
    assert!(!place.exists());
    assert_eq!(code(&run(&[&"run", &log_dir, &store, &"--once", &"--no-pin"])), 0);
    assert!(!place.exists());
    assert_eq!(code(&run(&[&"pin", &store, &"all", &"100"])), 0);
    assert_eq!(json(&run(&[&"prune", &store, &"--keep-bytes", &"1", &"--json"]))["start"], 0);
    assert_eq!(code(&run(&[&"unpin", &store, &"all"])), 0);
    assert!(json(&run(&[&"prune", &store, &"--keep-age", &"0s", &"--json"]))["start"].as_u64() > Some(0));
    let text = String::from_utf8(run(&[&"status", &store]).stdout).unwrap();
    assert!(text.contains(&format!(" to {end}\n")), "{text}");
}

#[test]
fn each_failure_has_its_exit_status_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["empty", "taken"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    std::fs::write(at("taken").join("file"), "").unwrap();
    let mut log = TestLog::on_disk(&at("log"));
    log.append(30).unwrap();
    log.wal.close().unwrap();
    assert_eq!(code(&run(&[&"run", &at("log"), &at("archive"), &"--once"])), 0);
    let cases: [(&[&dyn AsRef<std::ffi::OsStr>], i32, &str); 10] = [
        (&[&"status", &at("none")], 4, "no such directory"),
        (&[&"run", &at("none"), &at("x"), &"--once"], 4, "no such directory"),
        (&[&"run", &at("empty"), &at("x"), &"--once"], 6, "no log"),
        (&[&"status", &at("empty")], 6, "no archive"),
        (
            &[&"restore", &at("archive"), &at("r"), &"--to", &"99999999"],
            7,
            "has no record before offset 99999999",
        ),
        (&[&"restore", &at("archive"), &at("r"), &"--to", &"65"], 7, "has no record before offset 65"),
        (&[&"restore", &at("archive"), &at("r"), &"--to", &"1970-01-02 00:00:00"], 7, "1970-01-02"),
        (&[&"restore", &at("archive"), &at("taken")], 64, "exists already"),
        (&[&"unpin", &at("archive"), &"none"], 7, "no pin"),
        (&[&"status", &"ftp://host/path"], 64, "ftp://host/path"),
    ];
    for (args, expected, sentence) in cases {
        let output = run(args);
        let line = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!((code(&output), line.lines().count()), (expected, 1), "{line}");
        assert!(line.contains(sentence), "{line}");
    }
    assert_eq!(code(&run(&[&"restore"])), 64);
    damage_first_object(&at("archive"));
    let output = run(&[&"verify", &at("archive")]);
    assert_eq!(code(&output), 2);
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("corrupt; "));
    assert_eq!(code(&run(&[&"restore", &at("archive"), &at("r"), &"--from", &"oldest"])), 2);
}

fn damage_first_object(archive: &Path) {
    let mut path = archive.join("objects");
    while path.is_dir() {
        let mut entries: Vec<_> =
            std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        path = entries.remove(0);
    }
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
