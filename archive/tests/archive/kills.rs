//! Real processes: a writer in this one, archivers and restores that are killed at random, and local files.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::command::COMMAND;
use crate::common::{TestLog, compare, files, original_in, random, until};

fn spawn(args: &[&std::ffi::OsStr]) -> Child {
    Command::new(COMMAND).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn archivers_and_restores_killed_at_random_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [log_dir, store, restored] = ["log", "archive", "restored"].map(|name| dir.path().join(name));
    let mut log = TestLog::on_disk(&log_dir);
    log.append(1).unwrap();
    let run = ["run".as_ref(), log_dir.as_os_str(), store.as_os_str(), "--pause".as_ref(), "1ms".as_ref()];
    let seed = u64::from(std::process::id());
    for round in 0..25 {
        let archiver = spawn(&run);
        for step in 0..random(seed, round) % 40 {
            log.append(1 + random(seed, 1000 * round + step) % 9).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(archiver);
    }
    log.append(3).unwrap();
    let count = log.count.0;
    log.wal.close().unwrap();
    let once = ["run".as_ref(), log_dir.as_os_str(), store.as_os_str(), "--once".as_ref()];
    assert!(spawn(&once).wait().unwrap().success());

    let restore =
        ["restore".as_ref(), store.as_os_str(), restored.as_os_str(), "--from".as_ref(), "oldest".as_ref()];
    for round in 0..20 {
        let restoring = spawn(&restore);
        std::thread::sleep(Duration::from_millis(random(seed, round + 77) % 8));
        kill(restoring);
        if restored.exists() {
            break;
        }
    }
    if !restored.exists() {
        assert!(spawn(&restore).wait().unwrap().success());
    }
    assert_eq!(files(&restored).len(), files(&log_dir).len());
    assert_eq!(compare(&restored, original_in(&log_dir)), count);
}

#[test]
fn two_archivers_as_processes_and_the_earlier_one_exits_with_its_own_status() {
    let dir = tempfile::tempdir().unwrap();
    let [log_dir, store] = ["log", "archive"].map(|name| dir.path().join(name));
    let mut log = TestLog::on_disk(&log_dir);
    log.append(1).unwrap();
    let run = ["run".as_ref(), log_dir.as_os_str(), store.as_os_str(), "--pause".as_ref(), "1ms".as_ref()];
    let mut first = spawn(&run);
    until(|| store.join("manifests").is_dir());
    let second = spawn(&run);
    let mut status = None;
    until(|| {
        log.append(1).unwrap();
        status = first.try_wait().unwrap();
        status.is_some()
    });
    kill(second);
    assert_eq!(status.unwrap().code(), Some(9));
}
