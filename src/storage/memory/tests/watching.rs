//! Logs, hooks, and syncs that wait.

use super::*;

#[test]
fn the_log_lists_operations() {
    let disk = MemoryStorage::default();
    disk.record(true);
    let dir = disk.create_dir(Path::new("/wal/1")).unwrap();
    let spare = dir.join("spare-8f3a-1.tmp");
    let file = disk.create(&spare).unwrap();
    file.allocate(4096).unwrap();
    write(&*file, &[0; 64], 0);
    file.read_at(&mut [0], 0).unwrap();
    disk.rename(&spare, &dir.join("r-0.wal")).unwrap();
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    assert!(file.sync().is_err());
    file.set_len(104).unwrap();
    disk.sync_dir(&dir).unwrap();
    disk.remove(&dir.join("r-0.wal")).unwrap();
    file.sync().unwrap();
    drop(disk.lock(&dir.join("LOCK")).unwrap());
    drop(disk.lock(&dir.join("LOCK")).unwrap());
    assert_eq!(
        disk.take_log(),
        [
            "create dir wal",
            "sync dir /",
            "create dir 1",
            "sync dir /wal",
            "create spare-*.tmp",
            "allocate spare-*.tmp 4096",
            "write spare-*.tmp 64@0",
            "rename spare-*.tmp -> r-0.wal",
            "sync r-0.wal: EIO",
            "set_len r-0.wal 104",
            "sync dir",
            "remove r-0.wal",
            "sync (unlinked)",
            "create LOCK",
        ]
    );
    assert!(disk.take_log().is_empty());
    disk.record(false);
    file.sync().unwrap();
    assert!(disk.take_log().is_empty());
}

#[test]
fn a_hook_sees_each_operation_before_it_happens() {
    let (disk, file) = disk_with(b"");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inside, log) = (disk.clone(), seen.clone());
    disk.on_operation(move |op| {
        log.lock().push((op.number, op.kind, op.path.clone(), inside.read_file(A).unwrap().len()));
        if op.kind == OpKind::SetLen {
            inside.crash_after(0);
        }
    });
    write(&*file, b"abc", 0);
    file.sync().unwrap();
    file.len().unwrap();
    assert!(file.set_len(0).is_err(), "the power went before it happened");
    assert_eq!(disk.read_file(A).unwrap(), b"abc");
    let a = PathBuf::from(A);
    assert_eq!(
        seen.lock()[..4],
        [
            (0, OpKind::Write, a.clone(), 0),
            (1, OpKind::Sync, a.clone(), 3),
            (2, OpKind::Len, a.clone(), 3),
            (2, OpKind::SetLen, a, 3),
        ]
    );
}

#[test]
fn syncs_wait_while_paused() {
    for wake in [|disk: &MemoryStorage| disk.pause_syncs(false), |disk: &MemoryStorage| disk.crash_after(0)] {
        let (disk, file) = disk_with(b"");
        disk.pause_syncs(true);
        let synced = Arc::new(AtomicU64::new(0));
        let (done, handle) = (synced.clone(), file.clone());
        let worker = std::thread::spawn(move || {
            let result = handle.sync();
            done.store(1, Ordering::SeqCst);
            result
        });
        while disk.operations() == 0 {
            std::thread::yield_now();
        }
        write(&*file, b"others go on", 0);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(synced.load(Ordering::SeqCst), 0);
        wake(&disk);
        let _ = worker.join().unwrap();
        assert_eq!(synced.load(Ordering::SeqCst), 1);
    }
}
