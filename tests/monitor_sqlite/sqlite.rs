//! SQLite WAL files are followed from outside: a real SQLite writes them, in this process and in
//! another, and some are made by hand.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chunked_wal::monitor::{Changes, MonitorOptions, SqliteDefect, SqliteFile, SqliteState, WalMonitor};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

const DATABASE: &str = "CHUNKED_WAL_MONITOR_DATABASE";

/// Nothing here takes so long.
const LONG: Duration = Duration::from_secs(20);

fn wal_of(database: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", database.display()))
}

/// Runs a statement; its first row, in numbers.
fn run(connection: &Connection, sql: &str) -> Vec<i64> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let first = rows.next().unwrap().map(|row| {
        let number = |i| match row.get(i).unwrap() {
            Value::Integer(number) => number,
            _ => 0,
        };
        (0..columns).map(number).collect()
    });
    while rows.next().unwrap().is_some() {}
    first.unwrap_or_default()
}

/// A connection that never checkpoints of itself, and waits for no disk.
fn connect(database: &Path, page_size: u32) -> Connection {
    let connection = Connection::open(database).unwrap();
    for pragma in [
        &format!("page_size = {page_size}"),
        "journal_mode = WAL",
        "wal_autocheckpoint = 0",
        "cache_size = 5",
        "synchronous = OFF",
    ] {
        run(&connection, &format!("PRAGMA {pragma}"));
    }
    connection
}

