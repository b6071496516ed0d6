//! Operations that fail.

use super::names::{names, names_left};
use super::*;

#[test]
fn a_fault_strikes_when_it_should() {
    let (disk, file) = disk_with(b"");
    disk.fail(Fault::new(OpKind::Write, 1, FaultHow::Io));
    write(&*file, b"a", 0);
    file.sync().unwrap();
    assert_eq!(file.write_at(&[IoSlice::new(b"b")], 0).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(disk.read_file(A).unwrap(), b"a");
    write(&*file, b"c", 0);

    disk.fail(Fault::any(1, FaultHow::NoSpace).sticky());
    file.sync().unwrap();
    for _ in 0..3 {
        assert_eq!(kind(disk.create(Path::new("/b"))), ErrorKind::StorageFull);
        assert_eq!(kind(file.allocate(9)), ErrorKind::StorageFull);
        file.read_at(&mut [0], 0).unwrap();
    }
    disk.heal();
    file.allocate(9).unwrap();
}

#[test]
fn a_fault_has_many_ways() {
    let (disk, file) = disk_with(b"0123456789");
    let mut buf = [0; 4];
    disk.fail(Fault::new(OpKind::Write, 0, FaultHow::Short(2)));
    assert_eq!(file.write_at(&[IoSlice::new(b"a"), IoSlice::new(b"bc")], 0).unwrap(), 2);
    assert_eq!(disk.read_file(A).unwrap(), b"ab23456789");

    disk.fail(Fault::new(OpKind::Read, 0, FaultHow::Short(3)));
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 3);
    disk.fail(Fault::new(OpKind::Read, 0, FaultHow::Interrupted));
    assert_eq!(kind(file.read_at(&mut buf, 0)), ErrorKind::Interrupted);
    disk.fail(Fault::new(OpKind::Len, 0, FaultHow::Error(ErrorKind::PermissionDenied)));
    assert_eq!(kind(file.len()), ErrorKind::PermissionDenied);
    disk.fail(Fault::new(OpKind::Lock, 0, FaultHow::Io));
    assert!(disk.lock(Path::new("/LOCK")).is_err());

    for kind in [OpKind::Create, OpKind::Rename, OpKind::SetLen] {
        disk.fail(Fault::new(kind, 0, FaultHow::DoneButIo));
    }
    assert_eq!(disk.create(Path::new("/b")).unwrap_err().raw_os_error(), Some(5));
    assert!(disk.rename(Path::new("/b"), Path::new("/c")).is_err());
    assert!(file.set_len(1).is_err());
    assert_eq!((disk.files("/"), file.len().unwrap()), (vec!["a".into(), "c".into()], 1));
}

#[test]
fn faults_count_side_by_side() {
    let (disk, file) = disk_with(b"");
    disk.fail(Fault::any(2, FaultHow::NoSpace));
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    write(&*file, b"a", 0);
    assert_eq!(kind(file.sync()), ErrorKind::StorageFull);
    file.sync().unwrap();

    // Where two would strike the same operation, the second waits.
    disk.fail(Fault::any(0, FaultHow::NoSpace));
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::Io));
    assert_eq!(kind(file.sync()), ErrorKind::StorageFull);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().unwrap();
}

#[test]
fn a_failed_sync_lies() {
    let old = vec![1; 8192];
    let (disk, file) = disk_with(&old);
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
    write(&*file, &[2; 512], 0);
    write(&*file, &[2; 512], 4096);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().unwrap();
    file.sync().unwrap();
    let new = sectors(&old, &[2; 8192], &[0, 8]);
    assert_eq!(disk.read_file(A).unwrap(), new, "it is read back");
    assert_eq!(disk.crash(0).read_file(A).unwrap(), old, "and it is not there");
    assert_eq!(left(&disk).len(), 4);
    assert_eq!(disk.kill().crash(0).read_file(A).unwrap(), old, "a new process doesn't help");

    // Writing any byte of the page again does.
    write(&*file, &[2], 5000);
    file.sync().unwrap();
    let mut half = old.clone();
    half[4096..4608].fill(2);
    half[5000] = 2;
    assert_eq!(disk.crash(0).read_file(A).unwrap(), half);
    write(&*file, &[2; 512], 0);
    file.sync().unwrap();
    assert_eq!(disk.crash(0).digest(), disk.digest());
}

