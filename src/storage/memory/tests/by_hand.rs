//! Tests of the methods that are not operations.

use super::*;

#[test]
fn files_are_put_there_durably() {
    let disk = MemoryStorage::default();
    disk.create(Path::new("/x")).unwrap();
    disk.rename(Path::new("/x"), Path::new("/y")).unwrap();
    disk.write_file("/y", b"put").unwrap();
    disk.write_file("/d/e/f", b"deep").unwrap();
    for seed in 0..50 {
        let after = disk.crash(seed);
        assert_eq!((after.files("/"), after.read_file("/y").unwrap()), (vec!["y".into()], b"put".to_vec()));
        assert_eq!(after.read_file("/d/e/f").unwrap(), b"deep");
    }
    disk.remove_file("/y").unwrap();
    assert_eq!(disk.crash(0).snapshot(), BTreeMap::from([(PathBuf::from("/d/e/f"), b"deep".to_vec())]));
    assert_eq!(kind(disk.remove_file("/y")), ErrorKind::NotFound);
    assert_eq!(kind(disk.write_file("/d/e", b"")), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.write_file("/d/e/f/g", b"")), ErrorKind::NotADirectory);
    assert_eq!((disk.read_file("/y"), disk.files("/no")), (None, vec![]));
}

#[test]
fn a_bit_flips_everywhere() {
    let (disk, file) = disk_with(b"ab");
    write(&*file, b"xy", 0);
    disk.flip_bit(A, 9).unwrap();
    assert_eq!(all_left(&disk), set(&[b"a`", b"x{"]));
    assert_eq!(kind(disk.flip_bit(A, 16)), ErrorKind::UnexpectedEof);
}

#[test]
fn a_digest_sees_every_change() {
    let disk = MemoryStorage::default();
    let mut seen = BTreeSet::from([disk.digest()]);
    let mut changed = |disk: &MemoryStorage| seen.insert(disk.digest());
    disk.write_file("/a", b"").unwrap();
    assert!(changed(&disk));
    disk.write_file("/a", b"\0").unwrap();
    assert!(changed(&disk));
    for bit in 0..8 {
        disk.flip_bit("/a", bit).unwrap();
        assert!(changed(&disk));
    }
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    assert!(changed(&disk));
    let file = disk.open(Path::new("/b"), Access::ReadWrite).unwrap();
    write(&*file, &[1], 100_000);
    assert!(changed(&disk));
    write(&*file, &[0; 5000], 50_000);
    assert!(!changed(&disk), "zeros are zeros");
    disk.create_dir(Path::new("/c")).unwrap();
    assert!(changed(&disk));
}

#[test]
fn a_big_disk_is_cheap_to_crash() {
    let disk = MemoryStorage::default();
    for n in 0..10 {
        let file = disk.create(Path::new(&format!("/{n}"))).unwrap();
        file.allocate(64 << 20).unwrap();
        file.sync().unwrap();
        write(&*file, &[1; 1000], 10_000);
    }
    let start = std::time::Instant::now();
    let crashes = (0..1000).map(|seed| disk.crash(seed).operations()).sum::<u64>();
    assert_eq!(crashes, 0);
    eprintln!("{:?} for each crash", start.elapsed() / 1000);
    assert!(start.elapsed() < Duration::from_secs(10));
}
