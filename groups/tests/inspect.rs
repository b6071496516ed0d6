//! The command, and a log that grows and shrinks meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::{Command, Output};

use chunked_wal_groups::{Config, GroupLog, Holder, inspect};
use common::{Dice, Entry, Model, commit};

fn run(args: &[&str], dir: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chunked-wal-groups")).args(args).arg(dir).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_open_log_is_shown_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.wal.chunk_max_size = 16 << 10;
    let log = GroupLog::<Entry>::open(config).unwrap();
    let (mut dice, mut model) = (Dice(3), Model::default());
    for _ in 0..300 {
        let _unawaited = commit(&log, &model.draw(&mut dice, 30, 200)).unwrap();
    }
    log.sync().unwrap();
    let inspection = inspect(dir.path()).unwrap();
    // Some may have moved in between.
    let without_chunk = |holders: &[Holder]| {
        let mut held: Vec<_> = holders.iter().map(|h| (h.group, h.first, h.next, h.bytes)).collect();
        held.sort_unstable();
        held
    };
    assert_eq!(without_chunk(&inspection.holders), without_chunk(&log.holders()));
    assert_eq!(inspection.alive, inspection.holders.iter().map(|holder| holder.bytes).sum::<u64>());

    let output = run(&["inspect", "--top", "3"], dir.path());
    assert!(output.status.success());
    let shown = text(&output);
    assert!(shown.contains(&format!("{} groups", log.groups().len())), "{shown}");
    assert!(shown.contains("more: --top"), "{shown}");
    assert_eq!(shown.lines().count(), 6, "{shown}");
    let output = run(&["inspect", "--json"], dir.path());
    assert!(text(&output).contains(r#""oldest_chunk":"#), "{output:?}");
    // The log's own commands.
    let output = run(&["dump"], dir.path());
    assert!(text(&output).contains("Bounds of"), "{output:?}");
}

#[test]
fn what_is_no_log_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["inspect"], &dir.path().join("none"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("none"), "{output:?}");
    assert_eq!(run(&["inspect", "--top", "x"], dir.path()).status.code(), Some(64));
}