#[test]
fn a_failed_sync_lies_about_new_space() {
    let (disk, file) = disk_with(b"");
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
    write(&*file, &[2; 600], 0);
    assert!(file.sync().is_err());
    assert_eq!(disk.crash(0).read_file(A).unwrap(), b"");
    file.sync().unwrap();
    assert_eq!(disk.crash(0).read_file(A).unwrap(), [0; 600], "the size came, the bytes didn't");

    // What is cut off is no longer lied about.
    file.set_len(0).unwrap();
    write(&*file, &[3; 5], 0);
    file.sync().unwrap();
    assert_eq!(left(&disk), set(&[&[3; 5]]));
}

#[test]
fn a_failed_sync_does_not_lie_about_what_is_cut_off() {
    let (disk, file) = disk_with(&[1; 8192]);
    write(&*file, &[2; 8192], 0);
    disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
    assert!(file.sync().is_err());
    file.set_len(4096).unwrap();
    file.set_len(8192).unwrap();
    file.sync().unwrap();
    let left = disk.crash(0).read_file(A).unwrap();
    assert_eq!((&left[..4096], &left[4096..]), (&[1; 4096][..], &[0; 4096][..]));
}

#[test]
fn a_full_disk_is_full() {
    let (disk, file) = disk_with(b"");
    disk.set_capacity(Some(3 * 4096 + 100));
    file.allocate(8192).unwrap();
    assert_eq!(disk.used(), 8192);
    let other = disk.create(Path::new("/b")).unwrap();
    assert_eq!(kind(other.allocate(8192)), ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 0);
    assert_eq!(other.write_at(&[IoSlice::new(&[1; 5000])], 0).unwrap(), 4096, "the part that fits");
    assert_eq!(kind(other.write_at(&[IoSlice::new(&[1; 904])], 4096)), ErrorKind::StorageFull);
    write(&*other, &[2; 4096], 0);
    write(&*file, &[1; 8192], 0);
    other.set_len(10_000).unwrap(); // takes nothing

    file.set_len(4096).unwrap();
    write(&*other, &[3; 4096], 4096);
    assert_eq!(disk.used(), 3 * 4096);
    disk.remove(Path::new("/b")).unwrap();
    assert_eq!(kind(file.allocate(8192)), ErrorKind::StorageFull, "it is still open");
    drop(other);
    file.allocate(3 * 4096).unwrap();
    disk.set_capacity(None);
    file.allocate(1 << 40).unwrap();
}

#[test]
fn no_file_is_endless() {
    let (_, file) = disk_with(b"");
    assert_eq!(kind(file.write_at(&[IoSlice::new(b"x")], u64::MAX)), ErrorKind::FileTooLarge);
    assert_eq!(kind(file.set_len(u64::MAX)), ErrorKind::FileTooLarge);
    assert_eq!(kind(file.allocate(u64::MAX)), ErrorKind::FileTooLarge);
    assert_eq!(file.read_at(&mut [0], u64::MAX).unwrap(), 0);
}

#[test]
fn a_listing_misses_a_name_or_has_one_twice() {
    let disk = MemoryStorage::default();
    for name in ["/a", "/b", "/c"] {
        disk.write_file(name, b"").unwrap();
    }
    let list = || disk.list(root()).unwrap();
    disk.fail(Fault::new(OpKind::List, 0, FaultHow::MissesName(1)));
    assert_eq!(list(), ["a", "c"]);
    disk.fail(Fault::new(OpKind::List, 1, FaultHow::NameTwice(5)));
    assert_eq!(list(), ["a", "b", "c"]);
    assert_eq!(list(), ["a", "b", "c", "c"]);
    assert_eq!(list(), ["a", "b", "c"]);
}

