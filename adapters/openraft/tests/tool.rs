//! The example `raft-log`: votes, commits, entries and user data are shown decoded, as text and as JSON.
//!
//! This binary has no test harness: as a child of itself it is the example, with the example's arguments.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "tests; an example")]
#![allow(missing_debug_implementations, reason = "an example")]

#[path = "../examples/raft-log.rs"]
mod tool;

use std::path::Path;
use std::process::{Command, ExitCode};

use chunked_wal::Config;
use chunked_wal_openraft::LogStore;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, Vote};

use tool::types::{Kv, Write};

const IS_THE_EXAMPLE: &str = "CHUNKED_WAL_TEST_IS_THE_EXAMPLE";

fn main() -> ExitCode {
    if std::env::var_os(IS_THE_EXAMPLE).is_some() {
        return tool::main();
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(write(dir.path()));
    text_shows_raft_s_words(dir.path());
    json_shows_raft_s_fields(dir.path());
    println!("tool: ok");
    ExitCode::SUCCESS
}

/// A log with each kind of record.
async fn write(dir: &Path) {
    let log_id = |index| LogId::new(CommittedLeaderId::new(3, 1), index);
    let write = |index| Write { key: format!("key {index}"), value: format!("value {index}") };
    let entry = |index| Entry { log_id: log_id(index), payload: EntryPayload::Normal(write(index)) };
    let mut store = LogStore::<Kv>::open(Config::new(dir)).unwrap();
    store.save_vote(&Vote::new_committed(3, 1)).await.unwrap();
    store.save_user_data(Some(vec![7, 8])).await.unwrap();
    store.blocking_append((0..3).map(entry)).await.unwrap();
    store.save_committed(Some(log_id(1))).await.unwrap();
    store.truncate(log_id(2)).await.unwrap();
    store.purge(log_id(0)).await.unwrap();
    store.close().unwrap();
}

/// Runs the tool on the log, and returns its lines.
fn lines(args: &[&str], dir: &Path) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(args).arg(dir).env(IS_THE_EXAMPLE, "1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
}

fn text_shows_raft_s_words(dir: &Path) {
    let lines = lines(&["dump", "--kind", "action"], dir);
    let words = [
        &["Vote(", "term: 3"][..],
        &["UserData(Some([7, 8]))"],
        // openraft's own text of an entry leaves its command out; JSON has it.
        &["Entry(", "index: 0", "normal"],
        &["Entry(", "index: 1", "normal"],
        &["Entry(", "index: 2", "normal"],
        &["Committed(", "index: 1"],
        &["Truncate {", "since: 2"],
        &["Purge(", "index: 0"],
    ];
    assert_eq!(lines.len(), words.len(), "{lines:#?}");
    for (line, words) in lines.iter().zip(words) {
        assert!(words.iter().all(|word| line.contains(word)), "{words:?} in {line}");
    }
}

fn json_shows_raft_s_fields(dir: &Path) {
    let lines = lines(&["dump", "--json", "--kind", "action"], dir);
    let records: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["record"].clone())
        .collect();
    assert_eq!(records[0]["Vote"]["leader_id"]["term"], 3, "{records:#?}");
    assert_eq!(records[1]["UserData"], serde_json::json!([7, 8]));
    assert_eq!(records[3]["Entry"]["log_id"]["index"], 1);
    assert_eq!(records[3]["Entry"]["payload"]["Normal"]["key"], "key 1");
    assert_eq!(records[6]["Truncate"]["since"], 2);
    assert_eq!(records[7]["Purge"]["index"], 0);
}