/// SQLite in a process of its own, with two connections.
struct Sqlite {
    child: Child,
    replies: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Sqlite {
    /// Runs this binary again, as a child that runs `test`.
    fn spawn(test: &str, database: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(DATABASE, database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap()).lines();
        Sqlite { child, replies }
    }

    fn run(&mut self, connection: usize, sql: &str) -> Vec<i64> {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{connection} {sql}").unwrap();
        let reply =
            self.replies.by_ref().find_map(|line| Some(line.unwrap().split_once("! ")?.1.to_string()));
        reply.unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect()
    }

    /// Closes both connections.
    fn close(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// If this process is the child: runs the parent's commands.
fn serve() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let connections = [connect(database.as_ref(), 4096), connect(database.as_ref(), 4096)];
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (connection, sql) = line.split_once(' ').unwrap();
        let row = run(&connections[connection.parse::<usize>().unwrap()], sql);
        let numbers: Vec<String> = row.iter().map(i64::to_string).collect();
        println!("! {} ", numbers.join(" "));
    }
    drop(connections);
    std::process::exit(0);
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("app.db");
    (dir, database)
}

/// The changes, and the state after them.
fn look(monitor: &mut WalMonitor<SqliteState>) -> (Changes, SqliteState) {
    let event = monitor.check_for_changes().unwrap();
    let state = monitor.state();
    event.map_or((Changes::default(), state), |event| (event.changes, event.state))
}

#[test]
fn every_mode_of_checkpoint_by_another_process() {
    serve();
    let (_dir, database) = place();
    let mut monitor = MonitorOptions::new().read_wal_index().open_sqlite(wal_of(&database)).unwrap();
    assert_eq!(monitor.state().file, SqliteFile::Missing);
    let mut sqlite = Sqlite::spawn("every_mode_of_checkpoint_by_another_process", &database);

    sqlite.run(0, "CREATE TABLE t (x BLOB)");
    let (changes, state) = look(&mut monitor);
    assert_eq!((state.file, state.page_size), (SqliteFile::Valid, 4096));
    assert!(state.frames > 0 && state.frames == state.committed_frames && state.database_pages == 2);
    assert_eq!((changes.records, changes.bytes), (state.frames, state.frames * (24 + 4096)));
    assert_eq!((changes.reset, changes.gone, changes.shrunk), (0, 0, 0));

    for mode in ["PASSIVE", "FULL", "RESTART"] {
        let before = look(&mut monitor).1;
        sqlite.run(0, "INSERT INTO t VALUES (randomblob(20000))");
        let (changes, state) = look(&mut monitor);
        assert_eq!(changes.reset, u64::from(mode != "PASSIVE"), "before {mode}");
        assert_eq!(changes.records, state.frames - if changes.reset == 0 { before.frames } else { 0 });
        assert!(changes.records > 4);
        if changes.reset == 1 {
            assert_eq!(state.salts[0], before.salts[0].wrapping_add(1));
            assert_eq!(state.checkpoint_sequence, before.checkpoint_sequence + 1);
        }
        assert_eq!(state.checkpointed_frames, Some(0));

        let bytes = fs::read(wal_of(&database)).unwrap();
        let said = sqlite.run(0, &format!("PRAGMA wal_checkpoint({mode})"));
        assert_eq!(said, [0, state.frames as i64, state.frames as i64], "{mode}");
        let (changes, after) = look(&mut monitor);
        assert_eq!(fs::read(wal_of(&database)).unwrap(), bytes, "{mode} leaves the file as it is");
        assert_eq!(after.checkpointed_frames, Some(state.frames as u32));
        assert_eq!(changes.checkpointed_frames, state.frames, "{mode}");
        assert_eq!(
            (changes.records, changes.bytes, changes.reset, changes.shrunk, changes.gone),
            (0, 0, 0, 0, 0),
            "{mode}"
        );
        assert_eq!((after.frames, after.salts), (state.frames, state.salts));
    }

    sqlite.run(1, "INSERT INTO t VALUES (1)");
    assert_eq!(look(&mut monitor).0.reset, 1);
    assert_eq!(sqlite.run(1, "PRAGMA wal_checkpoint(TRUNCATE)"), [0, 0, 0]);
    let (changes, state) = look(&mut monitor);
    assert_eq!((state.file, state.frames, state.page_size), (SqliteFile::Empty, 0, 0));
    assert_eq!((changes.shrunk, changes.reset, changes.gone), (1, 0, 0));

    sqlite.run(0, "INSERT INTO t VALUES (2)");
    let (changes, state) = look(&mut monitor);
    assert_eq!((changes.records, changes.reset, changes.shrunk), (state.frames, 0, 0));
    sqlite.close();
    let (changes, state) = look(&mut monitor);
    assert_eq!((changes.gone, changes.shrunk, state), (1, 0, SqliteState::default()));
}

#[test]
fn a_reader_holds_a_checkpoint_up() {
    serve();
    let (_dir, database) = place();
    let mut sqlite = Sqlite::spawn("a_reader_holds_a_checkpoint_up", &database);
    sqlite.run(0, "CREATE TABLE t (x BLOB)");
    let mut monitor = MonitorOptions::new().read_wal_index().open_sqlite(wal_of(&database)).unwrap();
    sqlite.run(1, "BEGIN");
    sqlite.run(1, "SELECT count(*) FROM t");
    sqlite.run(0, "INSERT INTO t VALUES (randomblob(9000))");
    let said = sqlite.run(0, "PRAGMA wal_checkpoint(PASSIVE)");
    let (_, state) = look(&mut monitor);
    assert!(said[2] < said[1], "{said:?}");
    assert_eq!((state.committed_frames as i64, state.checkpointed_frames), (said[1], Some(said[2] as u32)));
    sqlite.run(1, "COMMIT");
    let said = sqlite.run(0, "PRAGMA wal_checkpoint(PASSIVE)");
    assert_eq!(look(&mut monitor).1.checkpointed_frames, Some(said[1] as u32));
    sqlite.close();
}

#[test]
fn the_operating_system_reports_another_process() {
    serve();
    let (_dir, database) = place();
    let options = MonitorOptions::new().poll_interval(10 * LONG);
    let mut monitor = options.open_sqlite(wal_of(&database)).unwrap();
    assert!(monitor.wait_timeout(Duration::ZERO).unwrap().is_none());
    // The index is mapped memory: the system doesn't report its changes.
    let polled = MonitorOptions::new().poll_interval(Duration::from_millis(10)).read_wal_index();
    let mut polled = polled.open_sqlite(wal_of(&database)).unwrap();
    let mut sqlite = Sqlite::spawn("the_operating_system_reports_another_process", &database);
    sqlite.run(0, "CREATE TABLE t (x)");
    let wait = |monitor: &mut WalMonitor<_>, wanted: &dyn Fn(&SqliteState) -> bool| {
        while !wanted(&monitor.state()) {
            assert!(monitor.wait_timeout(LONG).unwrap().is_some(), "{:?}", monitor.state());
        }
    };
    wait(&mut monitor, &|state| state.committed_frames > 0);
    let said = sqlite.run(0, "PRAGMA wal_checkpoint(FULL)");
    wait(&mut polled, &|state| state.checkpointed_frames == Some(said[1] as u32));
    sqlite.close();
    wait(&mut monitor, &|state| state.file == SqliteFile::Missing);
}

#[test]
fn frames_without_a_commit_are_valid_and_not_committed() {
    let (_dir, database) = place();
    let connection = connect(&database, 4096);
    run(&connection, "CREATE TABLE t (x BLOB)");
    let mut monitor = WalMonitor::open_sqlite(wal_of(&database)).unwrap();
    let before = monitor.state();
    assert_eq!(before.checkpointed_frames, None, "nobody asked for the index");

    // More pages than the cache has room for.
    run(&connection, "BEGIN");
    run(&connection, "INSERT INTO t VALUES (randomblob(100000))");
    let (changes, spilled) = look(&mut monitor);
    assert!(spilled.frames > before.frames + 10, "{spilled:?}");
    assert_eq!(spilled.committed_frames, before.committed_frames);
    assert_eq!(spilled.database_pages, before.database_pages);
    assert_eq!(changes.records, spilled.frames - before.frames);
    run(&connection, "ROLLBACK");
    look(&mut monitor);

    // Written over, in the same life of the file.
    run(&connection, "INSERT INTO t VALUES (1)");
    let (changes, over) = look(&mut monitor);
    assert_eq!((changes.shrunk, changes.reset), (1, 0));
    assert_eq!(over.salts, before.salts);
    assert_eq!((over.frames, over.frames), (over.committed_frames, before.frames + changes.records));
    assert_eq!(
        run(&connection, "PRAGMA wal_checkpoint(PASSIVE)"),
        [0, over.frames as i64, over.frames as i64]
    );
}

#[test]
fn frames_rolled_back_to_a_savepoint_are_overwritten_from_the_middle() {
    let (_dir, database) = place();
    let connection = connect(&database, 4096);
    run(&connection, "CREATE TABLE t (x BLOB)");
    let mut monitor = WalMonitor::open_sqlite(wal_of(&database)).unwrap();
    run(&connection, "BEGIN");
    run(&connection, "INSERT INTO t VALUES (randomblob(100000))");
    let kept = look(&mut monitor).1.frames;
    run(&connection, "SAVEPOINT s");
    run(&connection, "INSERT INTO t VALUES (randomblob(400000))");
    let spilled = look(&mut monitor).1;
    run(&connection, "ROLLBACK TO s");
    run(&connection, "INSERT INTO t VALUES (1)");
    run(&connection, "COMMIT");
    // The last frame seen is still in the file, after the commit.
    let (changes, state) = look(&mut monitor);
    assert!(kept < state.frames && state.frames < spilled.frames, "{kept}, {spilled:?}, {state:?}");
    assert_eq!((state.frames, changes.shrunk), (state.committed_frames, 1));
    let frames = state.frames as i64;
    assert_eq!(run(&connection, "PRAGMA wal_checkpoint(PASSIVE)"), [0, frames, frames]);
}

#[test]
fn following_and_reading_again_find_the_same() {
    for page_size in [512, 1024, 65536] {
        let (_dir, database) = place();
        let connections = [connect(&database, page_size), connect(&database, page_size)];
        run(&connections[0], "CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
        let mut monitor = WalMonitor::open_sqlite(wal_of(&database)).unwrap();
        let mut total = Changes::default();
        let mut dice = 7u64;
        let (mut in_transaction, mut savepoint, mut committed) = (false, false, 0);
        for step in 0..400 {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let blob = (dice >> 40) % (5 * u64::from(page_size));
            let id = (dice >> 20) % 30;
            let sql = match (dice >> 33) % 16 {
                0 | 1 if !in_transaction => "BEGIN".to_string(),
                0 => "COMMIT".to_string(),
                1 => "ROLLBACK".to_string(),
                2 if in_transaction => "SAVEPOINT s".to_string(),
                3 if in_transaction && savepoint => "ROLLBACK TO s".to_string(),
                2 if !in_transaction => "PRAGMA wal_checkpoint(PASSIVE)".to_string(),
                3 if !in_transaction => "PRAGMA wal_checkpoint(RESTART)".to_string(),
                4 if !in_transaction => "PRAGMA wal_checkpoint(TRUNCATE)".to_string(),
                5 => format!("DELETE FROM t WHERE id < {id}"),
                6 | 7 => format!("UPDATE t SET x = randomblob({blob}) WHERE id > {id}"),
                _ => format!("INSERT OR REPLACE INTO t VALUES ({id}, randomblob({blob}))"),
            };
            let other = !in_transaction && sql != "BEGIN" && dice >> 63 == 1;
            match sql.as_str() {
                "BEGIN" => in_transaction = true,
                "SAVEPOINT s" => savepoint = true,
                "COMMIT" | "ROLLBACK" => (in_transaction, savepoint) = (false, false),
                _ => {}
            }
            let said = run(&connections[usize::from(other)], &sql);
            let (changes, state) = look(&mut monitor);
            let mut anew = WalMonitor::open_sqlite(wal_of(&database)).unwrap().state();
            if state.committed_frames == committed {
                // An open transaction may have changed pages that it wrote before, in their place.
                anew.frames = anew.frames.max(state.frames);
            }
            committed = state.committed_frames;
            assert_eq!(state, anew, "step {step}: {sql}");
            if let [0, frames, done] = said[..]
                && sql.contains("PASSIVE")
            {
                assert_eq!(frames, done);
                // Before the first write after a restart, SQLite counts no frames and the file still has all.
                assert!(state.committed_frames as i64 == frames || frames == 0, "step {step}: {state:?}");
            }
            total.records += changes.records;
            total.shrunk += changes.shrunk;
            total.reset += changes.reset;
        }
        assert!(total.records > 400 && total.shrunk > 5 && total.reset > 5, "{page_size}: {total:?}");
    }
}

#[test]
fn restarts_under_a_look_are_resets_and_nothing_else() {
    let (_dir, database) = place();
    let mut monitor = WalMonitor::open_sqlite(wal_of(&database)).unwrap();
    let done = AtomicBool::new(false);
    let mut total = Changes::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let connection = connect(&database, 512);
            run(&connection, "CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
            run(&connection, "PRAGMA wal_autocheckpoint = 8");
            while !done.load(Relaxed) {
                run(&connection, "INSERT OR REPLACE INTO t VALUES (1, randomblob(1500))");
            }
        });
        let deadline = Instant::now() + LONG;
        while total.reset < 100 && Instant::now() < deadline {
            let (changes, state) = look(&mut monitor);
            total.reset += changes.reset;
            total.shrunk += changes.shrunk;
            total.gone += changes.gone;
            total.records += changes.records;
            assert!(state.committed_frames <= state.frames);
        }
        done.store(true, Relaxed);
    });
    assert!(total.reset >= 100 && total.records >= 100, "{total:?}");
    assert_eq!((total.shrunk, total.gone), (0, 0), "{total:?}");
}

