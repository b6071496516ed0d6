//! Imports that are killed at any moment, and run again.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chunked_wal_import::{Error, Import, LogWal, ToOpenraft};

use crate::common::{Numbers, Place, Snapshot, untouched};
use crate::new_raft::with_0_9;
use crate::old_raft::{OldLog, leader, write_all_kinds};

/// How often the command is killed.
const KILLS: u64 = 30;

fn command(place: &Place) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunked-wal-import"));
    command.arg(place.old()).arg(place.new_log()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn start(place: &Place) -> Child {
    command(place).spawn().unwrap()
}

fn compare(place: &Place) {
    Import::new(place.old(), place.new_log()).check(ToOpenraft::<LogWal>::new).unwrap();
}

fn remove(path: &Path) {
    if path.exists() {
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn a_killed_import_is_run_again() {
    let place = Place::new();
    let mut log = OldLog::open(&place.old(), 500);
    log.save_user_data(Some(3));
    log.append_texts(1, 0..3_000);
    log.save_user_data(Some(300));
    log.append_texts(1, 3_000..5_000);
    drop(log);
    let user_data = rmp_serde::to_vec_named(&leader(300)).unwrap();
    let before = Snapshot::of(&place.old());
    let started = Instant::now();
    assert!(start(&place).wait().unwrap().success());
    let whole = u64::try_from(started.elapsed().as_micros()).unwrap();
    let mut numbers = Numbers::new(1);
    let (mut unfinished, mut finished) = (0, 0);
    for kill in 0..KILLS {
        remove(&place.new_log());
        remove(&place.staging());
        let mut child = start(&place);
        thread::sleep(Duration::from_micros(numbers.below(whole + whole / 8)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        // Whatever has the name of the new log is whole.
        if place.new_log().exists() {
            finished += 1;
            compare(&place);
        } else {
            assert!(!status.success());
            unfinished += 1;
        }
        // Killed again while it takes over what is there.
        if kill % 3 == 0 {
            let mut child = start(&place);
            thread::sleep(Duration::from_micros(numbers.below(whole / 4)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        if !place.new_log().exists() || place.staging().exists() {
            assert!(command(&place).status().unwrap().success(), "after kill {kill}");
        }
        compare(&place);
        assert!(!place.staging().exists());
        assert_eq!(with_0_9::seen(&place.new_log()).user_data.as_ref(), Some(&user_data));
    }
    assert!(unfinished > KILLS / 3, "{unfinished} unfinished, {finished} finished");
    assert!(before == Snapshot::of(&place.old()), "the old directory was changed");
}

/// What a kill can leave, state by state.
#[test]
fn each_state_that_a_kill_leaves_is_taken_over() {
    let place = Place::new();
    write_all_kinds(&place.old());
    let import = || {
        untouched(&place.old(), || Import::new(place.old(), place.new_log()).run(ToOpenraft::<LogWal>::new))
    };
    import().unwrap();
    let (staging, mark) = (place.staging(), place.staging().join("IMPORT"));
    let half = staging.join("log");

    // Nothing but the directory.
    remove(&place.new_log());
    fs::create_dir(&staging).unwrap();
    assert!(!import().unwrap().begun_anew);
    // The directory and its mark.
    remove(&place.new_log());
    fs::create_dir(&staging).unwrap();
    fs::write(&mark, "").unwrap();
    assert!(!import().unwrap().begun_anew);
    // Half a log.
    remove(&place.new_log());
    fs::create_dir_all(&half).unwrap();
    fs::write(&mark, "").unwrap();
    fs::write(half.join("r-00_000_000_000_000_000_000.wal"), "half").unwrap();
    assert!(import().unwrap().begun_anew);
    // The log has its name, and the directory is still there.
    fs::create_dir(&staging).unwrap();
    fs::write(&mark, "").unwrap();
    let report = import().unwrap();
    assert!(report.write.is_zero() && !report.check.is_zero());
    assert!(!staging.exists());
    // All is done.
    assert!(matches!(import(), Err(Error::Exists { .. })));
    compare(&place);
}

#[test]
fn what_no_import_made_is_left_alone() {
    let place = Place::new();
    write_all_kinds(&place.old());
    let import = || Import::new(place.old(), place.new_log()).run(ToOpenraft::<LogWal>::new);
    fs::create_dir(place.staging()).unwrap();
    fs::write(place.staging().join("letter"), "dear").unwrap();
    assert!(matches!(import(), Err(Error::NotOurs { .. })));
    assert!(place.staging().join("letter").exists());
    fs::remove_dir_all(place.staging()).unwrap();

    fs::write(place.new_log(), "a file").unwrap();
    assert!(matches!(import(), Err(Error::Exists { .. })));
    fs::remove_file(place.new_log()).unwrap();
    fs::create_dir(place.new_log()).unwrap();
    fs::write(place.new_log().join("letter"), "dear").unwrap();
    assert!(matches!(import(), Err(Error::Exists { .. })));
    assert!(!place.staging().exists());
    // An empty directory is as good as none.
    fs::remove_file(place.new_log().join("letter")).unwrap();
    import().unwrap();
}

#[test]
fn two_imports_into_one_place_exclude_each_other() {
    let place = Place::new();
    write_all_kinds(&place.old());
    fs::create_dir(place.staging()).unwrap();
    let mark = fs::File::create(place.staging().join("IMPORT")).unwrap();
    mark.lock().unwrap();
    let import = || Import::new(place.old(), place.new_log()).run(ToOpenraft::<LogWal>::new);
    assert!(matches!(import(), Err(Error::InUse { .. })));
    assert!(place.staging().exists());
    drop(mark);
    import().unwrap();
}

#[test]
fn a_log_that_is_open_is_not_imported_and_can_not_be_opened_meanwhile() {
    let place = Place::new();
    let mut log = OldLog::open(&place.old(), 5);
    log.append_texts(1, 0..3);
    let import = || Import::new(place.old(), place.new_log()).run(ToOpenraft::<LogWal>::new);
    assert!(matches!(import(), Err(Error::InUse { .. })));
    place.assert_nothing_new();
    drop(log);
    // A copy without the lock file is imported, too.
    fs::remove_file(place.old().join("LOCK")).unwrap();
    untouched(&place.old(), import).unwrap();
    assert!(!place.old().join("LOCK").exists());
}
