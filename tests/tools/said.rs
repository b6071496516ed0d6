//! What the command says: hints, the same options everywhere, and statuses only where they apply.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::*;

#[test]
fn a_directory_around_a_log_gets_a_hint() {
    let parent = tempfile::tempdir().unwrap();
    fs::create_dir(parent.path().join("a")).unwrap();
    let log = three_chunks();
    fs::create_dir(parent.path().join("log")).unwrap();
    for (path, bytes) in snapshot(log.path()) {
        fs::write(parent.path().join("log").join(path.file_name().unwrap()), bytes).unwrap();
    }
    for command in ["inspect", "verify", "dump", "follow", "repair"] {
        let ran = run(&[command, "."], parent.path());
        assert!(ran.code != 0 && ran.err.contains("; did you mean './log'?"), "{command}: {ran:?}");
    }
    // One of its files.
    let chunk = format!("log/{}", ChunkId(0).file_name());
    let ran = run(&["verify", &chunk], parent.path());
    assert!(
        ran.code == 3 && ran.err.contains("is a file; a log is a directory; did you mean 'log'?"),
        "{ran:?}"
    );
    // No hint where there is no log.
    fs::remove_dir_all(parent.path().join("log")).unwrap();
    let ran = run(&["inspect", "."], parent.path());
    assert!(ran.code == 7 && !ran.err.contains("did you mean"), "{ran:?}");
}

#[test]
fn help_lists_the_statuses_that_apply() {
    let dir = tempfile::tempdir().unwrap();
    let statuses = |command: &str| {
        let help = run(&[command, "--help"], dir.path()).out;
        let (_, statuses) = help.split_once("Exit status:").unwrap();
        let numbers = statuses.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u8>().ok());
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(statuses("inspect"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 64]);
    assert_eq!(statuses("verify"), [0, 1, 2, 3, 64]);
    assert_eq!(statuses("dump"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 64]);
    assert_eq!(statuses("follow"), [0, 2, 3, 4, 5, 6, 7, 8, 64]);
    assert_eq!(statuses("repair"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 64]);
    assert_eq!(statuses("bench"), [0, 3, 4, 5, 64]);
}

#[test]
fn json_is_asked_for_in_the_same_two_ways_everywhere() {
    let dir = three_chunks();
    fs::create_dir(dir.path().join("disk")).unwrap();
    let cases: [&[&str]; 6] = [
        &["inspect", "."],
        &["verify", "."],
        &["repair", "."],
        &["dump", ".", "-n", "1"],
        &["follow", ".", "--from", "start", "-n", "1"],
        &["bench", "disk", "--seconds", "0.01"],
    ];
    for case in cases {
        for json in [&["--json"][..], &["-f", "json"], &["--format", "json"]] {
            let ran = run(&[case, json].concat(), dir.path());
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{case:?} {json:?}");
            let value: Value = serde_json::from_str(&ran.out).unwrap();
            assert!(value.is_object(), "{case:?} {json:?}");
        }
    }
}

#[test]
fn repair_reports_findings_options_and_results_in_json() {
    let dir = three_chunks();
    damage(&chunk_path(dir.path(), SECOND), NEWEST - SECOND - 4);
    let json = |args: &[&str], code| -> Value {
        let ran = run(&[&["repair", "."], args, &["--json"]].concat(), dir.path());
        assert_eq!(ran.code, code, "{ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    };
    let found = json(&[], 2);
    assert_eq!((&found["verdict"], &found["dir"]), (&"corrupt".into(), &".".into()));
    assert!(found["damage"][0].as_str().unwrap().contains("is damaged at offset 248"), "{found}");
    assert_eq!(
        (&found["plans"][0]["keep"], &found["plans"][1]["keep"]),
        (&"before".into(), &"behind".into())
    );
    assert!(found["plans"][0]["steps"][0].as_str().unwrap().starts_with("drop r-"), "{found}");
    assert_eq!((found["done"].as_array().unwrap().len(), &found["left"]), (0, &Value::Null));
    // A choice is missing: nothing was done.
    assert_eq!(json(&["--apply"], 64)["done"].as_array().unwrap().len(), 0);
    let done = json(&["--apply", "--keep", "before"], 0);
    assert_eq!(done["left"], serde_json::json!({ "chunks": 2, "records": 5 }));
    assert!(done["done"][1].as_str().unwrap().ends_with(".wal.broken"), "{done}");
    assert_eq!(json(&[], 0)["verdict"], "sound");

    let voided = json(&["--void", "112"], 0);
    assert!(
        voided["done"] == false && voided["record"].as_str().unwrap().starts_with("the action at offset 112")
    );
    let voided = json(&["--void", "112", "--apply"], 0);
    assert!(voided["done"] == true && voided["copy"].as_str().unwrap().ends_with(".broken"), "{voided}");
}

#[test]
fn a_format_that_needs_types_says_where_to_get_them() {
    let dir = three_chunks();
    let ran = run(&["dump", ".", "-f", "decoded"], dir.path());
    assert!(
        ran.code == 64 && ran.err.contains("`chunked_wal::tools::main`") && ran.out.is_empty(),
        "{ran:?}"
    );
}

#[test]
fn numbers_have_groups_and_microseconds_their_sign() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    let ran = run(&["bench", "disk", "--seconds", "0.05", "--size", "2000"], dir.path());
    assert!(ran.out.contains("2,000 bytes in a small record") && ran.out.contains(" µs"), "{}", ran.out);
    assert!(!ran.out.contains(" us"), "{}", ran.out);
    let log = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(config(log.path()), &mut List::default()).unwrap();
    for _ in 0..1233 {
        wal.append(&action("")).unwrap();
    }
    wal.close().unwrap();
    for command in ["inspect", "verify"] {
        let ran = run(&[command, "."], log.path());
        assert!(ran.code == 0 && ran.out.contains(" 1,234 "), "{command}: {}", ran.out);
    }
}

#[test]
fn follow_waits_for_a_log_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(&["follow", "log"], dir.path());
    assert_eq!(ran.code, 4);
    let args = ["follow", "log", "--wait", "-n", "2", "-f", "utf8"];
    let mut child = command(&args, dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "chunked-wal: waiting for a log in 'log'\n");
    // Of another program, at first.
    fs::create_dir(dir.path().join("log")).unwrap();
    let mut wal = Wal::open(config(&dir.path().join("log")), &mut List::default()).unwrap();
    wal.append(&action("hello")).unwrap();
    wal.sync().unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && out.lines().count() == 2 && out.contains("hello"), "{out}");
    // A log that is there: from its end on, as without --wait.
    wal.append(&action("before")).unwrap();
    wal.close().unwrap();
    let mut wal = Wal::open(config(&dir.path().join("log")), &mut List::default()).unwrap();
    let args = ["follow", "log", "--wait", "-n", "1", "-f", "utf8"];
    let mut child = command(&args, dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        wal.append(&action("after")).unwrap();
        wal.sync().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(out.contains("after") && !out.contains("before"), "{out}");
}

#[test]
fn the_process_that_has_the_log_open_is_named() {
    let dir = three_chunks();
    let wal = Wal::open(config(dir.path()), &mut List::default()).unwrap();
    let ran = run(&["repair", "--apply", "."], dir.path());
    let holder = format!("process {} has this log open", std::process::id());
    assert!(ran.code == 9 && ran.err.contains(&holder), "{ran:?}");
    drop(wal);
}