/// The WAL of a few small transactions, with its number of frames.
fn small_wal() -> (Vec<u8>, u64) {
    let (_dir, database) = place();
    let connection = connect(&database, 512);
    for sql in ["CREATE TABLE t (x)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"] {
        run(&connection, sql);
    }
    let bytes = fs::read(wal_of(&database)).unwrap();
    let frames = (bytes.len() as u64 - 32) / (24 + 512);
    (bytes, frames)
}

/// Every byte of the headers of file and first frame, and every fifth after them.
fn some_of(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    (0..bytes.len()).filter(|at| *at < 64 || at % 5 == 0)
}

/// What a monitor makes of a file.
fn state_of(bytes: &[u8]) -> SqliteState {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db-wal");
    fs::write(&path, bytes).unwrap();
    WalMonitor::open_sqlite(&path).unwrap().state()
}

/// SQLite's checksum, written from its description, big-endian; goes on from `sums`.
fn checksum(bytes: &[u8], mut sums: [u32; 2]) -> [u32; 2] {
    for (i, word) in bytes.chunks(4).enumerate() {
        let word = u32::from_be_bytes(word.try_into().unwrap());
        sums[i % 2] = sums[i % 2].wrapping_add(word).wrapping_add(sums[(i + 1) % 2]);
    }
    sums
}