#[test]
fn a_failed_directory_sync_lies() {
    let disk = MemoryStorage::default();
    disk.write_file("/a", b"").unwrap();
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    disk.fail(Fault::new(OpKind::SyncDir, 0, FaultHow::SyncLies));
    assert_eq!(disk.sync_dir(root()).unwrap_err().raw_os_error(), Some(5));
    disk.create(Path::new("/c")).unwrap();
    disk.sync_dir(root()).unwrap();
    assert_eq!(disk.files("/"), ["b", "c"], "it is seen");
    assert_eq!(disk.crash(0).files("/"), ["a", "c"], "and it is not there; what came later is");
    assert_eq!(names_left(&disk), names(&[&["a", "c"], &["b", "c"]]));
    assert_eq!(disk.kill().crash(0).files("/"), ["a", "c"], "a new process doesn't help");

    // To make the change again does.
    disk.rename(Path::new("/b"), Path::new("/a")).unwrap();
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    disk.sync_dir(root()).unwrap();
    assert_eq!(names_left(&disk), names(&[&["b", "c"]]));
}

#[test]
fn a_clean_page_that_is_not_on_the_medium_is_evicted() {
    let old = vec![1; 3 * 4096];
    let lied = || {
        let (disk, file) = disk_with(&old);
        write(&*file, &[2; 2 * 4096], 0);
        disk.fail(Fault::new(OpKind::Sync, 0, FaultHow::SyncLies));
        assert!(file.sync().is_err());
        write(&*file, &[3; 4096], 8192);
        (disk, file)
    };
    let (disk, file) = lied();
    write(&*file, &[4], 0); // dirty again
    disk.evict();
    let mut expected = [vec![2; 4096], vec![1; 4096], vec![3; 4096]].concat();
    expected[0] = 4;
    assert_eq!(disk.read_file(A).unwrap(), expected, "dirty pages stay");
    file.sync().unwrap();
    assert_eq!(left(&disk), set(&[&expected]), "and what was read is what the medium has");

    let outcomes = (0..50).map(|seed| {
        let (disk, file) = lied();
        disk.set_evictions(Evictions::Drawn(seed));
        let mut found = [0; 2];
        let mut read = |position| file.read_at(&mut found[..1], position).map(|_| found[0]).unwrap();
        [read(0), read(4096), read(0)]
    });
    let outcomes: BTreeSet<_> = outcomes.collect();
    assert!(outcomes.contains(&[2, 2, 2]) && outcomes.contains(&[2, 2, 1]), "at any time: {outcomes:?}");
    assert!(outcomes.iter().all(|[before, _, after]| before >= after), "and for good: {outcomes:?}");
}

#[test]
fn a_sector_under_write_can_not_be_read() {
    let (disk, file) = disk_with(&[1; 2048]);
    write(&*file, &[2; 1024], 512);
    disk.set_unreadable_sectors(UnreadableSectors::Possible);
    let read = |file: &dyn StorageFile, position| file.read_at(&mut [0; 512], position);
    let mut struck = BTreeSet::new();
    for seed in 0..SEEDS {
        let after = disk.crash(seed);
        let file = after.open(Path::new(A), Access::ReadWrite).unwrap();
        let Some(at) = (0..2048).step_by(512).find(|at| read(&*file, *at).is_err()) else { continue };
        struck.insert(at);
        assert_eq!(read(&*file, at + 100).unwrap_err().raw_os_error(), Some(5));
        assert_eq!(file.read_at(&mut [0; 2048], 0).unwrap(), at as usize, "the bytes before it");
        let part = file.write_at(&[IoSlice::new(&[3; 100])], at);
        assert_eq!(part.unwrap_err().raw_os_error(), Some(5));
        let again = after.crash(seed).open(Path::new(A), Access::Read).unwrap();
        assert!(read(&*again, at).is_err(), "another crash doesn't heal it");
        write(&*file, &[3; 512], at);
        assert_eq!(read(&*file, at).unwrap(), 512);
    }
    assert_eq!(struck, BTreeSet::from([512, 1024]), "no others");
    disk.set_unreadable_sectors(UnreadableSectors::Impossible);
    assert!((0..100).all(|seed| {
        let file = disk.crash(seed).open(Path::new(A), Access::Read).unwrap();
        file.read_at(&mut [0; 2048], 0).unwrap() == 2048
    }));
}
