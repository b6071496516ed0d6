//! The command: what it prints, and its exit status.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::bytes::{TEXTS, write_texts};
use crate::common::{Place, chunks, untouched};
use crate::old_raft::{OldLog, write_all_kinds};

fn run(args: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chunked-wal-import")).args(args).output().unwrap()
}

fn import(place: &Place, options: &[&str]) -> (i32, String, String) {
    let (old, new) = (place.old(), place.new_log());
    let mut args = vec![&*old, &*new];
    args.extend(options.iter().map(Path::new));
    let output = untouched(&place.old(), || run(&args));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn raft_log() -> Place {
    let place = Place::new();
    write_all_kinds(&place.old());
    place
}

#[test]
fn a_report_is_text_or_json() {
    let place = raft_log();
    let (status, text, error) = import(&place, &[]);
    assert_eq!((status, &*error), (0, ""));
    assert!(text.contains("8 chunks"), "{text}");
    assert!(text.contains("entries: 31") && text.contains("first_index: 12"), "{text}");
    let (status, json, _) = import(&place, &["--check", "--json"]);
    assert_eq!(status, 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["chunks"], 8);
    assert_eq!(json["torn"], serde_json::Value::Null);
    assert_eq!(json["write_s"], 0.0);
    assert_eq!(json["notes"]["last_index"], 34);
    assert_eq!(json["new"], place.new_log().display().to_string());
}

#[test]
fn a_torn_tail_has_status_1() {
    let place = raft_log();
    let newest = chunks(&place.old()).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() - 3]).unwrap();
    let (status, text, _) = import(&place, &[]);
    assert_eq!(status, 1);
    assert!(text.contains("torn    "), "{text}");
    assert!(place.new_log().exists());
}

#[test]
fn damage_has_status_2_and_names_file_and_offset() {
    let place = raft_log();
    let chunk = &chunks(&place.old())[2];
    let mut bytes = fs::read(chunk).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(chunk, &bytes).unwrap();
    let (status, text, error) = import(&place, &[]);
    assert_eq!((status, &*text), (2, ""));
    let file = format!("'{}' is damaged at offset ", chunk.display());
    assert!(error.starts_with("chunked-wal-import: ") && error.contains(&file), "{error}");
    assert_eq!(error.lines().count(), 1);
    place.assert_nothing_new();
}

#[test]
fn each_failure_has_its_status() {
    let place = Place::new();
    let status = |place: &Place| import(place, &[]).0;
    assert_eq!(status(&place), 6);
    fs::write(place.old().join("letter"), "dear").unwrap();
    assert_eq!(status(&place), 7);
    write_texts(&place.old(), &TEXTS);
    let (code, _, error) = import(&place, &[]);
    assert_eq!(code, 7);
    assert!(error.contains("docs/guide/import.md"), "{error}");

    let place = raft_log();
    let log = OldLog::open(&place.old(), 6);
    assert_eq!(status(&place), 9);
    drop(log);
    assert_eq!(status(&place), 0);
    assert_eq!(status(&place), 64);
    let inside = place.old().join("inside");
    assert_eq!(untouched(&place.old(), || run(&[&place.old(), &inside])).status.code(), Some(64));
    assert_eq!(run(&[&place.old()]).status.code(), Some(64));
    let missing = place.root.path().join("missing");
    let elsewhere = place.root.path().join("elsewhere");
    assert_eq!(run(&[&missing, &elsewhere]).status.code(), Some(4));
    assert_eq!(run(&[&place.old(), &missing.join("new")]).status.code(), Some(4));
    let chunk = &chunks(&place.old())[0];
    assert_eq!(run(&[chunk, &elsewhere]).status.code(), Some(4));
    let help = run(&[Path::new("--help")]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("  2  the old log is damaged"), "{help}");
}