fn put(bytes: &mut [u8], at: usize, words: &[u32]) {
    for (i, word) in words.iter().enumerate() {
        bytes[at + 4 * i..at + 4 * i + 4].copy_from_slice(&word.to_be_bytes());
    }
}

/// The same WAL as a machine of the other byte order would have written it.
fn big_endian(mut bytes: Vec<u8>) -> Vec<u8> {
    put(&mut bytes, 0, &[0x377f_0683]);
    let mut sums = checksum(&bytes[..24], [0, 0]);
    put(&mut bytes, 24, &sums);
    for at in (32..bytes.len()).step_by(24 + 512) {
        sums = checksum(&bytes[at..at + 8], sums);
        sums = checksum(&bytes[at + 24..at + 24 + 512], sums);
        put(&mut bytes, at + 16, &sums);
    }
    bytes
}

#[test]
fn both_byte_orders_are_read() {
    let (bytes, frames) = small_wal();
    let state = state_of(&bytes);
    assert_eq!((state.frames, state.committed_frames), (frames, frames));
    let big = big_endian(bytes.clone());
    assert_ne!(big, bytes);
    assert_eq!(state_of(&big), state);
}

#[test]
fn a_cut_leaves_the_whole_frames() {
    let (bytes, _) = small_wal();
    for len in some_of(&bytes) {
        let state = state_of(&bytes[..len]);
        match len {
            0 => assert_eq!(state.file, SqliteFile::Empty),
            1..32 => assert_eq!(state.file, SqliteFile::Invalid(SqliteDefect::Short { len: len as u64 })),
            _ => {
                assert_eq!((state.file, state.frames), (SqliteFile::Valid, (len as u64 - 32) / 536), "{len}")
            }
        }
        assert!(state.committed_frames <= state.frames);
    }
}

