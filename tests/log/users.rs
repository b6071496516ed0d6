//! Real files as users have them: locks, processes, directories, options, errors and types.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use std::{fs, io};

use chunked_wal::{
    CallbackFn, ChunkId, ChunkedWal, Config, Error, Flush, FlushSender, FlushTicket, ProgressHandle, Records,
    RecoveryReport, Segment, StateMachine, Storage, StorageFile, TryFlushError, WalLock, WalReader,
    WalRecord, WalTypes,
};
use tempfile::TempDir;

use crate::common::*;

fn config(dir: impl AsRef<Path>) -> Config {
    let mut config = Config::new(dir.as_ref());
    config.chunk_max_size = 4096;
    config
}

/// A directory that doesn't exist yet, in a temporary one.
fn place() -> (TempDir, Config) {
    let base = tempfile::tempdir().unwrap();
    let config = config(base.path().join("log"));
    (base, config)
}

fn open(config: &Config) -> Result<(Wal, List), Error> {
    let mut list = List::default();
    let wal = Wal::open(config.clone(), &mut list)?;
    Ok((wal, list))
}

/// Names and bytes of all files in a directory.
fn contents(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

// Other processes ----------------------------------------------------------------------------------

/// Runs this binary again, in a role of [`child`].
fn child_as(role: &str, dir: &Path) -> Command {
    let mut command = again("users::child");
    command.env("WAL_CHILD", role).env("WAL_DIR", dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[track_caller]
fn assert_succeeds(mut child: Child) {
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success() && said.lines().any(|line| line == "done"), "{said}");
}

/// Not a test by itself: the process that other tests start.
#[test]
fn child() {
    let Ok(role) = std::env::var("WAL_CHILD") else { return };
    let dir = std::path::PathBuf::from(std::env::var_os("WAL_DIR").unwrap());
    let config = config(&dir);
    match role.as_str() {
        "holds the lock until it is killed" => {
            let (mut wal, _) = open(&config).unwrap();
            wal.append(&action("from the child")).unwrap();
            wal.sync().unwrap();
            println!("\nready");
            let _killed_meanwhile = io::stdin().read_to_string(&mut String::new());
            std::process::abort();
        }
        "is refused" => {
            assert!(matches!(open(&config), Err(Error::Locked { .. })));
            assert!(matches!(Wal::acquire_lock(&config), Err(Error::Locked { .. })));
        }
        "goes elsewhere with a relative directory" => {
            std::env::set_current_dir(dir.parent().unwrap()).unwrap();
            let (mut wal, mut list) = open(&self::config("log")).unwrap();
            std::env::set_current_dir("/").unwrap();
            for i in 0..300 {
                wal.append_and_apply(format!("word-{i}"), &mut list).unwrap();
            }
            let ids = wal.drain_closed_chunks_while(|all| split(all).len() < 250);
            assert!(!ids.is_empty());
            wal.remove_chunks(ids).unwrap();
            wal.wait_idle().unwrap();
            wal.read_record(list.applied.last().unwrap().1).unwrap();
            wal.close().unwrap();
        }
        "may not write" => {
            let refused = |error: Error| match error {
                Error::Io { source, path, .. } => {
                    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
                    assert!(path.starts_with(&dir), "{}", path.display());
                }
                error => panic!("{error}"),
            };
            refused(open(&config).unwrap_err());
            refused(open(&self::config(dir.join("new"))).unwrap_err());
            refused(Wal::acquire_lock(&config).unwrap_err());
        }
        role => panic!("{role}?"),
    }
    println!("\ndone");
}

#[test]
fn one_writer_in_this_process() {
    let (_base, config) = place();
    let (mut wal, _) = open(&config).unwrap();
    wal.append(&action("a")).unwrap();
    let lock_file = config.dir.canonicalize().unwrap().join("LOCK");
    for _ in 0..2 {
        let Err(Error::Locked { path }) = open(&config) else { panic!("opened twice") };
        assert_eq!(path, lock_file);
        assert!(matches!(Wal::acquire_lock(&config), Err(Error::Locked { .. })));
    }
    wal.close().unwrap();
    drop(open(&config).unwrap());
    assert_eq!(open(&config).unwrap().1.words, ["a"]);
}

#[test]
fn one_writer_of_all_processes() {
    let (_base, config) = place();
    let (wal, _) = open(&config).unwrap();
    assert_succeeds(child_as("is refused", &config.dir).spawn().unwrap());
    drop(wal);

    let mut child = child_as("holds the lock until it is killed", &config.dir).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == "ready"));
    assert!(matches!(open(&config), Err(Error::Locked { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(open(&config).unwrap().1.words, ["from the child"]);
}

// Directories --------------------------------------------------------------------------------------

#[test]
fn a_relative_directory_stays_where_it_was() {
    let (_base, config) = place();
    assert_succeeds(child_as("goes elsewhere with a relative directory", &config.dir).spawn().unwrap());
    assert_eq!(open(&config).unwrap().1.words.len(), 300);
}

#[test]
fn a_directory_that_may_not_be_written_is_an_error_and_stays_as_it_is() {
    let (base, config) = place();
    open(&config).unwrap().0.close().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(base.path(), 0o755);
    mode(&config.dir.join("LOCK"), 0o444);
    mode(&config.dir, 0o555);
    let before = contents(&config.dir);
    let mut child = child_as("may not write", &config.dir);
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        // Root may do anything, so the child is another user.
        child.uid(65534).gid(65534);
    }
    match child.spawn() {
        Ok(child) => assert_succeeds(child),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: nobody else may run this test binary");
        }
        Err(e) => panic!("{e}"),
    }
    assert_eq!(contents(&config.dir), before);
    mode(&config.dir, 0o755);
}

#[test]
fn a_link_leads_to_the_same_log_and_may_be_turned_while_it_runs() {
    let (base, real) = place();
    let link = base.path().join("link");
    fs::create_dir(&real.dir).unwrap();
    symlink(&real.dir, &link).unwrap();
    let by_link = config(&link);
    let (mut wal, mut list) = open(&by_link).unwrap();
    assert!(matches!(open(&real), Err(Error::Locked { .. })));

    fs::remove_file(&link).unwrap();
    symlink(base.path().join("elsewhere"), &link).unwrap();
    for i in 0..300 {
        wal.append_and_apply(format!("word-{i}"), &mut list).unwrap();
    }
    wal.close().unwrap();
    assert_eq!(open(&real).unwrap().1.words, list.words);
    assert!(!base.path().join("elsewhere").exists());
}

#[test]
fn directories_above_are_made_and_a_file_in_the_way_is_an_error() {
    let base = tempfile::tempdir().unwrap();
    let deep = config(base.path().join("a/b/c/log"));
    let (wal, _) = open(&deep).unwrap();
    wal.close().unwrap();
    assert!(deep.chunk_path(ChunkId(0)).exists());
    let file = base.path().join("file");
    fs::write(&file, "no directory").unwrap();
    for dir in [file.clone(), file.join("log")] {
        assert!(matches!(open(&config(&dir)), Err(Error::Io { .. })), "{}", dir.display());
    }
    assert_eq!(fs::read(&file).unwrap(), b"no directory");
}

#[test]
fn a_directory_that_is_removed_under_a_running_log_is_noticed() {
    // With and without a file made ready for the next chunk.
    for ready in [false, true] {
        let (_base, config) = place();
        let (mut wal, mut list) = open(&config).unwrap();
        if ready {
            wal.append_and_apply("x".repeat(3000), &mut list).unwrap();
        }
        wal.wait_idle().unwrap();
        fs::remove_dir_all(&config.dir).unwrap();
        let segment = wal.append_and_apply("a".to_string(), &mut list).unwrap();
        wal.sync().unwrap();
        assert_eq!(wal.read_record(segment).unwrap(), action("a"), "the open file is still there");
        let noticed = match wal.close_open_chunk(&list).map(drop).and_then(|()| wal.sync()) {
            // The worker may have failed before the sync was asked for.
            Err(Error::Poisoned { cause }) => Err((*cause).clone()),
            noticed => noticed,
        };
        match noticed {
            Err(Error::Io { op, source, .. }) => {
                assert_eq!(op, if ready { "rename" } else { "create" });
                assert_eq!(source.kind(), io::ErrorKind::NotFound);
            }
            noticed => panic!("{noticed:?}"),
        }
        assert_eq!(
            wal.close().is_err(),
            ready,
            "a rename that failed poisons, a spare that is missing doesn't"
        );
        let missing = Wal::options(config.clone()).must_exist().open(&mut List::default());
        assert!(matches!(missing, Err(Error::NotFound { .. })));
    }
}

#[test]
fn other_files_are_left_alone_and_reported() {
    let (_base, config) = place();
    open(&config).unwrap().0.close().unwrap();
    let foreign = ["notes.txt", "r-0.wal", "r-00_000_000_000_000_000_064.wal.bak", "spare-.tmp"];
    for name in foreign {
        fs::write(config.dir.join(name), name).unwrap();
    }
    fs::create_dir(config.dir.join("a directory")).unwrap();
    let (wal, _) = open(&config).unwrap();
    let reported: Vec<_> =
        wal.recovery().foreign_names.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(
        reported,
        ["a directory", "notes.txt", "r-0.wal", "r-00_000_000_000_000_000_064.wal.bak", "spare-.tmp"]
    );
    wal.close().unwrap();
    for name in foreign {
        assert_eq!(fs::read(config.dir.join(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn a_clock_that_goes_backwards_is_of_no_consequence() {
    let (_base, config) = place();
    fs::create_dir(&config.dir).unwrap();
    let created = |chunk: Forge, when: u64| chunk.header(48, &when.to_le_bytes());
    let first = created(Forge::chunk(0), u64::MAX).checkpoint("").action("a").seal();
    let second = created(first.next(), 0).checkpoint("a").action("b").mark();
    for chunk in [&first, &second] {
        fs::write(config.chunk_path(ChunkId(chunk.id)), &chunk.bytes).unwrap();
    }
    let (mut wal, mut list) = open(&config).unwrap();
    assert_eq!(list.words, ["a", "b"]);
    wal.close_open_chunk(&list).unwrap();
    wal.append_and_apply("c".to_string(), &mut list).unwrap();
    wal.close().unwrap();
    assert_eq!(open(&config).unwrap().1.words, ["a", "b", "c"]);
}

#[test]
fn a_lock_file_that_is_removed_lets_no_second_writer_in() {
    let (_base, config) = place();
    let (mut wal, mut list) = open(&config).unwrap();
    fs::remove_file(config.dir.join("LOCK")).unwrap();
    assert!(matches!(open(&config), Err(Error::Locked { .. })));
    fs::write(config.dir.join("LOCK"), b"").unwrap();
    assert!(matches!(open(&config), Err(Error::Locked { .. })));
    wal.append_and_apply("a".to_string(), &mut list).unwrap();
    wal.close().unwrap();
    assert_eq!(open(&config).unwrap().1.words, ["a"]);
}

#[test]
fn a_link_or_a_pipe_by_a_name_of_the_log_is_not_followed() {
    let (base, config) = place();
    fs::create_dir(&config.dir).unwrap();
    let target = base.path().join("precious");
    fs::write(&target, b"not the log's").unwrap();
    let spare = |number| config.dir.join(spare_name(number));
    std::os::unix::fs::symlink(&target, spare(1)).unwrap();
    let pipe = Command::new("mkfifo").arg(spare(2)).status().unwrap();
    assert!(pipe.success());
    let (mut wal, mut list) = open(&config).unwrap();
    for word in ["a", "b", "c"] {
        wal.append_and_apply(word.to_string(), &mut list).unwrap();
        wal.close_open_chunk(&list).unwrap();
    }
    wal.close().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"not the log's");
    assert_eq!(open(&config).unwrap().1.words, ["a", "b", "c"]);

    // By a chunk's name it is an error that says so.
    let chunk = config.chunk_path(ChunkId(0));
    fs::rename(&chunk, &target).unwrap();
    std::os::unix::fs::symlink(&target, &chunk).unwrap();
    let error = open(&config).unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
}

// Options ------------------------------------------------------------------------------------------

#[test]
fn a_log_that_must_exist_is_not_made() {
    let (base, config) = place();
    let try_open = || Wal::options(config.clone()).must_exist().open(&mut List::default());
    let refused = |what: &str| match try_open() {
        Err(Error::NotFound { path }) => assert_eq!(path, config.dir, "{what}"),
        other => panic!("{what}: {other:?}"),
    };
    refused("no directory");
    assert!(!config.dir.exists());
    fs::create_dir(&config.dir).unwrap();
    refused("an empty directory");
    fs::write(config.dir.join("notes.txt"), "").unwrap();
    refused("no chunk in it");
    assert_eq!(contents(&config.dir).len(), 1, "not even a lock file");
    open(&config).unwrap().0.close().unwrap();
    try_open().unwrap().close().unwrap();
    drop(base);
}

#[test]
fn a_lock_taken_before_is_handed_over_and_one_of_another_log_refused() {
    let (base, here) = place();
    let lock = Wal::acquire_lock(&here).unwrap();
    assert_eq!(lock.dir(), here.dir.canonicalize().unwrap());
    assert!(matches!(open(&here), Err(Error::Locked { .. })));
    let wal = Wal::options(here.clone()).lock(lock).open(&mut List::default()).unwrap();
    assert!(matches!(open(&here), Err(Error::Locked { .. })));
    wal.close().unwrap();

    let lock = Wal::acquire_lock(&here).unwrap();
    let there = config(base.path().join("there"));
    let refused = Wal::options(there).lock(lock).open(&mut List::default());
    assert!(matches!(refused, Err(Error::InvalidConfig { field: "lock", .. })), "{refused:?}");
    open(&here).unwrap().0.close().unwrap();
}

#[test]
fn opening_with_a_wrong_setting_names_it_and_makes_nothing() {
    let base = tempfile::tempdir().unwrap();
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 6] = [
        ("dir", |config| config.dir = "".into()),
        ("chunk_max_size", |config| config.chunk_max_size = 0),
        ("max_record_size", |config| config.max_record_size = u64::MAX),
        ("flush_queue_max_bytes", |config| config.flush_queue_max_bytes = 0),
        ("flush_batch_wait", |config| config.flush_batch_wait = Duration::from_secs(3600)),
        ("read_buffer_size", |config| config.read_buffer_size = 0),
    ];
    for (name, change) in cases {
        let mut config = config(base.path().join(name));
        change(&mut config);
        let Err(error) = open(&config) else { panic!("{name} is accepted") };
        assert!(matches!(error, Error::InvalidConfig { field, .. } if field == name), "{error}");
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        assert!(
            matches!(Wal::acquire_lock(&config), Err(Error::InvalidConfig { field, .. }) if field == name)
        );
    }
    assert_eq!(contents(base.path()), []);
}

// Dump ---------------------------------------------------------------------------------------------

/// A closed log of three chunks, with three words in each.
fn three_chunks() -> (TempDir, Config, List) {
    let (base, config) = place();
    let (mut wal, mut list) = open(&config).unwrap();
    for i in 0..9 {
        if i > 0 && i % 3 == 0 {
            wal.close_open_chunk(&list).unwrap();
        }
        wal.append_and_apply(format!("word-{i}"), &mut list).unwrap();
    }
    wal.close().unwrap();
    let list = open(&config).unwrap().1;
    (base, config, list)
}

type Dumped = (ChunkId, u64, Result<(Segment, Record), Error>);

fn dump(config: &Config) -> Vec<Dumped> {
    let lock = Wal::acquire_lock(config).unwrap();
    let mut dumped = Vec::new();
    let done: Result<(), Error> = Wal::dump_records(config, &lock, |chunk_id, index, item| {
        dumped.push((chunk_id, index, item));
        Ok(())
    });
    done.unwrap();
    dumped
}

#[test]
fn a_dump_gives_every_record_with_its_place_and_changes_nothing() {
    let (_base, config, list) = three_chunks();
    let before = contents(&config.dir);
    let dumped = dump(&config);
    let places: Vec<_> = dumped.iter().map(|(id, _, item)| (*id, item.as_ref().unwrap().0)).collect();
    assert_eq!(places, list.applied, "global segments, the same that replay gives");
    let indexes: Vec<_> = dumped.iter().map(|(_, index, _)| *index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
    let records: Vec<_> = dumped.into_iter().map(|(_, _, item)| item.unwrap().1).collect();
    assert_eq!(records[..3], [checkpoint(""), action("word-0"), action("word-1")]);
    assert_eq!(records[4..6], [checkpoint("word-0,word-1,word-2"), action("word-3")]);
    assert_eq!(contents(&config.dir), before);
}

#[test]
fn a_dump_reports_damage_and_continues_with_the_next_chunk() {
    let (_base, config, list) = three_chunks();
    let (chunk_id, segment) = list.applied[6];
    let path = config.chunk_path(chunk_id);
    let mut bytes = fs::read(&path).unwrap();
    bytes[(segment.offset - chunk_id.0) as usize + 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_, torn) = list.applied[11];
    let newest = fs::OpenOptions::new().write(true).open(config.chunk_path(list.applied[11].0)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&newest, &[1; 40], torn.offset + 20 - list.applied[11].0.0)
        .unwrap();

    let dumped = dump(&config);
    let short: Vec<_> = dumped
        .iter()
        .map(|(id, index, item)| match item {
            Ok((_, WalRecord::Action(word))) => format!("{index} {word}"),
            Ok((_, WalRecord::Checkpoint(_))) => format!("{index} checkpoint of {}", id.0),
            Err(Error::Corrupt { offset, .. }) => format!("{index} corrupt at {offset}"),
            Err(Error::TornTail { data_end, .. }) => format!("{index} torn at {data_end}"),
            Err(error) => format!("{index} {error}"),
        })
        .collect();
    let second = chunk_id.0;
    let third = list.applied[11].0.0;
    assert_eq!(
        short,
        [
            "0 checkpoint of 0".to_string(),
            "1 word-0".to_string(),
            "2 word-1".to_string(),
            "3 word-2".to_string(),
            format!("0 checkpoint of {second}"),
            "1 word-3".to_string(),
            format!("2 corrupt at {}", segment.offset),
            format!("0 checkpoint of {third}"),
            "1 word-6".to_string(),
            "2 word-7".to_string(),
            format!("3 torn at {}", torn.offset),
        ]
    );
}

#[test]
fn a_dump_ends_with_the_visitors_error() {
    let (_base, config, _) = three_chunks();
    let lock = Wal::acquire_lock(&config).unwrap();
    let mut visited = 0;
    let ended: io::Result<()> = Wal::dump_records(&config, &lock, |_, _, _| {
        visited += 1;
        if visited == 6 { Err(io::Error::other("enough")) } else { Ok(()) }
    });
    assert_eq!((ended.unwrap_err().to_string(), visited), ("enough".to_string(), 6));
}

// Errors and types ---------------------------------------------------------------------------------

/// A log of strings whose callbacks take `io::Error`.
#[derive(Debug)]
struct Plain;

impl WalTypes for Plain {
    type Action = String;
    type Checkpoint = String;
    type Callback = Sender<io::Result<()>>;
}

struct Last(String);

impl StateMachine<Plain> for Last {
    type Error = std::convert::Infallible;

    fn apply(&mut self, record: &WalRecord<Plain>, _: ChunkId, _: Segment) -> Result<(), Self::Error> {
        let (WalRecord::Action(last) | WalRecord::Checkpoint(last)) = record;
        self.0.clone_from(last);
        Ok(())
    }

    fn checkpoint(&self) -> String {
        self.0.clone()
    }
}

#[test]
fn a_program_may_use_io_errors_alone() {
    fn session(config: &Config) -> io::Result<String> {
        let mut last = Last(String::new());
        let mut wal = ChunkedWal::<Plain>::open(config.clone(), &mut last)?;
        wal.append_and_apply("a string is its own codec".to_string(), &mut last)?;
        let (told, done) = channel();
        wal.flush(Flush::Sync, Some(told))?;
        done.recv().unwrap()?;
        let refused = ChunkedWal::<Plain>::open(config.clone(), &mut last).map_err(io::Error::from);
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let original = refused.get_ref().unwrap().downcast_ref::<Error>();
        assert!(matches!(original, Some(Error::Locked { .. })));
        wal.close()?;
        Ok(last.0)
    }
    let (_base, config) = place();
    assert_eq!(session(&config).unwrap(), "a string is its own codec");
    let mut last = Last(String::new());
    ChunkedWal::<Plain>::open(config, &mut last).unwrap();
    assert_eq!(last.0, "a string is its own codec");
}

#[test]
fn types_that_threads_share_are_send_and_sync() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync + 'static>() {}
    shared::<ChunkedWal<Plain>>();
    shared::<WalReader<Plain>>();
    shared::<ProgressHandle>();
    shared::<Error>();
    shared::<Config>();
    shared::<WalLock>();
    shared::<RecoveryReport>();
    shared::<std::sync::Arc<dyn Storage>>();
    shared::<std::sync::Arc<dyn StorageFile>>();
    sent::<FlushTicket>();
    sent::<FlushSender>();
    sent::<Records<Plain>>();
    fn cloned<T: Clone>() {}
    cloned::<WalReader<Plain>>();
    cloned::<ProgressHandle>();
    cloned::<Error>();
    cloned::<WalRecord<Plain>>();
}

#[test]
fn debug_output_of_every_type_is_short_and_names_the_type() {
    let (_base, config) = place();
    let lock = Wal::acquire_lock(&config).unwrap();
    let shown = |value: &dyn Debug, name: &str| {
        let text = format!("{value:?}");
        assert!(text.contains(name), "{text} for {name}");
        assert!(text.len() < 1500, "{text}");
    };
    shown(&lock, "WalLock");
    let options = Wal::options(config.clone()).lock(lock);
    shown(&options, "OpenOptions");
    let mut wal = options.open(&mut List::default()).unwrap();
    let segment = wal.append(&action("a")).unwrap();
    let ticket = wal.flush_ticket(Flush::Sync).unwrap();
    shown(&ticket, "FlushTicket");
    let (sender, pair) = FlushTicket::pair();
    shown(&sender, "FlushSender");
    shown(&pair, "FlushTicket");
    shown(&wal, "ChunkedWal");
    shown(&wal.reader(), "WalReader");
    shown(&wal.records(), "Records");
    shown(&wal.progress(), "Progress");
    shown(&wal.progress_handle(), "ProgressHandle");
    shown(&wal.recovery(), "RecoveryReport");
    shown(&wal.flush_metrics(), "FlushMetrics");
    shown(&wal.open_chunk_stat("a".to_string()), "ChunkStat");
    shown(&segment, "Segment");
    shown(&action("a"), "Action(\"a\")");
    shown(&config, "Config");
    shown(&CallbackFn(|_: Result<(), Error>| ()), "CallbackFn");
    shown(&TryFlushError::Full(Some(|| ())), "Full");
    shown(&TryFlushError::<()>::Failed(Error::Closed), "Closed");
    shown(&Disk::default().storage, "MemoryStorage");
    ticket.wait().unwrap();
}
