//! Tests of names after a crash.

use super::*;

pub(super) fn names_left(disk: &MemoryStorage) -> BTreeSet<Vec<String>> {
    let drawn: BTreeSet<_> = (0..SEEDS).map(|seed| disk.crash(seed).files("/")).collect();
    let all: BTreeSet<_> = disk.crash_states(1000).unwrap().iter().map(|disk| disk.files("/")).collect();
    assert_eq!(drawn, all);
    all
}

pub(super) fn names(cases: &[&[&str]]) -> BTreeSet<Vec<String>> {
    cases.iter().map(|case| case.iter().map(|name| name.to_string()).collect()).collect()
}

#[test]
fn a_name_is_durable_once_its_directory_is_synced() {
    let disk = MemoryStorage::default();
    let file = disk.create(Path::new(A)).unwrap();
    write(&*file, b"x", 0);
    file.sync().unwrap();
    assert_eq!(left(&disk), BTreeSet::from([None, Some(b"x".to_vec())]), "syncing the file isn't enough");
    disk.sync_dir(root()).unwrap();
    assert_eq!(left(&disk), set(&[b"x"]));

    disk.remove(Path::new(A)).unwrap();
    assert_eq!(left(&disk), BTreeSet::from([None, Some(b"x".to_vec())]));
    disk.sync_dir(root()).unwrap();
    assert_eq!(left(&disk), BTreeSet::from([None]));
}

#[test]
fn a_durable_name_may_lead_to_nothing() {
    let disk = MemoryStorage::default();
    let file = disk.create(Path::new(A)).unwrap();
    write(&*file, b"xyz", 0);
    disk.sync_dir(root()).unwrap();
    assert_eq!(all_left(&disk), set(&[b"", b"\0\0\0", b"xyz"]));
}

#[test]
fn a_rename_is_kept_or_lost() {
    let disk = MemoryStorage::default();
    for name in ["/a", "/b"] {
        disk.write_file(name, name.as_bytes()).unwrap();
    }
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    assert_eq!(names_left(&disk), names(&[&["a", "b"], &["b"]]));
    for seed in 0..100 {
        let after = disk.crash(seed);
        let expected = if after.files("/").len() == 2 { "/b" } else { "/a" };
        assert_eq!(after.read_file("/b").unwrap(), expected.as_bytes());
    }
    disk.set_torn_renames(TornRenames::Possible);
    assert!(
        disk.crash_states(10).unwrap().iter().any(|disk| disk.read_file("/b") == Some(b"/a".to_vec())
            && disk.read_file("/a") == Some(b"/a".to_vec()))
    );
    disk.sync_dir(root()).unwrap();
    assert_eq!(names_left(&disk), names(&[&["b"]]));
}

#[test]
fn a_rename_goes_with_an_unsynced_create() {
    let disk = MemoryStorage::default();
    disk.create(Path::new("/a")).unwrap();
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    assert_eq!(names_left(&disk), names(&[&[], &["a"], &["b"]]));
}

#[test]
fn names_come_in_any_order() {
    let disk = MemoryStorage::default();
    for name in ["/a", "/b", "/c"] {
        disk.create(Path::new(name)).unwrap();
    }
    assert_eq!(names_left(&disk).len(), 8);
}

#[test]
fn a_new_directory_may_vanish_with_all_in_it() {
    let disk = MemoryStorage::default();
    disk.crash_after(1); // the root has no parent to sync
    assert!(disk.create_dir(Path::new("/x/y")).is_err());
    assert_eq!(disk.operations(), 2);
    let seen: BTreeSet<bool> = (0..50).map(|seed| disk.crash(seed).list(Path::new("/x")).is_ok()).collect();
    assert_eq!(seen, BTreeSet::from([false, true]), "made, and its name not synced");

    // A killed process leaves it; the next one makes its name durable all the same.
    let disk = disk.kill();
    disk.create_dir(Path::new("/x")).unwrap();
    assert!((0..50).all(|seed| disk.crash(seed).list(Path::new("/x")).is_ok()));

    disk.create_dir(Path::new("/x/y/z")).unwrap();
    disk.create(Path::new("/x/y/z/file")).unwrap();
    disk.sync_dir(Path::new("/x/y/z")).unwrap();
    assert!((0..50).all(|seed| disk.crash(seed).files("/x/y/z") == ["file"]));
}