#[test]
fn a_changed_byte_ends_the_valid_frames() {
    let (bytes, frames) = small_wal();
    for at in some_of(&bytes) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        let state = state_of(&changed);
        match at.checked_sub(32) {
            None => assert!(matches!(state.file, SqliteFile::Invalid(_)), "byte {at}"),
            Some(at) => assert_eq!(state.frames, at as u64 / 536, "byte {}", at + 32),
        }
    }
    // Bytes after the last frame don't matter: they may be of an earlier, longer life of the file.
    let longer = [bytes.clone(), bytes[32..].to_vec()].concat();
    assert_eq!(state_of(&longer).frames, frames);
}

#[test]
fn invalid_headers_say_why() {
    let (bytes, _) = small_wal();
    let with = |at: usize, word: u32| {
        let mut bytes = big_endian(bytes.clone());
        put(&mut bytes, at, &[word]);
        let sums = checksum(&bytes[..24], [0, 0]);
        put(&mut bytes, 24, &sums);
        match state_of(&bytes).file {
            SqliteFile::Invalid(defect) => defect,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(0, 0x5351_4c69), SqliteDefect::Magic { found: 0x5351_4c69 });
    assert_eq!(with(4, 3_007_001), SqliteDefect::Version { found: 3_007_001 });
    for found in [0, 1, 256, 513, 511, 131_072, 1 << 31, u32::MAX] {
        assert_eq!(with(8, found), SqliteDefect::PageSize { found });
    }
    assert!(matches!(
        state_of(&[&bytes[..31], b"?"].concat()).file,
        SqliteFile::Invalid(SqliteDefect::Checksum)
    ));
    let said = SqliteDefect::Magic { found: 0x5351_4c69 }.to_string();
    assert!(said.contains("53514c69") && said.contains("-wal"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the bytes are and become, nothing panics, and what is counted is in the file.
    #[test]
    fn no_bytes_upset_it(
        versions in prop::collection::vec(
            (0..4usize, prop::collection::vec((0..3000usize, any::<u8>()), 0..6), 0..3000usize),
            1..6,
        )
    ) {
        let (bytes, _) = small_wal_once();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db-wal");
        let mut monitor = MonitorOptions::new().read_wal_index().open_sqlite(&path).unwrap();
        for (kind, changes, len) in versions {
            let mut version = if kind == 0 { Vec::new() } else { bytes.clone() };
            version.resize(len, 0xa5);
            for (at, value) in changes {
                if let Some(byte) = version.get_mut(at) {
                    *byte = value;
                }
            }
            fs::write(&path, &version).unwrap();
            fs::write(dir.path().join("x.db-shm"), &version).unwrap();
            let state = look(&mut monitor).1;
            prop_assert!(state.committed_frames <= state.frames);
            prop_assert!(state.frames * (24 + u64::from(state.page_size)) <= len as u64);
        }
    }
}

/// [`small_wal`], made once: SQLite takes its time to sync.
fn small_wal_once() -> &'static (Vec<u8>, u64) {
    static WAL: std::sync::OnceLock<(Vec<u8>, u64)> = std::sync::OnceLock::new();
    WAL.get_or_init(small_wal)
}
