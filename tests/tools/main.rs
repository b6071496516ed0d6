//! The command `chunked-wal` as its users see it: output, exit status, and unchanged files.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod html;
mod said;
mod salvage;
mod void;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use chunked_wal::{ChunkId, Config, Flush, PinOptions, Subscriber};
use common::on_disk::config;
use common::*;
use tempfile::TempDir;

/// The result of a run of the command.
#[derive(Debug, PartialEq)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn command(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunked-wal"));
    // `.` is the log's directory, so that no path has to be masked.
    command.args(args).current_dir(dir).env("TERM", "dumb");
    command
}

fn run(args: &[&str], dir: &Path) -> Ran {
    let output = command(args, dir).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Replaces parts that differ from run to run by words.
fn masked(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<String> = line.split(' ').map(mask_word).collect();
        let line = words.join(" ");
        lines.push(match line.split_once(" in ") {
            Some((before, rest)) if rest.contains("/s") => format!("{before} in TIME, RATE"),
            _ => line,
        });
    }
    lines.join("\n")
}

fn mask_word(word: &str) -> String {
    let bare = word.trim_matches(['"', ',']);
    let is_time = bare.len() == 20 && bare.starts_with("20") && bare.ends_with('Z');
    let is_id = bare.len() == 32 && bare.bytes().all(|b| b.is_ascii_hexdigit());
    match (is_time, is_id) {
        (true, _) => word.replace(bare, "2000-01-01T00:00:00Z"),
        (_, true) => word.replace(bare, "LOG-ID"),
        _ => word.to_string(),
    }
}

/// Compares line by line, but for the indentation.
#[track_caller]
fn expect(text: &str, expected: &str) {
    let lines = |text: &str| text.trim().lines().map(|line| line.trim().to_string()).collect::<Vec<_>>();
    assert_eq!(lines(&masked(text)), lines(expected), "\n{text}");
}

/// A log of three chunks: ids 0, 136 and 272.
fn three_chunks() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut list = List::default();
    let mut wal = Wal::open(config(dir.path()), &mut list).unwrap();
    for chunk in [["a", "b"], ["c", "d"], ["e", "f"]] {
        for word in chunk {
            wal.append_and_apply(word.to_string(), &mut list).unwrap();
        }
        if chunk[0] != "e" {
            wal.close_open_chunk(&list).unwrap();
        }
    }
    wal.close().unwrap();
    dir
}

fn words_in(dir: &Path) -> Vec<String> {
    let mut list = List::default();
    Wal::open(config(dir), &mut list).unwrap();
    list.words
}

fn chunk_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(ChunkId(id).file_name())
}

fn overwrite(path: &Path, position: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, position).unwrap();
}

/// Changes one byte to another value: a log's id and its checksums differ from run to run.
fn damage(path: &Path, position: u64) {
    let byte = fs::read(path).unwrap()[position as usize];
    overwrite(path, position, &[!byte]);
}

/// Every file and its bytes.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect()
}

/// Makes the mark at the end of the newest chunk the beginning of a torn write.
fn tear(dir: &Path) {
    let newest = chunk_path(dir, NEWEST);
    overwrite(&newest, END - NEWEST, &[7; 100]);
}

const SECOND: u64 = 136;
const NEWEST: u64 = 272;
const END: u64 = 416;

/// A log that was started without compression and rotated with it: ids 0 and 136.
#[cfg(feature = "lz4")]
fn half_compressed() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let mut list = List::default();
    Wal::open(config.clone(), &mut list).unwrap().close().unwrap();
    config.compression = chunked_wal::Compression::Lz4 { min_len: 0 };
    let mut wal = Wal::open(config, &mut list).unwrap();
    wal.close_open_chunk(&list).unwrap();
    wal.append_and_apply("abc".repeat(20), &mut list).unwrap();
    wal.append_and_apply("short".to_string(), &mut list).unwrap();
    wal.close().unwrap();
    dir
}

