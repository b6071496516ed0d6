//! The example `typed_tool`, which is a user's own command: its records are shown decoded.
//!
//! This binary has no test harness: as a child of itself it is the example, with the example's arguments.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests; an example")]
#![allow(missing_debug_implementations, reason = "an example")]

#[path = "../examples/typed_tool.rs"]
mod typed_tool;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

const IS_THE_EXAMPLE: &str = "CHUNKED_WAL_TEST_IS_THE_EXAMPLE";

fn main() -> ExitCode {
    if std::env::var_os(IS_THE_EXAMPLE).is_some() {
        return typed_tool::main();
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("orders");
    assert_eq!(run(&["new", "orders"], dir.path()), (0, String::new(), String::new()));
    records_are_shown_as_text_and_as_json(dir.path());
    other_formats_show_the_bytes(dir.path());
    follow_shows_them_too(dir.path());
    the_command_has_the_name_of_its_binary(dir.path());
    records_that_the_types_can_not_decode_are_reported(dir.path(), &log);
    a_log_on_another_storage_is_read_there();
    println!("typed_tool: ok");
    ExitCode::SUCCESS
}

fn run(args: &[&str], dir: &Path) -> (i32, String, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(args).current_dir(dir).env(IS_THE_EXAMPLE, "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn records_are_shown_as_text_and_as_json(dir: &Path) {
    let (code, out, err) = run(&["dump", "orders"], dir);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let shown: Vec<&str> = out.lines().map(|line| line.split_once("  ").unwrap().1.trim_start()).collect();
    let shown: Vec<&str> = shown.iter().map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(
        shown,
        [
            "Open({})",
            r#"Placed { order: 7, item: "a \"blue\" bicycle" }"#,
            r#"Open({7: "a \"blue\" bicycle"})"#,
            "Shipped { order: 7 }",
        ],
        "{out}"
    );
    for json in [
        &["dump", "--json", "--kind", "action", "orders"][..],
        &["dump", "-f", "json", "--kind", "action", "orders"],
    ] {
        let (code, out, _) = run(json, dir);
        let lines: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(code, 0);
        assert_eq!(
            lines[0]["record"],
            serde_json::json!({"Placed": {"order": 7, "item": "a \"blue\" bicycle"}})
        );
        assert_eq!(lines[1]["record"], serde_json::json!({"Shipped": {"order": 7}}));
        assert!(lines[0].get("payload_hex").is_none() && lines[0]["kind"] == "action", "{out}");
    }
}

fn other_formats_show_the_bytes(dir: &Path) {
    let (_, out, _) = run(&["dump", "-f", "utf8", "-n", "2", "orders"], dir);
    assert!(out.contains("bicycle") && !out.contains("Placed {"), "{out}");
    let (_, out, _) = run(&["dump", "-f", "hex", "-n", "1", "orders"], dir);
    assert!(!out.contains("Open"), "{out}");
}

fn follow_shows_them_too(dir: &Path) {
    let (code, out, err) = run(&["follow", "orders", "--from", "start", "-n", "2"], dir);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("Open({})") && out.contains("Placed { order: 7"), "{out}");
}

fn the_command_has_the_name_of_its_binary(dir: &Path) {
    let (code, out, err) = run(&["dump", "nowhere"], dir);
    assert_eq!((code, out.as_str()), (4, ""));
    assert!(err.starts_with("typed_tool") && err.contains(": 'nowhere' does not exist"), "{err}");
    let (code, out, _) = run(&["--help"], dir);
    assert!(code == 0 && out.contains("Usage: typed_tool"), "{out}");
}

fn records_that_the_types_can_not_decode_are_reported(dir: &Path, log: &Path) {
    let (code, out, _) = run(&["verify", "orders"], dir);
    assert!(code == 0 && out.contains("sound; 2 chunks, 4 records"), "{out}");
    // A record of other types: sound by its checksum.
    let mut state = Bytes;
    let config = chunked_wal::Config::new(log);
    let mut wal = chunked_wal::ChunkedWal::<chunked_wal::raw::Raw>::open(config, &mut state).unwrap();
    for bytes in [&b"\xc1 is no event"[..], b"\xc1 neither"] {
        wal.append(&chunked_wal::WalRecord::Action(chunked_wal::raw::Payload(bytes.to_vec()))).unwrap();
    }
    wal.close().unwrap();
    for command in ["dump", "verify"] {
        let (code, out, err) = run(&[command, "orders"], dir);
        let told = format!("{out}{err}");
        assert_eq!(code, 2, "{told}");
        assert!(
            told.contains("the codec can't decode the record at offset") && told.contains("--void"),
            "{told}"
        );
        assert!(command != "dump" || out.contains("not decoded: c1206973"), "{out}");
        assert!(command != "verify" || out.contains("(and 1 record after that in the same chunk)"), "{out}");
    }
    let (_, out, _) = run(&["dump", "--json", "orders"], dir);
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(last["undecodable"].is_string() && last["payload_hex"].is_string(), "{last}");
    fs::remove_dir_all(log).unwrap();
}

/// In this process, on a disk in memory: on the real one there is no such directory.
fn a_log_on_another_storage_is_read_there() {
    let storage = std::sync::Arc::new(chunked_wal::storage::MemoryStorage::default());
    let config = chunked_wal::Config::new("/only-in-memory");
    let options = chunked_wal::ChunkedWal::<chunked_wal::raw::Raw>::options(config).storage(storage.clone());
    options.open(&mut Bytes).unwrap().close().unwrap();
    let ran = |tool: chunked_wal::tools::Tool, command: &str| {
        let args = ["tool", command, "/only-in-memory"];
        format!("{:?}", tool.run(args.map(std::ffi::OsString::from)))
    };
    let (success, here) = (format!("{:?}", ExitCode::SUCCESS), chunked_wal::tools::Tool::raw());
    for command in ["inspect", "verify", "dump", "repair"] {
        assert_eq!(ran(here.clone().storage(storage.clone()), command), success, "{command}");
        assert_ne!(ran(here.clone(), command), success, "{command}");
    }
}

/// A state machine that takes anything.
struct Bytes;

impl chunked_wal::StateMachine<chunked_wal::raw::Raw> for Bytes {
    type Error = std::convert::Infallible;

    fn apply(
        &mut self,
        _: &chunked_wal::WalRecord<chunked_wal::raw::Raw>,
        _: chunked_wal::ChunkId,
        _: chunked_wal::Segment,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn checkpoint(&self) -> chunked_wal::raw::Payload {
        Default::default()
    }
}