#[test]
fn foreign_names_are_printed_escaped() {
    use std::os::unix::ffi::OsStrExt;
    let dir = three_chunks();
    let names: [&[u8]; 4] =
        [b"two\nlines", b"\x1b[2Jclear, 'quoted'", b"not \xff utf8", "\u{202e}txt".as_bytes()];
    for name in names {
        fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    }
    fs::write(dir.path().join("plain.txt"), "").unwrap();
    let ran = run(&["inspect", "."], dir.path());
    let line = ran.out.lines().find(|line| line.starts_with("foreign")).unwrap();
    let expected =
        r#"foreign    "\u{1b}[2Jclear, 'quoted'", "not \xFF utf8", plain.txt, "two\nlines", "\u{202e}txt""#;
    assert_eq!((line, ran.out.contains('\u{1b}')), (expected, false));
    let ran = run(&["inspect", "--json", "."], dir.path());
    assert!(ran.out.contains(r"./not \\xff utf8") && ran.out.contains(r"two\nlines"), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'));
}

// Looking ------------------------------------------------------------------------------------------

#[cfg(feature = "lz4")]
#[test]
fn compressed_records_are_counted_as_stored_and_shown_as_appended() {
    let dir = half_compressed();
    let ran = run(&["inspect", "--json", "."], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    // The checkpoint and the short word are stored as they are, 4 and 9 bytes; of the long one 22.
    let shares: Vec<_> = ran.out.lines().filter(|line| line.contains("lz4_share")).collect();
    assert!(shares[0].contains("null") && shares[1].contains("0.62"), "{shares:?}");

    let ran = run(&["dump", "--format", "raw", "."], dir.path());
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains(&"abc".repeat(20)) && ran.out.contains("short"), "{}", ran.out);
    let ran = run(&["verify", "."], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let ran = run(&["follow", "--from", "start", "--limit", "4", "--format", "raw", "."], dir.path());
    assert!(ran.out.contains(&"abc".repeat(20)), "{}", ran.out);

    // Sound by its checksum, but it can't be decompressed: the records before it are kept.
    let dir = tempfile::tempdir().unwrap();
    let begun = Forge::chunk(0).header(12, &[1]).checkpoint("").action("a");
    let forge = begun.flagged(1, 1, b"no block").action("b").mark();
    fs::write(chunk_path(dir.path(), 0), &forge.bytes).unwrap();
    for command in ["verify", "dump", "repair"] {
        let ran = run(&[command, "."], dir.path());
        let told = format!("{}{}", ran.out, ran.err);
        assert!(ran.code == 2 && told.contains("can't be decompressed"), "{command}: {ran:?}");
    }
    assert_eq!(run(&["repair", "--apply", "."], dir.path()).code, 0);
    let mut list = List::default();
    Wal::open(config(dir.path()), &mut list).unwrap();
    assert_eq!(list.words, ["a"]);
}

#[test]
fn inspect_shows_chunks_and_what_else_there_is() {
    let dir = three_chunks();
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    let before = snapshot(dir.path());
    let ran = run(&["inspect", "."], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    expect(
        &ran.out,
        "
        CHUNK                         RECORDS        BYTES  STATE    CREATED               CHECKPOINT   LZ4
        00_000_000_000_000_000_000          3        136 B  sealed   2000-01-01T00:00:00Z         4 B     -
        00_000_000_000_000_000_136          3        136 B  sealed   2000-01-01T00:00:00Z         7 B     -
        00_000_000_000_000_000_272          3        144 B  open     2000-01-01T00:00:00Z        11 B     -
        3 chunks                            9        416 B

        log        LOG-ID
        writer     none
        torn tail  none
        read       only header, seal and first record of 2 sealed chunks: 'verify' reads every byte
        spares     0
        foreign    notes.txt
        ",
    );
    let json = run(&["inspect", "--json", "."], dir.path());
    expect(
        &json.out,
        r#"{
          "bytes": 416,
          "chunks": [
            {
              "bytes": 136,
              "checkpoint_bytes": 4,
              "created": "2000-01-01T00:00:00Z",
              "end": 136,
              "file": "r-00_000_000_000_000_000_000.wal",
              "file_bytes": 176,
              "id": 0,
              "lz4_share": null,
              "records": 3,
              "reused_file": false,
              "state": "sealed"
            },
            {
              "bytes": 136,
              "checkpoint_bytes": 7,
              "created": "2000-01-01T00:00:00Z",
              "end": 272,
              "file": "r-00_000_000_000_000_000_136.wal",
              "file_bytes": 176,
              "id": 136,
              "lz4_share": null,
              "records": 3,
              "reused_file": false,
              "state": "sealed"
            },
            {
              "bytes": 144,
              "checkpoint_bytes": 11,
              "created": "2000-01-01T00:00:00Z",
              "end": 416,
              "file": "r-00_000_000_000_000_000_272.wal",
              "file_bytes": 8192,
              "id": 272,
              "lz4_share": null,
              "records": 3,
              "reused_file": false,
              "state": "open"
            }
          ],
          "chunks_read_in_part": 2,
          "damage": [],
          "dir": ".",
          "ended_unmarked": false,
          "foreign": [
            "./notes.txt"
          ],
          "log_id": "LOG-ID",
          "open_by_writer": false,
          "records": 9,
          "spares": [],
          "subscribers": [],
          "torn_tail": null,
          "unnamed": null
        }"#,
    );
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn inspect_shows_the_subscribers_and_how_far_they_are_behind() {
    let dir = three_chunks();
    let subscribe =
        |name| Subscriber::options(dir.path(), name).pin(PinOptions::new().max_bytes(1000)).open();
    subscribe("indexer").unwrap().advance(272).unwrap();
    subscribe("copy").unwrap();
    let broken = dir.path().join("subscribers/broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("cursor"), [1; 12288]).unwrap();
    let ran = run(&["inspect", "."], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines: Vec<_> =
        masked(&ran.out).lines().filter(|l| l.starts_with("subscr")).map(String::from).collect();
    let expected = [
        "subscriber broken: its file is damaged, so the whole log is kept",
        "subscriber copy: holds, at offset 0, 416 B behind, moved 2000-01-01T00:00:00Z",
        "subscriber indexer: holds, at offset 272, 144 B behind, moved 2000-01-01T00:00:00Z",
    ];
    assert_eq!(lines, expected);
    assert!(ran.out.contains("foreign    none"), "{}", ran.out);

    let json: serde_json::Value =
        serde_json::from_str(&run(&["inspect", "--json", "."], dir.path()).out).unwrap();
    let holders = &json["subscribers"];
    assert_eq!((&holders[0]["damaged"], &holders[0]["offset"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!((&holders[1]["name"], &holders[1]["state"]), (&"copy".into(), &"holds".into()));
    assert_eq!((&holders[2]["bytes_behind"], &holders[2]["max_bytes"]), (&144.into(), &1000.into()));
    let page = run(&["inspect", "--html", "-", "."], dir.path()).out;
    assert!(page.contains("indexer: holds, at offset 272"), "{page}");
}

#[test]
fn inspect_names_the_chunks_that_it_did_not_read() {
    let dir = three_chunks();
    // An action of a sealed chunk.
    damage(&chunk_path(dir.path(), 0), SECOND - 4);
    let ran = run(&["inspect", "."], dir.path());
    assert_eq!(ran.code, 0);
    assert!(
        ran.out.contains("only header, seal and first record of 2 sealed chunks: 'verify' reads every byte")
    );
    assert_eq!(run(&["verify", "."], dir.path()).code, 2);
    let help = run(&["inspect", "--help"], dir.path()).out;
    assert!(help.replace('\n', " ").contains("'verify' reads every byte"), "{help}");
    let one = tempfile::tempdir().unwrap();
    Wal::open(config(one.path()), &mut List::default()).unwrap().close().unwrap();
    assert!(run(&["inspect", "."], one.path()).out.contains("read       every record\n"));
}

/// A clock can be wrong, or a header written by something else.
#[test]
fn inspect_shows_a_chunk_of_a_time_that_has_no_date() {
    let dir = tempfile::tempdir().unwrap();
    let chunk = Forge::chunk(0).header(48, &u64::MAX.to_le_bytes()).checkpoint("").action("a").mark();
    fs::write(chunk_path(dir.path(), 0), &chunk.bytes).unwrap();
    let inspected = run(&["inspect", "."], dir.path());
    assert_eq!((inspected.code, inspected.err.as_str()), (0, ""));
    assert!(run(&["inspect", "--json", "."], dir.path()).out.contains(r#""created": null"#));
}

/// The log of a killed process: no mark, and after the last record the file's earlier bytes.
#[test]
fn a_killed_log_that_lost_nothing_is_distinguished_from_a_torn_one() {
    let dir = tempfile::tempdir().unwrap();
    let chunk = common::Forge::chunk(0).used_before().checkpoint("").action("a").raw(&[0xA5; 300]);
    fs::write(chunk_path(dir.path(), 0), &chunk.bytes).unwrap();
    let inspected = run(&["inspect", "."], dir.path());
    assert_eq!(inspected.code, 0);
    assert!(
        inspected.out.contains("torn tail  none, but no mark either: the writer did not close the log\n")
    );
    assert!(run(&["inspect", "--json", "."], dir.path()).out.contains(r#""ended_unmarked": true"#));
    assert_eq!(run(&["verify", "."], dir.path()).code, 0);
    assert_eq!(run(&["repair", "."], dir.path()).out, ".: sound, nothing to repair\n");
    let mut list = List::default();
    let wal = Wal::open(config(dir.path()), &mut list).unwrap();
    assert_eq!((wal.recovery().torn_tail, list.words), (None, vec!["a".to_string()]));
}

#[test]
fn verify_says_what_each_log_is() {
    let (sound, torn, corrupt) = (three_chunks(), three_chunks(), three_chunks());
    tear(torn.path());
    damage(&chunk_path(corrupt.path(), SECOND), 100);
    let ran = run(&["verify", "."], sound.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    expect(&ran.out, ".: sound; 3 chunks, 9 records, 416 B in TIME, RATE");
    let ran = run(&["verify", "."], torn.path());
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    expect(
        &ran.out,
        "
        .: torn tail; 3 chunks, 9 records, 416 B in TIME, RATE
        .: a torn write of 100 bytes after offset 416; the next open cuts it off
        ",
    );
    let ran = run(&["verify", "--jobs", "1", "."], corrupt.path());
    assert_eq!((ran.code, ran.err.as_str()), (2, ""));
    expect(&ran.out, "
        .: corrupt; 3 chunks, 7 records, 368 B in TIME, RATE
        .: './r-00_000_000_000_000_000_136.wal' is damaged at offset 224 (byte 88 of the file): no frame of this chunk starts there; it was durable before: the chunk has a successor. Nothing was changed: restore the file from a copy; `chunked-wal repair` shows what else can be done, and what it would lose
        ");

    // Several at once: the highest status, one line each.
    let all = tempfile::tempdir().unwrap();
    for (name, log) in [("a", &sound), ("b", &torn), ("c", &corrupt)] {
        std::os::unix::fs::symlink(log.path(), all.path().join(name)).unwrap();
    }
    let ran = run(&["verify", "--json", "a", "b", "nowhere", "c"], all.path());
    let verdicts: Vec<String> = ran
        .out
        .lines()
        .map(|line| {
            let verdict = line.split("\"verdict\":\"").nth(1).unwrap();
            verdict.split('"').next().unwrap().to_string()
        })
        .collect();
    assert_eq!(verdicts, ["sound", "torn tail", "can't be read", "corrupt"]);
    assert_eq!((ran.code, run(&["verify", "a", "c", "b"], all.path()).code), (3, 2));
    assert_eq!(run(&["verify", "a", "b"], all.path()).code, 1);
    let ran = run(&["verify", "nowhere"], all.path());
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert_eq!(ran.err, "chunked-wal: 'nowhere' does not exist: no such directory\n");
}

/// `script`, which most systems have, gives the command a terminal.
#[test]
#[cfg(target_os = "linux")]
fn verify_shows_its_progress_on_a_terminal_and_clears_it_away() {
    let dir = three_chunks();
    let command_line = format!("'{}' verify .", env!("CARGO_BIN_EXE_chunked-wal"));
    let mut script = Command::new("script");
    script.args(["-qec", &command_line, "/dev/null"]).current_dir(dir.path()).env("TERM", "xterm");
    let Ok(output) = script.stdin(Stdio::null()).output() else {
        println!("no `script` here: not tested");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains(" left"), "{text:?}");
    assert!(text.trim_end().lines().last().unwrap().contains(".: sound; 3 chunks"), "{text:?}");
    assert!(!run(&["verify", "."], dir.path()).err.contains(" left"), "elsewhere there are plain lines only");
}

#[test]
fn verify_finds_every_flipped_bit_of_a_sealed_chunk() {
    let dir = three_chunks();
    let path = chunk_path(dir.path(), SECOND);
    let sound = fs::read(&path).unwrap();
    for at in (0..sound.len()).step_by(7) {
        overwrite(&path, at as u64, &[sound[at] ^ 1 << (at % 8)]);
        assert_eq!(
            run(&["verify", "."], dir.path()).code,
            if (8..16).contains(&at) { 3 } else { 2 },
            "byte {at}"
        );
        overwrite(&path, at as u64, &sound[at..=at]);
    }
    assert_eq!(run(&["verify", "."], dir.path()).code, 0);
}

#[test]
fn dump_prints_records_as_asked_for() {
    let dir = three_chunks();
    let dump = |args: &[&str]| {
        let ran = run(&[&["dump", "."], args].concat(), dir.path());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        ran.out
    };
    expect(
        &dump(&["--limit", "4"]),
        "
            64 checkpoint       24  00000000
            88 action           24  0000000161
           112 action           24  0000000162
           200 checkpoint       24  00000003612c62
        ",
    );
    expect(
        &dump(&["--format", "utf8", "--kind", "checkpoint"]),
        r"
            64 checkpoint       24  \x00\x00\x00\x00
           200 checkpoint       24  \x00\x00\x00\x03a,b
           336 checkpoint       32  \x00\x00\x00\x07a,b,c,d
        ",
    );
    expect(
        &dump(&["--format", "json", "--from", "300", "-n", "2"]),
        r#"
        {"chunk":272,"kind":"checkpoint","offset":336,"payload_hex":"00000007612c622c632c64","size":32,"text":"\u0000\u0000\u0000\u0007a,b,c,d"}
        {"chunk":272,"kind":"action","offset":368,"payload_hex":"0000000165","size":24,"text":"\u0000\u0000\u0000\u0001e"}
        "#,
    );
    assert_eq!(dump(&["--format", "raw", "--kind", "action"]).replace(['\0', '\u{1}'], ""), "abcdef");
    assert_eq!(dump(&["--from", "416"]), "");
    assert_eq!(dump(&["--limit", "0"]), "");
}

#[test]
fn dump_continues_after_damage_and_says_so() {
    let dir = three_chunks();
    damage(&chunk_path(dir.path(), SECOND), 100);
    let ran = run(&["dump", ".", "--format", "utf8"], dir.path());
    assert_eq!((ran.code, ran.err.lines().count()), (2, 1));
    assert!(ran.err.contains("is damaged at offset"), "{}", ran.err);
    let words: Vec<_> = ran.out.lines().filter(|line| line.contains("action")).collect();
    assert_eq!(words.len(), 4, "{}", ran.out);
    tear(dir.path());
    fs::remove_file(chunk_path(dir.path(), SECOND)).unwrap();
    let ran = run(&["dump", "."], dir.path());
    assert!(ran.code == 2 && ran.err.contains("the log has a gap"), "{ran:?}");
}

#[test]
fn pipes_end_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(config(dir.path()), &mut List::default()).unwrap();
    for i in 0..2000 {
        wal.append(&action(&format!("{i} {}", "x".repeat(100)))).unwrap();
    }
    wal.close().unwrap();
    for args in [&["dump", "."][..], &["follow", "--from", "start", "."]] {
        let mut child =
            command(args, dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("checkpoint"), "{line}");
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    }
}

// How it ends --------------------------------------------------------------------------------------

#[test]
fn every_failure_has_a_line_and_a_status_of_its_own() {
    let dir = three_chunks();
    let check = |args: &[&str], code: i32, text: &str| {
        let ran = run(args, dir.path());
        assert_eq!((ran.code, ran.err.lines().count(), ran.out.as_str()), (code, 1, ""), "{args:?}: {ran:?}");
        assert!(ran.err.contains(text), "{args:?}: {}", ran.err);
    };
    let readers = ["inspect", "dump", "follow", "repair"];
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("empty")).unwrap();
    fs::create_dir(path("only-a-lock")).unwrap();
    fs::write(path("only-a-lock/LOCK"), "").unwrap();
    fs::create_dir(path("other")).unwrap();
    fs::write(path("other/file"), "x").unwrap();
    fs::create_dir(path("disguised")).unwrap();
    fs::write(chunk_path(&path("disguised"), 0), [b'x'; 200]).unwrap();
    fs::create_dir(path("newer")).unwrap();
    let mut newer = fs::read(chunk_path(dir.path(), 0)).unwrap();
    newer[8] = 2;
    fs::write(chunk_path(&path("newer"), 0), newer).unwrap();
    fs::create_dir(path("unreadable")).unwrap();
    // A chunk that is a directory can be opened, and reading it is an error of the system.
    std::os::unix::fs::symlink(dir.path(), chunk_path(&path("unreadable"), 0)).unwrap();

    for reader in readers {
        check(&[reader, "nowhere"], 4, "'nowhere' does not exist");
        check(&[reader, "other/file"], 4, "is a file");
        check(&[reader, "empty"], 6, "'empty' is empty");
        check(&[reader, "only-a-lock"], 6, "is empty");
        check(&[reader, "other"], 7, "is not a log's directory");
        check(&[reader, "disguised"], 7, "is not a log's directory");
        check(&[reader, "newer"], 8, "has format version 2, and this version of chunked-wal reads up to 1");
        check(&[reader, "unreadable"], 3, "failed:");
    }
    for log in ["nowhere", "other/file", "empty", "other", "disguised", "newer", "unreadable"] {
        assert_eq!(run(&["verify", log], dir.path()).code, 3, "{log}");
    }
    check(&["bench", "nowhere"], 4, "does not exist");
    check(&["bench", "."], 64, "is a log");
    check(&["follow", ".", "--from", "1000000"], 64, "the log has offsets 0 to 416");
    for args in [&["verify"][..], &["inspect"], &["frob", "."], &["verify", "--jobs", "0", "."], &[]] {
        let ran = run(args, dir.path());
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{args:?}");
        assert!(ran.err.contains("--help") || ran.err.contains("Usage"), "{args:?}: {}", ran.err);
    }
}

#[test]
fn a_dump_shows_which_records_are_in_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = on_disk::open(dir.path());
    wal.append_batch(&["a", "b", "c"].map(action).into_iter().collect()).unwrap();
    wal.close().unwrap();
    let args = ["dump", "--json", "--kind", "action", &dir.path().display().to_string()];
    let output = command(&args, Path::new("/")).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let goes_on: Vec<bool> = lines.lines().map(|line| line.contains("\"batch_goes_on\":true")).collect();
    assert_eq!(goes_on, [true, true, false], "{lines}");
}

#[test]
fn no_permission_is_said_so() {
    let dir = three_chunks();
    let err = as_somebody_else(&dir, 0o700, 0o000, &["inspect"]);
    assert!(err.contains("Permission denied"), "{err}");
    // A repair writes; looking does not.
    let err = as_somebody_else(&dir, 0o755, 0o555, &["repair", "--apply"]);
    assert!(err.contains("Permission denied") && err.contains("run as the user that owns the log"), "{err}");
}

/// The line on standard error, and the status 5, of a command on a directory that its user may not use: with the
/// permissions `others` for a user who doesn't own it, or `own` for the one who does.
fn as_somebody_else(dir: &TempDir, others: u32, own: u32, args: &[&str]) -> String {
    let permit = |mode| {
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let path = dir.path().display().to_string();
    let mut command = command(&[args, &[&path]].concat(), Path::new("/"));
    // Root may do anything, so run as another user; a user that isn't root takes the permission from itself.
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if is_root {
        command.uid(65534).gid(65534);
    }
    permit(if is_root { others } else { own });
    let output = command.output();
    permit(0o700);
    let Ok(output) = output else {
        // The command may be in a directory that other users can't enter.
        assert!(is_root);
        return "Permission denied; run as the user that owns the log".to_string();
    };
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && err.lines().count() == 1, "{output:?}");
    err
}

#[test]
fn help_is_there_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["inspect", "verify", "dump", "follow", "repair", "bench"] {
        let ran = run(&[command, "--help"], dir.path());
        assert!(ran.code == 0 && ran.out.contains("Exit status:") && ran.out.contains("Usage:"), "{command}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&["completions", shell], dir.path());
        assert!(ran.code == 0 && ran.out.contains("inspect"), "{shell}");
    }
    assert!(run(&["--version"], dir.path()).out.starts_with("chunked-wal "));
}

// Repair -------------------------------------------------------------------------------------------

#[test]
fn a_sound_log_needs_no_repair() {
    let dir = three_chunks();
    let before = snapshot(dir.path());
    for args in [&["repair", "."][..], &["repair", "--apply", "."]] {
        let ran = run(args, dir.path());
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, ".: sound, nothing to repair\n", ""));
    }
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn a_torn_tail_is_cut_on_request() {
    let dir = three_chunks();
    tear(dir.path());
    let before = snapshot(dir.path());
    let ran = run(&["repair", "."], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    expect(&ran.out, "
        .: r-00_000_000_000_000_000_272.wal: a torn write of 100 bytes after offset 416; the next open cuts it off; nothing proves that any of it was durable
          would cut r-00_000_000_000_000_000_272.wal at offset 416: keeps 3 records, loses the torn write
        nothing was changed; --apply does it
        ");
    assert_eq!(snapshot(dir.path()), before);
    let torn = fs::read(chunk_path(dir.path(), NEWEST)).unwrap();
    let ran = run(&["repair", "--apply", "."], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    expect(&ran.out, "
        .: r-00_000_000_000_000_000_272.wal: a torn write of 100 bytes after offset 416; the next open cuts it off; nothing proves that any of it was durable
        done: cut r-00_000_000_000_000_000_272.wal at offset 416: keeps 3 records, loses the torn write; first copied to r-00_000_000_000_000_000_272.wal.broken
        repaired: 3 chunks with 9 records are left
        ");
    let aside = dir.path().join(format!("{}.broken", ChunkId(NEWEST).file_name()));
    assert_eq!(fs::read(aside).unwrap(), torn);
    assert_eq!(run(&["verify", "."], dir.path()).code, 0);
    let mut config = config(dir.path());
    config.truncate_torn_tail = false;
    let mut list = List::default();
    let wal = Wal::open(config, &mut list).unwrap();
    assert_eq!(list.words, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(wal.recovery().foreign_names.len(), 1, "what was put aside is left alone");
}

#[test]
fn damage_in_the_newest_chunk_leaves_the_records_before_it() {
    let dir = three_chunks();
    // The record before the last; the mark after it proves that it was durable.
    damage(&chunk_path(dir.path(), NEWEST), END - NEWEST - 40);
    let mut list = List::default();
    assert!(matches!(Wal::open(config(dir.path()), &mut list), Err(chunked_wal::Error::Corrupt { .. })));
    let ran = run(&["repair", "."], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (2, ""));
    expect(&ran.out, "
        './r-00_000_000_000_000_000_272.wal' is damaged at offset 368 (byte 96 of the file): no frame of this chunk starts there; it was durable before: there is a sync mark at 416. Nothing was changed: restore the file from a copy; `chunked-wal repair` shows what else can be done, and what it would lose
          would cut r-00_000_000_000_000_000_272.wal at offset 368: keeps 1 record, loses everything after it
        nothing was changed; --apply does it
        ");
    let ran = run(&["repair", ".", "--apply"], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(words_in(dir.path()), ["a", "b", "c", "d"]);
}

#[test]
fn damage_before_leaves_a_choice() {
    let damaged = || {
        let dir = three_chunks();
        // The second action of the second chunk.
        damage(&chunk_path(dir.path(), SECOND), NEWEST - SECOND - 4);
        dir
    };
    let dir = damaged();
    let before = snapshot(dir.path());
    let ran = run(&["repair", "."], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (2, ""));
    expect(&ran.out, "
        './r-00_000_000_000_000_000_136.wal' is damaged at offset 248 (byte 112 of the file): the frame there fails its checksum; it was durable before: the chunk has a successor. Nothing was changed: restore the file from a copy; `chunked-wal repair` shows what else can be done, and what it would lose
        with --keep before:
          would drop r-00_000_000_000_000_000_272.wal: loses 3 sound records, 144 B
          would cut r-00_000_000_000_000_000_136.wal at offset 248: keeps 2 records, loses 1 record
        with --keep behind:
          would drop r-00_000_000_000_000_000_000.wal: loses 3 sound records, 136 B
          would drop r-00_000_000_000_000_000_136.wal: loses 2 sound records, 112 B
        nothing was changed; --apply with one of the two does it
        ");
    let ran = run(&["repair", ".", "--apply"], dir.path());
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (64, "chunked-wal: nothing was changed: choose --keep before or --keep behind\n")
    );
    assert_eq!(snapshot(dir.path()), before);

    let ran = run(&["repair", ".", "--apply", "--keep", "before"], dir.path());
    assert_eq!(ran.code, 0, "{ran:?}");
    expect(&ran.out, "
        './r-00_000_000_000_000_000_136.wal' is damaged at offset 248 (byte 112 of the file): the frame there fails its checksum; it was durable before: the chunk has a successor. Nothing was changed: restore the file from a copy; `chunked-wal repair` shows what else can be done, and what it would lose
        done: drop r-00_000_000_000_000_000_272.wal: loses 3 sound records, 144 B; renamed to r-00_000_000_000_000_000_272.wal.broken
        done: cut r-00_000_000_000_000_000_136.wal at offset 248: keeps 2 records, loses 1 record; first copied to r-00_000_000_000_000_000_136.wal.broken
        repaired: 2 chunks with 5 records are left
        ");
    assert_eq!(words_in(dir.path()), ["a", "b", "c"]);
    assert_eq!(run(&["verify", "."], dir.path()).code, 0);

    let dir = damaged();
    let ran = run(&["repair", ".", "--apply", "--keep", "behind"], dir.path());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(words_in(dir.path()), ["a", "b", "c", "d", "e", "f"], "the checkpoint has it all");
    assert_eq!(run(&["verify", "."], dir.path()).code, 0);
}

#[test]
fn gaps_foreign_chunks_and_lost_headers_are_repaired_too() {
    let repaired = |break_it: &dyn Fn(&Path), keep: &str| {
        let dir = three_chunks();
        break_it(dir.path());
        assert_eq!(run(&["verify", "."], dir.path()).code, 2);
        let ran = run(&["repair", ".", "--apply", "--keep", keep], dir.path());
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(run(&["verify", "."], dir.path()).code, 0);
        words_in(dir.path())
    };
    let gap: &dyn Fn(&Path) = &|dir| fs::remove_file(chunk_path(dir, SECOND)).unwrap();
    assert_eq!(repaired(gap, "before"), ["a", "b"]);
    assert_eq!(repaired(gap, "behind"), ["a", "b", "c", "d", "e", "f"]);
    // What follows a gap is given up whole, and not cut where it is damaged itself.
    let gap_and_damage: &dyn Fn(&Path) = &|dir| {
        gap(dir);
        damage(&chunk_path(dir, NEWEST), END - NEWEST - 40);
    };
    assert_eq!(repaired(gap_and_damage, "before"), ["a", "b"]);
    let foreign: &dyn Fn(&Path) = &|dir| {
        let other = three_chunks();
        fs::copy(chunk_path(other.path(), SECOND), chunk_path(dir, SECOND)).unwrap();
    };
    assert_eq!(repaired(foreign, "before"), ["a", "b"]);
    assert_eq!(repaired(foreign, "behind"), ["a", "b", "c", "d", "e", "f"]);
    // As long and as sound as the one before, but of another history.
    let other_history: &dyn Fn(&Path) = &|dir| {
        let first = Forge::chunk(0).checkpoint("").action("a").action("b").seal();
        let second = first.next().checkpoint("a,b").mark();
        let other = Forge::chunk(0).checkpoint("").action("a").action("x").seal();
        fs::remove_file(chunk_path(dir, NEWEST)).unwrap();
        fs::write(chunk_path(dir, 0), &other.bytes).unwrap();
        fs::rename(chunk_path(dir, SECOND), dir.join("aside")).unwrap();
        fs::write(chunk_path(dir, second.id), &second.bytes).unwrap();
        assert_eq!(run(&["inspect", "."], dir).code, 2);
    };
    assert_eq!(repaired(other_history, "before"), ["a", "x"]);
    assert_eq!(repaired(other_history, "behind"), ["a", "b"]);
    let no_chunk: &dyn Fn(&Path) = &|dir| fs::write(chunk_path(dir, NEWEST), "").unwrap();
    assert_eq!(repaired(no_chunk, "before"), ["a", "b", "c", "d"]);
    let first: &dyn Fn(&Path) = &|dir| damage(&chunk_path(dir, 0), 30);
    assert_eq!(repaired(first, "behind"), ["a", "b", "c", "d", "e", "f"]);

    // Nothing is left to keep.
    let dir = three_chunks();
    for id in [0, SECOND, NEWEST] {
        damage(&chunk_path(dir.path(), id), 30);
    }
    let before = snapshot(dir.path());
    let ran = run(&["repair", ".", "--apply"], dir.path());
    assert!(ran.code == 2 && ran.err.contains("nothing sound is left"), "{ran:?}");
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn a_seal_or_a_header_is_mended_and_nothing_is_lost() {
    // A bit of the seal's checksum, one of the header's salt.
    for (what, at, name) in [("seal", 136, 0), ("header", 136, SECOND)] {
        let dir = three_chunks();
        let file = chunk_path(dir.path(), name);
        let sound = fs::read(&file).unwrap();
        let position = if what == "seal" { sound.len() as u64 - 28 } else { 26 };
        overwrite(&file, position, &[sound[position as usize] ^ 0x10]);
        let before = snapshot(dir.path());
        let (name, byte) = (ChunkId(name).file_name(), at - name);
        for args in [&["inspect", "."][..], &["verify", "."], &["repair", "."]] {
            let ran = run(args, dir.path());
            let place = format!("'./{name}' is damaged at offset {at} (byte {byte} of the file)");
            assert!(ran.code == 2 && ran.out.contains(&place), "{ran:?}");
            assert!(ran.out.contains("or run `chunked-wal repair`, to write it again"), "{ran:?}");
        }
        let step = format!("write the {what} of {name} again: keeps 3 records, loses nothing\n");
        let proposed = run(&["repair", "."], dir.path()).out;
        assert!(proposed.contains(&format!("  would {step}nothing was changed; --apply does it\n")));
        assert_eq!(snapshot(dir.path()), before);
        let ran = run(&["repair", "--apply", "."], dir.path());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert!(ran.out.ends_with(&format!("done: {step}repaired: 3 chunks with 9 records are left\n")));
        assert_eq!(fs::read(&file).unwrap(), sound, "just as it was");
        assert_eq!(run(&["verify", "."], dir.path()).code, 0);
        assert_eq!(words_in(dir.path()), ["a", "b", "c", "d", "e", "f"]);
    }
}

#[test]
fn mendable_chunks_are_kept_beside_chunks_that_are_given_up() {
    for (keep, words) in [("before", vec!["a", "b", "c"]), ("behind", vec!["a", "b", "c", "d", "e", "f"])] {
        let dir = three_chunks();
        damage(&chunk_path(dir.path(), 0), SECOND + 12);
        damage(&chunk_path(dir.path(), SECOND), NEWEST - SECOND - 4);
        let ran = run(&["repair", ".", "--apply", "--keep", keep], dir.path());
        assert_eq!(ran.code, 0, "{ran:?}");
        let mends = ran.out.contains("done: write the seal of r-00_000_000_000_000_000_000.wal again");
        assert_eq!(mends, keep == "before", "{ran:?}");
        assert_eq!(run(&["verify", "."], dir.path()).code, 0);
        assert_eq!(words_in(dir.path()), words);
    }
}

#[test]
fn a_file_that_was_cut_short_is_not_called_torn_without_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = List::default();
    let mut wal = Wal::open(Config::new(dir.path()), &mut list).unwrap();
    for i in 0..1000 {
        wal.append_and_apply(format!("{i:0100}"), &mut list).unwrap();
    }
    wal.close().unwrap();
    let newest = fs::OpenOptions::new().write(true).open(chunk_path(dir.path(), 0)).unwrap();
    newest.set_len(50_000).unwrap();
    for command in ["inspect", "verify", "repair"] {
        let ran = run(&[command, "."], dir.path());
        assert_eq!(ran.code, 1);
        assert!(
            ran.out.contains("the file ends within that write, after 50,000 bytes"),
            "{command}: {ran:?}"
        );
        assert!(ran.out.contains("if the file was cut short, acknowledged records are missing"));
        assert!(!ran.out.contains("nobody was told"));
    }
}

#[test]
fn a_foreign_oldest_chunk_is_the_one_that_is_named_and_dropped() {
    let dir = three_chunks();
    let id = run(&["inspect", "."], dir.path()).out;
    let id = id.lines().find(|line| line.starts_with("log ")).unwrap().to_string();
    let other = three_chunks();
    fs::copy(chunk_path(other.path(), 0), chunk_path(dir.path(), 0)).unwrap();
    let foreign = format!("{}' doesn't belong here", ChunkId(0).file_name());
    for command in ["inspect", "verify", "repair"] {
        let ran = run(&[command, "."], dir.path());
        assert!(ran.code == 2 && ran.out.contains(&foreign), "{ran:?}");
        assert_eq!(ran.out.matches("doesn't belong here").count(), 1, "{ran:?}");
        assert!(command != "inspect" || ran.out.contains(&id), "{ran:?}");
    }
    let error = Wal::open(config(dir.path()), &mut List::default()).unwrap_err();
    assert!(error.to_string().contains(&foreign), "{error}");
    let ran = run(&["repair", "--apply", "."], dir.path());
    assert!(ran.code == 0 && ran.out.contains("drop r-00_000_000_000_000_000_000.wal"), "{ran:?}");
    assert_eq!(words_in(dir.path()), ["a", "b", "c", "d", "e", "f"], "the checkpoint has it all");
}

// Live logs ----------------------------------------------------------------------------------------

#[test]
fn an_open_log_is_looked_at_and_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(config(dir.path()), &mut List::default()).unwrap();
    wal.append(&action("x")).unwrap();
    wal.flush(Flush::Write, None).unwrap();
    wal.wait_idle().unwrap();
    let ran = run(&["inspect", "."], dir.path());
    assert!(ran.code == 0 && ran.out.contains("writer     has it open"), "{ran:?}");
    assert_eq!(run(&["verify", "."], dir.path()).code, 0);
    assert_eq!(run(&["dump", "."], dir.path()).out.lines().count(), 2);
    assert_eq!(run(&["repair", "."], dir.path()).code, 0);
    let ran = run(&["repair", ".", "--apply"], dir.path());
    assert!(ran.code == 9 && ran.err.contains("is locked") && ran.err.lines().count() == 1, "{ran:?}");
    wal.append(&action("y")).unwrap();
    wal.close().unwrap();
    assert!(run(&["inspect", "."], dir.path()).out.contains("writer     none"));
    assert_eq!(words_in(dir.path()), ["x", "y"]);

    // The lock is noticed even if its file is removed or replaced: the directory is locked too.
    let wal = Wal::open(config(dir.path()), &mut List::default()).unwrap();
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    assert!(run(&["inspect", "."], dir.path()).out.contains("writer     has it open"));
    fs::write(dir.path().join("LOCK"), "").unwrap();
    assert!(run(&["inspect", "."], dir.path()).out.contains("writer     has it open"));
    drop(wal);
    assert!(run(&["inspect", "."], dir.path()).out.contains("writer     none"));
}

#[test]
fn a_busy_log_is_sound_whenever_it_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.spare_chunks = 2;
    let mut history = History::default();
    let mut wal = Wal::open(config, &mut history).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            for _ in 0..15 {
                for args in [&["verify", "."][..], &["inspect", "."], &["dump", "."], &["repair", "."]] {
                    let ran = run(args, dir.path());
                    assert!(ran.code == 0 && ran.err.is_empty(), "{args:?}: {ran:?}");
                }
            }
            done.store(true, SeqCst);
        });
        for i in 0_u64.. {
            wal.append_and_apply(format!("{i:0width$}", width = (i * 37 % 500) as usize), &mut history)
                .unwrap();
            history.records.clear();
            wal.flush(if i.is_multiple_of(3) { Flush::Sync } else { Flush::Write }, None).unwrap();
            if wal.closed_chunk_stats().len() > 12 {
                let mut n = 0;
                let ids = wal.drain_closed_chunks_while(|_| {
                    n += 1;
                    n <= 6
                });
                wal.remove_chunks(ids).unwrap();
            }
            if done.load(SeqCst) || looking.is_finished() {
                break;
            }
        }
        looking.join().unwrap();
    });
    wal.close().unwrap();
}

#[test]
fn follow_prints_durable_records_over_rotations() {
    let dir = three_chunks();
    let mut list = List::default();
    let mut wal = Wal::open(config(dir.path()), &mut list).unwrap();
    let args = ["follow", ".", "--from", "272", "--format", "utf8", "--kind", "action", "-n", "6"];
    let mut child = command(&args, dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next().unwrap().unwrap();
        line.split("action").nth(1).unwrap().chars().rfind(|c| c.is_alphabetic() && *c != 'x').unwrap()
    };
    assert_eq!([next(), next()], ['e', 'f']);
    for word in ["g", "h", "i", "j"] {
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
        wal.sync().unwrap();
        assert_eq!(next().to_string(), word);
        wal.close_open_chunk(&list).unwrap();
    }
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "six were asked for");
}

// Bench --------------------------------------------------------------------------------------------

#[test]
fn bench_measures_draws_and_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    let ran = run(&["bench", "disk", "--seconds", "0.02", "--plot", "plot.svg"], dir.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    for row in ["write and fdatasync", "append and sync", "256 commits at a time", "replay", "OPERATIONS/S"] {
        assert!(ran.out.contains(row), "{row}: {}", ran.out);
    }
    assert_eq!(fs::read_dir(dir.path().join("disk")).unwrap().count(), 0);
    let svg = fs::read_to_string(dir.path().join("plot.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("<rect").count(), 1 + 7 + 4, "a bar for each rate, and for each latency");
    for part in [
        "higher is better",
        "lower is better",
        "prefers-color-scheme: dark",
        "class=\"baseline\"",
        " cores, ",
    ] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
}
